"""The variables of instance hooks, as scripts know them."""

from __future__ import annotations

import msgspec
from logic.plan_env import make_config, make_instance, make_node, node_uuid, up

from ganeti.logic import hooks
from ganeti.model.objects import Disk, DiskMode, DiskTemplate, Nic
from ganeti.model.types import Uuid

NAME = "web1.example.com"


def test_block_of_an_instance():
    nics = (
        Nic(uuid=Uuid("n0"), mac="aa:00:00:11:22:33", ip="192.0.2.7", name="lan"),
        Nic(uuid=Uuid("n1"), mac="aa:00:00:11:22:34", params={"mode": "routed", "link": "100"}),
    )
    instance = up(make_instance(nics=nics, tags=("b", "a")))
    assert hooks.instance_environment(make_config(instance), instance) == {
        "OP_TARGET": NAME,
        "INSTANCE_NAME": NAME,
        "INSTANCE_PRIMARY": "node1.example.com",
        "INSTANCE_SECONDARY": "",
        "INSTANCE_SECONDARIES": "",
        "INSTANCE_OS_TYPE": "busybox",
        "INSTANCE_STATUS": "up",
        "INSTANCE_MEMORY": "128",
        "INSTANCE_MINMEM": "128",
        "INSTANCE_MAXMEM": "128",
        "INSTANCE_VCPUS": "1",
        "INSTANCE_DISK_TEMPLATE": "file",
        "INSTANCE_HYPERVISOR": "fake",
        "INSTANCE_TAGS": "a b",
        "INSTANCE_NIC_COUNT": "2",
        "INSTANCE_NIC0_IP": "192.0.2.7",
        "INSTANCE_NIC0_MAC": "aa:00:00:11:22:33",
        "INSTANCE_NIC0_MODE": "bridged",
        "INSTANCE_NIC0_LINK": "xen-br0",
        "INSTANCE_NIC0_BRIDGE": "xen-br0",
        "INSTANCE_NIC0_VLAN": "",
        "INSTANCE_NIC0_UUID": "n0",
        "INSTANCE_NIC0_NAME": "lan",
        "INSTANCE_NIC1_IP": "",
        "INSTANCE_NIC1_MAC": "aa:00:00:11:22:34",
        "INSTANCE_NIC1_MODE": "routed",
        "INSTANCE_NIC1_LINK": "100",
        "INSTANCE_NIC1_VLAN": "",
        "INSTANCE_NIC1_UUID": "n1",
        "INSTANCE_DISK_COUNT": "1",
        "INSTANCE_DISK0_SIZE": "1024",
        "INSTANCE_DISK0_MODE": "rw",
        "INSTANCE_DISK0_UUID": f"{NAME}-disk0",
        "INSTANCE_DISK0_DEV_TYPE": "file",
        "INSTANCE_DISK0_DRIVER": "loop",
        "INSTANCE_DISK0_ID": f"/srv/ganeti/file-storage/{NAME}/disk0",
        "INSTANCE_BE_minmem": "128",
        "INSTANCE_BE_maxmem": "128",
        "INSTANCE_BE_vcpus": "1",
        "INSTANCE_BE_auto_balance": "True",
        "INSTANCE_BE_always_failover": "False",
        "INSTANCE_BE_spindle_use": "1",
        "INSTANCE_HV_migration_mode": "live",
    }


def test_mirrored_disk_names_both_ends_and_its_volumes():
    def volume(name: str) -> Disk:
        return Disk(uuid=Uuid(name), template=DiskTemplate.PLAIN, size=1024, logical_id=("xenvg", name))

    mirror = Disk(
        uuid=Uuid("d"),
        template=DiskTemplate.DRBD,
        size=1024,
        mode=DiskMode.RO,
        logical_id=(node_uuid(1), node_uuid(2), 11000, 0, 3, "secret"),
        children=(volume("data"), volume("meta")),
    )
    instance = make_instance(disks=(mirror,))
    found = hooks.instance_environment(make_config(instance), instance)
    assert found["INSTANCE_SECONDARIES"] == found["INSTANCE_SECONDARY"] == "node2.example.com"
    assert {key.removeprefix("INSTANCE_DISK0_"): value for key, value in found.items() if "DISK0" in key} == {
        "SIZE": "1024", "MODE": "ro", "UUID": "d", "DEV_TYPE": "drbd", "PNODE": "node1.example.com",
        "SNODE": "node2.example.com", "PORT": "11000", "PMINOR": "0", "SMINOR": "3", "DATA_VG": "xenvg",
        "DATA_ID": "data", "META_VG": "xenvg", "META_ID": "meta",
    }  # fmt: skip
    assert "secret" not in found.values()


def test_nodes_are_the_master_and_the_instances_own_without_repeats():
    config = make_config(make_instance(), nodes=[make_node(1), make_node(2)])
    plan = hooks.instance_hooks(config, make_instance(), {"FORCE": "True"})
    assert plan.pre == plan.post == (node_uuid(1),)
    assert plan.environment["FORCE"] == "True"
    other = msgspec.structs.replace(make_instance(), primary_node=node_uuid(2))
    assert hooks.instance_hooks(config, other, {}, pre=(node_uuid(1),)).pre == (node_uuid(1),)
    assert hooks.instance_hooks(config, other, {}).post == (node_uuid(1), node_uuid(2))
