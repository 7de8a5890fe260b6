"""One copy of the state on disk. Blocking; to be used by one thread at a time."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Self

import msgspec

from ganeti import errors
from ganeti.host import faults, files
from ganeti.store import sql
from ganeti.store.api import Batch, Note, Position, Write
from ganeti.store.batch import NOWHERE, Entry, chain, seal, unseal
from ganeti.store.lock import WriterLock
from ganeti.wire import codec

log = logging.getLogger(__name__)

BEFORE_APPLY = faults.register("store.before_apply")
AFTER_APPLY = faults.register("store.after_apply")
BEFORE_PROMISE = faults.register("store.before_promise")
AFTER_PROMISE = faults.register("store.after_promise")
BEFORE_STAGE = faults.register("store.before_stage")
AFTER_STAGE = faults.register("store.after_stage")
BEFORE_REPLACE = faults.register("store.before_replace")
AFTER_REPLACE = faults.register("store.after_replace")

#: the row with the JSON list of voters
VOTERS = ("meta", "voters")
#: in a snapshot, batches travel as rows of this table: key = serial, value = [term, hash, time, batch]
HISTORY_ROWS = "#history"
#: how many of the newest batches a check of a copy reads
CHECKED_BATCHES = 5_000
#: batches between two prunings; part of the rule, so that all copies prune alike
PRUNE_EVERY = 256


class Promise(msgspec.Struct, frozen=True):
    """This copy follows nobody in a lower term, and only the claimant in this one."""

    term: int
    claimant: str  # node uuid, empty: none


class Retention(msgspec.Struct, frozen=True):
    """How much history is kept; the same on all nodes."""

    batches: int = 50_000
    age_s: float = 90 * 86400.0


DEFAULT_RETENTION = Retention()
NO_NOTE = Note()


def voters_write(voters: Iterable[str]) -> Write:
    return Write(*VOTERS, codec.dumps(list(voters)))


def parse_voters(raw: str | None) -> tuple[str, ...]:
    try:
        return tuple(codec.decode(raw, list[str])) if raw is not None else ()
    except codec.CodecError as err:
        raise errors.StoreError(f"the list of voters in the state cannot be read: {err}") from err


class Database:
    """The state file with its writer lock."""

    def __init__(self, path: str, lock: WriterLock, *, retention: Retention, max_pages: int) -> None:
        """Use `open`."""
        self.path = path
        self._lock = lock
        self._retention = retention
        self._connection = sql.connect(path)
        if max_pages:
            self.limit_pages(max_pages)
        self.position = NOWHERE
        self.promise = Promise(0, "")
        self.led = 0  # last term in which this node was the leader and made a batch
        self._files = {path: _identity(path)}  # path → (device, inode) of what is written to
        self.refresh()
        self._files[path + "-wal"] = _identity(path + "-wal")

    @classmethod
    def open(
        cls,
        path: str,
        *,
        owner: str = "ganeti-masterd",
        wait_s: float = 2.0,
        check: bool = True,
        ids: tuple[int, int] = (-1, -1),
        retention: Retention = DEFAULT_RETENTION,
        max_pages: int = 0,
    ) -> Self:
        """Take the writer lock (file `lock` beside `path`) and open, or create an empty file.

        `owner` is shown to whoever is refused the lock, `check` reads the whole file, `ids` own the files that
        are created, `max_pages` limits the size (0: not). Raises StoreError: in use (InUseError), damaged, full.
        """
        lock = WriterLock(os.path.join(os.path.dirname(path), "lock"), owner, ids=ids)
        try:
            lock.acquire(wait_s=wait_s)
            _create_file(path, ids)
            self = cls(path, lock, retention=retention, max_pages=max_pages)
            try:
                self._check_tail()
                if check:
                    sql.check(self._connection, path)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            lock.close()
            raise
        return self

    def close(self) -> None:
        missing = self.displaced()
        if missing and self._lock.is_held and self.led == self.position.term > 0:
            self._rescue()
        self._connection.close()
        if missing and self._lock.is_held:
            self._put_log_aside()
        self._lock.close()

    def displaced(self) -> str:
        """Path of a file of ours that is not the one any more that was opened; empty: all are in their places."""
        return next((path for path, known in self._files.items() if known is None or _identity(path) != known), "")

    def check_place(self) -> None:
        """Raises DamagedError when somebody has removed or replaced the file, or its log."""
        missing = self.displaced()
        if missing:
            raise sql.removed(self.path, missing)

    def _rescue(self) -> None:
        """What the master had is written beside, as `state.db.rescued`: it may be the only copy."""
        rescued = self.path + ".rescued"
        try:
            self._connection.execute("VACUUM INTO ?", (rescued,))
        except sqlite3.Error as err:
            log.error("the content of the removed state file is not saved in %s: %s", rescued, err)
        else:
            log.warning("the content of the removed state file is in %s", rescued)

    def _put_log_aside(self) -> None:
        """SQLite would take the log of the file that is gone for that of the one in its place."""
        wal = self.path + "-wal"
        if self._files[wal] is not None and _identity(wal) == self._files[wal]:
            with contextlib.suppress(OSError):
                os.replace(wal, wal + ".stale")
            with contextlib.suppress(OSError):
                os.unlink(self.path + "-shm")

    def limit_pages(self, count: int) -> None:
        """Behave as a disk that is full at so many pages (0: no limit)."""
        with sql.our_errors(self.path):
            self._connection.execute(f"PRAGMA max_page_count = {count or sql.MOST_PAGES:d}")

    # The node daemon holds the lock during a call only.

    def hold(self) -> None:
        """Take the lock again. Raises InUseError at once when somebody else has it."""
        if not self._lock.is_held:
            self._lock.acquire()
            self.refresh()

    def release(self) -> None:
        self._lock.release()

    def refresh(self) -> None:
        """Read position and promise from the disk."""
        with sql.our_errors(self.path):
            self.position, self.promise = _read_position(self._connection)
            self.led = self._connection.execute("SELECT led FROM promise").fetchone()[0]

    # Writing

    def apply(
        self,
        entries: Sequence[Entry],
        *,
        secrets: Mapping[str, str | None] | None = None,
        all_secrets: bool = False,
        promise: Promise | None = None,
        is_leader: bool = False,
    ) -> tuple[Write, ...]:
        """Append consecutive batches in one transaction; durable when it returns. Replies the rows' old values.

        `secrets` are changed with them (`all_secrets`: they are the whole table), and so is the promise.
        `is_leader`: this node made the batches.
        Raises StoreError (DiskFullError: nothing of it was stored), ValueError when they are not in the chain.
        """
        position = self.position
        old: list[Write] = []
        with self._transaction(BEFORE_APPLY, AFTER_APPLY) as connection:
            for entry in entries:
                batch = entry.batch
                if entry.previous != position.hash or batch.serial != position.serial + 1 or batch.term < position.term:
                    raise ValueError(f"batch {batch.term}/{batch.serial} is not next after {position}")
                old += _write_rows(connection, batch.writes)
                connection.execute(
                    "INSERT INTO history VALUES (?, ?, ?, ?, ?)",
                    (batch.serial, batch.term, entry.hash, batch.time, entry.text),
                )
                position = entry.position
                if batch.serial % PRUNE_EVERY == 0:
                    self._prune(connection, batch)
            _write_position(connection, position)
            _write_secrets(connection, secrets, replace=all_secrets)
            if promise is not None:
                _write_promise(connection, promise)
            led = position.term if is_leader else self.led
            if led != self.led:
                connection.execute("UPDATE promise SET led = ?", (led,))
        self.position, self.led = position, led
        self.promise = promise or self.promise
        return tuple(old)

    def keep_promise(self, promise: Promise) -> None:
        """Durable when it returns. Whether it may be given is the caller's question."""
        with self._transaction(BEFORE_PROMISE, AFTER_PROMISE) as connection:
            _write_promise(connection, promise)
        self.promise = promise

    def stage(self, part: int, rows: Iterable[tuple[str, str, str]]) -> None:
        """Put one part of a snapshot beside the live content; part 0 drops what was staged before."""
        with self._transaction(BEFORE_STAGE, AFTER_STAGE) as connection:
            if part == 0:
                connection.execute("DELETE FROM incoming")
            connection.executemany("INSERT INTO incoming VALUES (?, ?, ?, ?)", ((part, *row) for row in rows))

    def replace(self, position: Position, *, secrets: Mapping[str, str], promise: Promise) -> None:
        """Put the staged snapshot in the place of everything, in one transaction.

        Raises StoreError when the staged history does not end in `position`.
        """
        with self._transaction(BEFORE_REPLACE, AFTER_REPLACE) as connection:
            connection.execute("DELETE FROM rows")
            connection.execute("DELETE FROM history")
            connection.execute(
                "INSERT INTO rows SELECT tbl, key, value FROM incoming WHERE tbl <> ? ORDER BY tbl, key",
                (HISTORY_ROWS,),
            )
            connection.execute(
                "INSERT INTO history SELECT CAST(key AS INTEGER), json_extract(value, '$[0]'),"
                " json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]')"
                " FROM incoming WHERE tbl = ?",
                (HISTORY_ROWS,),
            )
            connection.execute("DELETE FROM incoming")
            last = connection.execute("SELECT term, serial, hash FROM history ORDER BY serial DESC LIMIT 1").fetchone()
            if last != (position.term, position.serial, position.hash):
                raise errors.StoreError(f"the snapshot's history ends in {last}, it should end in {position}")
            _write_position(connection, position)
            _write_secrets(connection, secrets, replace=True)
            _write_promise(connection, promise)
        self.position, self.promise = position, promise

    # Reading

    def rows(self, table: str, *, prefix: str = "") -> list[tuple[str, str]]:
        """(key, value), ordered by key."""
        with sql.our_errors(self.path):
            return self._connection.execute(
                "SELECT key, value FROM rows WHERE tbl = ? AND key >= ? AND key < ? ORDER BY key",
                (table, prefix, prefix + "\U0010ffff"),
            ).fetchall()

    def all_rows(self, *, without: Sequence[str] = ("archive",)) -> list[tuple[str, str, str]]:
        """(table, key, value) of all tables but `without`, ordered."""
        marks = ",".join("?" * len(without))
        with sql.our_errors(self.path):
            return self._connection.execute(
                f"SELECT tbl, key, value FROM rows WHERE tbl NOT IN ({marks}) ORDER BY tbl, key", tuple(without)
            ).fetchall()

    def voters(self) -> tuple[str, ...]:
        return parse_voters(dict(self.rows(VOTERS[0], prefix=VOTERS[1])).get(VOTERS[1]))

    def history(self, after: int, *, limit: int = 1000, max_bytes: int = 1 << 62) -> list[str]:
        """Encoded batches after that serial, oldest first; at least one if there is one, then up to `max_bytes`."""
        found: list[str] = []
        size = 0
        with sql.our_errors(self.path), contextlib.closing(self._connection.cursor()) as cursor:
            for (text,) in cursor.execute(
                "SELECT batch FROM history WHERE serial > ? ORDER BY serial LIMIT ?", (after, limit)
            ):
                size += len(text)
                if found and size > max_bytes:
                    break
                found.append(text)
        return found

    def batches(self, after: int, limit: int) -> list[Batch]:
        """Decoded batches after that serial, oldest first."""
        return [unseal(text, "").batch for text in self.history(after, limit=limit)]

    def hash_at(self, serial: int) -> str | None:
        """Hash of the chain after that batch; empty before the first, None when it was pruned or is not there yet."""
        if serial == self.position.serial:
            return self.position.hash
        if serial == 0:
            return "" if self._first_serial() == 1 else None
        with sql.our_errors(self.path):
            row = self._connection.execute("SELECT hash FROM history WHERE serial = ?", (serial,)).fetchone()
        return str(row[0]) if row else None

    def _first_serial(self) -> int | None:
        with sql.our_errors(self.path):
            row = self._connection.execute("SELECT min(serial) FROM history").fetchone()
        first: int | None = row[0]
        return first

    def secrets(self) -> dict[str, str]:
        with sql.our_errors(self.path):
            return dict(self._connection.execute("SELECT name, value FROM secrets").fetchall())

    def secret(self, name: str) -> str | None:
        with sql.our_errors(self.path):
            row = self._connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    # Inside

    @contextlib.contextmanager
    def _transaction(self, before: faults.Point, after: faults.Point) -> Iterator[sqlite3.Connection]:
        if not self._lock.is_held:
            raise ValueError("write without the writer lock")
        self.check_place()
        with sql.our_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                faults.hit(before)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self.check_place()  # what was removed meanwhile is no copy
            faults.hit(after)

    def _prune(self, connection: sqlite3.Connection, batch: Batch) -> None:
        connection.execute(
            "DELETE FROM history WHERE serial < ? AND (serial <= ? OR time < ?)",
            (batch.serial, batch.serial - self._retention.batches, batch.time - self._retention.age_s),
        )

    def _check_tail(self) -> None:
        """Raises DamagedError unless the last batch is the one that the position names."""
        if self.position == NOWHERE:
            return
        with sql.our_errors(self.path):
            tail = self._connection.execute(
                "SELECT term, serial, hash, batch FROM history ORDER BY serial DESC LIMIT 2"
            ).fetchall()
        if not tail or tail[0][:3] != (self.position.term, self.position.serial, self.position.hash):
            raise sql.damaged(self.path, "the history does not end in the position")
        previous = tail[1][2] if len(tail) > 1 else "" if self.position.serial == 1 else None
        term, serial, known, text = tail[0]
        if previous is not None and chain(previous, term, serial, text) != known:
            raise sql.damaged(self.path, f"batch {serial} does not match its hash")


def create(
    path: str,
    writes: Sequence[Write],
    *,
    voters: Sequence[str],
    now: float,
    note: Note = NO_NOTE,
    secrets: Mapping[str, str | None] | None = None,
    owner: str = "cluster initialisation",
    ids: tuple[int, int] = (-1, -1),
) -> Position:
    """A fresh state: term 1, serial 1, one batch with `writes` and the voters (node uuids, the master first).

    `now` in epoch seconds. Its directory must exist. Raises StoreError when there is a state already.
    """
    database = Database.open(path, owner=owner, ids=ids)
    try:
        if database.position != NOWHERE:
            raise errors.StoreError(
                f"there is a state already in {path}", hint="this node belongs to a cluster; destroy that one first"
            )
        batch = Batch(1, 1, now, (*writes, voters_write(voters)), (note,))
        entry = unseal(seal(batch, "").text, "")  # read back: an unknown table is refused here
        database.apply([entry], secrets=secrets, promise=Promise(1, voters[0]), is_leader=True)
        files.sync_directory(os.path.dirname(path))
        return database.position
    finally:
        database.close()


def look(path: str) -> tuple[Position, Promise]:
    """Position and promise, read beside whoever writes; never waits. Raises StoreError for a damaged file."""
    connection = sql.connect_read_only(path)
    if connection is None:
        return NOWHERE, Promise(0, "")
    with contextlib.closing(connection), sql.our_errors(path):
        return _read_position(connection)


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
        position, _ = _read_position(connection)
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


def look_time(path: str) -> float:
    """When the last batch was made, in epoch seconds; 0: there is none."""
    connection = sql.connect_read_only(path)
    if connection is None:
        return 0.0
    with contextlib.closing(connection), sql.our_errors(path):
        row = connection.execute("SELECT time FROM history ORDER BY serial DESC LIMIT 1").fetchone()
    return float(row[0]) if row else 0.0


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None: there is no file, or it cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _create_file(path: str, ids: tuple[int, int]) -> None:
    if os.path.exists(path):
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            if ids != (-1, -1):
                os.fchown(handle, *ids)
        finally:
            os.close(handle)
        files.sync_directory(os.path.dirname(path))
    except OSError as err:
        raise errors.StoreError(f"cannot create the state file {path}: {err.strerror}") from err


def _read_position(connection: sqlite3.Connection) -> tuple[Position, Promise]:
    row = connection.execute(
        "SELECT p.term, p.serial, p.hash, q.term, q.claimant FROM position p CROSS JOIN promise q"
    ).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("position or promise is missing")
    return Position(*row[:3]), Promise(*row[3:])


def _write_position(connection: sqlite3.Connection, position: Position) -> None:
    connection.execute(
        "UPDATE position SET term = ?, serial = ?, hash = ?", (position.term, position.serial, position.hash)
    )


def _write_promise(connection: sqlite3.Connection, promise: Promise) -> None:
    connection.execute("UPDATE promise SET term = ?, claimant = ?", (promise.term, promise.claimant))


def _write_rows(connection: sqlite3.Connection, writes: Iterable[Write]) -> list[Write]:
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


def _write_secrets(connection: sqlite3.Connection, secrets: Mapping[str, str | None] | None, *, replace: bool) -> None:
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


class Snapshot:
    """The whole content at one moment, read in parts beside the writer. Close it."""

    def __init__(self, path: str) -> None:
        connection = sql.connect_read_only(path)
        if connection is None:
            raise errors.StoreError(f"there is no state in {path}")
        self._connection, self._path = connection, path
        with sql.our_errors(path):
            connection.execute("BEGIN")
            self.position, _ = _read_position(connection)
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
