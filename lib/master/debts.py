"""Undos that wait for their node. They run before any other changing call when the node is back, but for those that the
node has just failed at: a call about other volumes does not wait until it fails at them again.

In the order in which they came: one that the node fails at holds up later ones about the same volumes, which it may
have to be done before. What may be the only good copy of a disk (`Undo.until_good`) is asked for now and then, and
becomes an ordinary debt when it is not any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.base import decode as decode_call
from ganeti.calls.port import Progress, Rpc
from ganeti.master import links, spares
from ganeti.master.commits import Committer
from ganeti.master.state import State, row
from ganeti.model.disks import VolumeName
from ganeti.model.jobs import Debt, Flags, Undo
from ganeti.model.objects import Disk, Node
from ganeti.model.types import JobId, Uuid
from ganeti.store.api import Note, Write
from ganeti.wire import codec

log = logging.getLogger(__name__)

R = TypeVar("R")

#: how often nodes with debts are tried, in seconds
INTERVAL_S = 20.0
#: how long calls about other volumes go before a debt that the node has failed at; longer than until it is tried again
REST_S = 60.0


def new_debts(
    undos: Sequence[Undo], job: JobId, flags: Flags, now: float
) -> tuple[list[Write], Callable[[Flags], Flags] | None]:
    """Rows of new debts, and the change of the flags that counts them: both for one commit, made without an await.

    `now` in epoch seconds.
    """
    if not undos:
        return [], None
    rows = []
    for number, undo in enumerate(undos, start=flags.last_debt + 1):
        debt = Debt(serial=number, node=undo.node, job=job, undo=undo, since=now)
        rows.append(row("debt", str(number), debt))
    last = flags.last_debt + len(undos)
    return rows, lambda old: msgspec.structs.replace(old, last_debt=last)


class DebtPayer:
    """Implements `calls.port.Rpc` in front of the real one."""

    def __init__(self, state: State, rpc: Rpc, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._rpc = rpc
        self._monotonic = monotonic
        self._committer: Committer | None = None
        self._busy: dict[Uuid, asyncio.Lock] = {}
        # by serial: after the loss of a node with hundreds of instances every new minor would read hundreds of calls
        self._mirrors: dict[int, tuple[Disk, ...]] = {}
        # by serial: until when, and what it is about
        self._resting: dict[int, tuple[float, frozenset[VolumeName]]] = {}

    def attach(self, committer: Committer) -> None:
        """From when on debts can be paid: the store takes commits."""
        self._committer = committer

    async def one(self, node: Uuid, call: Call[R], *, progress: Progress | None = None) -> R:
        if isinstance(call, ChangingCall):
            await self.pay(node, before=call)
        return await self._rpc.one(node, call, progress=progress)

    async def many(self, nodes: Iterable[Uuid], call: Call[R]) -> dict[Uuid, R | errors.RpcError]:
        wanted = list(nodes)
        if isinstance(call, ChangingCall):
            await asyncio.gather(*(self._pay_if_there(node, call) for node in wanted))
        return await self._rpc.many(wanted, call)

    async def _pay_if_there(self, node: Uuid, before: Call[Any]) -> None:  # Any: whatever it replies
        try:
            await self.pay(node, before=before)
        except errors.RpcError as err:
            log.debug("debts of %s stay: %s", node, err)

    async def at(self, node: Node, call: Call[R]) -> R:
        return await self._rpc.at(node, call)

    async def pay(self, node: Uuid, *, before: Call[Any] | None = None) -> None:  # Any: whatever it replies
        """Run what the node owes. Raises RpcError when it cannot be reached.

        `before` a call, what it has just failed at is left out, unless that is about volumes of the call.
        """
        concerned = links.volumes(before)
        due = self._due(node)
        if self._committer is None or all(before is not None and self._rests(debt, concerned) for debt in due):
            return
        async with self._busy.setdefault(node, asyncio.Lock()):
            failed: set[VolumeName] = set()
            for debt in self._due(node):
                try:
                    call = decode_call(debt.undo.call)
                except codec.CodecError as err:
                    log.warning("debt of job %s cannot be read: %s", debt.job, err)
                    continue
                if spares.is_in_use(call, node, self._state.config):
                    log.warning("debt of job %s is dropped, its volumes are used again: %s", debt.job, debt.undo.title)
                    await self._write(debt, None, f"used again: {debt.undo.title}")
                    continue
                about = links.volumes(call)
                if about & failed:
                    self._rest(debt, about)
                    failed |= about
                    continue
                if before is not None and self._rests(debt, concerned):
                    failed |= about
                    continue
                try:
                    await self._rpc.one(node, call)
                except (errors.RpcError, errors.StorageError) as err:
                    # the latter: what it is about cannot be linked any more, which is no reason to stop at it
                    if isinstance(err, errors.RpcError) and err.kind != "failed":
                        raise
                    log.warning("debt of job %s stays: %s: %s", debt.job, debt.undo.title, err)
                    self._rest(debt, about)
                    failed |= about
                    continue
                log.info("undone at last: %s (job %s)", debt.undo.title, debt.job)
                await self._write(debt, None, debt.undo.title)

    def _rest(self, debt: Debt, about: frozenset[VolumeName]) -> None:
        if about:  # what is about no volume has to be done before everything
            self._resting[debt.serial] = (self._monotonic() + REST_S, about)
        if len(self._resting) > len(self._state.debts):
            self._resting = {serial: one for serial, one in self._resting.items() if serial in self._state.debts}

    def _rests(self, debt: Debt, concerned: frozenset[VolumeName]) -> bool:
        until, about = self._resting.get(debt.serial, (0.0, frozenset()))
        return self._monotonic() < until and not about & concerned

    async def settle(self, node: Uuid) -> Sequence[Undo]:
        """Pay, then tell what the node could not do or has to keep. Raises RpcError when it cannot be reached."""
        await self._judge([debt for debt in self._spares() if debt.node == node])
        await self.pay(node)
        return tuple(debt.undo for debt in self._owes(node))

    def mirrors(self, node: Uuid | None) -> Iterator[Disk]:
        """Mirrored disks that the node (None: any) still has to give up: their minors and ports are not free."""
        debts = self._state.debts
        for debt in debts.values():
            if node is None or debt.node == node:
                if debt.serial not in self._mirrors:
                    self._mirrors[debt.serial] = _mirrors(debt)
                yield from self._mirrors[debt.serial]
        if len(self._mirrors) > len(debts):
            self._mirrors = {serial: found for serial, found in self._mirrors.items() if serial in debts}

    def _owes(self, node: Uuid) -> list[Debt]:
        return sorted((d for d in self._state.debts.values() if d.node == node), key=lambda debt: debt.serial)

    def _due(self, node: Uuid) -> list[Debt]:
        instances = self._state.config.instances if self._state.debts else {}
        return [d for d in self._owes(node) if d.undo.until_good is None or d.undo.until_good not in instances]

    # What may be the only good copy

    def _spares(self) -> list[Debt]:
        return [debt for debt in self._state.debts.values() if debt.undo.until_good is not None]

    async def _judge(self, debts: Sequence[Debt]) -> None:
        """Those whose disks are complete are due from now on: it stays so, whatever happens to the disks later."""
        if self._committer is None:
            return
        by_instance: dict[Uuid, list[Debt]] = {}
        for debt in debts:
            if debt.undo.until_good is not None:
                by_instance.setdefault(debt.undo.until_good, []).append(debt)
        answers = await asyncio.gather(
            *(spares.is_complete(uuid, lambda: self._state.config, self._rpc) for uuid in by_instance)
        )
        for found, is_good in zip(by_instance.values(), answers, strict=True):
            for debt in found if is_good else ():
                due = msgspec.structs.replace(debt, undo=msgspec.structs.replace(debt.undo, until_good=None))
                await self._write(debt, due, f"not needed any more: {debt.undo.title}")

    async def _forgive(self) -> None:
        """Of nodes that left the cluster nothing can be asked; whoever removed them was told."""
        for debt in [debt for debt in self._state.debts.values() if debt.node not in self._state.config.nodes]:
            try:
                await self._write(debt, None, f"its node has left: {debt.undo.title}")
            except errors.GanetiError as err:
                log.debug("debt of job %s stays: %s", debt.job, err)

    async def _write(self, debt: Debt, new: Debt | None, reason: str) -> None:
        assert self._committer is not None
        if debt.serial in self._state.debts:  # paid by somebody else meanwhile
            note = Note(actor="debt", job=debt.job, reason=reason)
            await self._committer.commit(note, writes=[row("debt", str(debt.serial), new)])

    async def keep_trying(self) -> None:
        """Runs as long as the mastership."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.try_all()

    async def try_all(self) -> None:
        """Every node on its own: one that does not answer does not hold up the others."""
        await self._forgive()
        nodes = {debt.node for debt in self._state.debts.values() if debt.node in self._state.config.nodes}
        await asyncio.gather(*(self._try(node) for node in sorted(nodes)))

    async def _try(self, node: Uuid) -> None:
        try:
            await self.settle(node)
        except errors.GanetiError as err:
            log.debug("debts of %s stay: %s", node, err)


def _mirrors(debt: Debt) -> tuple[Disk, ...]:
    try:
        return tuple(links.mirrors(decode_call(debt.undo.call)))
    except codec.CodecError:
        return ()  # of another version; told about when it is tried
