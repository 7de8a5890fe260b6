"""Undos that wait for their node. They run before any other changing call when the node is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.base import decode as decode_call
from ganeti.calls.port import Progress, Rpc
from ganeti.master import links
from ganeti.master.commits import Committer
from ganeti.master.state import State, row
from ganeti.model.jobs import Debt, Flags, Undo
from ganeti.model.objects import Disk, Node
from ganeti.model.types import JobId, Uuid
from ganeti.store.api import Note, Write
from ganeti.wire import codec

log = logging.getLogger(__name__)

R = TypeVar("R")

#: how often nodes with debts are tried, in seconds
INTERVAL_S = 20.0


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

    def __init__(self, state: State, rpc: Rpc) -> None:
        self._state = state
        self._rpc = rpc
        self._committer: Committer | None = None
        self._busy: dict[Uuid, asyncio.Lock] = {}

    def attach(self, committer: Committer) -> None:
        """From when on debts can be paid: the store takes commits."""
        self._committer = committer

    async def one(self, node: Uuid, call: Call[R], *, progress: Progress | None = None) -> R:
        if isinstance(call, ChangingCall):
            await self.pay(node)
        return await self._rpc.one(node, call, progress=progress)

    async def many(self, nodes: Iterable[Uuid], call: Call[R]) -> dict[Uuid, R | errors.RpcError]:
        wanted = list(nodes)
        if isinstance(call, ChangingCall):
            for node in wanted:
                try:
                    await self.pay(node)
                except errors.RpcError as err:
                    log.debug("debts of %s stay: %s", node, err)
        return await self._rpc.many(wanted, call)

    async def at(self, node: Node, call: Call[R]) -> R:
        return await self._rpc.at(node, call)

    async def pay(self, node: Uuid) -> None:
        """Run what the node owes. Raises RpcError when it cannot be reached."""
        if self._committer is None or not self._owes(node):
            return
        async with self._busy.setdefault(node, asyncio.Lock()):
            for debt in self._owes(node):
                try:
                    await self._rpc.one(node, decode_call(debt.undo.call))
                except errors.RpcError as err:
                    if err.kind != "failed":
                        raise
                    log.warning("debt of job %s stays: %s: %s", debt.job, debt.undo.title, err)
                    continue
                except codec.CodecError as err:
                    log.warning("debt of job %s cannot be read: %s", debt.job, err)
                    continue
                log.info("undone at last: %s (job %s)", debt.undo.title, debt.job)
                note = Note(actor="debt", job=debt.job, reason=debt.undo.title)
                await self._committer.commit(note, writes=[row("debt", str(debt.serial), None)])

    async def settle(self, node: Uuid) -> Sequence[Undo]:
        """Pay, then tell what the node could not do. Raises RpcError when it cannot be reached."""
        await self.pay(node)
        return tuple(debt.undo for debt in self._owes(node))

    def mirrors(self, node: Uuid | None) -> Iterator[Disk]:
        """Mirrored disks that the node (None: any) still has to give up: their minors and ports are not free."""
        for debt in self._state.debts.values():
            if node is None or debt.node == node:
                try:
                    yield from links.mirrors(decode_call(debt.undo.call))
                except codec.CodecError:
                    continue  # of another version; told about when it is tried

    def _owes(self, node: Uuid) -> list[Debt]:
        return sorted((d for d in self._state.debts.values() if d.node == node), key=lambda debt: debt.serial)

    async def keep_trying(self) -> None:
        """Runs as long as the mastership."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            for node in {debt.node for debt in self._state.debts.values()}:
                try:
                    await self.pay(node)
                except errors.GanetiError as err:
                    log.debug("debts of %s stay: %s", node, err)
