"""Mistakes made on purpose: a simulation that does not find each of them proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.base import ChangingCall
from ganeti.calls.store import AppendReply, StoreAppend
from ganeti.logic.base import Env
from ganeti.logic.steps import Effect, Step
from ganeti.master.commits import Committer
from ganeti.master.endings import Endings
from ganeti.master.env import JobEnv
from ganeti.master.journal import Journal, Undone
from ganeti.model.jobs import Flags, Recovery, Resolve, Status, Undo
from ganeti.model.objects import Change
from ganeti.model.types import JobId, RequestId
from ganeti.rpc.requests import Requests
from ganeti.rpc.term import TermKeeper
from ganeti.store import quorum
from ganeti.store.api import Note, Position, Write
from ganeti.store.batch import Entry, unseal_all
from ganeti.store.chain import Chain
from ganeti.store.fleet import Fleet
from ganeti.store.leader import Leader
from ganeti.store.statements import Promise
from ganeti.testing.sim.disk import SimDatabase
from ganeti.testing.sim.node import SimReplica
from ganeti.testing.sim.world import Kinds


class _LazyDatabase(SimDatabase):
    """Commits are not synced."""

    def refresh(self) -> None:
        self._connection.execute("PRAGMA synchronous = OFF")
        super().refresh()


class _ForgetfulDatabase(SimDatabase):
    """A promise is kept in memory only."""

    def keep_promise(self, promise: Promise) -> None:
        self.promise = promise


class _DeafTerms(TermKeeper):
    """Every term is welcome."""

    def check(self, term: int) -> None:
        if term > self.seen:
            super().check(term)


class _HastyFleet(Fleet):
    def is_acknowledged(self, serial: int) -> bool:
        count = 1 + sum(standing.has(serial) for standing in self._standings())
        return count >= quorum.majority(len(self.voters)) - 1


class _BlindChain(Chain):
    async def has(self, position: Position) -> bool:
        return position.serial <= self.tip.serial


class _HastyLeader(Leader):
    """One voter less than a majority will do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: as for `Leader`
        super().__init__(*args, **kwargs)
        self._fleet = _HastyFleet(
            self._own, chain=self._chain, rpc=self._rpc, clock=self._clock, limits=self._limits,
            name_of=self._name_of, ended=self._ended,
        )  # fmt: skip


class _BlindLeader(Leader):
    """A voter's place is told by the serial alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: as for `Leader`
        super().__init__(*args, **kwargs)
        self._chain = _BlindChain(
            self._database, self._executor, readers=kwargs["readers"], recent_size=self._limits.recent_size
        )
        self._fleet = Fleet(
            self._own, chain=self._chain, rpc=self._rpc, clock=self._clock, limits=self._limits,
            name_of=self._name_of, ended=self._ended,
        )  # fmt: skip


class _CredulousReplica(SimReplica):
    """The previous hash is not compared."""

    def append(self, call: StoreAppend) -> AppendReply:
        own = self.state()
        entries: list[Entry] = unseal_all(call.batches, own.hash)
        if entries and entries[0].batch.serial == own.serial + 1:
            call = msgspec.structs.replace(call, previous_hash=own.hash)
        return super().append(call)


class _ForgivingRequests(Requests):
    """An undo leaves no tombstone and waits for nothing."""

    def _begin(self, call: ChangingCall[Any], digest: str) -> None:
        super()._begin(msgspec.structs.replace(call, undoes=None), digest)


class _CarelessEnv(JobEnv):
    """Undos are not written down."""

    async def journal(self, *recoveries: Recovery) -> None:
        await super().journal(*[each for each in recoveries if isinstance(each, Resolve)])


class _RestlessEnv(JobEnv):
    """How to settle a migration is not written down with its beginning."""

    async def commit(self, *changes: Change, recoveries: Sequence[Recovery] = (), **more: Any) -> None:
        """Any: as for `JobEnv`."""
        await super().commit(*changes, recoveries=[each for each in recoveries if isinstance(each, Undo)], **more)


class _TidyEnv(JobEnv):
    """The journal is dropped when the effects are done, before the operation is decided."""

    async def _effects(self, effects: Sequence[Effect], later: Sequence[Step]) -> None:
        await super()._effects(effects, later)
        await self._parts.committer.commit(self._note, writes=self.journal_records.drop())


class _DebtlessJournal(Journal):
    async def undo(self, env: Env, open_requests: Collection[RequestId] | None = None) -> Undone:
        done = await super().undo(env, open_requests)
        done.debts.clear()
        return done


class _DebtlessEnv(JobEnv):
    """What cannot be undone now is forgotten."""

    def __init__(self, *args: Any) -> None:  # Any: as for `JobEnv`
        super().__init__(*args)
        old = self.journal_records
        self.journal_records = _DebtlessJournal(old._state, old._job, old._rpc)


class _ImpatientEndings(Endings):
    """Locks are given back before the effects are taken back."""

    async def fail(
        self, env: JobEnv, job_id: JobId, index: int, status: Status, result: Any, *, tell: bool = False
    ) -> None:
        self._parts.locks.release(job_id)
        await super().fail(env, job_id, index, status, result, tell=tell)


class _SplittingCommitter(Committer):
    """The record of a submission is stored after its jobs."""

    async def commit(
        self,
        note: Note,
        *,
        changes: Sequence[Change] = (),
        writes: Sequence[Write] = (),
        flags: Callable[[Flags], Flags] | None = None,
        secrets: Mapping[str, str | None] | None = None,
        send: Callable[[Sequence[Write], Note], Awaitable[None]] | None = None,
    ) -> None:
        first = [write for write in writes if write.table != "submission"]
        rest = [write for write in writes if write.table == "submission"]
        await super().commit(note, changes=changes, writes=first, flags=flags, secrets=secrets, send=send)
        if rest:
            await super().commit(note, writes=rest)


class _HastyCommitter(Committer):
    """What a job commits is told as done before a majority has it."""

    async def commit(self, note: Note, **more: Any) -> None:  # Any: as for `Committer`
        if note.actor == "submit":
            task = asyncio.ensure_future(super().commit(note, **more))
            task.add_done_callback(_seen)
            await asyncio.sleep(0.001)
        else:
            await super().commit(note, **more)


def _seen(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and isinstance(task.exception(), errors.GanetiError):
        return


#: name → the classes with that mistake
MUTANTS: dict[str, Kinds] = {
    "an fsync skipped": Kinds(database=_LazyDatabase),
    "a promise that is not durable": Kinds(database=_ForgetfulDatabase),
    "the term check dropped": Kinds(terms=_DeafTerms),
    "the majority counted wrong by one": Kinds(leader=_HastyLeader),
    "the leader does not compare hashes": Kinds(leader=_BlindLeader, replica=_CredulousReplica),
    "a submission answered before it is stored": Kinds(committer=_HastyCommitter),
    "the key not committed with its jobs": Kinds(committer=_SplittingCommitter),
    "an undo not journalled before its effect": Kinds(env=_CarelessEnv),
    "the journal dropped too early": Kinds(env=_TidyEnv),
    "a migration begun without its way to an end": Kinds(env=_RestlessEnv),
    "a debt forgotten": Kinds(env=_DebtlessEnv),
    "a tombstone ignored": Kinds(requests=_ForgivingRequests),
    "locks released before the undo": Kinds(endings=_ImpatientEndings),
}
