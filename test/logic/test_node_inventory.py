"""gnt-node volumes and list-storage."""

from __future__ import annotations

import pytest
from logic.plan_env import PlanEnv, check, make_config, make_instance, node_uuid, refused, unit_of

from ganeti.calls.inventory import LogicalVolume, StorageKind, StorageList, StorageUnit, VolumeList
from ganeti.model.locks import Level, LockKey
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import Uuid
from ganeti.ops.node import OpNodeQueryStorage, OpNodeQueryVols

PLAIN = Disk(uuid=Uuid("d0"), template=DiskTemplate.PLAIN, size=512, logical_id=("xenvg", "web1.data"))
VOLUMES = (
    LogicalVolume(device="/dev/sda1", vg="xenvg", name="web1.data", size=512.0),
    LogicalVolume(device="/dev/sda1", vg="xenvg", name="other", size=100.4),
)
VOLUME_FIELDS = ("node", "phys", "vg", "name", "size", "instance")
UNIT_FIELDS = ("node", "type", "name", "size", "used", "free", "allocatable")


def test_volumes_name_the_instance_that_uses_them():
    instance = make_instance(disks=(PLAIN,))
    env = PlanEnv(make_config(instance))
    env.rpc.answers[VolumeList] = VOLUMES
    name = env.config.nodes[instance.primary_node].name
    rows = check(OpNodeQueryVols(output_fields=VOLUME_FIELDS, nodes=(name,)), env)
    assert rows == [
        [name, "/dev/sda1", "xenvg", "web1.data", "512", "web1.example.com"],
        [name, "/dev/sda1", "xenvg", "other", "100", "-"],
    ]
    other = next(node.name for node in env.config.nodes.values() if node.name != name)
    assert check(OpNodeQueryVols(output_fields=("instance",), nodes=(other,)), env) == [["-"], ["-"]]


def test_mirrors_use_the_volumes_below_them_on_both_nodes():
    nodes = (node_uuid(1), node_uuid(2))
    mirror = Disk(
        uuid=Uuid("m"), template=DiskTemplate.DRBD, size=512, logical_id=(*nodes, 11000, 0, 0, "s"), children=(PLAIN,)
    )
    env = PlanEnv(make_config(make_instance(primary_node=nodes[0], disks=(mirror,))))
    env.rpc.answers[VolumeList] = VOLUMES[:1]
    rows = check(OpNodeQueryVols(output_fields=("node", "instance")), env)
    assert [row[1] for row in rows] == ["web1.example.com", "web1.example.com", "-"]


def test_storage_is_of_the_kind_that_the_first_disk_template_lies_on():
    env = PlanEnv(make_config(file_storage_dir="/srv/ganeti/file-storage"))
    asked = []

    def answer(node, call):
        asked.append(call)
        return (StorageUnit(name="/srv/ganeti/file-storage", size=100.0, used=40.0, free=60.0),)

    env.rpc.answers[StorageList] = answer
    rows = check(OpNodeQueryStorage(output_fields=UNIT_FIELDS), env)
    assert rows[0] == ["node1.example.com", "file", "/srv/ganeti/file-storage", 100, 40, 60, True]
    assert len(rows) == 3
    assert asked[0] == StorageList(kind=StorageKind.FILE, directories=("/srv/ganeti/file-storage",))
    check(OpNodeQueryStorage(output_fields=("name",), storage_type="lvm-vg", name="xenvg"), env)
    assert asked[-1] == StorageList(kind=StorageKind.LVM_VG, name="xenvg")


def test_silent_nodes_are_warned_of_and_the_locks_are_shared():
    env = PlanEnv(make_config())
    env.rpc.fail(VolumeList, "timeout")
    assert check(OpNodeQueryVols(output_fields=("name",)), env) == []
    assert len(env.warnings) == 3
    plan = unit_of(OpNodeQueryStorage(output_fields=("name",), nodes=("node2",))).locks(env.config)
    nodes = {key: mode for key, mode in plan.wanted.items() if key.level is Level.NODE}
    assert nodes == {LockKey(Level.NODE, node_uuid(2)): False}


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (OpNodeQueryVols(output_fields=("colour",)), "wrong_input"),
        (OpNodeQueryVols(output_fields=("name",), nodes=("nosuch",)), "unknown_entity"),
        (OpNodeQueryStorage(output_fields=("colour",)), "wrong_input"),
        (OpNodeQueryStorage(output_fields=("name",), storage_type="tape"), "wrong_input"),
    ],
)
def test_what_cannot_be_listed_is_refused(op, code):
    assert refused(op, PlanEnv(make_config())).code == code


def test_a_cluster_without_disks_has_no_kind_of_its_own():
    env = PlanEnv(make_config(enabled_disk_templates=(DiskTemplate.DISKLESS,)))
    assert "name a kind" in refused(OpNodeQueryStorage(output_fields=("name",)), env).hint
