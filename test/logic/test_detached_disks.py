"""Disks that are taken off instances, kept with their data, given to others, and removed, on nodes that keep state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from logic.test_mirrored_instances import bad, create, good, is_connected, node, on_cluster, op, web1

from ganeti import errors
from ganeti.model.objects import DetachedDisk
from ganeti.testing.cluster import SimulatedCluster

KINDS = {
    "file": {"disk_template": "file", "snode": ""},
    "plain": {"disk_template": "plain", "snode": ""},
    "drbd": {},
}
DISKS = [{"size": 16}, {"size": 8, "name": "data"}]
DETACH = op("SET_PARAMS", disks=[["detach", "data", {}]], ignore_ipolicy=True)
ATTACH: dict[str, Any] = {"disks": [["attach", -1, {"name": "data"}]], "ignore_ipolicy": True}
REMOVE = {"OP_ID": "OP_DETACHED_DISK_REMOVE", "disk": "data"}
LIST = {"OP_ID": "OP_DETACHED_DISKS_QUERY"}


def of(kind: str, **more: Any) -> dict[str, Any]:
    return create(disks=DISKS, **{**KINDS[kind], **more})


def web2(kind: str, **more: Any) -> dict[str, Any]:
    return of(kind, **more) | {"instance_name": "web2", "disks": [{"size": 16}]}


def kept(cluster: SimulatedCluster) -> DetachedDisk:
    (found,) = cluster.config.disks.values()
    return found


def held(cluster: SimulatedCluster) -> list[tuple[str, ...]]:
    return [each.volumes() for each in cluster.nodes.values()]


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_is_taken_off_and_given_to_another_instance(tmp_path: Path, kind: str, is_running: bool) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of(kind, start=is_running), web2(kind, start=is_running))
        disk = web1(cluster).disks[1]
        before = held(cluster)
        job = await good(cluster, DETACH)
        assert job.ops[0].result == [["disk/1", f"detach:{disk.uuid}"]]
        assert [each.size for each in web1(cluster).disks] == [16]
        assert kept(cluster).disk == disk
        assert kept(cluster).instance_name == "web1"
        assert held(cluster) == before
        assert not cluster.debris()
        await good(cluster, op("SET_PARAMS", **ATTACH) | {"instance_name": "web2"})
        assert cluster.config.instance("web2").disks[1] == disk
        assert not cluster.config.disks
        if kind == "drbd" and is_running:
            assert is_connected(cluster, 2)
        await good(cluster, op("REMOVE"))
        await good(cluster, op("SHUTDOWN") | {"instance_name": "web2"}, op("STARTUP") | {"instance_name": "web2"})
        await good(cluster, op("REMOVE") | {"instance_name": "web2"})
        assert not any(held(cluster))
        assert not cluster.debris()

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("kind", KINDS)
def test_a_detached_disk_outlives_its_instance_is_listed_and_removed(tmp_path: Path, kind: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of(kind), DETACH)
        await good(cluster, op("REMOVE"))
        assert not cluster.debris()
        ((uuid, name, size, template, nodes, instance, since),) = (await good(cluster, LIST)).ops[0].result
        assert (uuid, name, size, template, instance) == (kept(cluster).uuid, "data", 8, kind, "web1")
        assert nodes == ["node2.example.com", "node3.example.com"][: 2 if kind == "drbd" else 1]
        assert since > 0
        assert "holds 1 detached disks: data" in await bad(cluster, {"OP_ID": "OP_NODE_REMOVE", "node_name": "node2"})
        await good(cluster, REMOVE)
        assert not cluster.config.disks
        assert not any(held(cluster))
        assert "no detached disk 'data'" in await bad(cluster, REMOVE)

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["volume_give", "mirror_assemble", "volume_open", "instance_devices"])
def test_an_attachment_that_fails_leaves_the_disk_as_it_was(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of("drbd"), web2("drbd"), DETACH)
        before, minors = kept(cluster), node(cluster, 2).minors()
        cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        attach = op("SET_PARAMS", **ATTACH) | {"instance_name": "web2"}
        assert "told to fail" in await bad(cluster, attach)
        assert kept(cluster) == before
        assert len(cluster.config.instance("web2").disks) == 1
        assert node(cluster, 2).minors() == minors
        await good(cluster, op("SET_PARAMS", **ATTACH))
        assert web1(cluster).disks[1] == before.disk

    on_cluster(tmp_path, body)


def test_what_the_disk_reserves_stays_reserved(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of("drbd"), DETACH, web2("drbd"))
        ids = [disk.logical_id for disk in (kept(cluster).disk, *cluster.config.instance("web2").disks)]
        ports, minors = {each[2] for each in ids}, {each[3] for each in ids}
        assert (len(ports), len(minors)) == (2, 2)
        assert kept(cluster).disk.logical_id[2] in cluster.config.ports

    on_cluster(tmp_path, body)


def test_a_disk_goes_only_where_it_lies_and_to_its_own_kind(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of("plain"), DETACH, web2("plain", pnode="node3"))
        elsewhere = op("SET_PARAMS", **ATTACH) | {"instance_name": "web2"}
        assert "lies on node2.example.com, where web2 is not" in await bad(cluster, elsewhere)
        await good(cluster, web2("file") | {"instance_name": "web3"})
        other = op("SET_PARAMS", **ATTACH) | {"instance_name": "web3"}
        assert "an instance has disks of one template" in await bad(cluster, other)
        unknown = op("SET_PARAMS", disks=[["attach", -1, {"name": "nothing"}]])
        assert "there is no detached disk 'nothing'" in await bad(cluster, unknown)
        assert "last disk" in await bad(cluster, op("SET_PARAMS", disks=[["detach", 0, {}]]))

    on_cluster(tmp_path, body)


def test_names_that_several_disks_have_are_not_guessed(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of("file"), DETACH)
        await good(cluster, op("SET_PARAMS", disks=[["add", -1, {"size": 8, "name": "data"}]], ignore_ipolicy=True))
        await good(cluster, DETACH)
        assert "several detached disks are called 'data'" in await bad(cluster, op("SET_PARAMS", **ATTACH))
        first, second = cluster.config.disks.values()
        both = [["attach", 0, {"uuid": first.uuid}], ["attach", -1, {"uuid": second.uuid}]]
        assert "two disks would be called 'data'" in await bad(cluster, op("SET_PARAMS", disks=both))
        await good(cluster, op("SET_PARAMS", disks=both[:1], ignore_ipolicy=True))
        assert web1(cluster).disks[0].uuid == first.uuid

    on_cluster(tmp_path, body)


def test_detached_disks_are_kept_by_a_new_master(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of("drbd"), DETACH)
        before = kept(cluster)
        await cluster.restart()
        assert kept(cluster) == before
        await good(cluster, op("SET_PARAMS", **ATTACH))

    on_cluster(tmp_path, body)


def test_an_offline_node_owes_the_volumes_of_a_removed_disk(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, of("drbd"), DETACH)
        await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node3", "offline": True})
        await good(cluster, REMOVE)
        assert not cluster.config.disks
        assert len(node(cluster, 2).volumes()) == 2
        assert len(node(cluster, 3).volumes()) == 4
        await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node3", "offline": False, "force": True})
        await cluster.debts.settle(node(cluster, 3).uuid)
        assert not cluster.state.debts
        assert len(node(cluster, 3).volumes()) == 2

    on_cluster(tmp_path, body)
