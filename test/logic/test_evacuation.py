"""Emptying nodes and groups: which jobs are submitted."""

from __future__ import annotations

import msgspec
import pytest
from logic.plan_env import (
    PlanEnv,
    check,
    execute,
    file_disk,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    refused,
    unit_of,
)

from ganeti.errors import PrereqError
from ganeti.logic import relocating
from ganeti.logic.allocation import Evacuation, Failed
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import AllocPolicy, DiskTemplate, Group, Network, Nic, Put
from ganeti.model.types import Uuid
from ganeti.ops.instance import OpInstanceFailover, OpInstanceMigrate
from ganeti.ops.moves import OpGroupEvacuate, OpInstanceChangeGroup, OpNodeEvacuate, OpNodeMigrate

OTHER = Group(uuid=Uuid("00000000-0000-4000-8000-0000000000bb"), name="rack2")


def shared(name: str, node: int = 1, **changes):
    disk = msgspec.structs.replace(file_disk(name), template=DiskTemplate.SHAREDFILE)
    return make_instance(name, node=node, disks=(disk,), **changes)


def env_of(*instances, nodes=None, group: Group = OTHER) -> PlanEnv:
    """node1 and node2 in one group, node3 in another."""
    members = nodes or [make_node(1), make_node(2), make_node(3, group=OTHER.uuid)]
    config = make_config(*instances, nodes=members, default_iallocator="builtin")
    return PlanEnv(config.apply([Put(group)]))


def jobs(env: PlanEnv):
    return [
        [(op.op_id.removeprefix("OP_INSTANCE_"), op.instance_name, getattr(op, "target_node", "")) for op in job]
        for job in env.submitted
    ]


# Nodes


def test_node_evacuate_migrates_what_lies_on_shared_storage_to_another_node_of_the_group():
    env = env_of(shared("a.example.com"), shared("b.example.com", 2))
    op = OpNodeEvacuate(node_name="node1", mode="all")
    wanted = unit_of(op).locks(env.config).wanted
    assert wanted[LockKey(Level.INSTANCE, Uuid("uuid-a.example.com"))] is False
    assert {key.name for key in wanted if key.level is Level.NODE} == {node_uuid(1), node_uuid(2)}
    assert execute(op, env) == {"jobs": [[True, 100]]}
    assert jobs(env) == [[("MIGRATE", "a.example.com", "node2.example.com")]]


def test_node_evacuate_of_an_empty_node_submits_nothing():
    env = env_of(shared("a.example.com"))
    assert execute(OpNodeEvacuate(node_name="node2", mode="all"), env) == {"jobs": []}
    assert execute(OpNodeEvacuate(node_name="node1", mode="secondary-only"), env) == {"jobs": []}


def test_node_evacuate_does_nothing_if_one_instance_cannot_leave():
    env = env_of(shared("a.example.com"), make_instance("fixed.example.com"))
    err = refused(OpNodeEvacuate(node_name="node1", mode="primary-only"), env)
    assert (err.code, "1 of 2" in str(err), "fixed.example.com" in str(err)) == (
        "insufficient_resources", True, True)  # fmt: skip
    assert env.submitted == []


def test_node_evacuate_leaves_drained_and_offline_nodes_out():
    away = [make_node(1), make_node(2, drained=True, master_candidate=False), make_node(3, offline=True)]
    err = refused(OpNodeEvacuate(node_name="node1", mode="all"), env_of(shared("a.example.com"), nodes=away))
    assert "offline, drained, not vm_capable" in str(err)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"mode": "all"}, "wrong_input", "only secondary"),
        ({"iallocator": "builtin"}, "wrong_input", "both"),
        ({"remote_node": "node1"}, "wrong_input", "the node to leave"),
        ({"remote_node": "node9"}, "unknown_entity", "node9"),
        ({"remote_node": "node3"}, "wrong_state", "drained"),
    ],
)
def test_node_evacuate_to_one_node_is_refused(change, code, text):
    env = env_of(nodes=[make_node(1), make_node(2), make_node(3, drained=True, master_candidate=False)])
    op = OpNodeEvacuate(**{"node_name": "node1", "mode": "secondary-only", "remote_node": "node2", **change})
    err = refused(op, env)
    assert (err.code, text in str(err)) == (code, True), str(err)


def test_node_migrate_is_one_job_for_each_primary_instance():
    env = env_of(shared("b.example.com"), shared("a.example.com"), shared("c.example.com", 2))
    op = OpNodeMigrate(node_name="node1", mode="non-live", target_node="node2", allow_runtime_changes=False)
    hooked = unit_of(op).hooks(check(op, env), env.config)
    assert hooked.environment == {
        "OP_TARGET": "node1.example.com",
        "NODE_NAME": "node1.example.com",
        "ALLOW_RUNTIME_CHANGES": "False",
    }
    execute(op, env)
    assert [job[0] for job in env.submitted] == [
        OpInstanceMigrate(
            instance_name=name,
            mode="non-live",
            target_node="node2",
            allow_failover=True,
            allow_runtime_changes=False,
        )
        for name in ("a.example.com", "b.example.com")
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"live": True, "mode": "live"}, "migration mode"),
        ({"target_node": "node2", "iallocator": "builtin"}, "both"),
        ({"target_node": "node1"}, "the target"),
        ({"target_node": "node3"}, "drained"),
        ({"node_name": "node4"}, "gnt-node failover"),
    ],
)
def test_node_migrate_is_refused(change, text):
    nodes = [make_node(1), make_node(2), make_node(3, drained=True, master_candidate=False)]
    env = env_of(nodes=[*nodes, make_node(4, offline=True, master_candidate=False)])
    assert text in str(refused(OpNodeMigrate(**{"node_name": "node1", **change}), env))


# Groups


def test_change_group_moves_an_instance_to_the_other_group():
    env = env_of(shared("a.example.com"))
    op = OpInstanceChangeGroup(instance_name="a")
    hooked = unit_of(op).hooks(check(op, env), env.config)
    assert (hooked.environment["TARGET_GROUPS"], hooked.pre) == ("rack2", (node_uuid(1),))
    execute(op, env)
    assert jobs(env) == [[("MIGRATE", "a.example.com", "node3.example.com")]]


@pytest.mark.parametrize(
    ("change", "group", "text"),
    [
        ({"target_groups": ("default",)}, OTHER, "already"),
        ({"target_groups": ("rack9",)}, OTHER, "rack9"),
        ({}, msgspec.structs.replace(OTHER, alloc_policy=AllocPolicy.UNALLOCABLE), "no other node group"),
        ({"iallocator": "../x"}, OTHER, "allocator"),
    ],
)
def test_change_group_is_refused(change, group, text):
    env = env_of(shared("a.example.com"), group=group)
    assert text in str(refused(OpInstanceChangeGroup(instance_name="a", **change), env))


def test_groups_without_the_instances_networks_are_left_out():
    lan = Network(uuid=Uuid("lan-uuid"), name="lan", network="192.0.2.0/24")
    nic = Nic(uuid=Uuid("n"), mac="aa:00:00:00:00:01", network=lan.uuid)
    env = env_of(shared("a.example.com", nics=(nic,)))
    env.config = env.config.apply([Put(lan)])
    assert "with the networks" in str(refused(OpInstanceChangeGroup(instance_name="a"), env))
    named = OpInstanceChangeGroup(instance_name="a", target_groups=("rack2",))
    assert "network lan is not connected" in str(refused(named, env))
    env.config = env.config.apply([Put(msgspec.structs.replace(OTHER, networks={lan.uuid: {}}))])
    execute(named, env)
    assert len(env.submitted) == 1


def test_group_evacuate_one_after_the_other_without_migrations():
    env = env_of(shared("a.example.com"), shared("b.example.com", 2))
    op = OpGroupEvacuate(group_name="default", sequential=True, force_failover=True)
    assert unit_of(op).locks(env.config).wanted[LockKey(Level.GROUP, ALL)] is False
    hooked = unit_of(op).hooks(check(op, env), env.config)
    assert hooked.pre == (node_uuid(1), node_uuid(2))
    assert hooked.environment["TARGET_GROUPS"] == "rack2"
    execute(op, env)
    assert [(type(job[0]), job[0].depends) for job in env.submitted] == [
        (OpInstanceFailover, None),
        (OpInstanceFailover, ((-1, ()),)),
    ]


def test_group_evacuate_of_an_empty_group_submits_nothing():
    assert execute(OpGroupEvacuate(group_name="rack2"), env_of()) == {"jobs": []}


def test_a_plan_that_leaves_instances_behind_is_refused():
    with pytest.raises(PrereqError, match="x: no room"):
        relocating.checked(Evacuation(moved=(), failed=(Failed(name="x", reason="no room"),), jobs=()), "it")


def test_early_release_reaches_the_operations_that_know_it():
    job = (OpInstanceMigrate(instance_name="a"),)
    assert relocating.released_early((job,)) == (job,)
