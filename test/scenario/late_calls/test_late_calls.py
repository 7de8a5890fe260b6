"""See README."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ganeti import errors
from ganeti.calls.task import RequestFence
from ganeti.model.jobs import Status
from ganeti.testing.cluster import OS_NAME, SimulatedCluster


def on_cluster(where: Path, body: Callable[[SimulatedCluster], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(SimulatedCluster(str(where)))

    asyncio.run(main())


def create(**more: Any) -> dict[str, Any]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": "inst1.example.com",
        "os_type": OS_NAME,
        "disk_template": "diskless",
        "pnode": "node2.example.com",
        "hypervisor": "fake",
        "ignore_ipolicy": True,
        **more,
    }


REMOVE = {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "inst1.example.com", "shutdown_timeout": 0}


def test_removal_when_the_instance_is_being_started_for_the_first_time_then_it_waits(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.gates["instance_start"] = gate = asyncio.Event()
        making = await cluster.submit(create())
        while not cluster.config.instances:
            await asyncio.sleep(0)
        removing = await cluster.submit(REMOVE)
        assert not await cluster.jobs.changed(removing, lambda: cluster.jobs.get(removing).status.is_final, 0.1)
        gate.set()
        assert (await cluster.wait(making)).status is Status.SUCCESS
        assert (await cluster.wait(removing)).status is Status.SUCCESS
        assert cluster.debris() == []

    on_cluster(tmp_path, body)


def test_start_when_its_end_is_not_known_then_the_node_is_told_to_refuse_it(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.lose_reply.append("instance_start")
        job = await cluster.run(create())
        assert job.status is Status.ERROR
        fence = str(RequestFence.__struct_config__.tag)
        assert ("node2.example.com", fence) in cluster.rpc.made
        assert not cluster.state.journal
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_start_when_it_was_refused_then_no_fence_is_needed(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.fail["instance_start"] = errors.HypervisorError("no")
        job = await cluster.run(create())
        assert job.status is Status.ERROR
        assert "request_fence" not in [name for _, name in cluster.rpc.made]

    on_cluster(tmp_path, body)
