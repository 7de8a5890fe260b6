"""One copy of the state on disk. Blocking; to be used by one thread at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

import msgspec

from ganeti import errors
from ganeti.host import faults, files
from ganeti.store import sql
from ganeti.store.api import Batch, Note, Position, Write
from ganeti.store.batch import NOWHERE, Entry, chain, seal, unseal
from ganeti.store.lock import WriterLock
from ganeti.store.place import Place, create_file
from ganeti.store.reading import HISTORY_ROWS
from ganeti.store.statements import (
    Promise,
    read_position,
    write_position,
    write_promise,
    write_rows,
    write_secrets,
)
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
#: batches between two prunings; part of the rule, so that all copies prune alike
PRUNE_EVERY = 256


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
        # nothing that was a secret is in the log any more; what a killed process left in it is not known
        self._has_wiped = not os.path.exists(f"{path}-wal")
        self._connection = sql.connect(path)
        if max_pages:
            self.limit_pages(max_pages)
        self.position = NOWHERE
        self.promise = Promise(0, "")
        self.led = 0  # last term in which this node was the leader and made a batch
        self._place = Place(path)
        self.refresh()
        self._place.log_is_there()

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
            create_file(path, ids)
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
        missing = self._place.displaced()
        if missing and self._lock.is_held and self.led == self.position.term > 0:
            self._place.rescue(self._connection)
        self._connection.close()
        if missing and self._lock.is_held:
            self._place.put_log_aside()
        self._lock.close()

    def displaced(self) -> str:
        """Path of a file of ours that is not the one any more that was opened; empty: all are in their places."""
        return self._place.displaced()

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
            self.position, self.promise = read_position(self._connection)
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
                old += write_rows(connection, batch.writes)
                connection.execute(
                    "INSERT INTO history VALUES (?, ?, ?, ?, ?)",
                    (batch.serial, batch.term, entry.hash, batch.time, entry.text),
                )
                position = entry.position
                if batch.serial % PRUNE_EVERY == 0:
                    self._prune(connection, batch)
            write_position(connection, position)
            write_secrets(connection, secrets, replace=all_secrets)
            if promise is not None:
                write_promise(connection, promise)
            led = position.term if is_leader else self.led
            if led != self.led:
                connection.execute("UPDATE promise SET led = ?", (led,))
        self.position, self.led = position, led
        self.promise = promise or self.promise
        if all_secrets or None in (secrets or {}).values():
            self._has_wiped = False
        if not self._has_wiped:
            self._wipe_log()
        return tuple(old)

    def keep_promise(self, promise: Promise) -> None:
        """Durable when it returns. Whether it may be given is the caller's question."""
        with self._transaction(BEFORE_PROMISE, AFTER_PROMISE) as connection:
            write_promise(connection, promise)
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
            write_position(connection, position)
            write_secrets(connection, secrets, replace=True)
            write_promise(connection, promise)
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
        self._place.check()
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
            self._place.check()  # what was removed meanwhile is no copy
            faults.hit(after)

    def _wipe_log(self) -> None:
        """Secrets that were deleted are overwritten in the file, but the write-ahead log has their old pages.

        While somebody reads, it cannot be emptied: the next change tries again.
        """
        try:
            self._connection.execute("PRAGMA busy_timeout = 0")
            is_busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._connection.execute(f"PRAGMA busy_timeout = {sql.BUSY_MS:d}")
        except sqlite3.Error as err:
            log.warning("the log of %s is not emptied: %s", self.path, err)
        else:
            self._has_wiped = not is_busy

    def _prune(self, connection: sqlite3.Connection, batch: Batch) -> None:
        # A clock may have been wrong for a while. What lies between batches that are kept is kept with them: of a chain
        # with a hole nobody could say whether it is whole.
        (young,) = connection.execute(
            "SELECT serial FROM history WHERE time >= ? ORDER BY serial LIMIT 1",
            (batch.time - self._retention.age_s,),
        ).fetchone() or (batch.serial,)
        first = min(batch.serial, max(young, batch.serial - self._retention.batches + 1))
        connection.execute("DELETE FROM history WHERE serial < ?", (first,))

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
