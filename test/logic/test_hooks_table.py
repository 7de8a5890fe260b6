"""Which hooks each operation has, where they run, and the variables that they are promised."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from logic.plan_env import PlanEnv, guest_of, make_config, make_instance, make_node, node_uuid, unit_of, up

from ganeti.calls.export import Facilities, StreamFacilities
from ganeti.calls.instance import InstanceInfo
from ganeti.logic.base import HookPlan
from ganeti.logic.node_add import AddFacts
from ganeti.master import hooks
from ganeti.model.objects import Disk, DiskTemplate, Group, Instance, Network, Put
from ganeti.model.types import Uuid
from ganeti.ops import catalogue
from ganeti.ops.cluster import OpClusterDestroy, OpClusterPostInit, OpClusterSetParams, OpClusterVerifyGroup
from ganeti.ops.group import OpGroupAdd, OpGroupRemove, OpGroupRename, OpGroupSetParams
from ganeti.ops.instance import (
    OpInstanceCreate,
    OpInstanceFailover,
    OpInstanceReboot,
    OpInstanceReinstall,
    OpInstanceRemove,
    OpInstanceRename,
    OpInstanceSetParams,
    OpInstanceShutdown,
    OpInstanceStartup,
)
from ganeti.ops.moves import OpInstanceMove
from ganeti.ops.network import OpNetworkAdd, OpNetworkConnect, OpNetworkRemove, OpNetworkSetParams
from ganeti.ops.node import OpNodeAdd, OpNodeRemove, OpNodeSetParams

#: operation → directory without its phase, kind of object
PATHS = {
    "OP_CLUSTER_POST_INIT": ("cluster-init", "CLUSTER"),
    "OP_CLUSTER_DESTROY": ("cluster-destroy", "CLUSTER"),
    "OP_CLUSTER_RENAME": ("cluster-rename", "CLUSTER"),
    "OP_CLUSTER_ACTIVATE_MASTER_IP": ("master-ip-turnup", "CLUSTER"),
    "OP_CLUSTER_DEACTIVATE_MASTER_IP": ("master-ip-turndown", "CLUSTER"),
    "OP_CLUSTER_SET_PARAMS": ("cluster-modify", "CLUSTER"),
    "OP_CLUSTER_VERIFY_GROUP": ("cluster-verify", "CLUSTER"),
    "OP_NODE_ADD": ("node-add", "NODE"),
    "OP_NODE_REMOVE": ("node-remove", "NODE"),
    "OP_NODE_SET_PARAMS": ("node-modify", "NODE"),
    "OP_NODE_MIGRATE": ("node-migrate", "NODE"),
    "OP_GROUP_ADD": ("group-add", "GROUP"),
    "OP_GROUP_REMOVE": ("group-remove", "GROUP"),
    "OP_GROUP_SET_PARAMS": ("group-modify", "GROUP"),
    "OP_GROUP_RENAME": ("group-rename", "GROUP"),
    "OP_GROUP_EVACUATE": ("group-evacuate", "GROUP"),
    "OP_NETWORK_ADD": ("network-add", "NETWORK"),
    "OP_NETWORK_REMOVE": ("network-remove", "NETWORK"),
    "OP_NETWORK_RENAME": ("network-rename", "NETWORK"),
    "OP_NETWORK_SET_PARAMS": ("network-modify", "NETWORK"),
    "OP_NETWORK_CONNECT": ("network-connect", "NETWORK"),
    "OP_NETWORK_DISCONNECT": ("network-disconnect", "NETWORK"),
    "OP_INSTANCE_CREATE": ("instance-add", "INSTANCE"),
    "OP_INSTANCE_REINSTALL": ("instance-reinstall", "INSTANCE"),
    "OP_INSTANCE_RENAME": ("instance-rename", "INSTANCE"),
    "OP_INSTANCE_REMOVE": ("instance-remove", "INSTANCE"),
    "OP_INSTANCE_STARTUP": ("instance-start", "INSTANCE"),
    "OP_INSTANCE_SHUTDOWN": ("instance-stop", "INSTANCE"),
    "OP_INSTANCE_REBOOT": ("instance-reboot", "INSTANCE"),
    "OP_INSTANCE_SET_PARAMS": ("instance-modify", "INSTANCE"),
    "OP_INSTANCE_FAILOVER": ("instance-failover", "INSTANCE"),
    "OP_INSTANCE_MIGRATE": ("instance-migrate", "INSTANCE"),
    "OP_INSTANCE_MOVE": ("instance-move", "INSTANCE"),
    "OP_INSTANCE_GROW_DISK": ("disk-grow", "INSTANCE"),
    "OP_INSTANCE_REPLACE_DISKS": ("mirrors-replace", "INSTANCE"),
    "OP_INSTANCE_RECREATE_DISKS": ("instance-recreate-disks", "INSTANCE"),
    "OP_INSTANCE_CHANGE_GROUP": ("instance-change-group", "INSTANCE"),
    "OP_BACKUP_EXPORT": ("instance-export", "INSTANCE"),
}

COMMON = {"HOOKS_VERSION", "HOOKS_PHASE", "HOOKS_PATH", "OP_CODE", "OBJECT_TYPE", "DATA_DIR", "CLUSTER", "MASTER"}

#: all instance hooks have it; the devices and the parameters of its kind come in addition
BLOCK = {
    "OP_TARGET", "INSTANCE_NAME", "INSTANCE_PRIMARY", "INSTANCE_SECONDARIES", "INSTANCE_SECONDARY",
    "INSTANCE_OS_TYPE", "INSTANCE_STATUS", "INSTANCE_MEMORY", "INSTANCE_MINMEM", "INSTANCE_MAXMEM", "INSTANCE_VCPUS",
    "INSTANCE_DISK_TEMPLATE", "INSTANCE_HYPERVISOR", "INSTANCE_NIC_COUNT", "INSTANCE_NIC0_IP", "INSTANCE_NIC0_MAC",
    "INSTANCE_NIC0_MODE", "INSTANCE_NIC0_LINK", "INSTANCE_NIC0_BRIDGE", "INSTANCE_NIC0_UUID", "INSTANCE_NIC0_VLAN",
    "INSTANCE_DISK_COUNT", "INSTANCE_DISK0_SIZE", "INSTANCE_DISK0_MODE", "INSTANCE_DISK0_UUID",
    "INSTANCE_DISK0_DEV_TYPE", "INSTANCE_DISK0_DRIVER", "INSTANCE_DISK0_ID", "INSTANCE_TAGS",
    "INSTANCE_BE_minmem", "INSTANCE_BE_maxmem", "INSTANCE_BE_vcpus", "INSTANCE_BE_auto_balance",
    "INSTANCE_BE_always_failover", "INSTANCE_BE_spindle_use", "INSTANCE_HV_migration_mode",
}  # fmt: skip

NAME = "web1.example.com"
MOVES = {"OLD_PRIMARY", "NEW_PRIMARY", "OLD_SECONDARY", "NEW_SECONDARY"}
TARGET = {"OP_TARGET"}
NETWORK = {
    "OP_TARGET", "NETWORK_NAME", "NETWORK_SUBNET", "NETWORK_GATEWAY", "NETWORK_SUBNET6", "NETWORK_GATEWAY6",
    "NETWORK_MAC_PREFIX", "NETWORK_TAGS",
}  # fmt: skip
CONNECTION = {"GROUP_NAME", "GROUP_NETWORK_MODE", "GROUP_NETWORK_LINK", "GROUP_NETWORK_VLAN"}
OTHER = Uuid("00000000-0000-4000-8000-0000000000bb")


def instance(**changes: Any) -> Instance:
    return make_instance(NAME, node=2, **changes)


def shared() -> Instance:
    disk = Disk(uuid=Uuid("d"), template=DiskTemplate.SHAREDFILE, size=1024, logical_id=("loop", "/x"))
    return instance(disks=(disk,))


#: operation, variables of its own, nodes of the pre phase, of the post phase; the master is node 1, the instance on 2
EXAMPLES: list[tuple[Any, set[str], set[int], set[int]]] = [
    (OpClusterPostInit(), TARGET, set(), {1}),
    (OpClusterSetParams(candidate_pool_size=3), {*TARGET, "NEW_VG_NAME"}, {1}, {1}),
    (
        OpClusterVerifyGroup(group_name="default"),
        {"CLUSTER_TAGS", *(f"NODE_TAGS_node{number}.example.com" for number in (1, 2, 3))},
        set(),
        {1, 2, 3},
    ),
    (OpNodeRemove(node_name="node3"), {*TARGET, "NODE_NAME"}, {1, 2}, {1, 2}),
    (
        OpNodeSetParams(node_name="node3", drained=True),
        {*TARGET, "MASTER_CANDIDATE", "OFFLINE", "DRAINED", "MASTER_CAPABLE", "VM_CAPABLE"},
        {1, 3},
        {1, 3},
    ),
    (OpGroupAdd(group_name="new"), {*TARGET, "GROUP_NAME"}, {1}, {1}),
    (OpGroupRemove(group_name="empty"), {*TARGET, "GROUP_NAME"}, {1}, {1}),
    (
        OpGroupSetParams(group_name="empty", ndparams={"spindle_count": 2}),
        {*TARGET, "GROUP_NAME", "NEW_ALLOC_POLICY"},
        {1},
        {1},
    ),
    (OpGroupRename(group_name="default", new_name="first"), {*TARGET, "OLD_NAME", "NEW_NAME"}, {1, 2, 3}, {1, 2, 3}),
    (
        OpInstanceCreate(
            instance_name="new",
            os_type="busybox",
            disk_template=DiskTemplate.FILE,
            disks=({"size": 1024},),
            pnode="node2",
        ),
        {*BLOCK, "ADD_MODE"},
        {1, 2},
        {1, 2},
    ),
    (
        OpNetworkAdd(network_name="new", network="198.51.100.0/24"),
        {*TARGET, "NETWORK_NAME", "NETWORK_SUBNET"},
        {1},
        {1},
    ),
    (OpNetworkSetParams(network_name="lan", mac_prefix="aa:00:02"), NETWORK, {1}, {1}),
    (OpNetworkRemove(network_name="lan"), {*TARGET, "NETWORK_NAME"}, {1}, {1}),
    (
        OpNetworkConnect(network_name="lan", group_name="default", network_mode="bridged", network_link="br0"),
        NETWORK | CONNECTION,
        {1, 2, 3},
        {1, 2, 3},
    ),
    (OpInstanceReinstall(instance_name=NAME), BLOCK, {1, 2}, {1, 2}),
    (
        OpInstanceRename(instance_name=NAME, new_name="new", name_check=False, ip_check=False),
        {*BLOCK, "INSTANCE_NEW_NAME"},
        {1, 2},
        {1, 2},
    ),
    (OpInstanceRemove(instance_name=NAME), {*BLOCK, "SHUTDOWN_TIMEOUT"}, {1}, {1, 2}),
    (OpInstanceStartup(instance_name=NAME), {*BLOCK, "FORCE"}, {1, 2}, {1, 2}),
    (OpInstanceShutdown(instance_name=NAME), {*BLOCK, "TIMEOUT"}, {1, 2}, {1, 2}),
    (
        OpInstanceSetParams(instance_name=NAME, beparams={"vcpus": 2}),
        {*BLOCK, "NEW_DISK_TEMPLATE", "RUNTIME_MEMORY"},
        {1, 2},
        {1, 2},
    ),
]


def world(held: Instance) -> PlanEnv:
    env = PlanEnv(make_config(held))
    lan = Network(
        uuid=Uuid("lan"),
        name="lan",
        network="192.0.2.0/24",
        gateway="192.0.2.1",
        network6="2001:db8::/64",
        gateway6="2001:db8::1",
        mac_prefix="aa:00:01",
        tags=("red",),
    )
    env.config = env.config.apply([Put(Group(uuid=OTHER, name="empty")), Put(lan)])
    return env


def plan_of(op: Any, env: PlanEnv) -> HookPlan:
    unit = unit_of(op)
    found = unit.hooks(asyncio.run(unit.check(env)), env.config)
    assert found is not None
    return found


def numbers(nodes: tuple[Uuid, ...]) -> set[int]:
    assert len(set(nodes)) == len(nodes)
    return {int(uuid[-1]) for uuid in nodes}


def test_every_operation_with_hooks_has_the_directory_that_scripts_expect():
    declared = {op_id: (found.hooks, found.object_type) for op_id, found in catalogue.REGISTRY.items() if found.hooks}
    assert declared == {op_id: row for op_id, row in PATHS.items() if op_id in declared}
    silent = {op_id for op_id in PATHS if op_id in catalogue.REGISTRY} - set(declared)
    assert not silent, "they are promised hooks"


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row[0].op_id)
def test_variables_and_nodes(row):
    op, variables, pre, post = row
    found = plan_of(op, world(instance()))
    assert set(found.environment) == variables
    assert all(isinstance(value, str) for value in found.environment.values())
    assert (numbers(found.pre), numbers(found.post)) == (pre, post)


def test_running_instances_are_told_how_they_are_restarted():
    env = world(up(instance()))
    env.rpc.answers[InstanceInfo] = guest_of(up(instance()))
    found = plan_of(OpInstanceReboot(instance_name=NAME), env)
    assert set(found.environment) == {*BLOCK, "IGNORE_SECONDARIES", "REBOOT_TYPE", "SHUTDOWN_TIMEOUT"}


def test_failover_runs_where_it_goes_first_and_where_it_was_afterwards():
    env = world(shared())
    env.rpc.answers[InstanceInfo] = None
    found = plan_of(OpInstanceFailover(instance_name=NAME, target_node="node3"), env)
    own = {"IGNORE_CONSISTENCY", "SHUTDOWN_TIMEOUT", "FAILOVER_CLEANUP"}
    assert set(found.environment) == BLOCK | MOVES | own
    assert (numbers(found.pre), numbers(found.post)) == ({1, 3}, {1, 2, 3})
    assert found.environment["OLD_SECONDARY"] == found.environment["NEW_SECONDARY"] == ""


def test_a_move_runs_at_both_ends():
    env = world(instance())
    env.rpc.answers[StreamFacilities] = Facilities(compressions=("none",), export_free=0)
    found = plan_of(OpInstanceMove(instance_name=NAME, target_node="node3"), env)
    assert set(found.environment) == {*BLOCK, "TARGET_NODE", "TARGET_NODE_UUID", "SHUTDOWN_TIMEOUT"}
    assert found.environment["TARGET_NODE"] == "node3.example.com"
    assert (numbers(found.pre), numbers(found.post)) == ({1, 2, 3}, {1, 2, 3})


def test_a_node_that_joins_runs_the_post_hooks_too():
    env = PlanEnv(make_config())
    facts = AddFacts(node=make_node(4, master_candidate=False), is_candidate=False)
    found = unit_of(OpNodeAdd(node_name="node4")).hooks(facts, env.config)
    assert found is not None
    assert set(found.environment) == {*TARGET, "NODE_NAME", "NODE_PIP", "NODE_SIP", "MASTER_CAPABLE", "VM_CAPABLE"}
    assert (numbers(found.pre), numbers(found.post)) == ({1, 2, 3}, {1, 2, 3, 4})


def test_a_node_that_leaves_runs_its_post_hooks_before():
    assert plan_of(OpNodeRemove(node_name="node3"), world(instance())).leaving == (node_uuid(3),)


def test_a_node_that_is_given_up_is_not_waited_for():
    found = plan_of(OpNodeSetParams(node_name="node3", offline=True), PlanEnv(make_config()))
    assert (numbers(found.pre), numbers(found.post)) == ({1}, {1})


def test_the_end_of_a_cluster_is_told_on_its_master():
    env = PlanEnv(make_config(nodes=[make_node(1)]))
    found = plan_of(OpClusterDestroy(), env)
    assert (set(found.environment), found.pre, found.post) == (TARGET, (), (node_uuid(1),))


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_common_variables(phase):
    config = make_config()
    found = hooks.environment(config, OpGroupAdd(group_name="x"), "group-add", phase, {"GROUP_NAME": "x"})
    assert set(found) == {f"GANETI_{name}" for name in COMMON} | {"GANETI_GROUP_NAME"}
    assert found["GANETI_HOOKS_PHASE"] == phase
    assert (found["GANETI_OP_CODE"], found["GANETI_OBJECT_TYPE"]) == ("OP_GROUP_ADD", "GROUP")
    assert (found["GANETI_CLUSTER"], found["GANETI_MASTER"]) == ("cluster.example.com", "node1.example.com")


def test_post_hooks_are_told_the_instance_as_it_is_now():
    held = instance()
    env = world(held)
    found = plan_of(OpInstanceStartup(instance_name=NAME), env)
    env.config = env.config.apply([Put(msgspec.structs.replace(up(held), nics=(), primary_node=node_uuid(3)))])
    after = hooks.after(found, env.config)
    assert after["GANETI_POST_INSTANCE_STATUS"] == "up"
    assert after["GANETI_POST_INSTANCE_PRIMARY"] == "node3.example.com"
    assert after["GANETI_POST_FORCE"] == "False"
    assert not [name for name in after if "NIC0" in name]
    assert found.environment["INSTANCE_STATUS"] == "down"


def test_of_an_instance_that_is_gone_the_last_is_told():
    env = world(instance())
    found = plan_of(OpInstanceRemove(instance_name=NAME), env)
    gone = hooks.after(found, make_config())
    assert gone["GANETI_POST_INSTANCE_NAME"] == NAME
