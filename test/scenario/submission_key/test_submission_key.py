"""See README."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.master.state import State, job_key, row
from ganeti.model.jobs import Job, OpState, Status
from ganeti.model.types import JobId
from ganeti.store.api import Batch
from ganeti.testing.cluster import SimulatedCluster

DELAY = {"OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": True}
LONG = {"OP_ID": "OP_TEST_DELAY", "duration": 60.0, "on_master": True}


def on_cluster(where: Path, body: Callable[[SimulatedCluster], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(SimulatedCluster(str(where)))

    asyncio.run(main())


def test_repeat_when_the_first_is_not_stored_yet_then_it_is_the_same_submission(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.store.gate.clear()
        first = asyncio.create_task(cluster.engine.submissions.submit([[DELAY]], key="k"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.create_task(cluster.engine.submissions.submit([[DELAY]], key="k"))
        with pytest.raises(errors.PrereqError, match="another body"):
            await cluster.engine.submissions.submit([[LONG]], key="k")
        cluster.store.gate.set()
        assert await first == await second
        assert len(cluster.state.jobs) == 1

    on_cluster(tmp_path, body)


def test_cancel_when_it_is_not_stored_yet_then_the_job_is_shown_as_it_was(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        blocker = await cluster.submit(LONG)
        job = await cluster.submit({**DELAY, "depends": [[int(blocker), []]]})
        cluster.store.gate.clear()
        cancel = asyncio.create_task(cluster.engine.cancel(job, kill=False))
        await asyncio.sleep(0)
        assert cluster.jobs.get(job).status is Status.QUEUED
        assert (await cluster.engine.change_priority(job, 5))[0] is False
        cluster.store.gate.set()
        assert await cancel == (True, f"Job {job} canceled")
        assert cluster.jobs.get(job).status is Status.CANCELED
        await cluster.engine.cancel(blocker, kill=True)
        await cluster.wait(blocker)

    on_cluster(tmp_path, body)


def test_published_job_when_the_engine_does_not_run_yet_then_it_is_read() -> None:
    state = State()
    job = Job(id=JobId(7), ops=(OpState(input=DELAY),))
    state.publish(Batch(term=2, serial=5, time=0.0, writes=(row("job", job_key(job.id), job),)))
    assert state.jobs == {JobId(7): job}
    state.hold_jobs()
    state.publish(Batch(term=2, serial=6, time=0.0, writes=(row("job", job_key(job.id), None),)))
    assert state.jobs == {JobId(7): job}
