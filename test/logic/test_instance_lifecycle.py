"""Start, stop, reboot, remove, rename, modify and query of instances."""

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
    guest_of,
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

from ganeti import errors
from ganeti.calls.instance import GuestState, HypervisorValidate, InstanceInfo, InstanceStart, InstanceStop
from ganeti.calls.node import HypervisorInfo, NodeInfo, NodeInfoReply
from ganeti.calls.os import OsDiagnose, OsRename
from ganeti.calls.task import TaskPoll, TaskReply
from ganeti.calls.volume import VolumeGive, VolumeInfo, VolumeRemove, VolumeReply
from ganeti.logic.base import RESOLVERS
from ganeti.logic.steps import Commit, OnFailure
from ganeti.model.locks import Level, LockKey
from ganeti.model.objects import AdminState, Disk, DiskTemplate, Put
from ganeti.model.types import Uuid
from ganeti.ops.base import OpCode
from ganeti.ops.instance import (
    OpInstanceQueryData,
    OpInstanceReboot,
    OpInstanceRemove,
    OpInstanceRename,
    OpInstanceSetParams,
    OpInstanceShutdown,
    OpInstanceStartup,
)

NAME = "web1.example.com"
OFFLINE_NODE1 = [make_node(1), make_node(2, offline=True, master_candidate=False)]


def down_env(**changes: object) -> PlanEnv:
    return PlanEnv(make_config(make_instance(**changes)))


def up_env(**changes: object) -> PlanEnv:
    """The instance is marked up and runs."""
    instance = up(make_instance(**changes))
    env = PlanEnv(make_config(instance))
    env.rpc.running[instance.uuid] = guest_of(instance)
    return env


def instance_of(env: PlanEnv):
    return env.config.instance(NAME)


def asked(env: PlanEnv, kind: type) -> list:
    return [call for _, call in env.rpc.calls if isinstance(call, kind)]


# Locks


@pytest.mark.parametrize(
    ("op", "node_res"),
    [
        (OpInstanceStartup(instance_name=NAME), False),
        (OpInstanceShutdown(instance_name=NAME), False),
        (OpInstanceReboot(instance_name=NAME), False),
        (OpInstanceRemove(instance_name=NAME), True),
        (OpInstanceRename(instance_name=NAME, new_name="x"), True),
    ],
)
def test_locks_are_the_instance_alone_and_its_node_shared(op: OpCode, node_res: bool):
    wanted = unit_of(op).locks(make_config(make_instance())).wanted
    assert wanted[LockKey(Level.INSTANCE, f"uuid-{NAME}")] is True
    assert wanted[LockKey(Level.NODE, node_uuid(1))] is False
    assert wanted[LockKey(Level.NODE_RES, node_uuid(1))] is node_res


def test_locks_of_an_unknown_instance_are_refused():
    with pytest.raises(errors.PrereqError) as caught:
        unit_of(OpInstanceStartup(instance_name="nope")).locks(make_config())
    assert caught.value.code == "unknown_entity"


# Start


def test_startup_marks_up_with_a_way_on_then_starts():
    env = down_env()
    steps = plan(OpInstanceStartup(instance_name="web1"), env)
    assert shape(steps) == ["commit put resolve", "instance_start"]
    assert isinstance(steps[0], Commit)
    start = effects(steps)[0]
    assert steps[0].recoveries[0].arguments["request"] == start.call.request
    assert start.undo is None
    assert env.reserved == {node_uuid(1): 128}


def test_startup_of_one_marked_up_records_the_way_on():
    env = PlanEnv(make_config(up(make_instance())))
    assert shape(plan(OpInstanceStartup(instance_name=NAME), env)) == ["record instance-start", "instance_start"]


def test_startup_that_is_not_remembered_can_be_taken_back():
    env = down_env()
    steps = plan(OpInstanceStartup(instance_name=NAME, no_remember=True), env)
    assert shape(steps) == ["instance_start"]
    start = effects(steps)[0]
    assert isinstance(start.undo, InstanceStop)
    assert start.undo.undoes == start.call.request
    assert start.undo.timeout == 0
    assert start.undo.disks == instance_of(env).disks


def test_startup_takes_parameters_for_this_start_only():
    env = down_env()
    op = OpInstanceStartup(instance_name=NAME, beparams={"memory": "1g"}, startup_paused=True)
    start = effects(plan(op, env))[0].call
    assert isinstance(start, InstanceStart)
    assert (start.spec.beparams["maxmem"], start.paused) == (1024, True)
    execute(op, env)
    assert instance_of(env).beparams == {}


def test_startup_of_a_running_one_only_marks():
    env = down_env()
    env.rpc.running[instance_of(env).uuid] = guest_of(instance_of(env))
    op = OpInstanceStartup(instance_name=NAME)
    assert shape(plan(op, env)) == ["commit put final"]
    execute(op, env)
    assert env.log == [f"{NAME} runs already"]
    assert not asked(env, InstanceStart)


def ended_env(memory=128):
    """Marked up; the guest has switched itself off, and its process is still there."""
    env = PlanEnv(make_config(up(make_instance())))
    instance = instance_of(env)
    env.rpc.running[instance.uuid] = msgspec.structs.replace(
        guest_of(instance), state=GuestState.SHUTDOWN, memory=memory
    )
    return env


def test_one_that_switched_itself_off_is_started_again():
    env = ended_env()
    assert shape(plan(OpInstanceStartup(instance_name=NAME), env)) == ["record instance-start", "instance_start"]
    execute(OpInstanceStartup(instance_name=NAME), env)
    assert len(asked(env, InstanceStart)) == 1


@pytest.mark.parametrize("kind", ["soft", "hard", "full"])
def test_a_reboot_of_one_that_switched_itself_off_starts_it(kind):
    op = OpInstanceReboot(instance_name=NAME, reboot_type=kind)
    assert shape(plan(op, ended_env())) == ["record instance-start", "instance_start"]


@pytest.mark.parametrize("op", [OpInstanceStartup(instance_name=NAME), OpInstanceReboot(instance_name=NAME)])
def test_the_memory_that_an_ended_guest_still_holds_is_its_own(op):
    env = ended_env(memory=4000)
    env.config = env.config.apply([Put(msgspec.structs.replace(instance_of(env), beparams={"maxmem": 4000}))])
    free = HypervisorInfo(memory_total=8000, memory_free=100, cpu_total=2)
    env.rpc.answers[NodeInfo] = NodeInfoReply(boot_id="b", hypervisors={"fake": free}, storage={})
    assert shape(plan(op, env)) == ["record instance-start", "instance_start"]


def test_a_reboot_in_place_gives_the_guest_its_time():
    (step,) = plan(OpInstanceReboot(instance_name=NAME, reboot_type="soft", shutdown_timeout=300), up_env())
    assert (step.call.hard, step.call.timeout) == (False, 300)


def test_startup_on_an_offline_node_records_the_wish_when_told_so():
    env = PlanEnv(make_config(make_instance(node=2), nodes=OFFLINE_NODE1))
    assert refused(OpInstanceStartup(instance_name=NAME), env).code == "wrong_state"
    op = OpInstanceStartup(instance_name=NAME, ignore_offline_nodes=True)
    assert shape(plan(op, env)) == ["commit put final"]
    execute(op, env)
    assert instance_of(env).admin_state is AdminState.UP
    assert refused(msgspec.structs.replace(op, no_remember=True), env).code == "wrong_input"


@pytest.mark.parametrize(
    ("changes", "op", "code"),
    [
        ({"admin_state": AdminState.OFFLINE}, {}, "wrong_state"),
        ({"blocked": "half migrated"}, {}, "wrong_state"),
        ({"beparams": {"minmem": 128, "maxmem": 9000}}, {}, "insufficient_resources"),
        ({}, {"hvparams": {"colour": 1}}, "wrong_input"),
        ({}, {"beparams": {"minmem": 512}}, "wrong_input"),
    ],
)
def test_startup_is_refused(changes, op, code):
    assert refused(OpInstanceStartup(instance_name=NAME, **op), down_env(**changes)).code == code


def resolve_start(env: PlanEnv, state: str) -> list[str]:
    env.rpc.answers[TaskPoll] = TaskReply(state=state)
    arguments = {"instance": f"uuid-{NAME}", "request": "r", "hv": {}, "be": {}, "paused": False}
    return list(asyncio.run(RESOLVERS["instance-start"](arguments, env)))


def test_interrupted_start_goes_on_when_the_node_never_heard_of_it():
    env = PlanEnv(make_config(up(make_instance())))
    assert resolve_start(env, "unknown") == [f"{NAME} was started on node1.example.com"]
    assert len(asked(env, InstanceStart)) == 1


def test_interrupted_start_is_not_repeated_when_the_node_refused_it():
    env = PlanEnv(make_config(up(make_instance())))
    assert "stays marked up" in resolve_start(env, "failed")[0]
    assert not asked(env, InstanceStart)


def test_interrupted_start_of_one_that_runs_is_left_alone():
    env = up_env()
    assert resolve_start(env, "done") == [f"{NAME} runs on node1.example.com"]
    assert not asked(env, InstanceStart)


def test_interrupted_start_says_when_the_node_is_away():
    env = PlanEnv(make_config(up(make_instance())))
    env.rpc.fail(InstanceInfo, "unreachable")
    assert "could not be started" in resolve_start(env, "unknown")[0]


def test_interrupted_start_of_a_removed_instance_does_nothing():
    env = PlanEnv(make_config())
    assert resolve_start(env, "unknown") == ["the instance is gone, there is nothing to start"]
    assert env.rpc.calls == []


# Stop


def test_a_user_s_shutdown_is_not_recorded_of_one_that_runs_again():
    """It was started since somebody saw that it had ended."""
    op = OpInstanceShutdown(instance_name=NAME, admin_state_source="user")
    assert refused(op, up_env()).code == "wrong_state"
    env = ended_env()
    execute(op, env)
    assert (instance_of(env).admin_state, instance_of(env).admin_state_source) == (AdminState.DOWN, "user")


def test_shutdown_marks_down_then_stops():
    env = up_env()
    op = OpInstanceShutdown(instance_name=NAME, timeout=7)
    steps = plan(op, env)
    assert shape(steps) == ["commit put resolve", "instance_stop"]
    stop = effects(steps)[0]
    assert stop.on_failure is OnFailure.WARN
    assert isinstance(stop.call, InstanceStop)
    assert (stop.call.timeout, stop.call.disks) == (7, instance_of(env).disks)
    execute(op, env)
    assert instance_of(env).admin_state is AdminState.DOWN
    assert not instance_of(env).disks_active


def test_shutdown_without_remembering_only_stops():
    assert shape(plan(OpInstanceShutdown(instance_name=NAME, no_remember=True), up_env())) == ["instance_stop"]


def test_shutdown_of_one_marked_offline_needs_force_and_stays_offline():
    env = down_env(admin_state=AdminState.OFFLINE)
    op = OpInstanceShutdown(instance_name=NAME)
    assert refused(op, env).code == "wrong_state"
    execute(msgspec.structs.replace(op, force=True), env)
    assert instance_of(env).admin_state is AdminState.OFFLINE


def test_shutdown_on_an_offline_node_records_the_wish():
    env = PlanEnv(make_config(up(make_instance(node=2)), nodes=OFFLINE_NODE1))
    op = OpInstanceShutdown(instance_name=NAME)
    assert refused(op, env).code == "wrong_state"
    execute(msgspec.structs.replace(op, ignore_offline_nodes=True), env)
    assert instance_of(env).admin_state is AdminState.DOWN
    assert not asked(env, InstanceStop)


def test_interrupted_stop_is_finished():
    env = down_env()
    arguments = {"instance": f"uuid-{NAME}", "timeout": 5}
    assert list(asyncio.run(RESOLVERS["instance-stop"](arguments, env))) == [f"{NAME} was stopped"]
    assert asked(env, InstanceStop)[0].timeout == 5
    env.rpc.fail(InstanceStop, "unreachable")
    assert "could not be stopped" in next(iter(asyncio.run(RESOLVERS["instance-stop"](arguments, env))))


# Reboot


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("hard", ["instance_reboot"]),
        ("soft", ["instance_reboot"]),
        ("full", ["record instance-start", "instance_stop", "instance_start"]),
    ],
)
def test_reboot_of_a_running_one(kind, steps):
    assert shape(plan(OpInstanceReboot(instance_name=NAME, reboot_type=kind), up_env())) == steps


def test_reboot_of_one_that_does_not_run_starts_it():
    assert shape(plan(OpInstanceReboot(instance_name=NAME), down_env())) == ["commit put resolve", "instance_start"]


def test_reboot_marks_up_one_that_runs_though_marked_down():
    env = down_env()
    env.rpc.running[instance_of(env).uuid] = guest_of(instance_of(env))
    assert shape(plan(OpInstanceReboot(instance_name=NAME), env)) == ["instance_reboot", "commit put final"]


def test_full_reboot_fails_when_the_guest_does_not_stop():
    steps = plan(OpInstanceReboot(instance_name=NAME, reboot_type="full"), up_env())
    assert effects(steps)[0].on_failure is OnFailure.UNDO


# Remove


def test_remove_stops_then_removes_then_forgets():
    env = up_env()
    op = OpInstanceRemove(instance_name=NAME)
    steps = plan(op, env)
    assert shape(steps) == [
        "record instance-remove", "instance_stop", "parallel volume_remove", "commit delete final",
    ]  # fmt: skip
    assert {effect.on_failure for effect in effects(steps)} == {OnFailure.UNDO}
    execute(op, env)
    assert not env.config.instances


def test_remove_ignores_failures_when_told_so():
    env = PlanEnv(make_config(make_instance(node=2), nodes=OFFLINE_NODE1))
    op = OpInstanceRemove(instance_name=NAME)
    assert refused(op, env).code == "wrong_state"
    steps = plan(msgspec.structs.replace(op, ignore_failures=True), env)
    assert {effect.on_failure for effect in effects(steps)} == {OnFailure.OWE}


def resolve_remove(env: PlanEnv) -> str:
    return next(iter(asyncio.run(RESOLVERS["instance-remove"]({"instance": f"uuid-{NAME}"}, env))))


def test_interrupted_remove_goes_back_while_all_volumes_are_there():
    env = PlanEnv(make_config(up(make_instance())))
    assert resolve_remove(env) == f"{NAME} was not removed and runs again"
    assert len(asked(env, InstanceStart)) == 1
    env = down_env()
    assert resolve_remove(env) == f"{NAME} was not removed"


def test_interrupted_remove_goes_on_when_a_volume_is_gone():
    env = PlanEnv(make_config(up(make_instance())))
    env.rpc.answers[VolumeInfo] = VolumeReply(path="", size=0, exists=False)
    assert "was finished" in resolve_remove(env)
    assert len(asked(env, VolumeRemove)) == 1
    assert not env.config.instances


def test_interrupted_remove_tells_of_the_other_half_that_is_gone_already():
    mirror = Disk(
        uuid=Uuid("d"),
        template=DiskTemplate.DRBD,
        size=1024,
        logical_id=(node_uuid(1), node_uuid(3), 11000, 0, 0, "secret"),
    )
    env = down_env(disks=(mirror,))
    gone = VolumeReply(path="", size=0, exists=False)
    there = VolumeReply(path="/dev/drbd0", size=1024)
    env.rpc.answers[VolumeInfo] = lambda node, call: gone if node == node_uuid(3) else there
    arguments = {"instance": env.config.instance(NAME).uuid}
    first, second = asyncio.run(RESOLVERS["instance-remove"](arguments, env))
    assert first == f"{NAME} was not removed"
    assert "node3.example.com has lost disk 0; gnt-instance replace-disks -s" in second
    assert not asked(env, VolumeRemove)


def test_interrupted_remove_leaves_the_instance_when_the_node_is_away():
    env = PlanEnv(make_config(up(make_instance())))
    env.rpc.fail(VolumeInfo, "unreachable")
    assert "remove it again" in resolve_remove(env)
    assert len(env.config.instances) == 1


# Rename


def rename(**changes: object) -> OpInstanceRename:
    return OpInstanceRename(instance_name=NAME, new_name="web2.example.com", **changes)


def test_rename_moves_disks_first_and_can_move_them_back():
    env = down_env()
    steps = plan(rename(), env)
    assert shape(steps) == ["parallel volume_rename", "commit put final", "os_rename", "parallel volume_close"]
    move = effects(steps)[0]
    assert move.call.new.logical_id[1] == "/srv/ganeti/file-storage/web2.example.com/disk0"
    assert move.undo is not None
    assert (move.undo.disk, move.undo.new, move.undo.undoes) == (move.call.new, move.call.disk, move.call.request)
    assert all(effect.on_failure is OnFailure.WARN for effect in effects(steps)[1:])
    assert execute(rename(), env) == "web2.example.com"
    assert env.config.instance("web2.example.com").disks[0].logical_id == move.call.new.logical_id


def test_rename_passes_on_what_the_script_says():
    env = down_env()
    env.rpc.answers[OsRename] = "the script failed"
    execute(rename(), env)
    assert env.warnings == ["the script failed"]
    env = down_env()
    env.rpc.fail(OsRename)
    assert execute(rename(), env) == "web2.example.com"
    assert len(env.warnings) == 1


def test_rename_without_a_script_only_moves():
    env = down_env()
    env.rpc.answers[OsDiagnose] = (msgspec.structs.replace(BUSYBOX, scripts=("create",)),)
    assert shape(plan(rename(), env)) == ["parallel volume_rename", "commit put final"]


def test_rename_labels_logical_volumes_anew_and_old_ones_too():
    disk = Disk(uuid=Uuid("d"), template=DiskTemplate.PLAIN, size=64, logical_id=("xenvg", "d.disk0"))
    env = down_env(disks=(disk,))
    env.rpc.answers[OsDiagnose] = (msgspec.structs.replace(BUSYBOX, scripts=("create",)),)
    steps = plan(rename(), env)
    assert shape(steps) == ["parallel volume_give", "commit put final"]
    (label,) = effects(steps)
    owner = instance_of(env).uuid
    assert (label.call.owner, label.call.to, label.call.origin) == (owner, owner, "web2.example.com")
    assert label.on_failure is OnFailure.WARN
    assert isinstance(label.undo, VolumeGive)
    assert (label.undo.origin, label.undo.undoes) == ("web1.example.com", label.call.request)


def test_rename_of_a_diskless_one_is_a_commit():
    assert shape(plan(rename(), down_env(disks=()))) == ["commit put final"]


def test_rename_is_refused():
    assert refused(rename(), up_env()).code == "wrong_state"
    running = down_env()
    running.rpc.running[instance_of(running).uuid] = guest_of(instance_of(running))
    assert refused(rename(), running).code == "wrong_state"
    taken = PlanEnv(make_config(make_instance(), make_instance("web2.example.com", nics=(), disks=())))
    assert refused(rename(), taken).code == "already_exists"
    assert refused(OpInstanceRename(instance_name=NAME, new_name=NAME), down_env()).code == "wrong_input"
    assert refused(OpInstanceRename(instance_name=NAME, new_name="a b"), down_env()).code == "wrong_input"
    assert refused(rename(name_check=True), down_env()).code == "resolver_error"


# Modify


def test_modify_tells_what_it_changed():
    env = down_env(beparams={"vcpus": 2})
    op = OpInstanceSetParams(
        instance_name=NAME, beparams={"vcpus": "default", "memory": "256m"}, osparams={"dhcp": "yes"}
    )
    assert shape(plan(op, env)) == ["commit put final"]
    assert execute(op, env) == [["be/maxmem", 256], ["be/minmem", 256], ["be/vcpus", "default"], ["os/dhcp", "yes"]]
    assert instance_of(env).beparams == {"minmem": 256, "maxmem": 256}
    assert instance_of(env).osparams == {"dhcp": "yes"}


def test_modify_sets_and_ends_the_offline_state():
    env = down_env()
    assert execute(OpInstanceSetParams(instance_name=NAME, offline=True), env) == [["admin_state", "offline"]]
    assert instance_of(env).admin_state is AdminState.OFFLINE
    execute(OpInstanceSetParams(instance_name=NAME, offline=False), env)
    assert instance_of(env).admin_state is AdminState.DOWN


@pytest.mark.parametrize(
    ("op", "code"),
    [
        ({}, "wrong_input"),
        ({"beparams": {"vcpus": 0}}, "wrong_input"),
        ({"hvparams": {"colour": 1}}, "wrong_input"),
        ({"beparams": {"memory": 6000}}, "insufficient_resources"),
        ({"os_name": "plan9"}, "unknown_entity"),
        ({"offline": True}, "wrong_state"),
        ({"offline": False}, "wrong_state"),
    ],
)
def test_modify_is_refused(op, code):
    assert refused(OpInstanceSetParams(instance_name=NAME, **op), up_env()).code == code


def test_modify_by_force_skips_the_checks_on_the_node():
    env = up_env()
    env.rpc.fail(HypervisorValidate)
    op = OpInstanceSetParams(instance_name=NAME, beparams={"memory": 6000}, os_name="plan9", force=True)
    assert check(op, env).changed.os == "plan9"


def test_modify_counts_the_memory_that_a_running_guest_has():
    env = up_env()
    op = OpInstanceSetParams(instance_name=NAME, beparams={"memory": 4096 + 128})
    assert check(op, env).changed.beparams["maxmem"] == 4224
    assert refused(OpInstanceSetParams(instance_name=NAME, beparams={"memory": 4225}), env).code == (
        "insufficient_resources"
    )


# Query


def test_query_tells_configuration_and_state():
    env = up_env()
    found = execute(OpInstanceQueryData(instances=("web1",)), env)[NAME]
    assert (found["config_state"], found["run_state"], found["pnode"]) == ("up", "up", "node1.example.com")
    assert found["disks"][0]["pstatus"] == [f"/srv/ganeti/file-storage/{NAME}/disk0", None, None, None, None, False, 1]
    assert found["nics"][0][2:7] == [None, "aa:00:00:11:22:33", "bridged", "xen-br0", ""]
    assert found["be_actual"]["maxmem"] == 128
    assert found["disk_template"] == DiskTemplate.FILE.value


def test_query_without_contact_asks_nobody():
    env = up_env()
    assert execute(OpInstanceQueryData(static=True), env)[NAME]["run_state"] is None
    assert env.rpc.calls == []


def test_query_when_the_node_is_silent_does_not_know():
    env = PlanEnv(make_config(up(make_instance(node=2)), nodes=OFFLINE_NODE1))
    found = execute(OpInstanceQueryData(), env)[NAME]
    assert found["run_state"] is None
    assert found["disks"][0]["pstatus"] is None


def test_query_of_an_unknown_name_is_refused():
    assert refused(OpInstanceQueryData(instances=("nope",)), down_env()).code == "unknown_entity"
