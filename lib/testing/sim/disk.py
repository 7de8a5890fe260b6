"""Disks that lose what was not made durable when the power goes.

SQLite's promise is taken for granted: what was committed in WAL mode with synchronous=FULL is on the disk. So the state
file after a power failure is the file as it is, unless a transaction was committed with a weaker setting: then the
file goes back to what it was before the first of those. Plain files are kept as they were written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import ClassVar

from ganeti.host import faults
from ganeti.store.db import Database

FULL = 2


class Platters:
    """What would be left of each state file."""

    def __init__(self) -> None:
        self._before: dict[str, bytes] = {}  # path → content before the first weak transaction

    def begins(self, path: str, connection: sqlite3.Connection) -> None:
        if _level(connection) < FULL and path not in self._before:
            self._before[path] = connection.serialize()

    def committed(self, path: str, connection: sqlite3.Connection) -> None:
        """A durable transaction makes those before it durable too: there is one log file."""
        if _level(connection) >= FULL:
            self._before.pop(path, None)

    def power_fails(self, path: str) -> None:
        """Nobody has the file open."""
        content = self._before.pop(path, None)
        if content is None:
            return
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + suffix)
        with open(path, "wb") as file:
            file.write(content)


def _level(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA synchronous").fetchone()[0])


class SimDatabase(Database):
    """Use a subclass with its own `platters`, see `database_on`."""

    platters: ClassVar[Platters]

    @contextlib.contextmanager
    def _transaction(self, before: faults.Point, after: faults.Point) -> Iterator[sqlite3.Connection]:
        self.platters.begins(self.path, self._connection)
        with super()._transaction(before, after) as connection:
            yield connection
        self.platters.committed(self.path, self._connection)


def database_on(platters: Platters, kind: type[SimDatabase]) -> type[SimDatabase]:
    """`kind` on these disks."""
    return type(kind.__name__, (kind,), {"platters": platters})
