"""What is read from and written to the tables of a state file. Transactions are the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from ganeti.store.api import Position, Write


class Promise(msgspec.Struct, frozen=True):
    """This copy follows nobody in a lower term, and only the claimant in this one."""

    term: int
    claimant: str  # node uuid, empty: none


def read_position(connection: sqlite3.Connection) -> tuple[Position, Promise]:
    row = connection.execute(
        "SELECT p.term, p.serial, p.hash, q.term, q.claimant FROM position p CROSS JOIN promise q"
    ).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("position or promise is missing")
    return Position(*row[:3]), Promise(*row[3:])


def write_position(connection: sqlite3.Connection, position: Position) -> None:
    connection.execute(
        "UPDATE position SET term = ?, serial = ?, hash = ?", (position.term, position.serial, position.hash)
    )


def write_promise(connection: sqlite3.Connection, promise: Promise) -> None:
    connection.execute("UPDATE promise SET term = ?, claimant = ?", (promise.term, promise.claimant))


def write_rows(connection: sqlite3.Connection, writes: Iterable[Write]) -> list[Write]:
    """Change the rows; the reply has what they were."""
    old: list[Write] = []
    for write in writes:
        place = (write.table, write.key)
        row = connection.execute("SELECT value FROM rows WHERE tbl = ? AND key = ?", place).fetchone()
        old.append(Write(*place, row[0] if row else None))
        if write.value is None:
            connection.execute("DELETE FROM rows WHERE tbl = ? AND key = ?", place)
        else:
            connection.execute(
                "INSERT INTO rows VALUES (?, ?, ?) ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value",
                (*place, write.value),
            )
    return old


def write_secrets(connection: sqlite3.Connection, secrets: Mapping[str, str | None] | None, *, replace: bool) -> None:
    if replace:
        connection.execute("DELETE FROM secrets")
    for name, value in (secrets or {}).items():
        if value is None:
            connection.execute("DELETE FROM secrets WHERE name = ?", (name,))
        else:
            connection.execute(
                "INSERT INTO secrets VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )
