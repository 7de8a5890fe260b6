"""Configuration changes on their way to the store: stamped, checked against the newest state, made rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from ganeti.host.clock import Clock
from ganeti.master import private
from ganeti.master.state import FLAGS_KEY, State, row, write_of
from ganeti.model.config import Config
from ganeti.model.jobs import Flags
from ganeti.model.objects import Change, Put
from ganeti.store.api import Leadership, Note, Write


class Committer:
    """The one way into the store. Between two awaits nothing else changes the state."""

    def __init__(self, state: State, leadership: Leadership, clock: Clock) -> None:
        self._state = state
        self._leadership = leadership
        self._clock = clock
        # the newest state, committed or on its way; equal to the published one when nothing is on its way
        self._tip: Config | None = None
        self._tip_flags: Flags | None = None
        self._pending = 0

    @property
    def tip(self) -> Config:
        return self._tip if self._tip is not None else self._state.config

    @property
    def flags(self) -> Flags:
        return self._tip_flags if self._tip_flags is not None else self._state.flags

    def prepare(self, changes: Sequence[Change]) -> tuple[list[Write], Config]:
        """Rows with serial numbers and times set, and the configuration they lead to. PrereqError: name taken."""
        now = self._clock.time()
        stamped: list[Change] = []
        for change in changes:
            if isinstance(change, Put):
                old = self.tip.get(change.object.kind, change.object.uuid)
                serial = old.serial_no + 1 if old is not None else 1
                ctime = old.ctime if old is not None else now
                obj = msgspec.structs.replace(change.object, serial_no=serial, mtime=now, ctime=ctime)
                stamped.append(Put(obj))
            else:
                stamped.append(change)
        return [write_of(change) for change in stamped], self.tip.apply(stamped)

    def commit(
        self,
        note: Note,
        *,
        changes: Sequence[Change] = (),
        writes: Sequence[Write] = (),
        flags: Callable[[Flags], Flags] | None = None,
        secrets: Mapping[str, str | None] | None = None,
        send: Callable[[Sequence[Write], Note], Awaitable[None]] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """All of it in one batch; durable and published when what it returns has been awaited.

        The tip has it when the call is made, not only when it is awaited: two callers never count from the same
        flags. Await it in any case. `send`: another way than a plain commit. Raises PrereqError at the call.
        """
        rows, tip = self.prepare(changes) if changes else ([], None)
        rows += writes
        of_objects = self._secrets(changes)
        if tip is not None:
            self._tip = tip
        if of_objects:
            self._state.know(of_objects)
            secrets = {**of_objects, **(secrets or {})}
        if flags is not None:
            self._tip_flags = flags(self.flags)
            rows.append(row("meta", FLAGS_KEY, self._tip_flags))
        self._pending += 1
        return self._send(rows, note, secrets, send)

    def _secrets(self, changes: Sequence[Change]) -> private.Secrets:
        """What changes with them among the private values."""
        found: private.Secrets = {}
        for change in changes:
            if isinstance(change, Put):
                new, kind, uuid = change.object, change.object.kind, change.object.uuid
            else:
                new, kind, uuid = None, change.kind, change.uuid
            text = private.text_of(new)
            if text != private.text_of(self.tip.get(kind, uuid)):
                found[private.name_of(kind, uuid)] = text
        return found

    async def _send(
        self,
        rows: Sequence[Write],
        note: Note,
        secrets: Mapping[str, str | None] | None,
        send: Callable[[Sequence[Write], Note], Awaitable[None]] | None,
    ) -> None:
        try:
            if send is not None:
                await send(rows, note)
            else:
                await self._leadership.commit(rows, note, secrets=secrets)
        finally:
            self._pending -= 1
            if self._pending == 0:
                self._tip = self._tip_flags = None

    def soon(self, note: Note, writes: Sequence[Write]) -> None:
        """Rows that nobody waits for."""
        self._leadership.commit_soon(writes, note)
