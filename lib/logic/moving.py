"""What becomes of a live migration that did not come to its end: observe both nodes, then go back or forward.

The configuration decides. While it names the source, the guest stays there: the target's half is ended, and only when
that is known to be gone may a guest that had departed go on at the source. Once it names the target, the guest goes
on there, and what it left at the source is ended; should the target have lost it, the source, which still has all of
it, gets it back. A node that does not answer leaves it undecided: the instance is blocked until
`gnt-instance migrate --cleanup` comes here again. A node that is marked offline counts as dead; such a target, or one
that remembers nothing of the migration (it was started anew), may have let the guest go on before. Memory of a moment
before does not fit disks that were written since: the source ends what it has and the guest starts anew there. Nor does
it fit mirrors that lack what the guest wrote last: a guest that has arrived whole goes on only where its data are.

======== ============================ ============================= ==========================================
primary  source                       target                        what is done
======== ============================ ============================= ==========================================
source   has nothing, or departed     arrived, Xen, with all data   the target is primary, and it goes on there
source   .                            answers, or offline           abort there, then go on at the source
source   runs, or never departed      silent                        go on; the target owes its abort
source   departed                     silent                        blocked
source   silent                       .                             blocked
source   offline                      .                             abort at the target; the guest is lost
target   .                            arrived                       finish there, end the source's half
target   departed                     lost it                       the source is primary again and goes on
target   departed                     lost it, remembers nothing    the source is primary again; it starts anew
target   departed                     offline                       the same; the target owes its end
target   silent                       lost it, or offline           blocked
target   has nothing                  lost it, or offline           the guest is lost
target   .                            silent                        blocked
======== ============================ ============================= ==========================================
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.base import encode as encode_call
from ganeti.calls.migration import (
    Half,
    MigrationAbort,
    MigrationFinish,
    MigrationSourceDone,
    MigrationState,
    Side,
)
from ganeti.calls.mirror import MirrorCatchUp, MirrorGenerations
from ganeti.logic import mirrors, stale
from ganeti.logic.base import RESOLVERS, Env
from ganeti.model.jobs import Resolve, Undo
from ganeti.model.objects import Instance, Move, Put
from ganeti.model.types import RequestId, Uuid

PROCEDURE = "instance-migrate"

R = TypeVar("R")

#: a daemon that restarts is worth waiting for: an undecided migration blocks the instance
_TRIES = 15
_PAUSE_S = 2.0
#: how an RpcError says that the node may answer later
_SILENT = ("unreachable", "timeout", "busy", "refused")
#: the guest's state is nowhere else
_HERE = (Side.RUNNING, Side.PAUSED, Side.ENDED)
#: whose source ends its half by itself, before anybody decides, and never goes on once the target has arrived
_HANDS_OVER = ("xen-pvm", "xen-hvm")


class End(enum.Enum):
    """How a migration was settled."""

    BACK = "back"  # the guest belongs to the source
    FORWARD = "forward"  # it belongs to the target
    LOST = "lost"  # it runs nowhere; the configuration stays as it is
    LEFT = "left"  # cannot be decided now


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    end: End
    text: str  # what is so now, or why it cannot be decided
    debts: tuple[Undo, ...] = ()


class _Offline(Exception):
    """The node is marked offline, or no node of the cluster any more."""


def record(instance: Instance) -> Resolve:
    return Resolve(procedure=PROCEDURE, arguments={"instance": instance.uuid}, title=f"migration of {instance.name}")


def abort(env: Env, instance: Instance, move: Move, node: Uuid, *, resume: bool = False) -> MigrationAbort:
    at_target = node == move.target
    return MigrationAbort(
        migration=move.migration,
        name=instance.name,
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        resume=resume,
        disks=instance.disks if at_target else (),
        request=env.new_request(),
        # also when the call is still on its way: it comes too late then
        undoes=move.prepare if at_target else move.run,
    )


def finish(env: Env, instance: Instance, move: Move) -> MigrationFinish:
    return MigrationFinish(
        migration=move.migration,
        name=instance.name,
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        request=env.new_request(),
    )


def source_done(env: Env, instance: Instance, move: Move, *, undoes: RequestId | None = None) -> MigrationSourceDone:
    return MigrationSourceDone(
        migration=move.migration,
        name=instance.name,
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        disks=instance.disks,
        request=env.new_request(),
        undoes=undoes,
    )


class _Case:
    """One migration that is to be settled."""

    def __init__(self, env: Env, instance: Instance, move: Move) -> None:
        self.env = env
        self.instance = instance
        self.move = move
        self._silent: set[Uuid] = set()  # in vain waited for once: not a second time

    def name(self, node: Uuid) -> str:
        found = self.env.config.nodes.get(node)
        return found.name if found is not None else f"(removed node {node})"

    async def ask(self, node: Uuid, call: Call[R]) -> R:
        """Raises RpcError, _Offline."""
        found = self.env.config.nodes.get(node)
        if found is None or found.offline:
            raise _Offline(self.name(node))
        for left in reversed(range(1 if node in self._silent else _TRIES)):
            try:
                return await self.env.rpc.one(node, call)
            except errors.RpcError as err:
                if err.kind not in _SILENT:
                    raise
                if not left:
                    self._silent.add(node)
                    raise
            await self.env.pause(_PAUSE_S)
        raise AssertionError("not reached")

    async def half(self, node: Uuid) -> Half:
        instance = self.instance
        return await self.ask(
            node, MigrationState(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
        )

    def owed(self, node: Uuid, call: ChangingCall[Any], title: str) -> Undo:
        assert call.undoes is not None, call
        return Undo(node=node, call=encode_call(call), effect=call.undoes, title=f"{title} on {self.name(node)}")

    def owed_abort(self) -> Undo:
        """The target's half goes when that node is back. It cannot go on by itself, so nobody need wait for it."""
        call = abort(self.env, self.instance, self.move, self.move.target)
        return self.owed(self.move.target, call, f"end what was to receive {self.instance.name}")

    # While the source is primary

    async def _is_whole_at_target(self) -> bool:
        """All of it, and nowhere else. Others could have gone on at the source since, and be lost with it."""
        if self.instance.hypervisor not in _HANDS_OVER:
            return False
        try:
            # departed: suspended for good, by a sender that is dead
            if (await self.half(self.move.source)).side not in (Side.NONE, Side.DEPARTED):
                return False
            there = await self.half(self.move.target)
            if (there.side, there.migration) != (Side.ARRIVED, self.move.migration):
                return False
            await self._see_all_data()
        except (_Offline, errors.RpcError):
            return False
        return True

    async def _see_all_data(self) -> None:
        """The target's disks have what the guest wrote at the source: mirrors may part while it is sent, and its memory
        does not fit older disks. Raises RpcError, _Offline."""
        disks, owner = mirrors.of(self.instance), self.instance.uuid
        if disks:
            others = await self.ask(self.move.source, MirrorGenerations(disks=disks, owner=owner))
            await self.ask(self.move.target, MirrorCatchUp(disks=disks, owner=owner, others=others))

    async def back(self) -> Settled:
        if await self._is_whole_at_target():
            moved = msgspec.structs.replace(self.instance, primary_node=self.move.target)
            title = f"{moved.name} has arrived on {self.name(self.move.target)} and goes on nowhere else"
            await self.env.commit(Put(moved), title=title, recoveries=(record(moved),))
            self.instance = moved
            return await self.forward()
        target, debts = self.move.target, []
        is_gone = True
        try:
            await self.ask(target, abort(self.env, self.instance, self.move, target))
        except _Offline:
            debts.append(self.owed_abort())
        except errors.RpcError as err:
            is_gone, trouble = False, str(err)
            debts.append(self.owed_abort())
        try:
            call = abort(self.env, self.instance, self.move, self.move.source, resume=is_gone)
            half = await self.ask(self.move.source, call)
        except _Offline:
            text = f"{self.instance.name} was lost with node {self.name(self.move.source)}, which is marked offline"
            return Settled(end=End.LOST, text=f"{text}; gnt-instance failover starts it elsewhere", debts=tuple(debts))
        except errors.RpcError as err:
            return self.left(f"whether it runs on node {self.name(self.move.source)} is not known: {err}")
        if half.side in (Side.DEPARTED, Side.LEAVING):
            what = (
                f"it is paused on node {self.name(self.move.source)}" if half.side is Side.DEPARTED else half.side.value
            )
            why = trouble if not is_gone else "it could not go on there"
            return self.left(f"{what}, and must not go on there before its other half is gone: {why}")
        return Settled(end=End.BACK, text=self.where(self.move.source, half), debts=tuple(debts))

    def where(self, node: Uuid, half: Half) -> str:
        name = self.instance.name
        if half.side is Side.RUNNING:
            return f"{name} runs on {self.name(node)}"
        if half.side is Side.NONE:
            return f"{name} belongs to {self.name(node)} and does not run; the watcher starts it if it shall"
        return f"{name} is on {self.name(node)}: {half.side.value}"

    # Once the target is primary

    async def forward(self) -> Settled:
        target = self.move.target
        try:
            half = await self.half(target)
            if half.side in (Side.ARRIVED, Side.INCOMING):
                try:
                    await self.ask(target, finish(self.env, self.instance, self.move))
                except errors.RpcError as err:
                    half = await self.half(target)
                    if half.side is not Side.NONE and half.side not in _HERE:
                        return self.left(f"it could not go on on node {self.name(target)}: {err}")
                else:
                    half = await self.half(target)
        except _Offline:
            away = self.env.config.nodes.get(target)
            ends = () if away is None else (stale.debt(self.env, self.instance, away),)
            return await self.regained(f"node {self.name(target)} is marked offline", (self.owed_abort(),), ends=ends)
        except errors.RpcError as err:
            return self.left(f"whether it runs on node {self.name(target)} is not known: {err}")
        if half.side is Side.NONE:
            never_ran = half.migration == self.move.migration
            return await self.regained(f"node {self.name(target)} has lost it", (), never_ran=never_ran)
        return Settled(end=End.FORWARD, text=self.where(target, half), debts=await self.cleared())

    async def cleared(self) -> tuple[Undo, ...]:
        """End what the guest left at the source, now or when that node is back."""
        call = source_done(self.env, self.instance, self.move, undoes=self.move.run)
        try:
            await self.ask(self.move.source, call)
        except (_Offline, errors.RpcError):
            return (self.owed(self.move.source, call, f"end what {self.instance.name} left"),)
        return ()

    async def regained(
        self, why: str, debts: tuple[Undo, ...], *, never_ran: bool = False, ends: tuple[Undo, ...] = ()
    ) -> Settled:
        """The target cannot run it. The source has it still, unless it is dead too.

        `never_ran`: it is known not to have gone on at the target; `ends`: what the target owes if it goes back.
        """
        source = self.move.source
        try:
            half = await self.half(source)
            if half.side is Side.NONE:
                text = f"{self.instance.name} was lost: {why}, and {self.name(source)} has nothing of it"
                return Settled(end=End.LOST, text=f"{text}; the watcher starts it if it shall run", debts=debts)
            is_old = half.side is Side.DEPARTED and not never_ran
            if is_old:
                # before the next decision, after which whoever finds this half-way would let it go on
                await self.ask(source, source_done(self.env, self.instance, self.move, undoes=self.move.run))
            # the decision before the deed: whoever finds this half-way now goes back
            back = msgspec.structs.replace(self.instance, primary_node=source)
            title = f"{self.instance.name} comes back to {self.name(source)}"
            await self.env.commit(Put(back), title=title, recoveries=(record(back),), debts=ends)
            self.instance = back
            if is_old:
                text = f"{why}, and it may have gone on there: {back.name} belongs to {self.name(source)} again"
                return Settled(end=End.BACK, text=f"{text}; the watcher starts it anew if it shall run", debts=debts)
            half = await self.ask(source, abort(self.env, self.instance, self.move, source, resume=True))
        except _Offline:
            text = f"{self.instance.name} was lost: {why}, and so is {self.name(source)}"
            return Settled(end=End.LOST, text=text, debts=debts)
        except errors.RpcError as err:
            return self.left(f"{why}; whether it can go on on node {self.name(source)} is not known: {err}")
        if half.side not in _HERE:
            return self.left(f"{why}; on node {self.name(source)} it is {half.side.value} and does not go on")
        return Settled(end=End.BACK, text=f"{why}: {self.where(source, half)}", debts=debts)

    async def one_primary(self) -> tuple[Undo, ...]:
        """The mirrors let one node write again; what a node cannot do now it owes."""
        owed = []
        for node in (self.move.source, self.move.target):
            for disk in mirrors.of(self.instance):
                call = mirrors.one_primary_call(self.env, self.instance, disk, undoes=self.move.run)
                try:
                    await self.ask(node, call)
                except (_Offline, errors.RpcError):
                    owed.append(self.owed(node, call, f"let one node only write to the disks of {self.instance.name}"))
        return tuple(owed)

    def left(self, why: str) -> Settled:
        return Settled(end=End.LEFT, text=why)


async def settle(env: Env, instance: Instance, move: Move, *, result: Any = msgspec.UNSET) -> Settled:
    """Decide and do it; what came of it is committed, with the `result` if it was brought to its end.

    A `result` of None or more decides the operation only when the guest went forward.
    """
    case = _Case(env, instance, move)
    settled = await (case.forward() if instance.primary_node == move.target else case.back())
    # as it is now: a primary that was put back, new serial numbers
    now = env.config.instances[instance.uuid]
    if settled.end is End.LEFT:
        source, target = case.name(move.source), case.name(move.target)
        blocked = f"its migration from {source} to {target} is half-way: {settled.text}"
        await env.commit(Put(msgspec.structs.replace(now, blocked=blocked)), title=f"block {instance.name}")
        return settled
    debts = (*settled.debts, *await case.one_primary())
    now = env.config.instances[instance.uuid]
    free = msgspec.structs.replace(now, moving=None, blocked="")
    title = f"the migration of {instance.name} is settled"
    decided = result if settled.end is End.FORWARD else msgspec.UNSET
    await env.commit(Put(free), title=title, result=decided, debts=debts)
    return settled


async def resolve_migration(arguments: dict[str, Any], env: Env) -> Iterable[str]:
    """Behind the `Resolve` record. A guest that reached its target makes the job a success after all."""
    instance = env.config.instances.get(Uuid(str(arguments["instance"])))
    if instance is None:
        return ["the instance is gone"]
    if instance.moving is None:
        return [f"the migration of {instance.name} had ended"]
    settled = await settle(env, instance, instance.moving, result=None)
    if settled.end is not End.LEFT:
        return [settled.text]
    return [
        f"{instance.name} is blocked: {settled.text}",
        f"when that is mended, or the node is marked offline: gnt-instance migrate --cleanup {instance.name}",
    ]


RESOLVERS[PROCEDURE] = resolve_migration
