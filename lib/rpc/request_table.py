"""The durable table of request ids on a node, in SQLite. No threads, no calls: rows only."""

from __future__ import annotations

import enum
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ganeti import errors
from ganeti.host import faults

BEFORE_BEGIN = faults.register("requests.before_begin")
AFTER_BEGIN = faults.register("requests.after_begin")
BEFORE_END = faults.register("requests.before_end")
AFTER_END = faults.register("requests.after_end")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
  id TEXT PRIMARY KEY,
  digest TEXT NOT NULL,    -- of the call; empty for a tombstone of a request that never came
  state TEXT NOT NULL,
  outcome TEXT NOT NULL,   -- JSON
  stamp REAL NOT NULL      -- epoch seconds of the last change
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS request_stamp ON request (stamp);
"""


class State(enum.Enum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # the daemon ended while it ran: its effect is unknown
    TAKEN_BACK = "taken_back"  # tombstone: must not run any more


class Row(msgspec.Struct, frozen=True):
    digest: str
    state: State
    outcome: str


class RequestTable:
    """One connection; the caller's lock serialises all use. Raises StoreError when the disk does not play along."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._reported("open"):
            # for root alone, from the first moment; what SQLite puts beside it gets the same mode
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.chmod(path, 0o600)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as err:
            raise errors.StoreError(f"cannot {doing} the request table {self._path}: {err}") from err
        except sqlite3.DatabaseError as err:
            raise errors.StoreError(
                f"cannot {doing} the request table {self._path}: {err}",
                hint="if it is damaged, stop the node daemon and move the file away",
            ) from err

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reported("write"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def interrupt_all(self, now: float) -> int:
        """At daemon start: what was running is so no more. Returns how many."""
        with self._transaction() as db:
            found = db.execute(
                "UPDATE request SET state = ?, stamp = ? WHERE state = ?",
                (State.INTERRUPTED.value, now, State.RUNNING.value),
            )
            return found.rowcount

    def get(self, request: str) -> Row | None:
        with self._reported("read"):
            found = self._db.execute("SELECT digest, state, outcome FROM request WHERE id = ?", (request,)).fetchone()
        return Row(found[0], State(found[1]), found[2]) if found else None

    def begin(
        self, request: str, digest: str, now: float, *, undoes: str | None = None, keeps_ended: bool = False
    ) -> None:
        """Durably: it runs; and what it takes back must not run any more.

        `keeps_ended`: if that has ended, its outcome stays, and answers a repeat.
        """
        faults.hit(BEFORE_BEGIN)
        with self._transaction() as db:
            if undoes is not None:
                db.execute(
                    "INSERT INTO request VALUES (?, '', ?, '', ?)"
                    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, outcome = '', stamp = excluded.stamp"
                    " WHERE NOT (? AND state IN (?, ?))",
                    (undoes, State.TAKEN_BACK.value, now, keeps_ended, State.DONE.value, State.FAILED.value),
                )
            db.execute(
                "INSERT OR REPLACE INTO request VALUES (?, ?, ?, '', ?)", (request, digest, State.RUNNING.value, now)
            )
        faults.hit(AFTER_BEGIN)

    def end(self, request: str, state: State, outcome: str, now: float) -> None:
        faults.hit(BEFORE_END)
        with self._transaction() as db:
            db.execute(
                "UPDATE request SET state = ?, outcome = ?, stamp = ? WHERE id = ?",
                (state.value, outcome, now, request),
            )
        faults.hit(AFTER_END)

    def prune(self, older_than: float) -> int:
        """Forget what ended before (epoch seconds). Returns how many rows went."""
        with self._transaction() as db:
            found = db.execute("DELETE FROM request WHERE stamp < ? AND state != ?", (older_than, State.RUNNING.value))
            return found.rowcount

    def close(self) -> None:
        self._db.close()
