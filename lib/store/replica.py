"""The voter's side: what a node daemon does with the calls of the store. Safe for many threads."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

from ganeti import errors, paths
from ganeti.calls.store import (
    AppendReply,
    CheckReply,
    FetchReply,
    PromiseReply,
    StateReply,
    StoreAppend,
    StoreDrop,
    StoreFetch,
    StorePromise,
    StoreSnapshot,
)
from ganeti.host import faults, files
from ganeti.store import reading, sql
from ganeti.store.api import Position
from ganeti.store.batch import NOWHERE, Entry, unseal_all
from ganeti.store.db import DEFAULT_RETENTION, Database, Retention
from ganeti.store.lock import InUseError
from ganeti.store.statements import Promise

log = logging.getLogger(__name__)

BEFORE_DROP = faults.register("store.before_drop")
AFTER_DROP = faults.register("store.after_drop")

#: size of the reply to a fetch, in characters
FETCH_SIZE = 1 << 20


class Replica:
    """This node's copy. The file is opened on first use; the writer lock is held during a call only."""

    def __init__(
        self,
        path: str,
        *,
        owner: str = "ganeti-noded",
        ids: tuple[int, int] = (-1, -1),
        retention: Retention = DEFAULT_RETENTION,
        max_pages: int = 0,
        database: type[Database] = Database,
    ) -> None:
        """As for `Database.open`; `database` is for simulations."""
        self._path, self._owner, self._ids = path, owner, ids
        self._kind = database
        self._retention, self._max_pages = retention, max_pages
        self._mutex = threading.Lock()
        self._database: Database | None = None
        self._followed = 0  # term of the leader that was followed last, for the log
        self._transfer: tuple[str, int] | None = None  # id and next part of the snapshot that comes in

    @classmethod
    def of_node(cls, where: paths.Paths) -> Replica:
        ids = files.owner_ids(paths.STATE_DB, is_virtual=where.is_virtual)
        return cls(where.local(paths.STATE_DB), ids=ids)

    def close(self) -> None:
        with self._mutex:
            self._close()

    def state(self) -> StateReply:
        """Position and promise; never waits, also while another process writes. Raises StoreError: damaged."""
        return _reply(*reading.look(self._path))

    def check(self) -> CheckReply:
        """Reads the whole file beside whoever writes."""
        try:
            content = reading.read_all(self._path)
        except errors.StoreError as err:
            return CheckReply(problem=str(err))
        return CheckReply(serial=content.position.serial, hash=content.position.hash, content=content.digest)

    def promise(self, call: StorePromise) -> PromiseReply:
        """Durable when granted."""
        try:
            with self._held() as database:
                why_not = _why_no_promise(call, database.position, database.promise)
                if not why_not and database.promise != Promise(call.claim, call.claimant):
                    database.keep_promise(Promise(call.claim, call.claimant))
                return PromiseReply(granted=not why_not, state=_state(database), why_not=why_not)
        except InUseError as err:
            return PromiseReply(granted=False, state=self.state(), why_not=err.message)

    def append(self, call: StoreAppend) -> AppendReply:
        """Durable when accepted."""
        try:
            with self._held() as database:
                why_not = _why_not_follow(call.leader, call.leader_term, database.promise)
                if not why_not and call.previous_hash != database.position.hash:
                    why_not = "hash"
                entries = [] if why_not else unseal_all(call.batches, call.previous_hash)
                why_not = why_not or _why_not_next(entries, database.position, call.leader_term)
                promise = Promise(call.leader_term, call.leader)
                has_news = bool(entries) or call.secrets is not None or promise != database.promise
                if not why_not and has_news:
                    database.apply(entries, secrets=call.secrets, all_secrets=call.all_secrets, promise=promise)
                if not why_not and call.leader_term != self._followed:
                    self._followed = call.leader_term
                    log.info("the state follows %s in term %d", call.leader, call.leader_term)
                return AppendReply(accepted=not why_not, state=_state(database), why_not=why_not)
        except InUseError:
            return AppendReply(accepted=False, state=self.state(), why_not="in use")
        except sql.DiskFullError as err:
            log.warning("%s", err)
            return AppendReply(accepted=False, state=self.state(), why_not="full")

    def snapshot(self, call: StoreSnapshot) -> AppendReply:
        """Stage a part; the last one puts all in place."""
        try:
            with self._held() as database:
                why_not = _why_not_follow(call.leader, call.leader_term, database.promise)
                if not why_not and call.part and self._transfer != (call.transfer, call.part):
                    why_not = "gap"
                if not why_not:
                    database.stage(call.part, call.rows)
                    self._transfer = (call.transfer, call.part + 1)
                    if call.is_last:
                        self._transfer = None
                        position = Position(call.term, call.serial, call.hash)
                        promise = Promise(call.leader_term, call.leader)
                        database.replace(position, secrets=call.secrets, promise=promise)
                        log.info("the state was replaced by a snapshot at %s/%s", call.term, call.serial)
                return AppendReply(accepted=not why_not, state=_state(database), why_not=why_not)
        except InUseError:
            return AppendReply(accepted=False, state=self.state(), why_not="in use")
        except sql.DiskFullError as err:
            log.warning("%s", err)
            return AppendReply(accepted=False, state=self.state(), why_not="full")

    def fetch(self, call: StoreFetch) -> FetchReply:
        """Read beside whoever writes."""
        with self._held() as database:
            if database.hash_at(call.serial) != call.hash:
                return FetchReply(is_known=False)
            batches = database.history(call.serial, max_bytes=FETCH_SIZE)
            return FetchReply(is_known=True, batches=tuple(batches), secrets=database.secrets())

    def drop(self, call: StoreDrop) -> None:
        """Put the copy aside, as `state.db.dropped`, without secrets; the promise stays in an empty one.

        A call that comes late, when the node votes again or follows somebody else, does nothing.
        Raises InUseError when the master daemon has the file.
        """
        try:
            self._drop(call)
        finally:
            aside = f"{self._path}.dropped"
            if os.path.exists(aside):
                try:
                    sql.forget_secrets(aside)
                except errors.StoreError as err:
                    log.warning("%s may have private parameters in it, remove it: %s", aside, err)

    def _drop(self, call: StoreDrop) -> None:
        if not os.path.exists(self._path):
            return
        with self._held() as database:
            promise, position = database.promise, database.position
            is_late = call.serial is not None and (
                position.serial > call.serial or _why_not_follow(call.leader, call.leader_term, promise) != ""
            )
            if position == NOWHERE or is_late:
                return
            self._close()
            faults.hit(BEFORE_DROP)
            # the last connection to close has emptied the log, but a reader may have kept it: it goes along
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self._path + suffix, f"{self._path}.dropped{suffix}")
            files.sync_directory(os.path.dirname(self._path))
            faults.hit(AFTER_DROP)
            self._open().keep_promise(promise)

    @contextlib.contextmanager
    def _held(self) -> Iterator[Database]:
        """The database with the writer lock. After an error of the disk it is opened anew by the next call."""
        with self._mutex:
            try:
                database = self._open()
                database.hold()
                missing = database.displaced()
                if missing:
                    log.warning("%s was removed or replaced by somebody else: opening the state anew", missing)
                    self._close()
                    database = self._open()
                    database.hold()
                try:
                    yield database
                finally:
                    if self._database is not None:
                        self._database.release()
            except (InUseError, sql.DiskFullError):
                raise
            except errors.StoreError:
                self._close()
                raise

    def _open(self) -> Database:
        if self._database is None:
            self._database = self._kind.open(
                self._path,
                owner=self._owner,
                wait_s=0.0,
                check=False,
                ids=self._ids,
                retention=self._retention,
                max_pages=self._max_pages,
            )
        return self._database

    def _close(self) -> None:
        self._transfer = None
        if self._database is not None:
            self._database.close()
            self._database = None


def _reply(position: Position, promise: Promise) -> StateReply:
    return StateReply(
        term=position.term,
        serial=position.serial,
        hash=position.hash,
        promised_term=promise.term,
        promised_to=promise.claimant,
        seen_term=max(position.term, promise.term),
    )


def _state(database: Database) -> StateReply:
    return _reply(database.position, database.promise)


# The rules (doc/design/store.rst, 1 and 8d). An empty answer: yes.


def _why_no_promise(call: StorePromise, position: Position, promise: Promise) -> str:
    if position == NOWHERE:
        return "it has no copy of the state"
    if call.claim < promise.term or call.claim <= position.term:
        return f"it promised to follow nobody below term {max(promise.term, position.term + 1)}"
    if call.claim == promise.term and call.claimant != promise.claimant:
        return f"it promised term {promise.term} to node {promise.claimant}"
    if (call.last_term, call.last_serial) < (position.term, position.serial):
        return f"it is ahead: it has batch {position.term}/{position.serial}"
    return ""


def _why_not_follow(leader: str, term: int, promise: Promise) -> str:
    is_settled = term == promise.term and leader != promise.claimant
    return "term" if term < promise.term or is_settled else ""


def _why_not_next(entries: list[Entry], position: Position, leader_term: int) -> str:
    serial, term = position.serial, position.term
    for entry in entries:
        if entry.batch.serial != serial + 1:
            return "gap"
        if not term <= entry.batch.term <= leader_term:
            return "term"
        serial, term = entry.batch.serial, entry.batch.term
    return ""
