"""Creating an instance: what is refused, in which order it is made, how it is taken back."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from logic.plan_env import (
    BUSYBOX,
    PlanEnv,
    check,
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

from ganeti.calls.instance import HypervisorValidate, InstanceStart
from ganeti.calls.node import NodeInfo
from ganeti.calls.os import OsDiagnose
from ganeti.logic.steps import Commit
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import AdminState, DiskTemplate, Put
from ganeti.ops.instance import OpInstanceCreate


def op(**changes: object) -> OpInstanceCreate:
    plain = OpInstanceCreate(
        instance_name="web1.example.com",
        os_type="busybox",
        disk_template=DiskTemplate.FILE,
        disks=({"size": 1024}, {"size": "2g", "mode": "ro", "name": "data"}),
        pnode="node2",
    )
    return msgspec.structs.replace(plain, **changes)


def test_locks_hold_the_new_name_and_the_node():
    wanted = unit_of(op()).locks(make_config()).wanted
    assert wanted == {
        LockKey(Level.CLUSTER, "BGL"): False,
        LockKey(Level.INSTANCE, "name:web1.example.com"): True,
        LockKey(Level.NODE, node_uuid(2)): False,
        LockKey(Level.NODE_RES, node_uuid(2)): True,
    }


def test_locks_without_a_node_share_all():
    wanted = (
        unit_of(op(pnode="", iallocator="builtin", disk_template=DiskTemplate.DISKLESS, disks=()))
        .locks(make_config())
        .wanted
    )
    assert wanted[LockKey(Level.NODE, ALL)] is False
    assert not any(key.level is Level.NODE_RES for key in wanted)


def test_plan_makes_disks_then_installs_then_adds_then_starts():
    env = PlanEnv(make_config())
    steps = plan(op(), env)
    assert shape(steps) == [
        "parallel volume_create volume_create",
        "release node_res",
        "os_create",
        "commit put resolve",
        "instance_start",
    ]


def test_every_effect_before_the_commit_has_an_undo_that_names_it():
    steps = plan(op(), PlanEnv(make_config()))
    until = next(index for index, step in enumerate(steps) if isinstance(step, Commit))
    made = effects(steps[:until])
    assert len(made) == 3
    for effect in made:
        assert effect.undo is not None
        assert effect.undo.undoes == effect.call.request
    assert [effect.undo.call_name for effect in made] == ["volume_remove", "volume_remove", "os_stop"]


def test_plan_without_a_start_ends_with_a_final_commit():
    assert shape(plan(op(start=False), PlanEnv(make_config()))) == [
        "parallel volume_create volume_create",
        "release node_res",
        "os_create",
        "parallel volume_close volume_close",
        "commit put final",
    ]


def test_no_install_implies_no_start():
    assert shape(plan(op(no_install=True, os_type=""), PlanEnv(make_config()))) == [
        "parallel volume_create volume_create",
        "release node_res",
        "commit put final",
    ]


def test_diskless_is_added_and_started():
    steps = plan(op(disk_template=DiskTemplate.DISKLESS, disks=()), PlanEnv(make_config()))
    assert shape(steps) == ["commit put resolve", "instance_start"]


def test_the_new_instance_is_complete():
    env = PlanEnv(make_config())
    request = op(
        nics=({"mac": "AA:BB:CC:DD:EE:F0", "ip": "192.0.2.77", "link": "br7"}, {}),
        beparams={"memory": "512m"},
        tags=("b", "a"),
    )
    facts = check(request, env)
    instance = facts.instance
    assert instance.primary_node == node_uuid(2)
    assert [disk.logical_id for disk in instance.disks] == [
        ("loop", "/srv/ganeti/file-storage/web1.example.com/disk0"),
        ("loop", "/srv/ganeti/file-storage/web1.example.com/disk1"),
    ]
    assert [disk.size for disk in instance.disks] == [1024, 2048]
    assert instance.nics[0].mac == "aa:bb:cc:dd:ee:f0"
    assert instance.nics[0].params == {"link": "br7"}
    assert instance.nics[1].mac.startswith("aa:00:00:")
    assert instance.beparams == {"minmem": 512, "maxmem": 512}
    assert instance.tags == ("a", "b")
    assert env.reserved == {node_uuid(2): 512}
    assert execute(request, env) == ["node2.example.com"]
    added = env.config.instance("web1.example.com")
    assert added.admin_state is AdminState.UP
    assert added.disks_active


def test_started_with_the_filled_parameters():
    env = PlanEnv(make_config(beparams={"vcpus": 3}))
    start = effects(plan(op(), env))[-1].call
    assert isinstance(start, InstanceStart)
    assert start.spec.beparams["vcpus"] == 3
    assert start.spec.instance.admin_state is AdminState.UP
    assert start.spec.primary_name == "node2.example.com"


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"instance_name": "no spaces"}, "wrong_input", "cannot be the name"),
        ({"instance_name": "old.example.com"}, "already_exists", "already an instance"),
        ({"mode": "remote-import"}, "wrong_input", "not available"),
        ({"os_type": ""}, "wrong_input", "no operating system"),
        ({"disk_template": DiskTemplate.RBD}, "wrong_input", "not available in this version"),
        ({"disk_template": DiskTemplate.SHAREDFILE}, "wrong_state", "not enabled"),
        ({"disks": ()}, "wrong_input", "needs at least one disk"),
        ({"disks": ({"mode": "rw"},)}, "wrong_input", "has no size"),
        ({"disks": ({"size": "10x"},)}, "wrong_input", "cannot read '10x'"),
        ({"disks": ({"size": 0},)}, "wrong_input", "not more than 0"),
        ({"disks": ({"size": True},)}, "wrong_input", "neither a number"),
        ({"disks": ({"size": 1, "colour": 1},)}, "wrong_input", "the keys are size, mode, name"),
        ({"disks": ({"size": 1, "mode": "rx"},)}, "wrong_input", "neither rw nor ro"),
        ({"disks": ({"size": 1},) * 17}, "wrong_input", "17 disks are too many"),
        ({"nics": ({"mac": "zz"},)}, "wrong_input", "no MAC address"),
        ({"nics": ({"mac": "01:00:00:00:00:00"},)}, "wrong_input", "group address"),
        ({"nics": ({"mac": "aa:00:00:11:22:33"},)}, "resource_not_unique", "in use"),
        ({"nics": ({"ip": "300.1.1.1"},)}, "wrong_input", "no IP address"),
        ({"nics": ({"ip": "auto"},)}, "wrong_input", "--name-check"),
        ({"nics": ({"mode": "routed"},)}, "wrong_input", "needs an ip"),
        ({"nics": ({"speed": 1},)}, "wrong_input", "the keys are mac"),
        ({"nics": ({"network": "lan"},)}, "unknown_entity", "lan"),
        ({"hypervisor": "kvm"}, "wrong_input", "not enabled"),
        ({"hvparams": {"colour": 1}}, "wrong_input", "no parameter 'colour'"),
        ({"hvparams": {"migration_mode": "live"}}, "wrong_input", "whole cluster"),
        ({"beparams": {"memory": "much"}}, "wrong_input", "cannot use 'much'"),
        ({"beparams": {"colour": 1}}, "wrong_input", "back-end parameters are"),
        ({"beparams": {"minmem": 512, "maxmem": 256}}, "wrong_input", "more than maxmem"),
        ({"beparams": {"memory": 128, "minmem": 64}}, "wrong_input", "not both"),
        ({"file_storage_dir": "/abs"}, "wrong_input", "relative path"),
        ({"file_storage_dir": "a/../b"}, "wrong_input", "relative path"),
        ({"file_driver": "tape"}, "wrong_input", "no file driver"),
        ({"tags": ("a b",)}, "wrong_input", "cannot be a tag"),
        ({"pnode": "node9"}, "unknown_entity", "not known"),
        ({"pnode": "node3"}, "wrong_state", "drained"),
        ({"pnode": ""}, "wrong_input", "neither a node nor an allocator"),
        ({"iallocator": "hail"}, "wrong_input", "both a node and an allocator"),
        ({"pnode": "", "iallocator": "../hail"}, "wrong_input", "not the name of an allocator"),
        ({"ip_check": True}, "wrong_input", "--name-check"),
        ({"name_check": True}, "resolver_error", "no address"),
        ({"os_type": "plan9"}, "unknown_entity", "it has busybox"),
        ({"os_type": "busybox+tiny"}, "wrong_input", "has no variants"),
        ({"disks": ({"size": 512},)}, "wrong_input", "--ignore-ipolicy"),
        ({"beparams": {"memory": 5000}}, "insufficient_resources", "5000 MiB wanted"),
        ({"disks": ({"size": 60_000},)}, "insufficient_resources", "60000 MiB wanted"),
    ],
)
def test_is_refused(changes, code, text):
    nodes = [make_node(1), make_node(2), make_node(3, drained=True, master_candidate=False)]
    env = PlanEnv(make_config(make_instance("old.example.com"), nodes=nodes))
    err = refused(op(**changes), env)
    assert err.code == code
    assert text in str(err)


def test_policy_only_warns_when_told_so():
    env = PlanEnv(make_config())
    check(op(disks=({"size": 64},), ignore_ipolicy=True), env)
    assert "disk-size 64 is not in 1024 to 1048576" in env.warnings[0]


@pytest.mark.parametrize("call", [HypervisorValidate, NodeInfo, OsDiagnose])
def test_a_node_that_does_not_answer_is_an_environment_error(call):
    env = PlanEnv(make_config())
    env.rpc.fail(call, "unreachable")
    assert refused(op(), env).code == "environment_error"


def test_hypervisor_parameters_are_checked_on_the_node():
    env = PlanEnv(make_config())
    env.rpc.answers[HypervisorValidate] = "there is no kernel"
    err = refused(op(), env)
    assert (err.code, "there is no kernel" in str(err)) == ("wrong_input", True)


def test_variants_must_be_named_and_known():
    env = PlanEnv(make_config())
    env.rpc.answers[OsDiagnose] = (msgspec.structs.replace(BUSYBOX, variants=("tiny", "big")),)
    assert "must include a variant" in str(refused(op(), env))
    assert "variants are tiny, big" in str(refused(op(os_type="busybox+huge"), env))
    assert check(op(os_type="busybox+huge", force_variant=True), env).instance.os == "busybox+huge"
    assert check(op(os_type="busybox+tiny"), env).instance.os == "busybox+tiny"


@pytest.mark.parametrize("listed", ["busybox", "busybox+tiny"])
def test_a_blacklisted_os_is_refused(listed):
    env = PlanEnv(make_config(blacklisted_os=(listed,)))
    env.rpc.answers[OsDiagnose] = (msgspec.structs.replace(BUSYBOX, variants=("tiny", "big")),)
    assert "is blacklisted" in str(refused(op(os_type="busybox+tiny"), env))
    assert (listed == "busybox") is ("blacklisted" in str(refused(op(os_type="busybox+huge"), env)))


def test_name_check_takes_the_full_name_and_the_address():
    env = PlanEnv(make_config())
    env.addresses["web1"] = ("web1.example.com", "192.0.2.50")
    facts = check(op(instance_name="web1", name_check=True, nics=({"ip": "auto"},)), env)
    assert facts.instance.name == "web1.example.com"
    assert facts.instance.nics[0].ip == "192.0.2.50"


def test_builtin_choice_takes_the_node_with_most_memory_that_may_hold_instances():
    nodes = [
        make_node(1, vm_capable=False),
        make_node(2, drained=True, master_candidate=False),
        make_node(3),
        make_node(4, offline=True, master_candidate=False),
    ]
    env = PlanEnv(make_config(nodes=nodes))
    facts = check(op(pnode="", iallocator="builtin"), env)
    assert facts.nodes == ("node3.example.com",)
    assert env.reserved == {node_uuid(3): 128}


def test_builtin_choice_says_why_no_node_will_do():
    env = PlanEnv(make_config())
    err = refused(op(pnode="", iallocator="builtin", beparams={"memory": 9000}), env)
    assert err.code == "insufficient_resources"
    assert str(err).count("9000 MiB wanted") == 3


def test_hooks_tell_the_instance_as_it_will_be():
    env = PlanEnv(make_config())
    unit = unit_of(op())
    hooks = unit.hooks(asyncio.run(unit.check(env)), env.config)
    assert hooks.pre == hooks.post == (node_uuid(1), node_uuid(2))
    assert hooks.environment["ADD_MODE"] == "create"
    assert hooks.environment["INSTANCE_STATUS"] == "up"
    assert hooks.environment["INSTANCE_DISK_COUNT"] == "2"


def test_dry_plan_changes_nothing():
    env = PlanEnv(make_config())
    before = env.config
    steps = plan(op(), env)
    assert env.config is before
    assert isinstance(steps[3], Commit)
    assert isinstance(steps[3].changes[0], Put)
