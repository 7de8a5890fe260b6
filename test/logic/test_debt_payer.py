"""In which order nodes are told what they still have to do, and what they are not told any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from logic.plan_env import make_config, make_instance, node_uuid

from ganeti import errors
from ganeti.calls.base import Call, encode
from ganeti.calls.mirror import MirrorStatus
from ganeti.calls.volume import VolumeRemove
from ganeti.master.debts import REST_S, DebtPayer
from ganeti.master.state import State, write_of
from ganeti.model.jobs import Debt, Undo
from ganeti.model.objects import Disk, DiskTemplate, Put
from ganeti.model.types import JobId, RequestId, Uuid
from ganeti.store.api import Batch, Write

GONE = Uuid("an instance that is gone")
GOOD, BAD = MirrorStatus(disk="UpToDate"), MirrorStatus(disk="Inconsistent")


class World:
    """Implements the nodes and the store: calls for names in `failing` fail, what is committed is there at once."""

    def __init__(self, *debts: Debt, instances: Sequence[Any] = ()) -> None:
        self.state = State()
        config = make_config(*instances)
        objects = [config.cluster, *config.groups.values(), *config.nodes.values(), *config.instances.values()]
        writes = [write_of(Put(each)) for each in objects]
        self.state.load((write.table, write.key, write.value or "") for write in writes)
        self.state.debts = {debt.serial: debt for debt in debts}
        self.failing: set[str] = set()
        self.failed: list[str] = []
        self.broken: set[str] = set()
        self.silent: set[Uuid] = set()
        self.removed: list[str] = []
        self.asked: list[str] = []  # to remove these, whatever came of it
        self.status: MirrorStatus = GOOD
        self.on_question: Callable[[], None] = lambda: None
        self.now = 0.0
        self.payer = DebtPayer(self.state, cast("Any", self), monotonic=lambda: self.now)
        self.payer.attach(cast("Any", self))

    async def one(self, node: Uuid, call: Call[Any], *, progress: Any = None) -> Any:
        if node not in self.state.config.nodes:
            raise KeyError(node)
        if node in self.silent:
            raise errors.RpcError(node, "unreachable", "does not answer")
        if not isinstance(call, VolumeRemove):
            self.on_question()
            return (self.status,)
        name = str(call.disk.logical_id[1])
        self.asked.append(name)
        if name in self.broken:
            raise errors.StorageError("its id is not a mirror's")
        if name in self.failing:
            self.failed.append(name)
            raise errors.RpcError(node, "failed", "input/output error")
        self.removed.append(name)
        return None

    async def many(self, nodes: Sequence[Uuid], call: Call[Any]) -> dict[Uuid, Any]:
        return {node: await self.one(node, call) for node in nodes}

    async def commit(self, note: Any, *, writes: Sequence[Write]) -> None:
        await asyncio.sleep(0)
        self.state.publish(cast("Batch", _Published(writes)))


class _Published:
    serial = 1

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes


def volume(name: str) -> Disk:
    return Disk(uuid=Uuid(name), template=DiskTemplate.PLAIN, size=1, logical_id=("xenvg", name))


def debt(serial: int, name: str, *, node: int = 2, owner: Uuid = GONE, until_good: Uuid | None = None) -> Debt:
    request = RequestId(f"r{serial}")
    call = VolumeRemove(disk=volume(name), owner=owner, request=request, undoes=RequestId(f"e{serial}"))
    undo = Undo(node=node_uuid(node), call=encode(call), effect=request, title=f"remove {name}", until_good=until_good)
    return Debt(serial=serial, node=node_uuid(node), job=JobId(1), undo=undo, since=0.0)


def run(world: World) -> list[str]:
    """What is removed; then what is still owed is in the state."""
    asyncio.run(world.payer.try_all())
    return world.removed


WEB1 = make_instance(disks=(volume("web1"),))


def test_what_a_node_fails_at_holds_up_what_came_later_about_the_same_volume() -> None:
    world = World(debt(1, "a"), debt(2, "b"), debt(3, "a"), debt(4, "c"))
    world.failing = {"a"}
    assert run(world) == ["b", "c"]
    world.failing = set()
    assert run(world)[2:] == ["a", "a"]
    assert not world.state.debts


def test_one_round_asks_for_each_debt_once() -> None:
    world = World(debt(1, "a"), debt(2, "b"))
    world.failing = {"a"}
    run(world)
    assert world.asked == ["a", "b"]


def test_a_node_that_does_not_answer_does_not_hold_up_the_others() -> None:
    world = World(debt(1, "a", node=1), debt(2, "b", node=2))
    world.silent = {node_uuid(1)}
    assert run(world) == ["b"]
    assert list(world.state.debts) == [1]


def test_what_may_be_the_only_good_copy_goes_once_the_primary_has_everything() -> None:
    world = World(debt(1, "old", owner=WEB1.uuid, until_good=WEB1.uuid), instances=[WEB1])
    world.status = BAD
    assert run(world) == []
    world.silent = {WEB1.primary_node}
    assert run(world) == []
    world.silent, world.status = set(), GOOD
    assert run(world) == ["old"]
    assert not world.state.debts


def test_once_the_primary_had_everything_it_is_not_asked_again() -> None:
    """What the primary loses later it does not lose to the old volumes."""
    world = World(debt(1, "old", owner=WEB1.uuid, until_good=WEB1.uuid), instances=[WEB1])
    world.failing = {"old"}
    assert run(world) == []
    world.status, world.failing = BAD, set()
    assert run(world) == ["old"]


def test_an_answer_about_disks_that_have_changed_meanwhile_does_not_count() -> None:
    world = World(debt(1, "old", owner=WEB1.uuid, until_good=WEB1.uuid), instances=[WEB1])

    def moves() -> None:
        moved = make_instance(disks=(volume("web1"),), node=3)
        world.state.publish(cast("Batch", _Published([write_of(Put(moved))])))
        world.on_question = lambda: None

    world.on_question = moves
    assert run(world) == []
    assert run(world) == ["old"]


def test_it_does_not_hinder_other_calls() -> None:
    """Neither is it asked for, nor is it made, on the way to another call."""
    world = World(debt(1, "old", owner=WEB1.uuid, until_good=WEB1.uuid), debt(2, "b"), instances=[WEB1])
    other = VolumeRemove(disk=volume("c"), owner=GONE, request=RequestId("1"))
    asyncio.run(world.payer.one(node_uuid(2), other))
    assert world.removed == ["b", "c"]


def test_when_its_instance_is_gone_it_is_owed_as_anything_else() -> None:
    world = World(debt(1, "old", owner=WEB1.uuid, until_good=WEB1.uuid))
    other = VolumeRemove(disk=volume("c"), owner=GONE, request=RequestId("1"))
    asyncio.run(world.payer.one(node_uuid(2), other))
    assert world.removed == ["old", "c"]


def test_what_the_configuration_has_on_the_node_is_never_removed_as_a_debt() -> None:
    world = World(debt(1, "web1", node=1, owner=WEB1.uuid), debt(2, "web1", owner=WEB1.uuid), instances=[WEB1])
    assert run(world) == ["web1"]  # on node2, where the instance has nothing
    assert not world.state.debts


def test_debts_of_a_node_that_has_left_are_forgotten() -> None:
    world = World(debt(1, "a", node=7), debt(2, "b"))
    assert run(world) == ["b"]
    assert not world.state.debts


def test_a_debt_that_cannot_be_told_any_more_does_not_hold_up_other_calls() -> None:
    world = World(debt(1, "a"))
    world.broken = {"a"}
    other = VolumeRemove(disk=volume("c"), owner=GONE, request=RequestId("1"))
    asyncio.run(world.payer.one(node_uuid(2), other))
    assert world.removed == ["c"]
    assert list(world.state.debts) == [1]


def test_minors_that_are_owed_follow_the_debts() -> None:
    half = Disk(
        uuid=Uuid("m"),
        template=DiskTemplate.DRBD,
        size=1,
        logical_id=(node_uuid(2), node_uuid(3), 11000, 4, 5, "s"),
        children=(volume("data"), volume("meta")),
    )
    first, second = debt(1, "a"), debt(2, "b", node=3)
    call = VolumeRemove(disk=half, owner=GONE, request=RequestId("r"), undoes=RequestId("e"))
    world = World(msgspec.structs.replace(first, undo=msgspec.structs.replace(first.undo, call=encode(call))), second)
    for _ in range(2):
        assert list(world.payer.mirrors(node_uuid(2))) == list(world.payer.mirrors(None)) == [half]
        assert list(world.payer.mirrors(node_uuid(3))) == []
    del world.state.debts[1]
    assert list(world.payer.mirrors(None)) == []
    world.state.debts[3] = msgspec.structs.replace(first, serial=3, undo=msgspec.structs.replace(first.undo, call={}))
    assert list(world.payer.mirrors(None)) == []


def removal(name: str) -> VolumeRemove:
    """Asked for by somebody, not owed."""
    return VolumeRemove(disk=volume(name), owner=GONE, request=RequestId(name), undoes=RequestId(f"of {name}"))


def test_what_a_node_fails_at_does_not_hold_up_calls_about_other_volumes() -> None:
    world = World(debt(1, "a"), debt(2, "a"))
    world.failing = {"a"}
    assert run(world) == []
    assert world.failed == ["a"]
    asyncio.run(world.payer.one(node_uuid(2), removal("b")))
    asyncio.run(world.payer.many([node_uuid(2)], removal("c")))
    assert (world.removed, world.failed) == (["b", "c"], ["a"]), "it is not tried again before them"

    world.now += REST_S
    asyncio.run(world.payer.one(node_uuid(2), removal("d")))
    assert world.failed == ["a", "a"], "it has been left alone for long enough"


def test_what_a_node_fails_at_is_tried_before_a_call_about_the_same_volume() -> None:
    world = World(debt(1, "a"), debt(2, "b"))
    world.failing = {"a"}
    assert run(world) == ["b"]
    world.failing = set()
    asyncio.run(world.payer.one(node_uuid(2), removal("a")))
    assert world.removed == ["b", "a", "a"]
    assert not world.state.debts


def test_new_debts_are_paid_before_the_next_call_beside_one_that_the_node_fails_at() -> None:
    world = World(debt(1, "a"))
    world.failing = {"a"}
    assert run(world) == []
    world.state.debts[2] = debt(2, "b")
    asyncio.run(world.payer.one(node_uuid(2), removal("c")))
    assert (world.removed, world.failed) == (["b", "c"], ["a"])
