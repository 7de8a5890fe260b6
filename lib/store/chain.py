"""The leader's chain as its senders need it: the database, and in memory the last batches with the one under way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

import msgspec

from ganeti.store.api import Position
from ganeti.store.batch import Entry
from ganeti.store.db import Database
from ganeti.store.reading import Snapshot

P = ParamSpec("P")
R = TypeVar("R")


class Parcel(msgspec.Struct, frozen=True):
    """Consecutive batches for a voter."""

    previous: str  # hash below the first one
    texts: tuple[str, ...]
    secrets: dict[str, str | None] | None  # changed with them; None: unknown, send all of them


class _Recent(msgspec.Struct, frozen=True):
    """What of a batch is still needed to send it; its decoded rows would take as much memory once more."""

    hash: str
    text: str
    secrets: Mapping[str, str | None]


class Chain:
    """All methods belong to the loop; the database is used in the executor's one thread."""

    def __init__(
        self, database: Database, executor: Executor, *, readers: Executor | None = None, recent_size: int
    ) -> None:
        """`executor` has one thread; `readers` (the loop's own if None) serve snapshots, beside it."""
        self._database, self._executor, self._readers = database, executor, readers
        self._recent: OrderedDict[int, _Recent] = OrderedDict()
        self._size, self._limit = 0, recent_size
        self.tip = database.position

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call something that uses the database, in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def add(self, entry: Entry, secrets: Mapping[str, str | None]) -> None:
        """A new batch: to be sent from now on, also while it is not yet on the own disk."""
        self._recent[entry.batch.serial] = _Recent(entry.hash, entry.text, secrets)
        self._size += len(entry.text)
        while self._size > self._limit and len(self._recent) > 1:
            _, old = self._recent.popitem(last=False)
            self._size -= len(old.text)
        self.tip = entry.position

    def reset(self) -> None:
        """Forget what is in memory: the truth is on the disk."""
        self._recent.clear()
        self._size = 0
        self.tip = self._database.position

    async def has(self, position: Position) -> bool:
        """Whether a copy at that position is on this chain, and what follows is still in the history."""
        if position.serial > self.tip.serial:
            return False
        recent = self._recent.get(position.serial)
        known = recent.hash if recent else await self.run(self._database.hash_at, position.serial)
        return known == position.hash

    async def after(self, position: Position, max_size: int) -> Parcel:
        """What follows a position that is on this chain."""
        if position.serial + 1 not in self._recent:
            stored = await self.run(self._database.history, position.serial, max_bytes=max_size)
            return Parcel(position.hash, tuple(stored), None)
        texts: list[str] = []
        secrets: dict[str, str | None] = {}
        size = 0
        serial = position.serial + 1
        while serial in self._recent and (not texts or size < max_size):
            recent = self._recent[serial]
            texts.append(recent.text)
            secrets.update(recent.secrets)
            size += len(recent.text)
            serial += 1
        return Parcel(position.hash, tuple(texts), secrets)

    async def secrets(self) -> dict[str, str]:
        """The whole table, with the changes of the batch under way."""
        table = await self.run(self._database.secrets)
        recent = self._recent.get(self.tip.serial)
        for name, value in (recent.secrets if recent else {}).items():
            if value is None:
                table.pop(name, None)
            else:
                table[name] = value
        return table

    async def snapshot(self) -> Snapshot:
        """Its parts are to be read with `read`, beside the commits that go on."""
        return await self.read(Snapshot, self._database.path)

    async def read(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: function(*args, **kwargs))
