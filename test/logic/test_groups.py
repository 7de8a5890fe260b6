"""Node groups: making, changing, filling, removing them."""

from __future__ import annotations

import msgspec
import pytest
from logic.plan_env import (
    GROUP,
    PlanEnv,
    check,
    execute,
    file_disk,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    plan,
    refused,
    shape,
    unit_of,
)

from ganeti.model.config import Config
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import AllocPolicy, Disk, DiskTemplate, Group, Network, Nic, Put
from ganeti.model.types import Uuid
from ganeti.ops.group import OpGroupAdd, OpGroupAssignNodes, OpGroupRemove, OpGroupRename, OpGroupSetParams

OTHER = Group(uuid=Uuid("00000000-0000-4000-8000-0000000000bb"), name="rack2")
SPEC = {"memory-size": 128, "cpu-count": 1, "disk-count": 1, "disk-size": 1024, "nic-count": 1, "spindle-use": 1}


def with_other(config: Config | None = None, **changes) -> PlanEnv:
    return PlanEnv((config or make_config()).apply([Put(msgspec.structs.replace(OTHER, **changes))]))


def bounds(**highest: int):
    most = {key: value * 8 for key, value in SPEC.items()} | {key.replace("_", "-"): v for key, v in highest.items()}
    return {"minmax": [{"min": SPEC, "max": most}]}


def mirrored(name: str = "web1.example.com") -> Disk:
    return Disk(
        uuid=Uuid(f"{name}-mirror"),
        template=DiskTemplate.DRBD,
        size=1024,
        logical_id=(node_uuid(1), node_uuid(2), 11000, 0, 0, "s"),
    )


# Add, modify


def test_add_keeps_only_what_differs_from_the_defaults():
    env = PlanEnv(make_config())
    op = OpGroupAdd(
        group_name="rack2",
        alloc_policy=AllocPolicy.LAST_RESORT,
        ndparams={"spindle_count": "4"},
        diskparams={"drbd": {"resync-rate": "1000"}},
        ipolicy={"vcpu-ratio": "2.5"},
        hv_state={"fake": {"mem_total": "1g"}},
        disk_state={"plain/xenvg": {"disk_total": "4g"}},
    )
    assert shape(plan(op, env)) == ["commit put final"]
    execute(op, env)
    group = env.config.group("rack2")
    assert (group.alloc_policy, group.ndparams) == (AllocPolicy.LAST_RESORT, {"spindle_count": 4})
    assert (group.diskparams, group.ipolicy) == ({"drbd": {"resync-rate": 1000}}, {"vcpu-ratio": 2.5})
    assert group.hv_state_static == {"fake": {"mem_total": 1024}}
    assert group.disk_state_static == {"plain/xenvg": {"disk_total": 4096}}


def test_two_additions_of_one_name_wait_for_each_other():
    op = OpGroupAdd(group_name="Rack2")
    assert unit_of(op).locks(make_config()).wanted[LockKey(Level.GROUP, "name:rack2")] is True


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"group_name": "default"}, "already_exists", "default"),
        ({"group_name": "DEFAULT"}, "already_exists", "DEFAULT"),
        ({"group_name": GROUP}, "already_exists", GROUP),
        ({"group_name": "-x"}, "wrong_input", "cannot be the name"),
        ({"group_name": "a b"}, "wrong_input", "cannot be the name"),
        ({"ndparams": {"spindles": 1}}, "wrong_input", "spindles"),
        ({"diskparams": {"tape": {}}}, "wrong_input", "tape"),
        ({"diskparams": {"file": {"pool": "x"}}}, "wrong_input", "pool"),
        ({"diskparams": {"drbd": {"protocol": "D"}}}, "wrong_input", "A, B, C"),
        ({"diskparams": {"drbd": False}}, "wrong_input", "are wanted"),
        ({"hv_state": {"hyper": {}}}, "wrong_input", "hyper"),
        ({"disk_state": {"plain": 5}}, "wrong_input", "plain"),
        ({"disk_state": {"plain/vg": {"size": 5}}}, "wrong_input", "size"),
        ({"ipolicy": {"std": SPEC}}, "wrong_input", "unknown key"),
        ({"ipolicy": {"vcpu-ratio": 0}}, "wrong_input", "more than 0"),
        ({"ipolicy": {"vcpu-ratio": "inf"}}, "wrong_input", "more than 0"),
        ({"ipolicy": {"disk-templates": ["tape"]}}, "wrong_input", "tape"),
        ({"ipolicy": {"disk-templates": []}}, "wrong_input", "at least one"),
        ({"ipolicy": {"minmax": []}}, "wrong_input", "list of min and max"),
        ({"ipolicy": {"minmax": [{"min": SPEC}]}}, "wrong_input", "min and max"),
        ({"ipolicy": {"minmax": [{"min": {}, "max": SPEC}]}}, "wrong_input", "has no"),
        ({"ipolicy": {"minmax": [{"min": {**SPEC, "x": 1}, "max": SPEC}]}}, "wrong_input", "'x'"),
        ({"ipolicy": {"minmax": [{"min": {**SPEC, "cpu-count": -1}, "max": SPEC}]}}, "wrong_input", "cannot be"),
        ({"ipolicy": bounds(cpu_count=0)}, "wrong_input", "more than the greatest"),
        ({"ipolicy": {"minmax": [{"min": {**SPEC, "cpu-count": 2}, "max": {**SPEC, "cpu-count": 4}}]}},
         "wrong_input", "the standard cpu-count"),
    ],
)  # fmt: skip
def test_add_is_refused(change, code, text):
    err = refused(OpGroupAdd(**{"group_name": "rack2", **change}), PlanEnv(make_config()))
    assert (err.code, text in str(err)) == (code, True), str(err)


def test_modify_changes_what_is_given_and_default_takes_an_override_away():
    env = with_other(ipolicy={"vcpu-ratio": 2.0, "disk-templates": ["plain"]}, ndparams={"spindle_count": 4})
    op = OpGroupSetParams(
        group_name="rack2",
        alloc_policy=AllocPolicy.UNALLOCABLE,
        ndparams={"spindle_count": "default"},
        ipolicy={"vcpu-ratio": "default", "disk-templates": ["drbd"], "spindle-ratio": 3},
    )
    assert execute(op, env) == [
        ["alloc_policy", "unallocable"],
        ["ndparams/spindle_count", "default"],
        ["ipolicy/disk-templates", ["drbd"]],
        ["ipolicy/spindle-ratio", 3.0],
        ["ipolicy/vcpu-ratio", "default"],
    ]
    group = env.config.group("rack2")
    assert (group.alloc_policy, group.ndparams) == (AllocPolicy.UNALLOCABLE, {})
    assert group.ipolicy == {"disk-templates": ["drbd"], "spindle-ratio": 3.0}


def test_modify_names_the_instances_that_break_the_new_policy():
    small = make_instance("small.example.com", beparams={"maxmem": 256})
    big = make_instance("big.example.com", beparams={"maxmem": 4096})
    env = PlanEnv(make_config(small, big))
    op = OpGroupSetParams(group_name="default", ipolicy=bounds())
    assert unit_of(op).locks(env.config).wanted[LockKey(Level.INSTANCE, ALL)] is False
    execute(op, env)
    assert len(env.warnings) == 1
    assert "big.example.com" in env.warnings[0]
    assert "memory-size 4096 is not in 128 to 1024" in env.warnings[0]
    assert "small.example.com" not in env.warnings[0]
    env.warnings.clear()
    execute(OpGroupSetParams(group_name="default", ipolicy={"spindle-ratio": 9}), env)
    assert env.warnings == []  # it broke the policy before


def test_modify_of_nothing_is_refused():
    assert refused(OpGroupSetParams(group_name="default"), PlanEnv(make_config())).code == "wrong_input"


def test_policy_looks_at_the_template_of_every_disk():
    disks = (file_disk("a"), msgspec.structs.replace(file_disk("b"), template=DiskTemplate.SHAREDFILE))
    env = PlanEnv(make_config(make_instance("mixed.example.com", disks=disks)))
    execute(OpGroupSetParams(group_name="default", ipolicy={"disk-templates": ["file"]}), env)
    assert "mixed.example.com (disk template sharedfile is not allowed)" in env.warnings[0]


# Rename, remove


def test_rename_runs_hooks_on_the_groups_nodes_too():
    env = PlanEnv(make_config())
    op = OpGroupRename(group_name="default", new_name="rack1")
    unit = unit_of(op)
    hooks = unit.hooks(check(op, env), env.config)
    assert hooks.pre == hooks.post == (node_uuid(1), node_uuid(2), node_uuid(3))
    assert hooks.environment == {"OP_TARGET": "default", "OLD_NAME": "default", "NEW_NAME": "rack1"}
    assert execute(op, env) == "rack1"
    assert env.config.group("rack1").uuid == GROUP
    assert execute(OpGroupRename(group_name="rack1", new_name="Rack1"), env) == "Rack1"


def test_rename_to_a_name_that_is_taken_is_refused():
    assert refused(OpGroupRename(group_name="default", new_name="rack2"), with_other()).code == "already_exists"


def test_remove_of_an_empty_group():
    env = with_other()
    execute(OpGroupRemove(group_name="rack2"), env)
    assert list(env.config.groups) == [GROUP]


def test_remove_of_a_group_with_nodes_or_of_the_last_is_refused():
    assert "3 nodes" in str(refused(OpGroupRemove(group_name="default"), with_other()))
    lonely = PlanEnv(make_config(nodes=[make_node(1, group=OTHER.uuid)]).apply([Put(OTHER)]))
    lonely.config = lonely.config.apply([Put(OTHER)])
    execute(OpGroupRemove(group_name="default"), lonely)
    lonely.config = Config.load([obj for obj in lonely.config.objects() if obj.kind != "node"])
    assert "the last one" in str(refused(OpGroupRemove(group_name="rack2"), lonely))


# Assign


def test_assign_moves_the_nodes_and_locks_both_groups():
    env = with_other()
    op = OpGroupAssignNodes(group_name="rack2", nodes=("node2", "node3", "node2"))
    wanted = unit_of(op).locks(env.config).wanted
    assert wanted[LockKey(Level.GROUP, GROUP)] is wanted[LockKey(Level.GROUP, OTHER.uuid)] is True
    assert wanted[LockKey(Level.NODE, node_uuid(2))] is True
    execute(op, env)
    assert [env.config.nodes[node_uuid(n)].group for n in (1, 2, 3)] == [GROUP, OTHER.uuid, OTHER.uuid]
    assert plan(op, env) == []


def test_assign_that_splits_a_mirror_needs_force():
    env = with_other(make_config(make_instance(disks=(mirrored(),))))
    op = OpGroupAssignNodes(group_name="rack2", nodes=("node2",))
    assert "web1.example.com" in str(refused(op, env))
    assert refused(OpGroupAssignNodes(group_name="rack2", nodes=()), env).code == "wrong_input"
    check(OpGroupAssignNodes(group_name="rack2", nodes=("node1", "node2")), env)
    assert env.warnings == []
    execute(msgspec.structs.replace(op, force=True), env)
    assert "would be split" in env.warnings[0]
    env.config = env.config.apply([Put(Group(uuid=Uuid("third"), name="rack3"))])
    execute(OpGroupAssignNodes(group_name="rack3", nodes=("node2",)), env)
    assert "split over node groups already" in env.warnings[1]


def test_assign_to_a_group_without_the_instances_network_needs_force():
    net = Network(uuid=Uuid("net"), name="lan", network="192.0.2.0/24")
    nic = Nic(uuid=Uuid("n"), mac="aa:00:00:00:00:01", ip="192.0.2.9", network=net.uuid)
    env = with_other(make_config(make_instance(nics=(nic,), node=2)).apply([Put(net)]))
    op = OpGroupAssignNodes(group_name="rack2", nodes=("node2",))
    assert "(lan)" in str(refused(op, env))
    env.config = env.config.apply([Put(msgspec.structs.replace(OTHER, networks={net.uuid: {}}))])
    check(op, env)


def test_assign_tells_who_breaks_the_other_groups_policy():
    env = with_other(make_config(make_instance(beparams={"maxmem": 4096}, node=2)), ipolicy=bounds())
    execute(OpGroupAssignNodes(group_name="rack2", nodes=("node2",)), env)
    assert "memory-size 4096" in env.warnings[0]
