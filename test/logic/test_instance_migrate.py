"""Migration: what it refuses, how it is tuned, its steps; what an interrupted one comes to, whatever the nodes say."""

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

from ganeti import errors
from ganeti.calls.base import decode as decode_call
from ganeti.calls.migration import (
    Departure,
    Endpoint,
    Half,
    MigrationAbort,
    MigrationCheck,
    MigrationFinish,
    MigrationPreflight,
    MigrationPrepare,
    MigrationRun,
    MigrationSourceDone,
    MigrationState,
    Obstacles,
    Side,
)
from ganeti.calls.mirror import Half as MirrorHalf
from ganeti.calls.mirror import MirrorCatchUp, MirrorGenerations, MirrorTwoPrimaries
from ganeti.logic import guests, moving
from ganeti.logic.steps import Commit, Effect
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import Disk, DiskTemplate, Instance, Move, Put
from ganeti.model.types import Uuid
from ganeti.ops.instance import OpInstanceMigrate

NAME = "web1.example.com"
MOVE = Move(migration="m1", source=node_uuid(1), target=node_uuid(2), prepare="r1", run="r2")


def make_env(*, hypervisor: str = "kvm", nodes: tuple[object, ...] | None = None, **cluster: Any) -> PlanEnv:
    path = f"/srv/ganeti/shared-file-storage/{NAME}/disk0"
    disk = Disk(uuid=Uuid("disk0"), template=DiskTemplate.SHAREDFILE, size=1024, logical_id=("loop", path))
    instance = up(make_instance(disks=(disk,), hypervisor=hypervisor))
    env = PlanEnv(make_config(instance, nodes=nodes, **cluster))
    env.rpc.answers[MigrationPreflight] = departure(env)
    env.rpc.answers[MigrationCheck] = Obstacles()
    env.rpc.answers[MigrationPrepare] = Endpoint(address="192.0.2.2", port=8102)
    return env


def web1(env: PlanEnv) -> Instance:
    return env.config.instance(NAME)


def departure(env: PlanEnv, **changes: Any) -> Departure:
    made = Departure(spec=guests.guest_spec(env.config, web1(env)), memory=128, version="7.2.22")
    return msgspec.structs.replace(made, **changes)


def op(**more: Any) -> OpInstanceMigrate:
    return OpInstanceMigrate(instance_name=NAME, **({"target_node": "node2"} | more))


def test_the_steps_are_those_of_the_procedure() -> None:
    env = make_env()
    steps = plan(op(), env)
    assert shape(steps) == [
        "commit put resolve",
        "migration_prepare",
        "migration_run",
        "commit put resolve",
        "migration_finish",
        "migration_source_done",
        "commit put final",
    ]
    commits = [step.changes[0].object for step in steps if isinstance(step, Commit)]
    assert [(found.primary_node, found.moving is not None) for found in commits] == [
        (node_uuid(1), True),
        (node_uuid(2), True),
        (node_uuid(2), False),
    ]
    prepare, run = steps[1], steps[2]
    assert isinstance(prepare, Effect)
    assert isinstance(run, Effect)
    assert prepare.passes == "endpoint"
    assert isinstance(run.call, MigrationRun)
    assert commits[0].moving.prepare == prepare.call.request
    assert commits[0].moving.run == run.call.request
    ids = {step.call.migration for step in steps if isinstance(step, Effect)}
    assert ids == {commits[0].moving.migration}


def test_the_guests_present_memory_is_reserved_at_the_target() -> None:
    env = make_env()
    env.rpc.answers[MigrationPreflight] = departure(env, memory=777)
    check(op(), env)
    assert env.reserved == {node_uuid(2): 777}


def test_tuning_comes_from_the_parameters_and_the_command() -> None:
    hv = {"migration_bandwidth": 64, "migration_downtime": 50, "migration_caps": "xbzrle:auto-converge"}
    env = make_env(hvparams={"kvm": hv})
    found = check(op(), env).tuning
    assert (found.live, found.bandwidth, found.downtime) == (True, 64, 50)
    assert found.capabilities == ("xbzrle", "auto-converge")
    assert not check(op(live=False), env).tuning.live
    assert not check(op(mode="non-live"), env).tuning.live
    paused = make_env(hvparams={"kvm": {"migration_mode": "non-live"}})
    assert not check(op(), paused).tuning.live
    assert check(op(mode="live"), paused).tuning.live


def test_the_time_limit_grows_with_the_memory_but_stays_below_that_of_the_call() -> None:
    small = check(op(), make_env()).tuning.limit
    large = check(op(), make_env(beparams={"maxmem": 4096})).tuning.limit
    huge = check(op(), make_env(beparams={"maxmem": 1 << 24}, hvparams={"kvm": {"migration_bandwidth": 1}}))
    assert (small, large) == (600, 10 * 4096 // 32)
    assert large < huge.tuning.limit < MigrationRun.time.value


def test_what_the_target_says_is_told_with_the_way_out() -> None:
    env = make_env()
    env.rpc.answers[MigrationCheck] = Obstacles(problems=("no such CPU",), version="too old")
    text = str(refused(op(), env))
    for words in ("no such CPU", "too old", "--ignore-hvversions", "gnt-instance failover", "--allow-failover"):
        assert words in text


def test_an_older_hypervisor_can_be_ignored() -> None:
    env = make_env()
    env.rpc.answers[MigrationCheck] = Obstacles(version="too old")
    refused(op(), env)
    check(op(ignore_hvversions=True), env)
    assert env.warnings == ["too old: ignored"]


@pytest.mark.parametrize(
    "answer", [None, "paused", "failed"], ids=["does not run", "is paused", "its hypervisor cannot"]
)
def test_what_cannot_migrate_fails_over_if_it_may(answer: str | None) -> None:
    env = make_env()
    env.rpc.answers[MigrationPreflight] = departure(env, is_running=False) if answer == "paused" else None
    if answer == "failed":
        env.rpc.fail(MigrationPreflight)
    assert "--allow-failover" in str(refused(op(), env))
    facts = check(op(allow_failover=True), env)
    assert facts.failover is not None
    assert facts.target.uuid == node_uuid(2)
    assert "migration_run" not in shape(unit_of(op(allow_failover=True)).plan(facts, env))


def test_a_source_that_does_not_answer_is_not_taken_for_dead() -> None:
    env = make_env()
    env.rpc.fail(MigrationPreflight, "unreachable")
    err = refused(op(allow_failover=True), env)
    assert err.code == "environment_error"
    assert "--offline=yes" in str(err)


def test_hooks_are_told_both_nodes() -> None:
    env = make_env()
    facts = check(op(), env)
    found = unit_of(op()).hooks(facts, env.config)
    assert found is not None
    assert found.environment["OLD_PRIMARY"] == env.config.nodes[node_uuid(1)].name
    assert found.environment["NEW_PRIMARY"] == env.config.nodes[node_uuid(2)].name
    assert (found.environment["MIGRATE_LIVE"], found.environment["MIGRATE_CLEANUP"]) == ("True", "False")
    assert set(found.pre) == set(found.post) == {node_uuid(1), node_uuid(2)}


def test_cleanup_locks_the_two_nodes_or_all() -> None:
    env = make_env()
    half = msgspec.structs.replace(web1(env), moving=MOVE)
    unit = unit_of(op(cleanup=True, target_node=""))
    assert LockKey(Level.NODE, ALL) in unit.locks(env.config).wanted
    nodes = {key.name for key in unit.locks(make_config(half)).wanted if key.level is Level.NODE}
    assert nodes == {MOVE.source, MOVE.target}


# How an interrupted one is settled

GONE, DEAD = "unreachable", "offline"


class World:
    """Two nodes that have halves, do not answer, or are marked offline."""

    def __init__(self, source: Side | str, target: Side | str, *, is_decided: bool, hypervisor: str = "kvm") -> None:
        halves: dict[Uuid, Side | str] = {MOVE.source: source, MOVE.target: target}
        # the master is a third one
        nodes = tuple(
            make_node(number, offline=halves.get(node_uuid(number)) == DEAD, master_candidate=number == 3)
            for number in (1, 2, 3)
        )
        self.env = make_env(nodes=nodes, master_node=node_uuid(3), hypervisor=hypervisor)
        place = MOVE.target if is_decided else MOVE.source
        changed = msgspec.structs.replace(web1(self.env), moving=MOVE, primary_node=place)
        self.env.config = self.env.config.apply([Put(changed)])
        self.halves = halves
        self.owed: tuple[Any, ...] = ()
        self.forgets = False
        for call in (MigrationState, MigrationAbort, MigrationFinish, MigrationSourceDone):
            self.env.rpc.answers[call] = self._answer

    def _answer(self, node: Uuid, call: Any) -> Any:
        here = self.halves[node]
        if not isinstance(here, Side):
            return errors.RpcError(node, here, "it is away")
        if isinstance(call, MigrationFinish):
            self.halves[node] = Side.RUNNING
            return None
        if isinstance(call, MigrationSourceDone):
            assert here in (Side.DEPARTED, Side.NONE)
            self.halves[node] = Side.NONE
            return None
        if isinstance(call, MigrationAbort):
            if node == MOVE.target:
                assert here in (Side.INCOMING, Side.ARRIVED, Side.NONE)
                self.halves[node] = Side.NONE
            elif here is Side.LEAVING or (here is Side.DEPARTED and call.resume):
                assert here is Side.LEAVING or self.halves[MOVE.target] in (Side.NONE, DEAD)
                self.halves[node] = Side.RUNNING
        return Half(side=self.halves[node], migration="" if self.forgets else "m1")

    def settle(self) -> moving.Settled:
        return asyncio.run(moving.settle(self.env, web1(self.env), MOVE))


S = Side
BACK, FORWARD, LOST, LEFT = moving.End.BACK, moving.End.FORWARD, moving.End.LOST, moving.End.LEFT


@pytest.mark.parametrize(
    ("source", "target", "end", "debts"),
    [
        (S.RUNNING, S.NONE, BACK, 0),
        (S.RUNNING, S.INCOMING, BACK, 0),
        (S.LEAVING, S.INCOMING, BACK, 0),
        (S.DEPARTED, S.ARRIVED, BACK, 0),
        (S.DEPARTED, S.NONE, BACK, 0),
        (S.NONE, S.INCOMING, BACK, 0),
        (S.ENDED, S.NONE, BACK, 0),
        (S.LEAVING, GONE, BACK, 1),
        (S.RUNNING, GONE, BACK, 1),
        (S.DEPARTED, GONE, LEFT, 0),
        (S.DEPARTED, DEAD, BACK, 1),
        (GONE, S.ARRIVED, LEFT, 0),
        (GONE, GONE, LEFT, 0),
        (DEAD, S.ARRIVED, LOST, 0),
        (DEAD, DEAD, LOST, 1),
    ],
)
def test_before_the_decision_it_goes_back(source: Any, target: Any, end: moving.End, debts: int) -> None:
    world = World(source, target, is_decided=False)
    found = world.settle()
    assert (found.end, len(found.debts)) == (end, debts), found.text
    instance = web1(world.env)
    assert instance.primary_node == MOVE.source
    assert bool(instance.blocked) == (instance.moving is not None) == (end is LEFT)
    if end is BACK and source in (S.RUNNING, S.LEAVING, S.DEPARTED):
        assert world.halves[MOVE.source] is S.RUNNING
    for debt in found.debts:
        call = decode_call(debt.call)
        assert isinstance(call, MigrationAbort)
        assert (debt.node, call.resume, call.undoes) == (MOVE.target, False, MOVE.prepare)


@pytest.mark.parametrize(
    ("source", "target", "end", "primary", "debts"),
    [
        (S.DEPARTED, S.ARRIVED, FORWARD, MOVE.target, 0),
        (S.DEPARTED, S.INCOMING, FORWARD, MOVE.target, 0),
        (S.DEPARTED, S.RUNNING, FORWARD, MOVE.target, 0),
        (S.NONE, S.RUNNING, FORWARD, MOVE.target, 0),
        (S.DEPARTED, S.ENDED, FORWARD, MOVE.target, 0),
        (GONE, S.ARRIVED, FORWARD, MOVE.target, 1),
        (DEAD, S.ARRIVED, FORWARD, MOVE.target, 1),
        (S.DEPARTED, S.NONE, BACK, MOVE.source, 0),
        (S.DEPARTED, DEAD, BACK, MOVE.source, 1),
        (S.NONE, S.NONE, LOST, MOVE.target, 0),
        (S.NONE, DEAD, LOST, MOVE.target, 1),
        (DEAD, S.NONE, LOST, MOVE.target, 0),
        (GONE, S.NONE, LEFT, MOVE.target, 0),
        (S.DEPARTED, GONE, LEFT, MOVE.target, 0),
    ],
)
def test_after_the_decision_it_goes_forward(
    source: Any, target: Any, end: moving.End, primary: Uuid, debts: int
) -> None:
    world = World(source, target, is_decided=True)
    found = world.settle()
    assert (found.end, len(found.debts)) == (end, debts), found.text
    instance = web1(world.env)
    assert instance.primary_node == primary
    assert bool(instance.blocked) == (instance.moving is not None) == (end is LEFT)
    running = [node for node, side in world.halves.items() if side is S.RUNNING]
    # a target that is away may have let it go on: what the source has then is older than the disks
    assert running == ([primary] if end in (BACK, FORWARD) and target not in (S.ENDED, DEAD) else [])
    assert S.DEPARTED not in world.halves.values() or end is LEFT


def test_a_guest_that_could_have_gone_on_at_the_source_does_not_where_it_has_arrived() -> None:
    world = World(S.NONE, S.ARRIVED, is_decided=False)
    assert world.settle().end is BACK
    assert world.halves == {MOVE.source: S.NONE, MOVE.target: S.NONE}
    assert web1(world.env).primary_node == MOVE.source


@pytest.mark.parametrize("source", [S.NONE, S.DEPARTED])
def test_a_xen_guest_that_is_nowhere_else_is_not_ended_where_it_has_arrived(source: Side) -> None:
    """What its sender left suspended at the source does not go on, and often cannot."""
    world = World(source, S.ARRIVED, is_decided=False, hypervisor="xen-pvm")
    found = world.settle()
    assert (found.end, found.debts) == (FORWARD, ())
    assert world.halves == {MOVE.source: S.NONE, MOVE.target: S.RUNNING}
    instance = web1(world.env)
    assert (instance.primary_node, instance.moving, instance.blocked) == (MOVE.target, None, "")


@pytest.mark.parametrize("parts", [False, True])
def test_a_xen_guest_does_not_go_on_with_disks_that_lack_what_it_wrote(parts: bool) -> None:
    world = World(S.NONE, S.ARRIVED, is_decided=False, hypervisor="xen-pvm")
    ids = (node_uuid(1), node_uuid(2), 11000, 0, 0, "secret")
    disk = Disk(uuid=Uuid("a"), template=DiskTemplate.DRBD, size=64, logical_id=ids)
    world.env.config = world.env.config.apply([Put(msgspec.structs.replace(web1(world.env), disks=(disk,)))])
    told = (MirrorHalf(problem="told"),)
    asked: list[Any] = []

    def compared(node: Uuid, call: Any) -> Any:
        asked.append((node, call.others))
        return errors.RpcError("node2", "failed", "disk 0 was written on both nodes") if parts else None

    world.env.rpc.answers[MirrorGenerations] = lambda node, call: told if node == MOVE.source else ()
    world.env.rpc.answers[MirrorCatchUp] = compared
    world.env.rpc.answers[MirrorTwoPrimaries] = None
    assert world.settle().end is (BACK if parts else FORWARD)
    assert asked == [(MOVE.target, told)]
    assert world.halves == {MOVE.source: S.NONE, MOVE.target: S.NONE if parts else S.RUNNING}


def test_a_target_that_remembers_nothing_may_have_run_it() -> None:
    world = World(S.DEPARTED, S.NONE, is_decided=True)
    world.forgets = True
    found = world.settle()
    assert (found.end, found.debts) == (BACK, ())
    assert "starts it anew" in found.text
    # its memory at the source would be older than what is on the disks
    assert world.halves == {MOVE.source: S.NONE, MOVE.target: S.NONE}
    assert web1(world.env).primary_node == MOVE.source


def test_a_silent_node_is_asked_for_a_while_before_it_is_left() -> None:
    world = World(S.DEPARTED, GONE, is_decided=True)
    world.settle()
    assert len(world.env.slept) > 5
    assert sum(world.env.slept) >= 20


def test_a_silent_node_is_waited_for_once_however_many_mirrors_there_are() -> None:
    world = World(S.LEAVING, GONE, is_decided=False)
    world.settle()
    once = sum(world.env.slept)
    assert once >= 20

    world = World(S.LEAVING, GONE, is_decided=False)
    ids = ("node1", "node2", 11000, 0, 0, "secret")
    disks = tuple(Disk(uuid=Uuid(name), template=DiskTemplate.DRBD, size=64, logical_id=ids) for name in ("a", "b"))
    mirrored = msgspec.structs.replace(web1(world.env), disks=disks)
    world.env.config = world.env.config.apply([Put(mirrored)])
    world.env.rpc.answers[MirrorTwoPrimaries] = world._answer
    found = world.settle()
    assert (found.end, len(found.debts)) == (BACK, 1)
    assert sum(world.env.slept) == once
    assert len([one for one in world.env.rpc.calls if isinstance(one[1], MirrorTwoPrimaries)]) == 4


def test_cleanup_settles_what_is_half_way_or_says_why_not() -> None:
    world = World(S.DEPARTED, S.ARRIVED, is_decided=True)
    execute(op(cleanup=True, target_node=""), world.env)
    assert world.halves == {MOVE.source: S.NONE, MOVE.target: S.RUNNING}
    stuck = World(S.DEPARTED, GONE, is_decided=True)
    with pytest.raises(errors.ExecError, match="still half-way"):
        execute(op(cleanup=True, target_node=""), stuck.env)
