"""Mirrored instances that move to a node without a half of their mirrors: with the primary alive, dead, or the instance
down; and what becomes of a move that is interrupted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from logic.test_mirrored_instances import bad, create, data, good, node, on_cluster, op, web1, write

from ganeti import errors
from ganeti.model.disks import Mirror
from ganeti.model.objects import AdminState, DiskTemplate
from ganeti.testing.cluster import SimulatedCluster

CONTENT = b"what the guest wrote"
OFFLINE = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2"}


def places(cluster: SimulatedCluster) -> list[str]:
    return [cluster.nodes[uuid].name[:5] for uuid in web1(cluster).nodes]


def guests(cluster: SimulatedCluster) -> list[int]:
    return [len(each.hypervisor.list()) for each in cluster.nodes.values()]


def volumes(cluster: SimulatedCluster) -> list[int]:
    return [len(each.volumes()) for each in cluster.nodes.values()]


def states(cluster: SimulatedCluster, number: int) -> list[Any]:
    kernel = node(cluster, number).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
    return list(kernel.minors().values())


def move(verb: str, **more: Any) -> dict[str, Any]:
    return op(verb, target_node="node1", **more)


@pytest.mark.parametrize("verb", ["FAILOVER", "MIGRATE"])
@pytest.mark.parametrize("size", [16, 2048])
def test_it_runs_on_the_third_node_with_its_data(tmp_path: Path, verb: str, size: int) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(disks=[{"size": size}, {"size": 8}]))
        write(data(cluster, 2), CONTENT)
        ports = [Mirror.of(disk).port for disk in web1(cluster).disks]
        await good(cluster, move(verb))
        assert places(cluster) == ["node1", "node2"]
        assert guests(cluster) == [1, 0, 0]
        assert volumes(cluster) == [4, 4, 0]
        assert node(cluster, 3).minors() == ()
        assert [Mirror.of(disk).port for disk in web1(cluster).disks] == ports
        assert [(state.role, state.is_degraded) for state in states(cluster, 1)] == [("Primary", False)] * 2
        assert {state.role for state in states(cluster, 2)} == {"Secondary"}
        assert data(cluster, 1).read_bytes()[: len(CONTENT)] == CONTENT
        assert not cluster.state.debts
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_it_starts_there_while_the_mirrors_are_filled(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(disks=[{"size": 2048}]))
        write(data(cluster, 2), CONTENT)
        job = await good(cluster, move("FAILOVER", wait_for_sync=False))
        log = cluster.log_of(job.id)
        starts, waits = (next(n for n, line in enumerate(log) if words in line) for words in ("start web1", "wait for"))
        assert starts < waits
        assert places(cluster) == ["node1", "node2"]
        assert guests(cluster) == [1, 0, 0]
        assert volumes(cluster) == [2, 2, 0]
        assert not any(state.is_degraded for state in states(cluster, 1))
        assert data(cluster, 1).read_bytes()[: len(CONTENT)] == CONTENT

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("waits", [True, False])
def test_a_dead_primary_gives_its_place(tmp_path: Path, waits: bool) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(data(cluster, 2), CONTENT)
        node(cluster, 2).is_up = False
        await good(cluster, {**OFFLINE, "offline": True})
        await good(cluster, move("FAILOVER", ignore_consistency=True, wait_for_sync=waits))
        assert places(cluster) == ["node1", "node3"]
        assert guests(cluster)[0] == 1
        assert data(cluster, 1).read_bytes()[: len(CONTENT)] == CONTENT
        assert {state.role for state in states(cluster, 3)} == {"Secondary"}
        assert not any(state.is_degraded for state in states(cluster, 1))
        # its minors stay taken until its volumes are gone
        assert len(cluster.state.debts) == 3
        node(cluster, 2).is_up = True
        await good(cluster, {**OFFLINE, "offline": False})
        await cluster.debts.settle(node(cluster, 2).uuid)
        assert not cluster.state.debts
        assert volumes(cluster) == [4, 0, 4]
        assert guests(cluster) == [1, 0, 0]

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("is_dead", [False, True])
def test_one_that_is_down_moves_and_stays_down(tmp_path: Path, is_dead: bool) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(data(cluster, 2), CONTENT)
        await good(cluster, op("SHUTDOWN"))
        if is_dead:
            node(cluster, 2).is_up = False
            await good(cluster, {**OFFLINE, "offline": True})
        await good(cluster, move("FAILOVER", ignore_consistency=is_dead, wait_for_sync=False))
        assert places(cluster) == ["node1", "node3" if is_dead else "node2"]
        assert (web1(cluster).admin_state, web1(cluster).disks_active) == (AdminState.DOWN, False)
        assert node(cluster, 1).minors() == ()
        assert data(cluster, 1).read_bytes()[: len(CONTENT)] == CONTENT
        await good(cluster, op("STARTUP"))
        assert guests(cluster)[0] == 1

    on_cluster(tmp_path, body)


def test_what_cannot_be_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        before = web1(cluster)
        assert "no allocator is asked" in await bad(cluster, op("FAILOVER", iallocator="builtin"))
        kernel = node(cluster, 2).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
        for minor in node(cluster, 2).minors():
            kernel.down(minor)
        for verb in ("FAILOVER", "MIGRATE"):
            assert "are not good" in await bad(cluster, move(verb))
        assert web1(cluster) == before
        assert volumes(cluster) == [0, 4, 4]

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("verb", ["FAILOVER", "MIGRATE"])
def test_a_drained_node_is_refused(tmp_path: Path, verb: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(pnode="node1", snode="node2"))
        await good(cluster, {**OFFLINE, "node_name": "node3", "drained": True, "force": True})
        assert "drained" in await bad(cluster, op(verb, target_node="node3"))
        assert volumes(cluster) == [4, 4, 0]

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("verb", ["FAILOVER", "MIGRATE"])
def test_a_pairing_that_fails_leaves_the_old_one(tmp_path: Path, verb: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        for call in ("volume_create", "mirror_disconnect"):
            cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
            assert "told to fail" in await bad(cluster, move(verb))
            assert places(cluster) == ["node2", "node3"]
            assert guests(cluster) == [0, 1, 0]
            assert volumes(cluster) == [0, 4, 4]
            assert not any(state.is_degraded for state in states(cluster, 2))
            assert not cluster.state.debts
        await good(cluster, move(verb))

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["instance_stop", "mirror_promote"])
def test_a_move_that_fails_after_the_pairing_goes_on_where_it_was(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        assert "told to fail" in await bad(cluster, move("FAILOVER"))
        assert places(cluster) == ["node2", "node1"]
        assert guests(cluster) == [0, 1, 0]
        assert volumes(cluster) == [4, 4, 0]
        assert {state.role for state in states(cluster, 1)} == {"Secondary"}
        await good(cluster, op("FAILOVER"))
        assert places(cluster) == ["node1", "node2"]

    on_cluster(tmp_path, body)


class Gate(asyncio.Event):
    """Whoever comes waits for good."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.arrived.set()
        return await super().wait()


@pytest.mark.parametrize(
    "call", ["volume_create", "mirror_disconnect", "mirror_sync", "instance_stop", "mirror_promote", "instance_start"]
)
@pytest.mark.parametrize("waits", [True, False])
def test_the_master_dies_in_the_middle(tmp_path: Path, call: str, waits: bool) -> None:
    """One guest, its data, one pairing; of the volumes that nobody needs none are left unsaid."""

    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(data(cluster, 2), CONTENT)
        gate = cluster.rpc.gates[call] = Gate()
        job = await cluster.submit(move("FAILOVER", wait_for_sync=waits))
        await asyncio.wait_for(gate.arrived.wait(), 20)
        cluster.rpc.gates.clear()
        await cluster.restart()
        await cluster.wait(job)
        primary = int(places(cluster)[0][-1])
        assert [number for number, count in enumerate(guests(cluster), start=1) if count] == [primary], "\n".join(
            cluster.log_of(job)[-8:]
        )
        assert data(cluster, primary).read_bytes()[: len(CONTENT)] == CONTENT
        holders = sorted(int(name[-1]) for name in places(cluster))
        held = [number for number, count in enumerate(volumes(cluster), start=1) if count]
        assert held == holders, cluster.log_of(job)
        assert not cluster.state.debts
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True))
        assert not any(state.is_degraded for state in states(cluster, primary))

    on_cluster(tmp_path, body)
