"""Cluster settings, destroy, redistribution, delays, OS definitions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from logic.plan_env import (
    BUSYBOX,
    PlanEnv,
    effects,
    execute,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    plan,
    refused,
    shape,
    unit_of,
)

from ganeti.calls.instance import HypervisorValidate
from ganeti.calls.node import TestDelay as DelayCall
from ganeti.calls.os import OsDiagnose
from ganeti.model.locks import Level, LockKey
from ganeti.model.objects import DiskTemplate
from ganeti.ops.cluster import OpClusterDestroy, OpClusterRedistConf, OpClusterSetParams
from ganeti.ops.os import OpOsDiagnose
from ganeti.ops.test import OpTestDelay

# Settings


def test_set_params_merges_defaults():
    env = PlanEnv(make_config(beparams={"vcpus": 2, "maxmem": 512}))
    execute(OpClusterSetParams(beparams={"vcpus": None, "memory": "256m"}, max_running_jobs=5), env)
    assert env.config.cluster.beparams == {"minmem": 256, "maxmem": 256}
    assert env.config.cluster.max_running_jobs == 5


def test_set_params_of_a_hypervisor_are_checked_on_every_node_that_can_hold_instances():
    nodes = [make_node(1), make_node(2, vm_capable=False), make_node(3, offline=True, master_candidate=False)]
    env = PlanEnv(make_config(nodes=nodes))
    execute(OpClusterSetParams(hvparams={"fake": {"migration_mode": "non-live"}}), env)
    assert env.config.cluster.hvparams == {"fake": {"migration_mode": "non-live"}}
    assert [node for node, call in env.rpc.calls if isinstance(call, HypervisorValidate)] == [node_uuid(1)]


def test_set_params_enables_hypervisors_and_templates():
    env = PlanEnv(make_config())
    execute(OpClusterSetParams(enabled_hypervisors=("kvm", "fake"), enabled_disk_templates=("sharedfile",)), env)
    assert env.config.cluster.enabled_hypervisors == ("kvm", "fake")
    assert env.config.cluster.enabled_disk_templates == (DiskTemplate.SHAREDFILE,)


def test_bigger_pool_promotes_until_it_is_full():
    nodes = [make_node(1), make_node(2, master_candidate=False), make_node(3, master_candidate=False)]
    env = PlanEnv(make_config(nodes=nodes, candidate_pool_size=1))
    execute(OpClusterSetParams(candidate_pool_size=10), env)
    assert sorted(env.membership.log) == ["add node2.example.com", "add node3.example.com", "trust"]


def test_smaller_pool_ends_candidates_but_never_the_master():
    env = PlanEnv(make_config())
    execute(OpClusterSetParams(candidate_pool_size=1), env)
    assert [node.name for node in env.config.candidates] == ["node1.example.com"]
    assert sorted(env.membership.log) == ["remove node2.example.com", "remove node3.example.com", "trust"]


@pytest.mark.parametrize(
    ("op", "code", "text"),
    [
        ({}, "wrong_input", "nothing to change"),
        ({"candidate_pool_size": 0}, "wrong_input", "at least 1"),
        ({"max_running_jobs": 0}, "wrong_input", "at least 1"),
        ({"max_tracked_jobs": -1}, "wrong_input", "at least 1"),
        ({"enabled_hypervisors": ()}, "wrong_input", "at least one"),
        ({"enabled_hypervisors": ("vmware",)}, "wrong_input", "no hypervisor 'vmware'"),
        ({"enabled_hypervisors": ("kvm",)}, "wrong_state", "in use by instance web1"),
        ({"enabled_disk_templates": ()}, "wrong_input", "at least one"),
        ({"enabled_disk_templates": ("tape",)}, "wrong_input", "no disk template 'tape'"),
        ({"enabled_disk_templates": ("diskless",)}, "wrong_state", "in use by instance web1"),
        ({"hvparams": {"vmware": {}}}, "wrong_input", "no hypervisor 'vmware'"),
        ({"hvparams": {"fake": {"colour": 1}}}, "wrong_input", "no parameter 'colour'"),
        ({"hvparams": {"fake": {"migration_mode": "x"}}}, "wrong_input", "migration_mode"),
        ({"beparams": {"minmem": 500}}, "wrong_input", "more than maxmem"),
        ({"beparams": {"maxmem": 200, "minmem": 200}}, "wrong_input", "web1.example.com does not fit"),
    ],
)
def test_set_params_is_refused(op, code, text):
    env = PlanEnv(make_config(make_instance(beparams={"maxmem": 150})))
    err = refused(OpClusterSetParams(**op), env)
    assert (err.code, text in str(err)) == (code, True), str(err)


def test_set_params_is_refused_by_a_node():
    env = PlanEnv(make_config())
    env.rpc.answers[HypervisorValidate] = lambda node, call: "no kernel" if node == node_uuid(3) else ""
    op = OpClusterSetParams(hvparams={"fake": {"migration_mode": "live"}})
    assert "on node node3.example.com: no kernel" in str(refused(op, env))
    env.rpc.fail(HypervisorValidate, "timeout")
    assert refused(op, env).code == "environment_error"


# Destroy, redistribution


def test_destroy_needs_an_empty_cluster():
    only_master = [make_node(1)]
    assert execute(OpClusterDestroy(), PlanEnv(make_config(nodes=only_master))) == "node1.example.com"
    assert "node2.example.com" in str(refused(OpClusterDestroy(), PlanEnv(make_config())))
    env = PlanEnv(make_config(make_instance(), nodes=only_master))
    assert "web1.example.com" in str(refused(OpClusterDestroy(), env))


def test_destroy_gives_the_clusters_address_up():
    assert shape(plan(OpClusterDestroy(), PlanEnv(make_config(nodes=[make_node(1)])))) == ["master_ip_down"]


def test_destroy_has_a_hook_on_the_master_only():
    config = make_config(nodes=[make_node(1)])
    hooks = unit_of(OpClusterDestroy()).hooks("node1", config)
    assert (hooks.pre, hooks.post, hooks.environment) == ((), (node_uuid(1),), {"OP_TARGET": "cluster.example.com"})


def test_redistribution_commits_the_same_and_publishes_trust():
    env = PlanEnv(make_config())
    assert shape(plan(OpClusterRedistConf(), env)) == ["commit put"]
    execute(OpClusterRedistConf(), env)
    assert env.membership.log == ["trust"]
    assert env.sends_all_files


# Delay


def test_delay_waits_on_the_master_then_on_nodes_each_round():
    env = PlanEnv(make_config())
    execute(OpTestDelay(duration=2.0, on_nodes=("node2", "node3"), repeat=1), env)
    assert env.slept == [2.0, 2.0]
    assert [node for node, call in env.rpc.calls if isinstance(call, DelayCall)] == [
        node_uuid(2), node_uuid(3), node_uuid(2), node_uuid(3),
    ]  # fmt: skip
    requests = [effect.call.request for effect in effects(plan(OpTestDelay(duration=1.0, on_nodes=("node2",)), env))]
    assert len(set(requests)) == 1


def test_delay_holds_locks_only_when_told_so():
    config = make_config()
    assert len(unit_of(OpTestDelay(duration=1.0, on_nodes=("node2",))).locks(config).wanted) == 1
    wanted = unit_of(OpTestDelay(duration=1.0, on_nodes=("node2",), no_locks=False)).locks(config).wanted
    assert wanted[LockKey(Level.NODE, node_uuid(2))] is False
    assert wanted[LockKey(Level.NODE, node_uuid(1))] is False


def test_delay_is_refused():
    env = PlanEnv(make_config(nodes=[make_node(1), make_node(2, offline=True, master_candidate=False)]))
    assert refused(OpTestDelay(duration=1.0, on_master=False), env).code == "wrong_input"
    assert refused(OpTestDelay(duration=1.0, on_nodes=("node2",)), env).code == "wrong_state"


# OS definitions


def diagnose(env: PlanEnv, *fields: str, names: tuple[str, ...] = ()) -> list[list[Any]]:
    return execute(OpOsDiagnose(output_fields=fields, names=names), env)


def test_os_is_valid_when_all_nodes_have_the_same():
    env = PlanEnv(make_config())
    assert diagnose(env, "name", "valid", "api_versions") == [["busybox", True, [20]]]
    other = msgspec.structs.replace(BUSYBOX, variants=("tiny",))
    env.rpc.answers[OsDiagnose] = lambda node, call: (other,) if node == node_uuid(3) else (BUSYBOX,)
    assert diagnose(env, "name", "valid") == [["busybox", False]]
    assert diagnose(env, "name") == []


def test_os_that_one_node_misses_is_not_valid_and_the_node_shows():
    env = PlanEnv(make_config())
    env.rpc.answers[OsDiagnose] = lambda node, call: () if node == node_uuid(2) else (BUSYBOX,)
    row = diagnose(env, "valid", "node_status")[0]
    assert row[0] is False
    assert row[1]["node2.example.com"] == []
    assert row[1]["node1.example.com"] == [["/srv/ganeti/os/busybox", True, "", [], [], [20], True]]


def test_os_of_silent_nodes_is_warned_of():
    env = PlanEnv(make_config())
    env.rpc.fail(OsDiagnose, "timeout")
    assert diagnose(env, "name", "valid") == []
    assert len(env.warnings) == 3


def test_os_query_is_refused():
    env = PlanEnv(make_config())
    assert refused(OpOsDiagnose(output_fields=("colour",)), env).code == "wrong_input"
    assert refused(OpOsDiagnose(output_fields=("name",), names=("plan9",)), env).code == "unknown_entity"
    assert diagnose(env, "name", names=("busybox",)) == [["busybox"]]
