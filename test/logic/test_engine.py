"""The engine on a cluster in one process: whatever happens, nothing is lost, run twice or left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.model.jobs import Status
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

Body = Callable[[SimulatedCluster], Awaitable[None]]


def on_cluster(tmp_path: Path, body: Body) -> None:
    async def main() -> None:
        await body(SimulatedCluster(str(tmp_path)))

    asyncio.run(main())


def delay(seconds: float = 0, **more: object) -> dict[str, object]:
    return {"OP_ID": "OP_TEST_DELAY", "duration": seconds, **more}


def create(name: str, **more: object) -> dict[str, object]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "os_type": OS_NAME,
        "disk_template": "file",
        "disks": [{"size": 128}, {"size": 64}],
        "pnode": "node2",
        "hypervisor": "fake",
        "ignore_ipolicy": True,
        **more,
    }


def test_submit_when_two_opcodes_then_both_run_in_order(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(delay(), delay())
        assert job.status is Status.SUCCESS
        assert job.ops[0].end_timestamp <= job.ops[1].start_timestamp
        assert job.end_timestamp is not None
        assert cluster.store.table["job", f"{job.id:012d}"]

    on_cluster(tmp_path, body)


def test_submit_when_many_then_ids_are_consecutive_and_bad_ones_refused(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        results = await cluster.engine.submissions.submit([[delay()], [{"OP_ID": "OP_NO_SUCH"}], [delay()]])
        assert [ok for ok, _ in results] == [True, False, True]
        assert (results[0][1], results[2][1]) == (1, 3)
        assert "OP_NO_SUCH" in str(results[1][1])

    on_cluster(tmp_path, body)


def test_submit_when_many_are_one_bad_job_then_its_reason_is_the_answer(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        ((ok, why),) = await cluster.engine.submissions.submit([[{"OP_ID": "OP_NO_SUCH"}]], key="k")
        assert not ok
        assert "OP_NO_SUCH" in str(why)
        with pytest.raises(errors.PrereqError, match="OP_NO_SUCH"):
            await cluster.engine.submissions.submit_one([{"OP_ID": "OP_NO_SUCH"}], key="k")

    on_cluster(tmp_path, body)


def test_submit_when_two_clients_at_once_then_each_has_its_own_job(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        ids = await asyncio.gather(*(cluster.submit(delay()) for _ in range(3)))
        assert sorted(ids) == [1, 2, 3]
        for job in ids:
            assert (await cluster.wait(job)).status is Status.SUCCESS

    on_cluster(tmp_path, body)


def test_submit_when_wrong_then_nothing_is_stored(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = len(cluster.store.batches)
        for wrong in ({"OP_ID": "OP_TEST_DELAY"}, delay(surplus=1), "text"):
            with pytest.raises(errors.GanetiError):
                await cluster.submit(wrong)
        with pytest.raises(errors.PrereqError):
            await cluster.engine.submissions.submit_one([])
        assert len(cluster.store.batches) == before

    on_cluster(tmp_path, body)


def test_submit_when_same_key_then_same_job_and_one_run(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        first, second = await asyncio.gather(cluster.submit(delay(), key="k"), cluster.submit(delay(), key="k"))
        assert first == second == await cluster.submit(delay(), key="k")
        with pytest.raises(errors.PrereqError, match="another body"):
            await cluster.submit(delay(1), key="k")
        await cluster.restart()
        assert await cluster.submit(delay(), key="k") == first
        assert len(cluster.state.jobs) == 1

    on_cluster(tmp_path, body)


def test_submit_when_quorum_is_gone_then_refused_by_name(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.store.missing = ["node2", "node3"]
        with pytest.raises(errors.QuorumError, match="node2, node3"):
            await cluster.submit(delay())

    on_cluster(tmp_path, body)


def test_job_when_first_opcode_fails_then_rest_does_not_run(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "none"}, delay())
        assert job.status is Status.ERROR
        assert job.ops[0].result[0] == "OpPrereqError"
        assert job.ops[0].result[1][1] == "unknown_entity"
        assert job.ops[1].result == ["OpExecError", ["Preceding opcode failed"]]
        assert not cluster.locks.rows()

    on_cluster(tmp_path, body)


def test_depends_when_other_ends_differently_then_job_is_doomed(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        results = await cluster.engine.submissions.submit(
            [
                [delay()],
                [delay(depends=[[-1, ["success"]]])],
                [delay(depends=[[-2, ["error"]]])],
                [delay(depends=[[-1, ["canceled"]]])],
            ]
        )
        ids = [answer for _, answer in results]
        ended = [await cluster.wait(job) for job in ids]
        assert [job.status for job in ended] == [Status.SUCCESS, Status.SUCCESS, Status.ERROR, Status.ERROR]

    on_cluster(tmp_path, body)


def test_create_when_all_is_well_then_disks_guest_and_configuration_are_there(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(create("web1"))
        assert job.status is Status.SUCCESS, job.ops[0].result
        instance = cluster.config.instance("web1")
        node = cluster.nodes[instance.primary_node]
        assert len(node.volumes()) == 2
        assert node.hypervisor.info("web1", instance.uuid) is not None
        assert not cluster.debris()
        assert not cluster.state.journal
        assert not cluster.locks.rows()
        removed = await cluster.run({"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"})
        assert removed.status is Status.SUCCESS, removed.ops[0].result
        assert not node.volumes()
        assert not cluster.config.instances

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["volume_create", "os_create", "instance_start"])
@pytest.mark.parametrize("how", ["fails", "reply is lost"])
def test_create_when_a_step_goes_wrong_then_no_debris(tmp_path: Path, call: str, how: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        if how == "fails":
            cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        else:
            cluster.rpc.lose_reply.append(call)
        job = await cluster.run(create("web1"))
        assert job.status is Status.ERROR
        assert not cluster.debris()
        assert not cluster.state.journal
        assert not cluster.locks.rows()
        if not cluster.config.instances:
            again = await cluster.run(create("web1"))
            assert again.status is Status.SUCCESS, again.ops[0].result

    on_cluster(tmp_path, body)


def test_remove_when_it_fails_after_a_volume_is_gone_then_it_is_finished_and_a_success(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        assert (await cluster.run(create("web1"))).status is Status.SUCCESS
        cluster.rpc.lose_reply.append("volume_remove")
        job = await cluster.run({"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"})
        assert job.status is Status.SUCCESS, job.ops[0].result
        assert any("was finished" in str(entry.message) for entry in cluster.state.logs[job.id])
        assert not cluster.config.instances
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_create_when_node_dies_then_debt_is_paid_when_it_is_back(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        node = cluster.nodes[cluster.config.node("node2").uuid]
        cluster.rpc.gates["os_create"] = asyncio.Event()
        job = await cluster.submit(create("web1"))
        await cluster.jobs.changed(job, lambda: len(node.volumes()) == 2, 5)
        node.is_up = False
        cluster.rpc.gates["os_create"].set()
        ended = await cluster.wait(job)
        assert ended.status is Status.ERROR
        assert cluster.debris()
        assert {debt.node for debt in cluster.state.debts.values()} == {node.uuid}
        node.is_up = True
        again = await cluster.run(create("web1", start=False))
        assert again.status is Status.SUCCESS, again.ops[0].result
        assert not cluster.state.debts
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_create_when_master_dies_then_new_one_takes_it_back(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        node = cluster.nodes[cluster.config.node("node2").uuid]
        cluster.rpc.gates["os_create"] = asyncio.Event()
        job = await cluster.submit(create("web1"))
        await cluster.jobs.changed(job, lambda: len(node.volumes()) == 2, 5)
        waiting = await cluster.submit(delay())
        del cluster.rpc.gates["os_create"]
        await cluster.restart()
        ended = await cluster.wait(job)
        assert ended.status is Status.ERROR
        assert "master stopped" in ended.ops[0].result[1][0]
        assert not cluster.debris()
        assert (await cluster.wait(waiting)).status is Status.SUCCESS
        assert not cluster.locks.rows()
        again = await cluster.run(create("web1"))
        assert again.status is Status.SUCCESS, again.ops[0].result

    on_cluster(tmp_path, body)


def test_cancel_when_queued_waiting_running_then_as_documented(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        assert await cluster.engine.cancel(99, kill=False) == (False, "Job 99 not found")
        runs = await cluster.submit(delay(30))
        await cluster.jobs.changed(runs, lambda: cluster.jobs.get(runs).status is Status.RUNNING, 5)
        ok, text = await cluster.engine.cancel(runs, kill=False)
        assert (ok, text) == (False, f"Job {runs} is no longer waiting in the queue")
        queued = await cluster.submit(delay(depends=[[runs, []]]))
        assert (await cluster.engine.cancel(queued, kill=False))[0]
        assert cluster.jobs.get(queued).status is Status.CANCELED
        assert (await cluster.engine.cancel(runs, kill=True))[0]
        assert (await cluster.wait(runs)).status is Status.CANCELED

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("waits_in", ["hooks_run", "iallocator_run"])
def test_kill_when_hooks_or_allocator_hang_then_the_job_ends_at_once(tmp_path: Path, waits_in: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        told = cluster.rpc.gates["task_cancel"] = Gate()
        begun = cluster.rpc.gates[waits_in] = Gate()
        form = create("web1")
        if waits_in == "iallocator_run":
            form = {key: value for key, value in form.items() if key != "pnode"} | {"iallocator": "slow"}
        job = await cluster.submit(form)
        async with asyncio.timeout(5):
            await begun.asked.wait()
        assert (await cluster.engine.cancel(job, kill=True))[0]
        if waits_in == "hooks_run":
            async with asyncio.timeout(5):
                await told.asked.wait()
            begun.set()  # what the node does when it is told
            told.set()
        async with asyncio.timeout(5):
            assert (await cluster.wait(job)).status is Status.CANCELED
        assert not cluster.config.instances
        assert not cluster.locks.rows()
        begun.set()

    on_cluster(tmp_path, body)


class Gate(asyncio.Event):
    """Knows when somebody waits at it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def wait(self) -> bool:
        self.asked.set()
        return await super().wait()


def test_kill_when_create_runs_then_it_is_taken_back(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        node = cluster.nodes[cluster.config.node("node2").uuid]
        gate = cluster.rpc.gates["os_create"] = asyncio.Event()
        job = await cluster.submit(create("web1"))
        await cluster.jobs.changed(job, lambda: len(node.volumes()) == 2, 5)
        assert (await cluster.engine.cancel(job, kill=True))[0]
        gate.set()
        assert (await cluster.wait(job)).status is Status.CANCELED
        assert not cluster.debris()
        assert not cluster.config.instances

    on_cluster(tmp_path, body)


def test_dry_run_when_create_then_steps_are_told_and_nothing_is_done(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(create("web1", dry_run=True))
        assert job.status is Status.SUCCESS, job.ops[0].result
        told = [line for line in cluster.log_of(job.id) if line.startswith("would do")]
        assert any("volume_create" in line for line in told)
        assert not cluster.debris()
        assert not cluster.config.instances

    on_cluster(tmp_path, body)


def test_archive_when_finished_then_out_of_memory_and_kept(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(delay())
        assert await cluster.engine.archive([job.id]) == 1
        assert await cluster.engine.archive([job.id]) == 0
        assert job.id not in cluster.state.jobs
        assert ("archive", f"{job.id:012d}") in cluster.store.table
        assert ("job", f"{job.id:012d}") not in cluster.store.table
        assert await cluster.submit(delay()) == job.id + 1

    on_cluster(tmp_path, body)


def test_kill_when_an_opcode_just_ends_then_the_next_does_not_run(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.submit(delay(0.01), delay(), delay())
        cluster.store.gate.clear()  # the end of the first opcode waits for the store
        while not cluster.store.held:
            await asyncio.sleep(0.01)
        assert not (await cluster.engine.cancel(job, kill=False))[0]
        assert (await cluster.engine.cancel(job, kill=True))[0]
        cluster.store.gate.set()
        ended = await cluster.wait(job)
        assert [op.status for op in ended.ops] == [Status.SUCCESS, Status.CANCELED, Status.CANCELED]

    on_cluster(tmp_path, body)


def test_delay_when_it_is_repeated_for_no_time_then_others_run_and_a_kill_ends_it(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        endless = await cluster.submit(delay(repeat=10_000))
        other = await cluster.run(delay())
        assert other.status is Status.SUCCESS
        assert not cluster.jobs.get(endless).status.is_final
        assert (await cluster.engine.cancel(endless, kill=True))[0]
        assert (await cluster.wait(endless)).status is Status.CANCELED
        with pytest.raises(errors.PrereqError, match="repeat"):
            await cluster.submit(delay(repeat=10**30))

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(
    ("depends", "why"),
    [
        ([[1, ["success"]], [1, ["error", "canceled"]]], "cannot end both"),
        ([[1, ["nonsense"]]], "nonsense"),
        ([["1_0", []]], "not a job id"),
        ([["\N{ARABIC-INDIC DIGIT ONE}", []]], "not a job id"),
    ],
)
def test_submit_when_a_dependency_can_never_be_fulfilled_then_it_is_refused(
    tmp_path: Path, depends: list[object], why: str
) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await cluster.run(delay())
        with pytest.raises(errors.PrereqError, match=why):
            await cluster.submit(delay(depends=depends))

    on_cluster(tmp_path, body)


def test_submit_when_two_opcodes_depend_on_one_job_then_both_wishes_count(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        failed = await cluster.run({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "none"})
        assert failed.status is Status.ERROR
        wishes = ([[failed.id, ["success", "canceled"]]], [[failed.id, []]])
        job = await cluster.run(*(delay(depends=wish) for wish in wishes))
        assert job.status is Status.ERROR

    on_cluster(tmp_path, body)


def test_submit_when_nested_too_deeply_then_refused_as_input(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        deep: object = 1
        for _ in range(400):
            deep = [deep]
        wrong = {"OP_ID": "OP_CLUSTER_SET_PARAMS", "hvparams": {"fake": {"a": deep}}}
        for key in ("", "k"):
            with pytest.raises(errors.PrereqError, match="nested more than"):
                await cluster.submit(wrong, key=key)

    on_cluster(tmp_path, body)


def test_dependency_when_it_was_archived_then_how_it_ended_counts(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        good = (await cluster.run(delay())).id
        bad = (await cluster.run({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "none"})).id
        assert await cluster.engine.archive([good, bad]) == 2
        assert (await cluster.run(delay(depends=[[good, ["success"]]]))).status is Status.SUCCESS
        refused = await cluster.run(delay(depends=[[bad, ["success"]]]))
        assert refused.ops[0].result == [
            "OpExecError",
            [f"Dependency job {bad} finished with status 'error', not one of success"],
        ]

    on_cluster(tmp_path, body)


def test_restart_when_a_queued_job_waits_and_a_dependency_was_archived_then_it_still_runs(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        done = (await cluster.run(delay())).id
        running = await cluster.submit(delay(0.2))
        queued = await cluster.submit(delay(depends=[[done, ["success"]], [running, []]]))
        assert await cluster.engine.archive([done]) == 1
        await cluster.restart()
        assert (await cluster.wait(queued)).status is Status.SUCCESS

    on_cluster(tmp_path, body)
