"""Jobs of many opcodes: what has become of each has a row of its own until the job ends, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from ganeti.master import sizes
from ganeti.master.state import State, job_key, op_key, op_row, row
from ganeti.model.jobs import Job, OpState, Status
from ganeti.model.types import JobId
from ganeti.store import parcel
from ganeti.store.api import Batch, Write
from ganeti.testing.cluster import SimulatedCluster
from ganeti.wire import codec

Body = Callable[[SimulatedCluster], Awaitable[None]]


def on_cluster(tmp_path: Path, body: Body) -> None:
    async def main() -> None:
        await body(SimulatedCluster(str(tmp_path)))

    asyncio.run(main())


def delay(**more: object) -> dict[str, object]:
    return {"OP_ID": "OP_TEST_DELAY", "duration": 0, **more}


def on_node() -> dict[str, object]:
    """Its beginning is stored, too."""
    return delay(on_master=False, on_nodes=["node2"])


def stored(cluster: SimulatedCluster, job: JobId) -> Job:
    return codec.unpack(cluster.store.table["job", job_key(job)].encode(), Job)


def apart(cluster: SimulatedCluster) -> list[str]:
    return [key for table, key in cluster.store.table if table == "jobop"]


def written(cluster: SimulatedCluster, table: str) -> list[str]:
    return [
        write.key
        for batch in cluster.store.batches
        for write in batch.writes
        if write.table == table and write.value is not None
    ]


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come")


async def ended(cluster: SimulatedCluster, job: JobId, index: int) -> None:
    await cluster.jobs.changed(job, lambda: cluster.jobs.get(job).ops[index].status is Status.SUCCESS, 60)


def test_job_when_it_has_many_opcodes_then_it_is_written_whole_at_its_begin_and_end_alone(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(*[on_node()] * 20)
        assert job.status is Status.SUCCESS
        assert written(cluster, "job") == [job_key(job.id)] * 2
        assert written(cluster, "jobop") == sorted([op_key(job.id, index) for index in range(20)] * 2)[:-1]
        assert not apart(cluster)
        assert stored(cluster, job.id) == job

    on_cluster(tmp_path, body)


def test_job_when_it_has_one_opcode_then_there_is_one_row(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(on_node())
        assert written(cluster, "job") == [job_key(job.id)] * 3
        assert not written(cluster, "jobop")

    on_cluster(tmp_path, body)


def test_restart_when_some_opcodes_have_ended_then_only_the_others_run(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.submit(*[delay()] * 40)
        await ended(cluster, job, 10)
        await cluster.restart()
        before = cluster.jobs.get(job)
        done = sum(op.status is Status.SUCCESS for op in before.ops)
        assert 10 < done < 40
        after = await cluster.wait(job)
        assert after.status is Status.SUCCESS
        assert after.ops[:done] == before.ops[:done]
        assert after.start_timestamp == before.start_timestamp == before.ops[0].start_timestamp
        assert not apart(cluster)
        assert stored(cluster, job) == after

    on_cluster(tmp_path, body)


def test_restart_when_an_opcode_runs_then_it_fails_and_what_ended_before_stands(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.gates["test_delay"] = asyncio.Event()
        job = await cluster.submit(delay(), delay(), on_node(), delay())
        await until(lambda: op_key(job, 2) in apart(cluster))
        before = cluster.jobs.get(job)
        assert before.ops[2].status is Status.RUNNING
        await cluster.restart()
        after = await cluster.wait(job)
        assert [op.status for op in after.ops] == [Status.SUCCESS] * 2 + [Status.ERROR] * 2
        assert "the master stopped while the job ran" in after.ops[2].result[1][0]
        assert after.ops[:2] == before.ops[:2]
        assert not apart(cluster)

    on_cluster(tmp_path, body)


def test_priority_when_it_changes_under_way_then_later_rows_of_opcodes_have_it(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.gates["test_delay"] = asyncio.Event()
        job = await cluster.submit(delay(), on_node(), *[delay()] * 40)
        await until(lambda: op_key(job, 1) in apart(cluster))
        assert (await cluster.engine.change_priority(job, -5))[0]
        assert not apart(cluster)
        assert stored(cluster, job) == cluster.jobs.get(job)
        cluster.rpc.gates["test_delay"].set()
        await ended(cluster, job, 5)
        await cluster.restart()
        after = await cluster.wait(job)
        assert after.status is Status.SUCCESS
        assert [op.priority for op in after.ops] == [0] + [-5] * 41

    on_cluster(tmp_path, body)


def test_job_when_an_older_version_stored_all_in_one_row_then_it_goes_on(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        done = (await cluster.run(delay(), delay())).ops[0]
        left = OpState(input=dict(done.input))
        job = Job(id=JobId(9), ops=(done, left, left), start_timestamp=(1, 0))
        cluster.store.table["job", job_key(job.id)] = codec.pack(job).decode()
        await cluster.restart()
        after = await cluster.wait(job.id)
        assert after.status is Status.SUCCESS
        assert after.ops[0] == done
        assert after.start_timestamp == (1, 0)

    on_cluster(tmp_path, body)


def test_results_when_together_they_are_too_large_then_the_last_are_not_kept(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        large = (await cluster.run({"OP_ID": "OP_TEST_JQUEUE", "log_messages": ["x" * (1 << 20)]})).id
        wanted = {"OP_ID": "OP_QUERY", "what": "job", "fields": ["ops"] * 6, "qfilter": ["==", "id", large]}
        job = await cluster.run(*[wanted] * 4, delay())
        assert job.status is Status.SUCCESS
        assert [op.result is None for op in job.ops] == [False, False, True, True, True]
        assert cluster.log_of(job.id) == [" - WARNING: the result is too large to be kept"] * 2
        assert stored(cluster, job.id) == job
        assert parcel.fits([row("job", job_key(job.id), job)], sizes.ENDED)

    on_cluster(tmp_path, body)


def test_state_when_opcodes_are_published_then_they_are_put_into_their_job() -> None:
    queued = OpState(input={"OP_ID": "OP_TEST_DELAY"})
    job = Job(id=JobId(7), ops=(queued, queued, queued))
    first = msgspec.structs.replace(queued, status=Status.SUCCESS, result=[1], start_timestamp=(5, 0))
    second = msgspec.structs.replace(queued, status=Status.RUNNING, start_timestamp=(6, 0))
    now = msgspec.structs.replace(job, ops=(first, second, queued), start_timestamp=(5, 0))
    base, rows = row("job", job_key(job.id), job), [op_row(now, 0), op_row(now, 1)]
    assert all("OP_ID" not in str(write.value) for write in rows)

    published = State()
    published.publish(Batch(term=1, serial=1, time=0.0, writes=(base, *rows)))
    assert published.jobs == {7: now}

    whole = row("job", job_key(job.id), now)
    gone = [Write(write.table, write.key, None) for write in rows]
    published.publish(Batch(term=1, serial=2, time=0.0, writes=(whole, *gone)))
    assert published.jobs == {7: now}
