"""A state file read beside whoever writes it, without the writer lock; never waits."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Generator

import msgspec

from ganeti import errors
from ganeti.store import sql
from ganeti.store.api import Position
from ganeti.store.batch import NOWHERE, chain
from ganeti.store.statements import Promise, read_position
from ganeti.wire import codec

#: in a snapshot, batches travel as rows of this table: key = serial, value = [term, hash, time, batch]
HISTORY_ROWS = "#history"
#: how many of the newest batches a check of a copy reads
CHECKED_BATCHES = 5_000


def look(path: str) -> tuple[Position, Promise]:
    """Position and promise, read beside whoever writes; never waits. Raises StoreError for a damaged file."""
    connection = sql.connect_read_only(path)
    if connection is None:
        return NOWHERE, Promise(0, "")
    with contextlib.closing(connection), sql.our_errors(path):
        return read_position(connection)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole copy holds."""

    position: Position
    digest: str  # SHA-256 of the rows of `object`


def read_all(path: str, *, batches: int = CHECKED_BATCHES) -> Content:
    """Read everything at one moment beside whoever writes: pages, the newest batches, rows.

    Raises DamagedError when a page or a batch is not what it was.
    """
    connection = sql.connect_read_only(path)
    if connection is None:
        return Content(position=NOWHERE, digest="")
    with contextlib.closing(connection), sql.our_errors(path):
        sql.check(connection, path)
        connection.execute("BEGIN")
        position, _ = read_position(connection)
        _check_chain(connection, path, position, batches)
        digest = hashlib.sha256()
        for key, value in connection.execute("SELECT key, value FROM rows WHERE tbl = 'object' ORDER BY key"):
            digest.update(f"{key}\0{value}\0".encode())
    return Content(position=position, digest=digest.hexdigest())


def _check_chain(connection: sqlite3.Connection, path: str, position: Position, batches: int) -> None:
    """Each of the newest batches has the hash that follows from the one before it, and the last is the position."""
    following: tuple[int, int, str, str] | None = None
    for term, serial, known, text in connection.execute(
        "SELECT term, serial, hash, batch FROM history ORDER BY serial DESC LIMIT ?", (batches,)
    ):
        if following is None:
            if (term, serial, known) != (position.term, position.serial, position.hash):
                raise sql.damaged(path, "the history does not end in the position")
        elif chain(known, following[0], following[1], following[3]) != following[2]:
            raise sql.damaged(path, f"batch {following[1]} does not match its hash")
        following = (term, serial, known, text)


def look_rows(path: str, table: str, *, prefix: str = "") -> list[tuple[str, str]]:
    """(key, value) ordered by key, read beside whoever writes. Raises StoreError: damaged."""
    connection = sql.connect_read_only(path)
    if connection is None:
        return []
    with contextlib.closing(connection), sql.our_errors(path):
        return connection.execute(
            "SELECT key, value FROM rows WHERE tbl = ? AND key >= ? AND key < ? ORDER BY key",
            (table, prefix, prefix + "\U0010ffff"),
        ).fetchall()


def last_change(path: str, table: str, *, after: int = 0) -> int:
    """Serial of the newest batch after that one that writes into the table; 0: none does. Raises StoreError."""
    connection = sql.connect_read_only(path)
    if connection is None:
        return 0
    with contextlib.closing(connection), sql.our_errors(path):
        # a batch is JSON, each of its writes a list that begins with the table's name; inside values quotes are escaped
        row = connection.execute(
            "SELECT max(serial) FROM history WHERE serial > ? AND instr(batch, ?)", (after, f'["{table}",')
        ).fetchone()
    return int(row[0] or 0)


def look_time(path: str) -> float:
    """When the last batch was made, in epoch seconds; 0: there is none."""
    connection = sql.connect_read_only(path)
    if connection is None:
        return 0.0
    with contextlib.closing(connection), sql.our_errors(path):
        row = connection.execute("SELECT time FROM history ORDER BY serial DESC LIMIT 1").fetchone()
    return float(row[0]) if row else 0.0


class Snapshot:
    """The whole content at one moment, read in parts beside the writer. Close it."""

    def __init__(self, path: str) -> None:
        connection = sql.connect_read_only(path)
        if connection is None:
            raise errors.StoreError(f"there is no state in {path}")
        self._connection, self._path = connection, path
        with sql.our_errors(path):
            connection.execute("BEGIN")
            self.position, _ = read_position(connection)
            self.secrets: dict[str, str] = dict(connection.execute("SELECT name, value FROM secrets").fetchall())
        self._rows = self._read()
        self._mutex = threading.Lock()  # whoever is cancelled closes while a part may still be read

    def _read(self) -> Generator[tuple[str, str, str], None, None]:
        yield from self._connection.execute("SELECT tbl, key, value FROM rows ORDER BY tbl, key")
        for serial, *rest in self._connection.execute("SELECT serial, term, hash, time, batch FROM history"):
            yield HISTORY_ROWS, str(serial), codec.dumps(rest)

    def part(self, max_bytes: int) -> list[tuple[str, str, str]]:
        """The next rows, up to about that size; empty at the end."""
        found: list[tuple[str, str, str]] = []
        size = 0
        with self._mutex, sql.our_errors(self._path):
            for row in self._rows:
                found.append(row)
                size += len(row[1]) + len(row[2])
                if size >= max_bytes:
                    break
        return found

    def close(self) -> None:
        with self._mutex:
            self._rows.close()
            self._connection.close()
