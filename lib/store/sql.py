"""The state file as SQLite sees it: schema, connections, and its errors in our words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator

from ganeti import errors
from ganeti.store import planted

APPLICATION_ID = 0x47616E65
VERSION = 1
#: SQLite's own limit, https://www.sqlite.org/limits.html, no. 14
MOST_PAGES = 4294967294

#: how long a writer waits for another one, in milliseconds
BUSY_MS = 5000

SCHEMA = (
    "CREATE TABLE rows (tbl TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (tbl, key)) WITHOUT ROWID",
    "CREATE TABLE history (serial INTEGER PRIMARY KEY, term INTEGER NOT NULL, hash TEXT NOT NULL, time REAL NOT NULL,"
    " batch TEXT NOT NULL)",
    "CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, serial INTEGER NOT NULL,"
    " hash TEXT NOT NULL)",
    "CREATE TABLE promise (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, claimant TEXT NOT NULL,"
    " led INTEGER NOT NULL)",
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE incoming (part INTEGER NOT NULL, tbl TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL)",
    "INSERT INTO position VALUES (1, 0, 0, '')",
    "INSERT INTO promise VALUES (1, 0, '', 0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


class DiskFullError(errors.StoreError):
    """No space for the change; nothing of it was stored."""

    exit_status = 1
    wire_name = "JobQueueError"


class DamagedError(errors.StoreError):
    """The file cannot be trusted any more."""


def damaged(path: str, what: str) -> DamagedError:
    return DamagedError(
        f"the state file {path} is damaged ({what})",
        hint=f"if this node is the master, run `gnt-cluster master-failover` on another master candidate; then move "
        f"{path}, {path}-wal and {path}-shm aside on this node: the master sends it a new copy",
    )


def removed(path: str, file: str) -> DamagedError:
    return DamagedError(
        f"the state file {path} was removed or replaced while it was in use: {file} is not the file that was opened",
        hint="what is written there would not last; if this node is the master, run `gnt-cluster master-failover` on "
        "another master candidate; a candidate is sent a new copy by the master",
    )


def _translated(path: str, err: sqlite3.Error) -> errors.StoreError:
    code = getattr(err, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(
            f"no space left for the state file {path}",
            hint="free space on that disk; nothing of this change was stored",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, str(err))
    if code == sqlite3.SQLITE_BUSY:
        return errors.StoreError(
            f"the state file {path} is busy", hint="another process has it open: end it, try again"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return errors.StoreError(
            f"cannot open the state file {path} for writing: {err}",
            hint="check that its directory is there, and its owner",
        )
    if code == sqlite3.SQLITE_IOERR:
        return errors.StoreError(f"input/output error on the state file {path}: {err}", hint="check the disk")
    return errors.StoreError(f"the state file {path}: {err}")


@contextlib.contextmanager
def our_errors(path: str) -> Iterator[None]:
    """SQLite's errors become StoreErrors."""
    try:
        yield
    except sqlite3.Error as err:
        raise _translated(path, err) from err


def connect(path: str) -> sqlite3.Connection:
    """For writing; an empty file gets the schema. To be used by one thread at a time. Raises StoreError."""
    with our_errors(path):
        connection = _open(path, "rw", timeout_s=BUSY_MS / 1000)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # secrets that are deleted must not stay in free pages
            connection.execute("PRAGMA secure_delete = ON")
            _check_version(connection, path, create=True)
        except BaseException:
            connection.close()
            raise
        return connection


def forget_secrets(path: str) -> None:
    """Of a state that nobody uses any more: they are in none of its files afterwards. Raises StoreError."""
    with our_errors(path), contextlib.closing(connect(path)) as connection:
        connection.execute("DELETE FROM secrets")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def connect_read_only(path: str) -> sqlite3.Connection | None:
    """Beside a writer, never waiting for it; None when there is no file, or nothing in it. Raises StoreError."""
    if not os.path.exists(path):
        return None
    with our_errors(path):
        connection = _open(path, "ro", timeout_s=1.0)
        try:
            if _check_version(connection, path, create=False):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None


def _open(path: str, mode: str, *, timeout_s: float) -> sqlite3.Connection:
    """`mode`: of SQLite's URIs, rw or ro: no file is made. Raises StoreError."""
    try:
        wanted = planted.expected(path, for_writing=mode == "rw")
    except FileNotFoundError as err:
        raise errors.StoreError(
            f"there is no state file {path}", hint="check that its directory is there, and its owner"
        ) from err
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=timeout_s
    )
    try:
        planted.check_opened(connection, path, wanted)
    except BaseException:
        connection.close()
        raise
    return connection


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _check_version(connection: sqlite3.Connection, path: str, *, create: bool) -> bool:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if (application, version) == (APPLICATION_ID, VERSION):
        return True
    if application == APPLICATION_ID:
        raise errors.StoreError(
            f"the state file {path} has format {version}, this version reads format {VERSION}",
            hint="run the same version of the software on all master candidates",
        )
    if application or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise damaged(path, "it is a database of something else")
    if create:
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
    return create


def check(connection: sqlite3.Connection, path: str) -> None:
    """Read the whole file. Raises DamagedError."""
    with our_errors(path):
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise damaged(path, "; ".join(found))
