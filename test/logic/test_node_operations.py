"""Nodes: adding, removing, roles."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from logic.plan_env import (
    PlanEnv,
    check,
    execute,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    plan,
    refused,
    shape,
    unit_of,
    up,
)

from ganeti.calls.node import AddressProbe, NodeLeave, NodeVersion, VersionReply
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import Node, Put
from ganeti.ops.node import OpNodeAdd, OpNodeRemove, OpNodeSetParams

NEW = OpNodeAdd(
    node_name="node4.example.com", primary_ip="192.0.2.4", node_uuid=node_uuid(4), certificate_digest="4" * 64
)


def answer(**changes: Any) -> VersionReply:
    plain = VersionReply(
        software="0.1.0",
        protocol=1,
        node="node4.example.com",
        uuid=node_uuid(4),
        cluster="cluster.example.com",
        master="node1.example.com",
        term=1,
        boot_id="b",
        time=0.0,
    )
    return msgspec.structs.replace(plain, **changes)


def env_for_add(nodes: list[Node] | None = None, **changes: Any) -> PlanEnv:
    env = PlanEnv(make_config(nodes=nodes))
    own = answer(node="node1.example.com", uuid=node_uuid(1))
    env.rpc.answers[NodeVersion] = lambda node, call: own if node == node_uuid(1) else answer(**changes)
    return env


def node_of(env: PlanEnv, number: int) -> Node:
    return env.config.nodes[node_uuid(number)]


# Add


def test_add_excludes_everything_else():
    wanted = unit_of(NEW).locks(make_config()).wanted
    assert wanted[LockKey(Level.CLUSTER, "BGL")] is True


def test_add_commits_then_lets_it_vote():
    env = env_for_add()
    assert shape(plan(NEW, env)) == ["commit put"]
    execute(NEW, env)
    added = node_of(env, 4)
    assert (added.master_candidate, added.secondary_ip) == (True, "192.0.2.4")
    assert env.membership.log == ["trust", "add node4.example.com", "trust"]


def test_add_to_a_full_pool_makes_a_regular_node():
    env = PlanEnv(make_config(candidate_pool_size=3))
    env.rpc.answers = env_for_add().rpc.answers
    execute(NEW, env)
    assert not node_of(env, 4).master_candidate
    assert env.membership.log == ["trust"]


def test_add_resolves_the_name_when_no_address_is_given():
    env = env_for_add()
    env.addresses["node4"] = ("node4.example.com", "192.0.2.4")
    facts = check(msgspec.structs.replace(NEW, node_name="node4", primary_ip=""), env)
    assert (facts.node.name, facts.node.primary_ip) == ("node4.example.com", "192.0.2.4")


@pytest.mark.parametrize(
    ("op", "reply", "code", "text"),
    [
        ({"node_name": "node2.example.com"}, {}, "already_exists", "--readd"),
        ({"node_name": "a b"}, {}, "wrong_input", "cannot be the name"),
        ({"readd": True}, {}, "unknown_entity", "not known"),
        ({"primary_ip": "192.0.2.2"}, {}, "resource_not_unique", "node2"),
        ({"primary_ip": "x"}, {}, "wrong_input", "no IP address"),
        ({"secondary_ip": "198.51.100.4"}, {}, "wrong_input", "leave -s out"),
        ({"certificate_digest": ""}, {}, "wrong_input", "no certificate"),
        ({"certificate_digest": "2" * 64}, {}, "resource_not_unique", "certificate"),
        ({"node_uuid": node_uuid(2)}, {}, "already_exists", "has the uuid"),
        ({"group": "nope"}, {}, "unknown_entity", "not known"),
        ({}, {"protocol": 2}, "environment_error", "protocol 2"),
        ({}, {"cluster": "other"}, "wrong_state", "belongs to cluster 'other'"),
        ({}, {"node": "node5.example.com"}, "environment_error", "node5"),
        ({}, {"uuid": "x"}, "environment_error", "another node"),
    ],
)
def test_add_is_refused(op, reply, code, text):
    err = refused(msgspec.structs.replace(NEW, **op), env_for_add(**reply))
    assert (err.code, text in str(err)) == (code, True), str(err)


def test_add_of_a_silent_node_is_refused():
    env = env_for_add()
    env.rpc.fail(NodeVersion, "unreachable")
    assert refused(NEW, env).code == "environment_error"


def test_readd_votes_again_after_it_was_brought_up_to_date():
    nodes = [make_node(1), make_node(2), make_node(3), make_node(4)]
    env = env_for_add(nodes)
    execute(msgspec.structs.replace(NEW, readd=True, certificate_digest="5" * 64), env)
    assert env.membership.log == ["remove node4.example.com", "trust", "add node4.example.com", "trust"]
    assert node_of(env, 4).certificate_digest == "5" * 64


def test_readd_with_other_addresses_is_refused():
    env = env_for_add([make_node(1), make_node(4, primary_ip="192.0.2.40", secondary_ip="192.0.2.40")])
    assert refused(msgspec.structs.replace(NEW, readd=True), env).code == "wrong_input"


# Remove


def test_remove_ends_the_vote_then_forgets_then_tells_the_node():
    env = PlanEnv(make_config())
    assert shape(plan(OpNodeRemove(node_name="node3"), env)) == ["commit delete"]
    execute(OpNodeRemove(node_name="node3"), env)
    assert node_uuid(3) not in env.config.nodes
    assert env.membership.log == ["remove node3.example.com", "trust"]
    assert [(node, type(call)) for node, call in env.rpc.calls] == [(node_uuid(3), NodeLeave)]


def test_remove_of_a_silent_node_warns():
    env = PlanEnv(make_config())
    env.rpc.fail(NodeLeave, "unreachable")
    execute(OpNodeRemove(node_name="node3"), env)
    assert "did not clean up" in env.warnings[0]


def test_remove_fills_the_pool_again():
    nodes = [make_node(1), make_node(2), make_node(3, master_candidate=False)]
    env = PlanEnv(make_config(nodes=nodes, candidate_pool_size=2))
    execute(OpNodeRemove(node_name="node2"), env)
    assert env.membership.log == ["remove node2.example.com", "add node3.example.com", "trust"]


def test_remove_is_refused():
    env = PlanEnv(make_config(make_instance(node=2)))
    assert refused(OpNodeRemove(node_name="node1"), env).code == "wrong_state"
    assert "web1.example.com" in str(refused(OpNodeRemove(node_name="node2"), env))


# Roles


def modify(number: int = 2, **changes: Any) -> OpNodeSetParams:
    return OpNodeSetParams(node_name=f"node{number}", **changes)


def test_modify_locks_the_node_or_all_when_another_may_be_promoted():
    config = make_config()
    assert unit_of(modify(drained=True)).locks(config).wanted[LockKey(Level.NODE, node_uuid(2))] is True
    assert unit_of(modify(drained=True, auto_promote=True)).locks(config).wanted[LockKey(Level.NODE, ALL)] is True


def test_offline_demotes_in_one_change_and_publishes_trust():
    env = PlanEnv(make_config())
    told = execute(modify(offline=True), env)
    assert told == [["offline", "True"], ["master_candidate", "auto-demotion due to offline"]]
    assert (node_of(env, 2).offline, node_of(env, 2).master_candidate) == (True, False)
    assert env.membership.log == ["remove node2.example.com", "trust"]
    assert env.commits == []


def test_drained_clears_offline():
    nodes = [make_node(1), make_node(2, offline=True, master_candidate=False)]
    env = PlanEnv(make_config(nodes=nodes))
    assert execute(modify(drained=True), env)[1] == ["offline", "clear offline status due to drain"]
    assert (node_of(env, 2).offline, node_of(env, 2).drained) == (False, True)


def test_back_online_is_promoted_when_the_pool_is_short():
    nodes = [make_node(1), make_node(2, offline=True, master_candidate=False)]
    env = PlanEnv(make_config(nodes=nodes))
    told = execute(modify(offline=False), env)
    assert told[1][0] == "master_candidate"
    assert node_of(env, 2).master_candidate
    assert len(env.commits) == 1  # reachable first, then the vote
    assert env.membership.log == ["add node2.example.com", "trust"]


def test_two_back_online_at_once_do_not_overfill_the_pool():
    away = [make_node(number, offline=True, master_candidate=False) for number in (2, 3)]
    env = PlanEnv(make_config(nodes=[make_node(1), *away], candidate_pool_size=2))
    units = [unit_of(OpNodeSetParams(node_name=node.name, offline=False)) for node in away]

    async def both():
        facts = [await unit.check(env) for unit in units]  # each finds the pool short
        await asyncio.gather(*(unit.execute(each, env) for unit, each in zip(units, facts, strict=True)))

    asyncio.run(both())
    assert sorted(node.name for node in env.config.candidates) == ["node1.example.com", "node2.example.com"]
    assert not node_of(env, 3).offline
    assert "node node3.example.com stays a regular node" in env.log[-1]


def test_back_online_but_silent_warns():
    nodes = [make_node(1), make_node(2, offline=True, master_candidate=False, master_capable=False)]
    env = PlanEnv(make_config(nodes=nodes))
    env.rpc.fail(NodeVersion, "unreachable")
    execute(modify(offline=False), env)
    assert "does not answer" in env.warnings[0]


def test_undrained_on_request_stays_regular():
    nodes = [make_node(1), make_node(2, drained=True, master_candidate=False)]
    env = PlanEnv(make_config(nodes=nodes))
    execute(modify(drained=False, master_candidate=False), env)
    assert not node_of(env, 2).master_candidate
    assert env.membership.log == []


def short_pool() -> PlanEnv:
    nodes = [make_node(1), make_node(2), make_node(3, master_candidate=False)]
    return PlanEnv(make_config(nodes=nodes, candidate_pool_size=2))


def test_demotion_that_leaves_too_few_needs_help():
    assert refused(modify(master_candidate=False), short_pool()).code == "wrong_state"


def test_demotion_by_force_warns():
    env = short_pool()
    execute(modify(master_candidate=False, force=True), env)
    assert "there are 1 master candidates, 2 are wanted" in env.warnings[0]
    assert env.membership.log == ["remove node2.example.com", "trust"]


def test_demotion_with_auto_promote_promotes_another_first():
    env = short_pool()
    execute(modify(master_candidate=False, auto_promote=True), env)
    assert env.membership.log == ["add node3.example.com", "remove node2.example.com", "trust"]


@pytest.mark.parametrize(
    ("op", "code", "text"),
    [
        (modify(), "wrong_input", "nothing to change"),
        (modify(offline=True, drained=True), "wrong_input", "only one of"),
        (modify(1, offline=True), "wrong_state", "is the master"),
        (modify(1, master_capable=False), "wrong_state", "is the master"),
        (modify(master_candidate=True, master_capable=False), "wrong_input", "not master_capable"),
        (modify(3, master_candidate=True), "wrong_state", "--drained no"),
        (modify(vm_capable=False), "wrong_state", "holds 1 instances"),
        (modify(9, drained=True), "unknown_entity", "not known"),
    ],
)
def test_modify_is_refused(op, code, text):
    nodes = [make_node(1), make_node(2), make_node(3, drained=True, master_candidate=False)]
    env = PlanEnv(make_config(make_instance(node=2), nodes=nodes))
    if code == "unknown_entity":
        with pytest.raises(Exception, match=text):
            unit_of(op).locks(env.config)
        return
    err = refused(op, env)
    assert (err.code, text in str(err)) == (code, True), str(err)


def test_master_may_change_what_is_no_role():
    env = PlanEnv(make_config())
    assert execute(modify(1, vm_capable=False), env) == [["vm_capable", "False"]]
    assert not node_of(env, 1).vm_capable


# Values that are no roles


def test_parameters_and_states_are_recorded_and_told():
    env = PlanEnv(make_config())
    op = modify(
        ndparams={"spindle_count": "3", "oob_program": "/bin/oob"},
        hv_state={"fake": {"mem_total": "4g"}},
        disk_state={"plain": {"xenvg": {"disk_total": 100}}},
        powered=False,
    )
    assert execute(op, env) == [
        ["powered", "False"],
        ["ndparams/oob_program", "/bin/oob"],
        ["ndparams/spindle_count", "3"],
        ["hv_state/fake", "{'mem_total': 4096}"],
        ["disk_state/plain/xenvg", "{'disk_total': 100}"],
    ]
    node = node_of(env, 2)
    assert (node.ndparams, node.powered) == ({"spindle_count": 3, "oob_program": "/bin/oob"}, False)
    assert node.disk_state_static == {"plain/xenvg": {"disk_total": 100}}
    execute(modify(ndparams={"spindle_count": "default"}), env)
    assert node_of(env, 2).ndparams == {"oob_program": "/bin/oob"}


def test_new_node_has_the_parameters_that_were_given():
    env = env_for_add()
    execute(msgspec.structs.replace(NEW, ndparams={"spindle_count": 2}, hv_state={"fake": {"mem_total": 5}}), env)
    node = node_of(env, 4)
    assert (node.ndparams, node.hv_state_static) == ({"spindle_count": 2}, {"fake": {"mem_total": 5}})


@pytest.mark.parametrize(
    ("op", "code", "text"),
    [
        (modify(ndparams={"exclusive_storage": True}), "wrong_input", "gnt-group modify"),
        (modify(ndparams={"wheels": 4}), "wrong_input", "wheels"),
        (modify(powered=False), "wrong_state", "out-of-band"),
        (modify(3, offline=False), "wrong_state", "powered off"),
        (modify(secondary_ip="x"), "wrong_input", "no IP address"),
        (modify(secondary_ip="192.0.2.1"), "resource_not_unique", "node1.example.com"),
        (modify(secondary_ip="192.0.2.100"), "resource_not_unique", "the cluster's"),
        (modify(secondary_ip="198.51.100.2"), "wrong_input", "change the master first"),
        (modify(1, secondary_ip="198.51.100.1"), "wrong_state", "node2.example.com, node3.example.com"),
    ],
)
def test_values_are_refused(op, code, text):
    nodes = [make_node(1), make_node(2), make_node(3, offline=True, powered=False, master_candidate=False)]
    err = refused(op, PlanEnv(make_config(nodes=nodes)))
    assert (err.code, text in str(err)) == (code, True), str(err)


def dual_homed() -> PlanEnv:
    nodes = [make_node(number, secondary_ip=f"198.51.100.{number}") for number in (1, 2)]
    env = PlanEnv(make_config(make_instance(node=2), nodes=nodes))
    env.rpc.answers[AddressProbe] = True
    return env


def test_secondary_address_changes_when_somebody_is_there():
    env = dual_homed()
    op = modify(secondary_ip="198.51.100.20")
    assert unit_of(op).locks(env.config).wanted[LockKey(Level.INSTANCE, ALL)] is False
    assert execute(op, env) == [["secondary_ip", "198.51.100.20"]]
    assert node_of(env, 2).secondary_ip == "198.51.100.20"
    assert [call for _, call in env.rpc.calls] == [AddressProbe(address="198.51.100.20", port=1811)]
    env.rpc.answers[AddressProbe] = False
    assert "reaches nobody" in str(refused(modify(secondary_ip="198.51.100.21"), env))
    execute(modify(secondary_ip="198.51.100.20"), env)  # it has it already


def test_secondary_address_stays_while_instances_are_up():
    env = dual_homed()
    env.config = env.config.apply([Put(up(make_instance(node=2)))])
    assert "web1.example.com" in str(refused(modify(secondary_ip="198.51.100.20"), env))


def test_first_node_gets_an_address_of_its_own_by_force():
    env = PlanEnv(make_config())
    env.rpc.answers[AddressProbe] = True
    execute(modify(1, secondary_ip="198.51.100.1", force=True), env)
    assert "node2.example.com, node3.example.com" in env.warnings[0]
    execute(modify(2, secondary_ip="198.51.100.2"), env)


def test_address_of_an_offline_node_is_not_looked_for():
    env = dual_homed()
    away = make_node(2, secondary_ip="198.51.100.2", offline=True, master_candidate=False)
    env.config = env.config.apply([Put(away)])
    execute(modify(secondary_ip="198.51.100.20"), env)
    assert "not checked" in env.warnings[0]
