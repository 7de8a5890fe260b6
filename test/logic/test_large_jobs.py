"""What is kept of a job always fits into a message to the candidates: one that does not would block the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.master import sizes
from ganeti.model.jobs import Status
from ganeti.store import parcel
from ganeti.testing.cluster import SimulatedCluster

Body = Callable[[SimulatedCluster], Awaitable[None]]


def on_cluster(tmp_path: Path, body: Body) -> None:
    async def main() -> None:
        await body(SimulatedCluster(str(tmp_path)))

    asyncio.run(main())


def logging_job(*lines: str) -> dict[str, object]:
    return {"OP_ID": "OP_TEST_JQUEUE", "log_messages": lines}


def test_submit_when_the_job_is_too_large_then_it_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        # a quotation mark is eight bytes of a message
        large = logging_job('"' * (sizes.SUBMITTED // 8))
        with pytest.raises(errors.PrereqError, match="too large"):
            await cluster.submit(large)
        results = await cluster.engine.submissions.submit([[large], [logging_job("small")]])
        assert [ok for ok, _ in results] == [False, True]

    on_cluster(tmp_path, body)


def test_submit_when_its_hidden_values_are_too_large_then_it_is_refused(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        private = {"debian": {"key": "x" * sizes.HIDDEN}}
        large = {"OP_ID": "OP_CLUSTER_SET_PARAMS", "osparams_private_cluster": private}
        with pytest.raises(errors.PrereqError, match="at most 256 KiB"):
            await cluster.submit(large)
        results = await cluster.engine.submissions.submit([[large], [logging_job("small")]])
        assert [ok for ok, _ in results] == [False, True]
        assert not cluster.store.secrets

    on_cluster(tmp_path, body)


def test_result_when_it_is_too_large_then_the_job_ends_without_it(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await cluster.run(logging_job("x" * (1 << 20)))
        job = await cluster.run({"OP_ID": "OP_QUERY", "what": "job", "fields": ["ops"] * 20})
        assert job.status is Status.SUCCESS
        assert job.ops[0].result is None
        assert cluster.log_of(job.id) == [" - WARNING: the result is too large to be kept"]

    on_cluster(tmp_path, body)


def test_log_when_it_is_full_then_it_says_so_once_and_keeps_no_more(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = (await cluster.run(logging_job("first"))).id
        written = [cluster.jobs.log(job, "\N{PILE OF POO}" * 10_000) for _ in range(200)]
        log = cluster.log_of(job)
        assert "further lines are not kept" in log[-1]
        assert sum(map(sizes.of_entry, log)) <= sizes.LOG
        assert sum(map(len, written)) == len(log) - 1

    on_cluster(tmp_path, body)


def test_log_line_when_it_is_too_long_then_its_end_is_left_out(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(logging_job("x" * 600_000))
        (line,) = cluster.log_of(job.id)
        assert sizes.of_entry(line) <= sizes.ENTRY
        assert line.endswith("more characters are not kept)")

    on_cluster(tmp_path, body)


def test_archive_when_the_jobs_are_large_then_each_commit_can_be_sent(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        jobs = [(await cluster.run(logging_job(*['"' * 10_000] * 90))).id for _ in range(8)]
        assert await cluster.engine.archive(jobs) == 8
        archiving = [
            batch for batch in cluster.store.batches if any(write.table == "archive" for write in batch.writes)
        ]
        assert len(archiving) > 1
        assert all(parcel.sent_size(batch.writes) <= parcel.MAX_COMMIT for batch in archiving)
        assert not cluster.state.jobs

    on_cluster(tmp_path, body)
