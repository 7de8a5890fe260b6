"""Activation, growth, replacement and re-creation of disks, on nodes that keep real state."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from logic.test_mirrored_instances import bad, create, data, good, is_connected, node, on_cluster, op, web1, write

from ganeti import errors
from ganeti.calls.volume import VolumeReply
from ganeti.logic import new_volumes
from ganeti.model.disks import Mirror
from ganeti.model.jobs import Status
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.storage.drbd8 import virtual
from ganeti.testing.cluster import SimulatedCluster

STOPPED = create(start=False)
#: the operations that are tested here, as the catalogue looks for them
OPERATIONS = (
    "OP_INSTANCE_ACTIVATE_DISKS", "OP_INSTANCE_DEACTIVATE_DISKS", "OP_INSTANCE_GROW_DISK", "OP_INSTANCE_REPLACE_DISKS",
    "OP_INSTANCE_RECREATE_DISKS",
)  # fmt: skip


def content(cluster: SimulatedCluster, number: int) -> bytes:
    return start_of(data(cluster, number))


def start_of(path: Path) -> bytes:
    return path.read_bytes()[:5]


def test_disks_are_activated_and_deactivated(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        job = await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True))
        assert [list(row[:2]) for row in job.ops[0].result] == [
            ["node2.example.com", "disk/0"],
            ["node2.example.com", "disk/1"],
        ]
        assert web1(cluster).disks_active
        assert is_connected(cluster, 3)
        await good(cluster, op("ACTIVATE_DISKS", ignore_size=True))
        await good(cluster, op("DEACTIVATE_DISKS"))
        assert not web1(cluster).disks_active
        assert [node(cluster, number).minors() for number in (2, 3)] == [(), ()]
        await good(cluster, op("STARTUP"))
        assert "runs on node node2" in await bad(cluster, op("DEACTIVATE_DISKS"))

    on_cluster(tmp_path, body)


def test_forced_deactivation_leaves_the_mirror_of_a_guest_that_holds_its_disks_open(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        cluster.rpc.fail["volume_close"] = errors.NodeFailure("Device is held open by someone")
        assert "held open" in await bad(cluster, op("DEACTIVATE_DISKS", force=True))
        assert web1(cluster).disks_active
        assert node(cluster, 3).minors() == (0, 1), "its mirror is not taken away"

    on_cluster(tmp_path, body)


def test_activation_that_fails_leaves_the_disks_down(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        cluster.rpc.fail["volume_open"] = errors.NodeFailure("told to fail")
        assert "told to fail" in await bad(cluster, op("ACTIVATE_DISKS"))
        assert not web1(cluster).disks_active
        assert node(cluster, 2).minors() == (0,) or node(cluster, 2).minors() == ()

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("before", [create(), STOPPED], ids=["running", "stopped"])
def test_a_mirror_grows_on_both_nodes(tmp_path: Path, before: dict[str, Any]) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, before)
        minors = node(cluster, 3).minors()
        await good(cluster, op("GROW_DISK", disk=0, amount=8))
        disk = web1(cluster).disks[0]
        assert (disk.size, disk.children[0].size, disk.children[1].size) == (24, 24, 128)
        assert [data(cluster, number).stat().st_size >> 20 for number in (2, 3)] == [24, 24]
        await good(cluster, op("GROW_DISK", disk="0", amount="1g", absolute=True))
        assert web1(cluster).disks[0].size == 1024
        assert node(cluster, 3).minors() == minors
        assert "1024 MiB already" in await bad(cluster, op("GROW_DISK", disk=0, amount=512, absolute=True))
        assert "has no disk 5" in await bad(cluster, op("GROW_DISK", disk=5, amount=512))

    on_cluster(tmp_path, body)


def test_a_mirror_is_not_larger_than_its_metadata_can_note(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        most, too_much = 4193152, 4193153
        limit = f"at most {most} MiB"
        assert limit in await bad(cluster, create(disks=[{"size": too_much}]))
        new_volumes.check_size(most)
        await good(cluster, STOPPED)
        assert limit in await bad(cluster, op("GROW_DISK", disk=0, amount=too_much, absolute=True))
        for number in (2, 3):
            shutil.rmtree(node(cluster, number).paths.local("/var/lib/ganeti/fake-lvm/xenvg"))
        assert limit in await bad(cluster, op("RECREATE_DISKS", disks=[[0, {"size": too_much}]]))
        assert web1(cluster).disks[0].size == 16

    on_cluster(tmp_path, body)


def test_a_growth_that_was_interrupted_is_repeated(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        cluster.rpc.fail["mirror_resize"] = errors.NodeFailure("told to fail")
        assert "told to fail" in await bad(cluster, op("GROW_DISK", disk=0, amount=8))
        assert web1(cluster).disks[0].size == 16
        await good(cluster, op("GROW_DISK", disk=0, amount=8))
        assert web1(cluster).disks[0].size == 24

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("before", [create(), STOPPED], ids=["running", "stopped"])
def test_a_mirror_is_not_resized_before_both_volumes_really_have_grown(tmp_path: Path, before: dict[str, Any]) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, before)
        disks = web1(cluster).disks
        grow = op("GROW_DISK", disk=0, amount=8)
        cluster.rpc.replies["volume_grow"] = VolumeReply(path="/dev/x", size=24)  # its node only says so
        assert "volume of disk 0 of web1 on node2" in await bad(cluster, grow)
        del cluster.rpc.replies["volume_grow"]
        told = errors.StorageError("it has 16 MiB")
        node(cluster, 3).storage[DiskTemplate.DRBD].fail_next("check_room", told)
        assert "it has 16 MiB" in await bad(cluster, grow)
        assert "mirror_resize" not in [call for _, call in cluster.rpc.made]
        assert web1(cluster).disks == disks
        await good(cluster, grow)
        assert web1(cluster).disks[0].size == 24

    on_cluster(tmp_path, body)


def test_other_disks_grow_too(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(disk_template="file", snode="", disks=[{"size": 8, "name": "root"}]))
        await good(cluster, op("GROW_DISK", disk="root", amount=8))
        assert web1(cluster).disks[0].size == 16
        await good(cluster, op("STARTUP"))

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(("mode", "number"), [("replace_on_primary", 2), ("replace_on_secondary", 3)])
@pytest.mark.parametrize("before", [create(), STOPPED], ids=["running", "stopped"])
def test_volumes_are_replaced_on_one_node(tmp_path: Path, mode: str, number: int, before: dict[str, Any]) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, before)
        write(data(cluster, 2), b"hello")
        old = web1(cluster).disks
        minors = node(cluster, 3).minors()
        await good(cluster, op("REPLACE_DISKS", mode=mode, early_release=number == 2))
        assert web1(cluster).disks == old
        assert not cluster.debris()
        assert content(cluster, number) == b"hello"
        assert len(node(cluster, number).volumes()) == 4
        assert node(cluster, 3).minors() == minors
        if minors:
            assert is_connected(cluster, 2)

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(
    "call", ["volume_create", "mirror_detach", "volume_rename", "mirror_attach", "mirror_sync", "volume_remove"]
)
def test_a_replacement_that_fails_keeps_the_data(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(data(cluster, 2), b"hello")
        cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        job = await cluster.run(op("REPLACE_DISKS", mode="replace_on_secondary"))
        assert job.status is Status.SUCCESS or "told to fail" in str(job.ops[0].result)
        assert is_connected(cluster, 2)
        assert content(cluster, 3) == b"hello"
        assert [line for line in cluster.debris() if call != "volume_remove"] == []
        if call != "volume_remove":  # old volumes of the same second are in the way then
            await good(cluster, op("REPLACE_DISKS", mode="replace_on_secondary"))

    on_cluster(tmp_path, body)


def test_a_broken_half_is_found_and_replaced(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(data(cluster, 2), b"hello")
        kernel = node(cluster, 3).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
        kernel.detach(0)
        lost = data(cluster, 3)
        lost.unlink()
        lost.with_name(lost.name + ".owner").unlink()
        job = await good(cluster, op("REPLACE_DISKS", mode="replace_auto"))
        assert is_connected(cluster, 2)
        assert content(cluster, 3) == b"hello"
        assert not cluster.debris()
        job = await good(cluster, op("REPLACE_DISKS", mode="replace_auto"))
        assert any("nothing to replace" in line for line in cluster.log_of(job.id))

    on_cluster(tmp_path, body)


def test_what_is_lost_behind_a_half_that_is_down_is_not_called_whole(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(data(cluster, 2), b"hello")
        kernel = node(cluster, 3).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
        for minor in node(cluster, 3).minors():
            kernel.down(minor)
        lost = data(cluster, 3)
        lost.unlink()
        lost.with_name(lost.name + ".owner").unlink()
        told = await bad(cluster, op("REPLACE_DISKS", mode="replace_auto"))
        assert "it is not seen what is broken" in told
        job = await good(cluster, op("ACTIVATE_DISKS"))
        lines = [line for line in cluster.log_of(job.id) if "lost its own volume" in line]
        assert len(lines) == 1
        assert "disk 0 on node node3.example.com" in lines[0]
        await good(cluster, op("REPLACE_DISKS", mode="replace_auto"))
        assert is_connected(cluster, 2)
        assert content(cluster, 3) == b"hello"
        job = await good(cluster, op("ACTIVATE_DISKS"))
        assert not [line for line in cluster.log_of(job.id) if "WARNING" in line or "lost" in line]

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("before", [create(), STOPPED], ids=["running", "stopped"])
@pytest.mark.parametrize("where", [{"remote_node": "node1"}, {"iallocator": "builtin"}], ids=["node", "allocator"])
def test_another_secondary(tmp_path: Path, before: dict[str, Any], where: dict[str, str]) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, before)
        write(data(cluster, 2), b"hello")
        await good(cluster, op("REPLACE_DISKS", mode="replace_new_secondary", **where))
        assert [cluster.nodes[uuid].name[:5] for uuid in web1(cluster).nodes] == ["node2", "node1"]
        assert node(cluster, 3).volumes() == ()
        assert node(cluster, 3).minors() == ()
        assert content(cluster, 1) == b"hello"
        assert not cluster.debris()

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["volume_create", "volume_close", "mirror_disconnect"])
def test_another_secondary_that_fails_keeps_the_old_one(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        job = await cluster.run(op("REPLACE_DISKS", mode="replace_new_secondary", remote_node="node1"))
        if job.status is Status.ERROR:
            assert web1(cluster).secondary_nodes == (node(cluster, 3).uuid,)
            assert node(cluster, 1).volumes() == ()
        assert is_connected(cluster, 2)
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_a_dead_secondary_is_replaced_and_owes_its_volumes(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        node(cluster, 3).is_up = False
        offline = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node3", "offline": True}
        await good(cluster, offline)
        await good(cluster, op("REPLACE_DISKS", remote_node="node1"))
        assert is_connected(cluster, 2)
        assert len(cluster.state.debts) == 2
        node(cluster, 3).is_up = True
        await good(cluster, {**offline, "offline": False})
        await cluster.debts.settle(node(cluster, 3).uuid)
        assert node(cluster, 3).volumes() == ()

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "exactly one of"),
        ({"mode": "replace_on_primary", "remote_node": "node1"}, "exactly one of"),
        ({"remote_node": "node3"}, "is the secondary node"),
        ({"remote_node": "node2"}, "is the primary node"),
        ({"remote_node": "node1", "disks": [0]}, "not chosen one by one"),
        ({"remote_node": "node1", "iallocator": "builtin"}, "both a node and an allocator"),
        ({"mode": "replace_on_secondary", "disks": [7]}, "has no disk 7"),
    ],
)
def test_a_replacement_is_refused(tmp_path: Path, more: dict[str, Any], text: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        assert text in await bad(cluster, op("REPLACE_DISKS", **more))

    on_cluster(tmp_path, body)


def test_the_last_good_copy_is_not_replaced(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        node(cluster, 3).storage[DiskTemplate.DRBD].inner._kernel.disconnect(0, "", "")  # type: ignore[attr-defined]
        assert "last good copy would be lost" in await bad(cluster, op("REPLACE_DISKS", mode="replace_on_primary"))

    on_cluster(tmp_path, body)


def test_lost_disks_are_made_anew(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        assert "is there on node node2" in await bad(cluster, op("RECREATE_DISKS"))
        for number in (2, 3):
            shutil.rmtree(node(cluster, number).paths.local("/var/lib/ganeti/fake-lvm/xenvg"))
        await good(cluster, op("RECREATE_DISKS", disks=[[0, {"size": "32m"}], 1]))
        assert web1(cluster).disks[0].size == web1(cluster).disks[0].children[0].size == 32
        assert not cluster.debris()
        await good(cluster, op("STARTUP"))
        assert "marked up" in await bad(cluster, op("RECREATE_DISKS"))

    on_cluster(tmp_path, body)


def test_lost_disks_are_made_on_other_nodes(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        old = Mirror.of(web1(cluster).disks[0])
        assert "all disks" in await bad(cluster, op("RECREATE_DISKS", nodes=["node1", "node3"], disks=[0]))
        assert "needs 2" in await bad(cluster, op("RECREATE_DISKS", nodes=["node1"]))
        shutil.rmtree(node(cluster, 3).paths.local("/var/lib/ganeti/fake-lvm/xenvg"))
        await good(cluster, op("RECREATE_DISKS", nodes=["node1", "node3"], drop_old_volumes=True))
        new = Mirror.of(web1(cluster).disks[0])
        assert new.port == old.port
        assert [cluster.nodes[uuid].name[:5] for uuid in web1(cluster).nodes] == ["node1", "node3"]
        await cluster.debts.settle(node(cluster, 2).uuid)
        assert node(cluster, 2).volumes() == ()
        assert not cluster.debris()
        await good(cluster, op("STARTUP"))

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(
    "made",
    [
        create(disks=[{"size": 16}, {"size": 8, "vg": "typo"}]),
        create(disks=[{"size": 16, "metavg": "typo"}]),
        create(disks=[{"size": 16, "vg": "typo"}], disk_template="plain", snode=""),
    ],
    ids=["data", "metadata", "plain"],
)
def test_a_volume_group_that_is_not_there_is_refused_before_anything_is_made(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        told = await bad(cluster, made)
        assert "node node2.example.com cannot use volume group typo" in told
        assert "prerequisites" in told or "environment_error" in told
        await good(cluster, STOPPED)
        told = await bad(cluster, op("SET_PARAMS", disks=[["add", -1, {"size": 8, "vg": "typo"}]]))
        assert "cannot use volume group typo" in told
        assert not cluster.state.debts
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_a_lost_half_is_not_called_shared_storage_that_is_not_mounted(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        kernel = node(cluster, 3).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
        kernel.detach(0)
        lost = data(cluster, 3)
        lost.unlink()
        lost.with_name(lost.name + ".owner").unlink()
        for verb in ("MIGRATE", "FAILOVER"):
            told = await bad(cluster, op(verb))
            assert "lost" in told
            assert "shared storage" not in told

    on_cluster(tmp_path, body)


def lose_volumes(cluster: SimulatedCluster, number: int) -> None:
    shutil.rmtree(node(cluster, number).paths.local("/var/lib/ganeti/fake-lvm/xenvg"))


@pytest.mark.parametrize(("kept", "way"), [(2, "replace-disks -n"), (3, "failover --ignore-consistency web1")])
def test_a_good_half_is_not_given_up_for_empty_disks_elsewhere(tmp_path: Path, kept: int, way: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        write(data(cluster, kept), b"hello")
        lose_volumes(cluster, 5 - kept)
        before = web1(cluster)
        again = op("RECREATE_DISKS", nodes=["node1", f"node{5 - kept}"])
        told = await bad(cluster, again)
        assert f"the half of disk 0 on node{kept}.example.com is good" in told
        assert way in told
        spoil_metadata(cluster, kept)
        assert "is not known" in await bad(cluster, again)
        node(cluster, kept).is_up = False
        await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": f"node{kept}", "offline": True})
        assert f"on node{kept}.example.com is good is not known" in await bad(cluster, again)
        assert web1(cluster) == before
        assert content(cluster, kept) == b"hello"
        job = await good(cluster, {**again, "drop_old_volumes": True})
        assert "given up" in str(cluster.log_of(job.id))

    on_cluster(tmp_path, body)


def test_a_half_that_was_never_filled_does_not_keep_disks_from_being_made_elsewhere(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        lose_volumes(cluster, 2)
        set_state(cluster, 3, "Inconsistent")
        await good(cluster, op("RECREATE_DISKS", nodes=["node2", "node1"]))
        await good(cluster, op("STARTUP"))

    on_cluster(tmp_path, body)


def test_what_is_there_is_not_made_again_under_any_name_of_its_node(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        write(data(cluster, 3), b"hello")
        shutil.rmtree(node(cluster, 2).paths.local("/var/lib/ganeti/fake-lvm/xenvg"))
        before = web1(cluster)
        for nodes in (["node2", "node3"], ["node3", "node1"], ["node1", "node3"]):
            assert "is there on node node3" in await bad(cluster, op("RECREATE_DISKS", nodes=nodes)), nodes
        assert content(cluster, 3) == b"hello"
        # the data without their metadata are the last copy all the same
        (_, name) = before.disks[0].children[1].logical_id
        for each in data(cluster, 3).parent.glob(f"{name}*"):
            each.unlink()
        assert "disk 0 of web1 is there on node node3" in await bad(cluster, op("RECREATE_DISKS"))
        assert content(cluster, 3) == b"hello"
        assert web1(cluster) == before

    on_cluster(tmp_path, body)


def test_shared_disks_that_are_there_are_not_made_again_on_another_node(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(disk_template="sharedfile", snode="", start=False))
        before = node(cluster, 3).volumes()
        assert "is there on node node3" in await bad(cluster, op("RECREATE_DISKS", nodes=["node3"]))
        assert node(cluster, 3).volumes() == before

    on_cluster(tmp_path, body)


def test_disks_become_mirrored_and_plain_again_with_their_data(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(disk_template="plain", snode="", start=False))
        vg, name = web1(cluster).disks[0].logical_id
        write(Path(node(cluster, 2).paths.local(f"/var/lib/ganeti/fake-lvm/{vg}/{name}")), b"hello")
        assert "needs a secondary node" in await bad(cluster, op("SET_PARAMS", disk_template="drbd"))
        await good(cluster, op("SET_PARAMS", disk_template="drbd", remote_node="node3", ignore_ipolicy=True))
        assert web1(cluster).disk_template == "drbd"
        assert content(cluster, 2) == content(cluster, 3) == b"hello"
        assert [node(cluster, number).minors() for number in (2, 3)] == [(), ()]
        await good(cluster, op("STARTUP"))
        assert is_connected(cluster, 3)
        await good(cluster, op("SHUTDOWN"))
        await good(cluster, op("SET_PARAMS", disk_template="plain", ignore_ipolicy=True))
        assert node(cluster, 3).volumes() == ()
        assert not cluster.debris()
        vg, name = web1(cluster).disks[0].logical_id
        assert start_of(Path(node(cluster, 2).paths.local(f"/var/lib/ganeti/fake-lvm/{vg}/{name}"))) == b"hello"

    on_cluster(tmp_path, body)


def test_a_mirrored_disk_is_added_and_removed(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        add = op("SET_PARAMS", disks=[["add", -1, {"size": 8}]], ignore_ipolicy=True)
        await good(cluster, add)
        assert len(web1(cluster).disks) == 3
        assert Mirror.of(web1(cluster).disks[2]).minors == (2, 2)
        assert node(cluster, 2).minors() == ()
        await good(cluster, op("SET_PARAMS", disks=[["remove", 0, {}]], ignore_ipolicy=True))
        assert len(node(cluster, 3).volumes()) == 4
        assert not cluster.debris()

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("template", ["drbd", "plain", "file"])
def test_new_disks_are_wiped_if_the_cluster_says_so(tmp_path: Path, template: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, {"OP_ID": "OP_CLUSTER_SET_PARAMS", "prealloc_wipe_disks": True})
        job = await good(cluster, create(disk_template=template, disks=[{"size": 8}], snode="node3"))
        titles = [line for line in cluster.log_of(job.id) if "wipe disk 0 of web1" in line]
        assert len(titles) == 1
        if template == "drbd":
            assert data(cluster, 2).stat().st_blocks * 512 >= 8 << 20
            assert is_connected(cluster, 3)

    on_cluster(tmp_path, body)


def spoil_metadata(cluster: SimulatedCluster, number: int) -> None:
    """Of both disks' halves on that node."""
    for disk in web1(cluster).disks:
        vg, name = disk.children[1].logical_id
        with open(node(cluster, number).paths.local(f"/var/lib/ganeti/fake-lvm/{vg}/{name}"), "r+b") as file:
            file.write(b"\xff" * 4096)


def set_state(cluster: SimulatedCluster, number: int, state: str) -> None:
    """Of both disks' halves on that node, which are down."""
    for disk in web1(cluster).disks:
        set_meta(cluster, number, disk, state=state)


def set_meta(cluster: SimulatedCluster, number: int, disk: Disk, **more: Any) -> None:
    vg, name = disk.children[1].logical_id
    place = node(cluster, number).paths.local(f"/var/lib/ganeti/fake-lvm/{vg}/{name}")
    meta = virtual._read_meta(place)
    assert meta is not None
    virtual._write_meta(place, msgspec.structs.replace(meta, **more))


def test_a_secondary_that_lost_its_metadata_is_done_without_and_replaced(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        write(data(cluster, 2), b"hello")
        await good(cluster, op("DEACTIVATE_DISKS"))
        spoil_metadata(cluster, 3)
        assert "has no metadata" in await bad(cluster, op("STARTUP"))
        assert not node(cluster, 2).hypervisor.list()
        await good(cluster, op("STARTUP", force=True))
        assert [guest.name for guest in node(cluster, 2).hypervisor.list()] == ["web1"]
        assert not is_connected(cluster, 2)
        assert "not" in await bad(cluster, op("MIGRATE"))
        await good(cluster, op("REPLACE_DISKS", mode="replace_on_secondary"))
        assert is_connected(cluster, 2)
        assert [content(cluster, number) for number in (2, 3)] == [b"hello", b"hello"]
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_a_primary_that_lost_its_metadata_is_not_promoted_and_the_other_half_goes_on(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, STOPPED)
        write(data(cluster, 2), b"hello")
        await good(cluster, op("DEACTIVATE_DISKS"))
        spoil_metadata(cluster, 2)
        for force in (False, True):
            assert "has no metadata" in await bad(cluster, op("STARTUP", force=force))
            assert not node(cluster, 2).hypervisor.list()
        await good(cluster, op("FAILOVER", ignore_consistency=True))
        await good(cluster, op("STARTUP", force=True))
        assert [guest.name for guest in node(cluster, 3).hypervisor.list()] == ["web1"]
        assert content(cluster, 3) == b"hello"
        await good(cluster, op("REPLACE_DISKS", mode="replace_on_secondary"))
        assert is_connected(cluster, 3)
        assert [content(cluster, number) for number in (2, 3)] == [b"hello", b"hello"]
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_halves_that_stand_alone_are_made_whole_on_the_side_that_is_not_wanted(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        for number in (2, 3):
            for minor in node(cluster, number).minors():
                node(cluster, number).storage[DiskTemplate.DRBD].inner._kernel.disconnect(minor, "", "")  # type: ignore[attr-defined]
        write(data(cluster, 2), b"newer")
        assert not is_connected(cluster, 2)
        assert "last good copy" in await bad(cluster, op("REPLACE_DISKS", mode="replace_on_primary"))
        await good(cluster, op("REPLACE_DISKS", mode="replace_on_secondary"))
        assert is_connected(cluster, 2)
        assert [content(cluster, number) for number in (2, 3)] == [b"newer", b"newer"]
        assert [guest.name for guest in node(cluster, 2).hypervisor.list()] == ["web1"]

    on_cluster(tmp_path, body)
