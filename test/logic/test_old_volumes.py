"""What becomes of the volumes that a mirror does not need any more when nobody could see to it that it does not."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from logic.test_any_node import CONTENT, Gate, move, places, volumes
from logic.test_mirrored_instances import bad, create, data, good, node, on_cluster, op, web1, write

from ganeti.model.objects import DiskTemplate
from ganeti.model.types import JobId
from ganeti.testing.cluster import SimulatedCluster

ELSEWHERE = op("REPLACE_DISKS", remote_node="node1")
LARGE = [{"size": 2048}]


def kernel(cluster: SimulatedCluster, number: int) -> Any:
    return node(cluster, number).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]


async def interrupted(cluster: SimulatedCluster, wanted: dict[str, Any], *, at: str = "mirror_sync") -> JobId:
    """The master's end in the middle of it; to be taken up by `restart`."""
    gate = cluster.rpc.gates[at] = Gate()
    job = await cluster.submit(wanted)
    await asyncio.wait_for(gate.arrived.wait(), 20)
    cluster.rpc.gates.clear()
    return job


async def taken_up(cluster: SimulatedCluster, job: JobId) -> str:
    """By another master; what the job tells."""
    await cluster.restart()
    await cluster.wait(job)
    return "\n".join(cluster.log_of(job))


async def without_its_primary(cluster: SimulatedCluster, **more: Any) -> str:
    """web1 of node2 and node3 has got a new secondary, node1, whose disks may have anything; node2 does not answer."""
    await good(cluster, create(**more))
    write(data(cluster, 2), CONTENT)
    job = await interrupted(cluster, ELSEWHERE)
    node(cluster, 2).is_up = False
    return await taken_up(cluster, job)


async def told(cluster: SimulatedCluster) -> str:
    """By the check of the cluster, and of the instance."""
    job = await good(cluster, {"OP_ID": "OP_CLUSTER_VERIFY_CONFIG"})
    info = await good(cluster, {"OP_ID": "OP_INSTANCE_QUERY_DATA", "instances": ["web1"], "static": True})
    return "\n".join([*cluster.log_of(job.id), *info.ops[0].result["web1"]["old_volumes"]])


def test_while_the_primary_cannot_be_asked_they_are_kept_and_named(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        log = await without_its_primary(cluster)
        name = web1(cluster).disks[0].children[0].logical_id[1]
        assert f"will be by itself: remove the old volumes xenvg/{name} and " in log
        for _ in range(3):
            await cluster.debts.try_all()
            assert volumes(cluster)[2] == 4
        text = await told(cluster)
        assert f"kept, it may be the only good copy of data: remove the old volumes xenvg/{name}" in text
        assert "of web1 on node3.example.com: when the disks of web1 are active" in text
        # a node and jobs that have nothing to do with it do not wait
        await good(cluster, op("CREATE", instance_name="other", **_plain("node3")))
        assert len([debt for debt in cluster.state.debts.values() if debt.undo.until_good]) == 2

    on_cluster(tmp_path, body)


def _plain(name: str) -> dict[str, Any]:
    wanted = create(disk_template="plain", pnode=name, snode="", disks=[{"size": 8}])
    return {key: value for key, value in wanted.items() if key not in ("OP_ID", "instance_name")}


def test_once_the_primary_is_complete_they_go_by_themselves(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await without_its_primary(cluster)
        node(cluster, 2).is_up = True
        await cluster.debts.try_all()  # it is back, and its disks are not active
        assert volumes(cluster) == [4, 4, 4]
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True))
        await cluster.debts.try_all()
        assert volumes(cluster) == [4, 4, 0]
        assert not cluster.state.debts
        assert data(cluster, 1).read_bytes()[: len(CONTENT)] == CONTENT

    on_cluster(tmp_path, body)


def test_new_volumes_of_the_primary_that_are_being_filled_keep_the_old_ones(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(disks=LARGE))
        write(data(cluster, 2), CONTENT)
        job = await interrupted(cluster, op("REPLACE_DISKS", mode="replace_on_primary"))
        kernel(cluster, 2).pause(0, paused=True)
        log = await taken_up(cluster, job)
        assert "_replaced-" in log
        assert "when the disks of web1 are active and complete on node2.example.com" in log
        await cluster.debts.try_all()
        assert volumes(cluster) == [0, 4, 2]
        kernel(cluster, 2).pause(0, paused=False)
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True))
        await cluster.debts.try_all()
        assert volumes(cluster) == [0, 2, 2]
        assert data(cluster, 2).read_bytes()[: len(CONTENT)] == CONTENT

    on_cluster(tmp_path, body)


def test_they_outlive_masters_and_wait_for_their_node_too(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await without_its_primary(cluster)
        node(cluster, 3).is_up = False
        for _ in range(2):
            await cluster.restart()
        node(cluster, 2).is_up = True
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True))
        await cluster.debts.try_all()
        assert len(cluster.state.debts) == 2
        node(cluster, 3).is_up = True
        await cluster.restart()
        await cluster.debts.try_all()
        assert volumes(cluster) == [4, 4, 0]
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_the_only_good_copy_is_kept_for_good_until_it_is_given_up(tmp_path: Path) -> None:
    """The primary's disks are lost, the new secondary was not filled: what node3 has left is all there is."""

    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(disks=LARGE, start=False))
        write(data(cluster, 2), CONTENT)
        kept = data(cluster, 3)
        job = await interrupted(cluster, ELSEWHERE)
        for number in (1, 2):
            node(cluster, number).is_up = False
        await taken_up(cluster, job)
        for number in (1, 2):
            node(cluster, number).is_up = True
            shutil.rmtree(node(cluster, number).paths.local("/var/lib/ganeti/fake-lvm/xenvg"))
        await cluster.debts.try_all()
        assert kept.read_bytes()[: len(CONTENT)] == CONTENT
        assert "old volumes of web1 are kept" in await bad(cluster, op("RECREATE_DISKS"))
        await good(cluster, op("RECREATE_DISKS", drop_old_volumes=True))
        assert kept.exists()  # until the new disks are active and complete
        await good(cluster, op("STARTUP"))
        await cluster.debts.try_all()
        assert volumes(cluster) == [2, 2, 0]
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_disks_made_anew_on_the_node_that_keeps_old_ones_take_their_place(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await without_its_primary(cluster, start=False, disks=LARGE)
        await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": True})
        again = op("RECREATE_DISKS", nodes=["node3", "node1"], drop_old_volumes=True)
        assert "is there on node node1" in await bad(cluster, again)
        shutil.rmtree(node(cluster, 1).paths.local("/var/lib/ganeti/fake-lvm/xenvg"))
        await good(cluster, again)
        await good(cluster, op("STARTUP"))
        await cluster.debts.try_all()
        assert volumes(cluster)[2] == volumes(cluster)[0] == 2
        assert data(cluster, 3).read_bytes()[: len(CONTENT)] != CONTENT
        assert not any(undo.until_good for undo in (debt.undo for debt in cluster.state.debts.values()))

    on_cluster(tmp_path, body)


def test_the_removal_of_the_instance_takes_them_along(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await without_its_primary(cluster)
        await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": True})
        await good(cluster, op("REMOVE", ignore_failures=True))
        await cluster.debts.try_all()
        assert volumes(cluster)[0] == volumes(cluster)[2] == 0
        node(cluster, 2).is_up = True
        await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": False})
        assert volumes(cluster) == [0, 0, 0]
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_a_disk_is_not_detached_while_its_data_may_be_in_them(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await without_its_primary(cluster, start=False)
        node(cluster, 2).is_up = True
        detach = op("SET_PARAMS", disks=[["detach", 1, {}]])
        assert "may be the only good copy" in await bad(cluster, detach)
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True))
        await cluster.debts.try_all()
        await good(cluster, op("DEACTIVATE_DISKS"))
        await good(cluster, detach)

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("wanted", [op("REPLACE_DISKS", remote_node="node3"), op("FAILOVER", target_node="node3")])
def test_nothing_is_made_in_their_place_before_they_are_gone(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await without_its_primary(cluster, start=False)
        node(cluster, 2).is_up = True
        before = web1(cluster)
        assert "only good copy" in await bad(cluster, wanted)
        assert (web1(cluster), volumes(cluster)) == (before, [4, 4, 4])
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True))
        await good(cluster, wanted)  # which has node3 remove them first
        assert "node3" in places(cluster)
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_a_guest_that_starts_while_its_disks_are_filled_keeps_the_old_half_until_they_are(tmp_path: Path) -> None:
    """Should they never be, it is all there is: whether they are is not left to one wait."""

    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        plan = "\n".join(cluster.log_of((await good(cluster, move("FAILOVER", wait_for_sync=False, dry_run=True))).id))
        assert "remove the old half" not in plan
        assert "node3.example.com: remove the old volumes" in plan
        await good(cluster, move("FAILOVER", wait_for_sync=False))
        assert volumes(cluster) == [4, 4, 0]
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_what_a_node_owes_is_forgotten_when_it_leaves(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await without_its_primary(cluster)
        node(cluster, 2).is_up = True
        job = await good(cluster, {"OP_ID": "OP_NODE_REMOVE", "node_name": "node3"})
        assert any("was still to undo: remove the old volumes" in line for line in cluster.log_of(job.id))
        await cluster.debts.try_all()
        assert not cluster.state.debts
        assert volumes(cluster)[2] == 4  # left as they are

    on_cluster(tmp_path, body)
