"""Creations that run side by side, on the real engine: what one was promised no other gets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ganeti.calls.node import HypervisorInfo
from ganeti.model.jobs import Job, Status
from ganeti.model.objects import Put
from ganeti.store.api import Note
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

FREE = 1000
SIZE = 256


class SmallMachine:
    """The fake hypervisor on a machine with little memory."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def node_info(self) -> HypervisorInfo:
        used = sum(guest.memory for guest in self._driver.list())
        return HypervisorInfo(memory_total=FREE + 500, memory_free=FREE - used, memory_dom0=500, cpu_total=8)


def small_cluster(root: Path, nodes: int) -> SimulatedCluster:
    cluster = SimulatedCluster(str(root), nodes=nodes)
    for node in cluster.nodes.values():
        node.env.hypervisors = {"fake": SmallMachine(node.hypervisor)}
    return cluster


def create(name: str, **changes: Any) -> dict[str, Any]:
    form = {"OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "os_type": OS_NAME, "disk_template": "diskless"}
    return form | {"iallocator": "builtin", "beparams": {"memory": SIZE}, **changes}


async def run_all(cluster: SimulatedCluster, forms: list[dict[str, Any]]) -> list[Job]:
    jobs = [await cluster.submit(form) for form in forms]
    return [await cluster.wait(job) for job in jobs]


def held(cluster: SimulatedCluster) -> list[int]:
    return [sum(guest.memory for guest in node.hypervisor.list()) for node in cluster.nodes.values()]


@pytest.mark.parametrize("seed", range(3))
def test_memory_is_never_promised_twice_and_none_is_left_over(tmp_path, seed):
    async def story() -> None:
        cluster = small_cluster(tmp_path, 3)
        cluster.rng.seed(seed)
        # all of them have asked before the first one decides
        gate = cluster.rpc.gates["node_info"] = asyncio.Event()
        jobs = [await cluster.submit(create(f"i{number}")) for number in range(16)]
        for _ in range(200):
            await asyncio.sleep(0)
        gate.set()
        ended = [await cluster.wait(job) for job in jobs]
        fits = FREE // SIZE
        assert sum(job.status is Status.SUCCESS for job in ended) == 3 * fits
        assert held(cluster) == [fits * SIZE] * 3
        # those that failed hold nothing any more, and room that is given back is used
        name = next(iter(cluster.config.instances.values())).name
        await cluster.run({"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name, "shutdown_timeout": 0})
        again = await run_all(cluster, [create("again1"), create("again2")])
        assert sorted(job.status.value for job in again) == ["error", "success"]

    asyncio.run(story())


def test_creations_that_begin_together_ask_the_nodes_once(tmp_path):
    async def story() -> None:
        cluster = small_cluster(tmp_path, 3)
        gate = cluster.rpc.gates["node_info"] = asyncio.Event()
        jobs = [await cluster.submit(create(f"i{number}")) for number in range(9)]
        for _ in range(200):
            await asyncio.sleep(0)
        gate.set()
        ended = [await cluster.wait(job) for job in jobs]
        assert all(job.status is Status.SUCCESS for job in ended)
        asked = [node for node, call in cluster.rpc.made if call == "node_info"]
        assert sorted(asked) == sorted(node.name for node in cluster.nodes.values())

    asyncio.run(story())


def test_nodes_that_take_nothing_get_nothing(tmp_path):
    async def story() -> None:
        cluster = small_cluster(tmp_path, 4)
        third, fourth = list(cluster.nodes)[2:]
        drained = msgspec.structs.replace(cluster.config.nodes[third], drained=True, master_candidate=False)
        offline = msgspec.structs.replace(cluster.config.nodes[fourth], offline=True, master_candidate=False)
        await cluster.committer.commit(Note(actor="test"), changes=[Put(drained), Put(offline)])
        ended = await run_all(cluster, [create(f"i{number}") for number in range(6)])
        assert all(job.status is Status.SUCCESS for job in ended)
        assert held(cluster) == [3 * SIZE, 3 * SIZE, 0, 0]

    asyncio.run(story())


def test_several_that_are_placed_together_become_jobs_that_fit(tmp_path):
    async def story() -> None:
        cluster = small_cluster(tmp_path, 2)
        forms = [create(f"i{number}", iallocator="") for number in range(7)]
        op = {"OP_ID": "OP_INSTANCE_MULTI_ALLOC", "instances": forms, "iallocator": "builtin"}
        job = await cluster.run(op)
        result = job.ops[0].result
        assert (len(result["allocatable"]), len(result["failed"])) == (6, 1)
        for _, child in result["jobs"]:
            assert (await cluster.wait(child)).status is Status.SUCCESS
        assert held(cluster) == [3 * SIZE, 3 * SIZE]

    asyncio.run(story())
