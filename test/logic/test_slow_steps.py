"""A job names in its log what it waits for, on a clock that does not have to be waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from logic.test_mirrored_instances import create, op
from unit.store.world import VirtualLoop

from ganeti.model.jobs import Status
from ganeti.testing.cluster import SimulatedCluster


def test_a_removal_that_has_to_wait_for_a_node_says_so(tmp_path: Path) -> None:
    async def story() -> tuple[Any, list[str]]:
        cluster = SimulatedCluster(str(tmp_path))
        wanted = create(disk_template="plain", snode="")
        created = await cluster.wait(await cluster.submit(wanted), 1e6)
        assert created.status is Status.SUCCESS, created.ops[0].result
        gate = cluster.rpc.gates["volume_remove"] = asyncio.Event()
        asyncio.get_running_loop().call_later(100, gate.set)
        job = await cluster.submit(op("REMOVE"))
        done = await cluster.wait(job, 1e6)
        return done, cluster.log_of(job)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        done, log = runner.run(story())
    assert done.status is Status.SUCCESS
    told = [line for line in log if "since" in line]
    assert [line.split(",")[0] for line in told] == ["  since 15 s", "  since 45 s"]
    assert all("for at most 300 s: remove disk 0 of web1 on node2.example.com" in line for line in told)
