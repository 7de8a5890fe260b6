"""Failover: what it refuses, its steps, and what becomes of one that was interrupted."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from logic.plan_env import (
    GROUP,
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
from ganeti.calls.base import decode as decode_call
from ganeti.calls.instance import GuestState, InstanceInfo, InstanceStart, InstanceStop
from ganeti.calls.node import HypervisorInfo, NodeInfo, NodeInfoReply, StorageInfo
from ganeti.calls.task import TaskPoll, TaskReply
from ganeti.calls.volume import VolumeInfo, VolumeReply
from ganeti.logic import stale
from ganeti.logic.base import RESOLVERS
from ganeti.logic.steps import Commit
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import AdminState, Disk, DiskTemplate, Instance, Move
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.instance import OpInstanceFailover

NAME = "web1.example.com"
OFFLINE_NODE1 = (make_node(1, offline=True, master_candidate=False), make_node(2), make_node(3))


def shared_disk(index: int = 0) -> Disk:
    path = f"/srv/ganeti/shared-file-storage/{NAME}/disk{index}"
    return Disk(
        uuid=Uuid(f"{NAME}-disk{index}"), template=DiskTemplate.SHAREDFILE, size=1024, logical_id=("loop", path)
    )


def make_env(*, is_up: bool = True, nodes: tuple[object, ...] | None = None, **changes: object) -> PlanEnv:
    instance = make_instance(disks=(shared_disk(),), **changes)
    if is_up:
        instance = up(instance)
    env = PlanEnv(make_config(instance, nodes=nodes))
    if is_up:
        env.rpc.running[instance.uuid] = guest_of(instance)
    return env


def failover(**more: object) -> OpInstanceFailover:
    return OpInstanceFailover(**{"instance_name": NAME, "target_node": "node2", **more})


def web1(env: PlanEnv) -> Instance:
    return env.config.instance(NAME)


def test_steps_when_up_stop_commit_start():
    env = make_env()
    steps = plan(failover(), env)
    assert shape(steps) == ["record instance-failover", "instance_stop", "commit put resolve", "instance_start"]
    stop, start = effects(steps)
    assert (stop.node, stop.call.timeout) == (node_uuid(1), 120)
    assert start.node == node_uuid(2)
    assert start.call.spec.instance.primary_node == node_uuid(2)
    assert start.call.spec.primary_name == "node2.example.com"
    assert steps[2].debts == ()


def test_steps_when_down_stop_and_commit_only():
    env = make_env(is_up=False)
    assert shape(plan(failover(), env)) == ["instance_stop", "commit put final"]
    execute(failover(), env)
    assert web1(env).primary_node == node_uuid(2)
    assert web1(env).admin_state is AdminState.DOWN
    assert any("not started" in line for line in env.log)


def test_source_offline_nothing_is_stopped_and_the_node_owes_the_end_of_it():
    env = make_env(nodes=OFFLINE_NODE1)
    steps = plan(failover(ignore_consistency=True, target_node="node3"), env)
    assert shape(steps) == ["commit put resolve", "instance_start"]
    (debt,) = steps[0].debts
    assert debt.node == node_uuid(1)
    owed = decode_call(debt.call)
    assert isinstance(owed, InstanceStop)
    assert (owed.name, owed.timeout, owed.undoes) == (NAME, 0, debt.effect)
    execute(failover(ignore_consistency=True, target_node="node3"), env)
    assert web1(env).primary_node == node_uuid(3)
    assert any("offline" in text for text in env.warnings)


def test_source_offline_without_the_option_is_refused():
    err = refused(failover(), make_env(nodes=OFFLINE_NODE1))
    assert err.code == "wrong_state"
    assert "--ignore-consistency" in err.hint


@pytest.mark.parametrize("kind", ["unreachable", "timeout", "refused"])
@pytest.mark.parametrize("ignores", [False, True])
def test_source_silent_is_refused_with_the_way_out(kind, ignores):
    env = make_env()
    env.rpc.fail(InstanceInfo, kind)
    err = refused(failover(ignore_consistency=ignores), env)
    assert "gnt-node modify --offline=yes node1.example.com" in err.hint
    assert "--ignore-consistency" in err.hint


def test_source_that_answers_with_an_error_is_not_taken_for_dead():
    env = make_env()
    env.rpc.fail(InstanceInfo)
    assert "offline" not in str(refused(failover(), env))


@pytest.mark.parametrize(
    ("disks", "words"),
    [
        ((), "no disks"),
        ((msgspec.structs.replace(shared_disk(), template=DiskTemplate.FILE),), "node1.example.com alone"),
    ],
)
def test_template_that_no_other_node_sees_is_refused(disks, words):
    env = make_env()
    env.config = make_config(up(make_instance(disks=disks)))
    err = refused(failover(), env)
    assert words in err.message
    assert "sharedfile" in err.hint


def test_target_is_checked():
    assert "already" in refused(failover(target_node="node1"), make_env()).message
    nodes = (make_node(1), make_node(2, offline=True, master_candidate=False), make_node(3, drained=True))
    assert "offline" in refused(failover(), make_env(nodes=nodes)).message
    assert "drained" in refused(failover(target_node="node3"), make_env(nodes=nodes)).message
    err = refused(failover(target_node=""), make_env())
    assert "-n NODE" in err.hint
    assert refused(failover(iallocator="builtin"), make_env()).code == "wrong_input"


def test_target_without_memory_is_refused_unless_it_is_down():
    for is_up in (True, False):
        env = make_env(is_up=is_up)
        env.rpc.answers[NodeInfo] = lambda node, call: NodeInfoReply(
            boot_id="b", hypervisors={"fake": HypervisorInfo(memory_total=8192, memory_free=16)}, storage={}
        )
        if is_up:
            assert refused(failover(), env).code == "insufficient_resources"
        else:
            check(failover(), env)


def test_target_that_does_not_see_the_disks_is_refused_before_anything_is_stopped():
    env = make_env()
    env.rpc.answers[VolumeInfo] = VolumeReply(path="/x", size=0, exists=False)
    err = refused(failover(), env)
    assert "does not see disk 0" in err.message
    assert "mounted" in err.hint


def test_allocator_takes_the_node_with_most_memory_but_never_the_present_one():
    env = make_env()
    free = {node_uuid(1): 9000, node_uuid(2): 2000, node_uuid(3): 3000}
    env.rpc.answers[NodeInfo] = lambda node, call: NodeInfoReply(
        boot_id="b",
        hypervisors={"fake": HypervisorInfo(memory_total=9999, memory_free=free[node])},
        storage={"sharedfile": StorageInfo(total=10, free=0)},
    )
    assert check(failover(target_node="", iallocator="builtin"), env).target.uuid == node_uuid(3)
    locks = unit_of(failover(target_node="")).locks(env.config).wanted
    assert locks[LockKey(Level.NODE, ALL)] is False


def test_locks_with_a_target_are_those_of_both_nodes():
    wanted = unit_of(failover()).locks(make_env().config).wanted
    assert {key.name for key in wanted if key.level is Level.NODE} == {node_uuid(1), node_uuid(2)}
    assert wanted[LockKey(Level.INSTANCE, Uuid(f"uuid-{NAME}"))] is True


def test_blocked_is_refused():
    assert "blocked" in refused(failover(), make_env(blocked="half migrated")).message


def test_hooks_know_both_nodes():
    env = make_env()
    unit = unit_of(failover())
    found = unit.hooks(asyncio.run(unit.check(env)), env.config)
    assert found.environment["OLD_PRIMARY"] == "node1.example.com"
    assert found.environment["NEW_PRIMARY"] == "node2.example.com"
    assert found.environment["IGNORE_CONSISTENCY"] == "False"
    assert found.pre == (node_uuid(1), node_uuid(2))
    assert set(found.post) == {node_uuid(1), node_uuid(2)}


def test_target_that_has_still_to_end_an_old_guest_of_it_is_not_used():
    env = make_env()
    node = env.config.node("node2")
    env.unsettled = [stale.debt(env, make_instance("other.example.com"), node)]
    execute(failover(), env)
    env = make_env()
    env.unsettled = [stale.debt(env, web1(env), node)]
    with pytest.raises(errors.ExecError, match="has still to end"):
        execute(failover(), env)
    assert web1(env).primary_node == node_uuid(1)
    assert not env.commits


def runs_at(env: PlanEnv, *numbers: int, state: GuestState = GuestState.RUNNING) -> None:
    guest = msgspec.structs.replace(guest_of(web1(env)), state=state)
    env.rpc.answers[InstanceInfo] = lambda node, call: guest if node in map(node_uuid, numbers) else None


def test_cleanup_records_where_it_runs_and_frees_it():
    env = make_env(blocked="half migrated")
    runs_at(env, 3)
    execute(failover(target_node="", cleanup=True), env)
    assert (web1(env).primary_node, web1(env).blocked) == (node_uuid(3), "")
    assert not env.rpc.running or all(not isinstance(call, InstanceStart) for _, call in env.rpc.calls)


def test_cleanup_when_nothing_is_wrong_changes_nothing():
    env = make_env()
    runs_at(env, 1)
    execute(failover(target_node="", cleanup=True), env)
    assert env.commits == []


def test_cleanup_when_it_runs_twice_is_refused():
    env = make_env()
    runs_at(env, 1, 2)
    assert "at the same time" in refused(failover(target_node="", cleanup=True), env).message


def test_cleanup_when_a_node_is_silent_is_refused():
    env = make_env()
    env.rpc.fail(InstanceInfo, "unreachable")
    assert "offline=yes" in refused(failover(target_node="", cleanup=True), env).hint


def test_cleanup_leaves_an_interrupted_migration_to_its_own():
    move = Move(migration="m", source=node_uuid(1), target=node_uuid(2), prepare=RequestId("p"), run=RequestId("r"))
    assert "migrate --cleanup" in str(refused(failover(target_node="", cleanup=True), make_env(moving=move)))


def test_cleanup_takes_no_target():
    assert refused(failover(cleanup=True), make_env()).code == "wrong_input"


def resolve(env: PlanEnv, state: str) -> str:
    env.rpc.answers[TaskPoll] = TaskReply(state=state)
    arguments = {"instance": web1(env).uuid, "request": "request-1"}
    return "; ".join(asyncio.run(RESOLVERS["instance-failover"](arguments, env)))


def test_interrupted_when_still_running_stays():
    env = make_env()
    assert "still runs on node1" in resolve(env, "failed")
    assert not any(isinstance(call, InstanceStart) for _, call in env.rpc.calls)


def test_interrupted_when_stopped_already_is_started_again_at_the_source():
    env = make_env()
    env.rpc.running.clear()
    assert "started again on node1" in resolve(env, "done")
    ((node, call),) = [(node, call) for node, call in env.rpc.calls if isinstance(call, InstanceStart)]
    assert (node, call.spec.instance.primary_node) == (node_uuid(1), node_uuid(1))


def test_interrupted_when_the_source_is_silent_tells_it():
    env = make_env()
    env.rpc.fail(InstanceInfo, "unreachable")
    assert "could not be started again" in resolve(env, "unknown")


def test_interrupted_when_the_instance_is_gone():
    env = PlanEnv(make_config())
    assert list(asyncio.run(RESOLVERS["instance-failover"]({"instance": "x", "request": "r"}, env)))


def test_policy_it_breaks_already_does_not_keep_it():
    env = make_env(beparams={"maxmem": 16, "minmem": 16})
    assert GROUP in env.config.groups
    check(failover(), env)


def test_commit_names_the_target():
    (commit,) = [step for step in plan(failover(), make_env()) if isinstance(step, Commit)]
    assert commit.title == "make node2.example.com the primary node of web1.example.com"
