"""The world of one running opcode: what `logic.base.Env` promises, made of the engine's parts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import ChangingCall
from ganeti.calls.base import encode as encode_call
from ganeti.calls.port import Rpc
from ganeti.calls.task import RequestFence, TaskCancel
from ganeti.host.clock import Clock
from ganeti.logic import owing
from ganeti.logic.allocation import A, Request
from ganeti.logic.base import Membership, Questions, StateHolder
from ganeti.logic.steps import Ask, Commit, Effect, OnFailure, Parallel, Record, Release, Step, Wait, title
from ganeti.master import waiting
from ganeti.master.allocator import Allocator
from ganeti.master.commits import Committer
from ganeti.master.debts import new_debts
from ganeti.master.jobs import Jobs, Wish
from ganeti.master.journal import Journal
from ganeti.master.lockmanager import LockManager
from ganeti.master.progress import ProgressLines
from ganeti.master.reservations import Reservations
from ganeti.master.state import State
from ganeti.model.config import Config
from ganeti.model.jobs import Recovery, Status, Undo
from ganeti.model.locks import Level, LockKey, LockPlan
from ganeti.model.objects import Change, Instance, Put
from ganeti.model.types import JobId, MiB, RequestId, Uuid
from ganeti.ops.base import OpCode
from ganeti.store.api import Note, Write

#: how an effect ended that its node owes now
OWED: Literal["owed"] = "owed"
#: a node that is asked how far it is may miss so many questions in a row, so many seconds apart
MISSES, MISS_S = 10, 6.0
#: what is to stop is told so again after so many seconds, until it has ended
STOP_AGAIN_S = 1.0
#: how long halves of a mirror may look for each other before the mirror counts as degraded
SETTLE_S = 30.0

R = TypeVar("R")

Submit = Callable[[JobId, Sequence[Sequence[OpCode]]], Awaitable[list[tuple[bool, JobId | str]]]]


class Parts(msgspec.Struct, kw_only=True, frozen=True):
    """The engine's parts that operations use."""

    state: State
    committer: Committer
    jobs: Jobs
    locks: LockManager
    rpc: Rpc
    membership: Membership
    reservations: Reservations
    clock: Clock
    rng: random.Random
    resolve: Callable[[str], Awaitable[tuple[str, str]]]
    submit: Submit
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    settle: Callable[[Uuid], Awaitable[Sequence[Undo]]]  # debts of a node
    questions: Callable[[], Questions]  # what answers lists; made after the engine
    allocator: Allocator = msgspec.field(default_factory=Allocator)


class JobEnv:
    """Implements `logic.base.Env` for opcode `index` of a job."""

    def __init__(self, parts: Parts, job: JobId, index: int, title: str) -> None:
        self._parts = parts
        self._job = job
        self._index = index
        self._note = Note(actor="job", job=job, reason=title)
        self.journal_records = Journal(parts.state, job, parts.rpc)
        self._is_marked = False  # the stored job says that it runs: after a crash it is not simply run again
        self.report_summary = title
        self.has_changed = False
        self.wants_all_files = False
        self.is_decided = False
        self._passed: dict[str, Any] = {}  # for the next step's call, by field
        # calls of this opcode that may still arrive or run; None: whatever the last master sent
        self.open_requests: set[RequestId] | None = set()
        self._late: list[Undo] = []  # that refuse those
        self._fenced: set[RequestId] = set()

    # What it sees

    @property
    def config(self) -> Config:
        return self._parts.state.config

    @property
    def job(self) -> JobId:
        return self._job

    @property
    def rpc(self) -> Rpc:
        return self._parts.rpc

    @property
    def membership(self) -> Membership:
        return _JobMembership(self, self._parts.membership)

    @property
    def questions(self) -> Questions:
        return self._parts.questions()

    @property
    def rng(self) -> random.Random:
        return self._parts.rng

    @property
    def debts(self) -> Sequence[Undo]:
        return [debt.undo for debt in self._parts.state.debts.values()]

    async def settle(self, node: Uuid) -> Sequence[Undo]:
        if all(debt.node != node for debt in self._parts.state.debts.values()):
            return ()
        await self.mark()
        return await self._parts.settle(node)

    def now(self) -> float:
        return self._parts.clock.time()

    def new_uuid(self) -> Uuid:
        return Uuid(str(uuid.UUID(int=self._parts.rng.getrandbits(128), version=4)))

    def new_request(self) -> RequestId:
        return RequestId(f"{self._job}-{self._index}-{self._parts.rng.getrandbits(64):016x}")

    def new_mac(self, prefix: str) -> str:
        return self._parts.reservations.new_mac(self._job, prefix)

    def reserve_mac(self, mac: str) -> None:
        self._parts.reservations.mac(self._job, mac)

    def new_ip(self, network: Uuid) -> str:
        return self._parts.reservations.new_ip(self._job, network)

    def reserve_ip(self, network: Uuid, ip: str, *, from_outside: bool = True) -> None:
        self._parts.reservations.ip(self._job, network, ip, from_outside=from_outside)

    def new_port(self) -> int:
        return self._parts.reservations.new_port(self._job)

    def new_minor(self, node: Uuid) -> int:
        return self._parts.reservations.new_minor(self._job, node)

    def reserve_memory(self, node: Uuid, wanted: MiB, free: MiB) -> None:
        self._parts.reservations.memory(self._job, node, wanted, free)

    async def allocate(self, request: Request[A], allocator: str) -> A:
        asking = asyncio.ensure_future(
            self._parts.allocator.allocate(self, self._parts.reservations, request, allocator)
        )

        async def leave() -> None:
            asking.cancel()  # it only asks: nothing is left that would have to be taken back

        try:
            return await self.unless_killed(asking, leave)
        except asyncio.CancelledError:
            if asking.cancelled():
                self.check_wish()
            raise

    async def try_allocator(self, request: Request[Any], allocator: str) -> str:
        return await self._parts.allocator.trial(self, self._parts.reservations, request, allocator)

    async def resolve(self, name: str) -> tuple[str, str]:
        try:
            return await self._parts.resolve(name)
        except errors.ResolverError as err:
            raise errors.PrereqError("resolver_error", str(err)) from err

    # What it tells

    def report(self, message: str) -> None:
        writes = self._parts.jobs.log(self._job, message)
        if writes:
            self._parts.committer.soon(self._note, writes)

    def warn(self, message: str, *, hint: str = "") -> None:
        self.report(f" - WARNING: {message}")
        if hint:
            self.report(f"      Hint: {hint}")

    # Its locks

    def held(self, level: Level) -> Collection[str]:
        return [key.name for key in self._parts.locks.held(self._job) if key.level is level]

    def release_locks(self, *levels: Level, keep: Collection[str] = ()) -> None:
        held = LockPlan(self._parts.locks.held(self._job))
        self._parts.locks.narrow(self._job, held.without(levels, keep=keep))

    def downgrade(self, *levels: Level) -> None:
        held = LockPlan(self._parts.locks.held(self._job))
        self._parts.locks.narrow(self._job, held.shared(levels))

    # What it does

    def send_files_again(self) -> None:
        self.wants_all_files = True

    def check_wish(self) -> None:
        """Between steps: raises JobCanceled when the job was killed and nothing is decided yet."""
        if self._parts.jobs.wish(self._job) is Wish.KILL and not self.is_decided:
            raise errors.JobCanceled("Job canceled by request")

    async def sleep(self, seconds: float) -> None:
        await self._parts.jobs.changed(self._job, lambda: self._parts.jobs.wish(self._job) is Wish.KILL, seconds)
        self.check_wish()

    async def pause(self, seconds: float) -> None:
        await self._parts.pause(seconds)

    async def journal(self, *recoveries: Recovery) -> None:
        held = self._parts.locks.held(self._job)
        self._is_marked = True
        writes = self.journal_records.add(self._index, recoveries, dict(held))
        await self._parts.committer.commit(self._note, writes=[*writes, *self._own_rows()])

    async def mark(self) -> None:
        """Before the first effect: the stored job must say that it runs."""
        if not self._is_marked:
            self._is_marked = True
            await self._parts.committer.commit(self._note, writes=self._own_rows())

    def _own_rows(self) -> list[Write]:
        jobs = self._parts.jobs
        return jobs.writes_of(jobs.get(self._job), self._index)

    async def commit(
        self,
        *changes: Change,
        title: str = "",
        result: Any = msgspec.UNSET,
        recoveries: Sequence[Recovery] = (),
        debts: Sequence[Undo] = (),
    ) -> None:
        note = msgspec.structs.replace(self._note, reason=title or self._note.reason)
        self._own_new(changes)
        if result is not msgspec.UNSET:
            self._parts.jobs.change_op(self._job, self._index, decided=True, result=result)
        writes = [*self.journal_records.drop(), *self._own_rows()]
        writes += self.journal_records.add(self._index, recoveries, dict(self._parts.locks.held(self._job)))
        committer = self._parts.committer
        owed, count = new_debts(debts, self._job, committer.flags, self._parts.clock.time())
        try:
            await committer.commit(note, changes=changes, writes=[*writes, *owed], flags=count)
        except (errors.PrereqError, errors.StoreError):
            self._parts.jobs.change_op(self._job, self._index, decided=False, result=None)
            raise
        self._is_marked = True
        self.has_changed = self.has_changed or bool(changes)
        self.is_decided = result is not msgspec.UNSET

    def _own_new(self, changes: Sequence[Change]) -> None:
        """New instances are held by their uuid too: by its name alone others would not see that one is being made."""
        known = self._parts.committer.tip.instances
        for change in changes:
            if isinstance(change, Put) and isinstance(change.object, Instance) and change.object.uuid not in known:
                self._parts.locks.own(self._job, LockKey(Level.INSTANCE, change.object.uuid))

    async def submit(self, jobs: Sequence[Sequence[OpCode]]) -> list[tuple[bool, JobId | str]]:
        await self.mark()
        return await self._parts.submit(self._job, jobs)

    async def run(self, steps: Sequence[Step], *, result: Any = None) -> None:
        before = self._parts.jobs.get(self._job).ops[self._index].steps_done
        total = before + len(steps)
        for number, step in enumerate(steps, start=before + 1):
            self.check_wish()
            self._parts.jobs.change_op(
                self._job, self._index, steps_done=number - 1, steps_total=total, step_title=title(step)
            )
            if total > 1:
                self.report(f"* step {number} of {total}: {title(step)}")
            elif isinstance(step, Effect | Parallel):
                self.report(f"* {title(step)}")
            await self._step(step, result, steps[number - before :])
            self._parts.jobs.change_op(self._job, self._index, steps_done=number)

    def _fences(self, later: Sequence[Step]) -> list[Undo]:
        """For effects that have no undo, up to the next commit, which renews the journal: that their calls do not
        arrive when nobody expects them any more."""
        found = []
        for step in itertools.takewhile(lambda each: not isinstance(each, Commit), later):
            for effect in step.effects if isinstance(step, Parallel) else (step,):
                if isinstance(effect, Effect) and effect.undo is None and effect.call.request not in self._fenced:
                    self._fenced.add(effect.call.request)
                    found.append(self._fence(effect))
        return found

    def _fence(self, effect: Effect) -> Undo:
        return Undo(
            node=effect.node,
            call=encode_call(RequestFence(request=self.new_request(), undoes=effect.call.request)),
            effect=effect.call.request,
            title=f"refuse a late call to {effect.title}",
        )

    async def _step(self, step: Step, result: Any, later: Sequence[Step]) -> None:
        if isinstance(step, Commit):
            final = result if step.is_final else msgspec.UNSET
            self._fenced.clear()
            recoveries = (*step.recoveries, *self._late, *self._fences(later))
            await self.commit(*step.changes, title=step.title, result=final, recoveries=recoveries, debts=step.debts)
        elif isinstance(step, Record):
            await self.journal(step.resolve, *self._fences(later))
        elif isinstance(step, Release):
            self.release_locks(*step.levels, keep=step.keep)
        elif isinstance(step, Ask):
            given, self._passed = self._passed, {}
            try:
                reply = await self.rpc.one(step.node, msgspec.structs.replace(step.call, **given))
            except errors.RpcError as err:
                raise errors.ExecError(f"cannot {step.title}: {err}") from err
            if step.passes:
                self._passed = {step.passes: reply}
        elif isinstance(step, Wait):
            await self._wait(step)
        else:
            if isinstance(step, Effect) and self._passed:
                step = msgspec.structs.replace(step, call=msgspec.structs.replace(step.call, **self._passed))
                self._passed = {}
            effects = step.effects if isinstance(step, Parallel) else (step,)
            await self._effects(effects, later)

    async def _wait(self, step: Wait) -> None:
        lines = ProgressLines(self.report, self._parts.clock)
        misses = 0
        settled_by = self._parts.clock.monotonic() + SETTLE_S
        while True:
            try:
                reply = await self.rpc.one(step.node, step.call)
            except errors.RpcError as err:
                misses += 1
                if misses >= MISSES or err.kind == "offline":
                    return self._waited(step, str(err))
                await self.sleep(MISS_S)
                continue
            misses = 0
            settles = reply.problem and reply.may_settle and self._parts.clock.monotonic() < settled_by
            if reply.is_done and not settles:
                lines.end()
                return self._waited(step, reply.problem)
            if not reply.is_done:
                lines.take({"text": reply.text})
            await self.sleep(reply.wait)

    def _waited(self, step: Wait, problem: str) -> None:
        if problem and step.on_failure is OnFailure.UNDO:
            raise errors.ExecError(f"could not {step.title}: {problem}")
        if problem:
            self.warn(f"could not {step.title}: {problem}")

    async def _effects(self, effects: Sequence[Effect], later: Sequence[Step]) -> None:
        undos = [_undo(effect) for effect in effects if effect.undo is not None]
        if undos:
            # from now on there is a way back, and what has none must not come after it
            await self.journal(*undos, *self._fences((Parallel(effects=tuple(effects)), *later)))
        else:
            await self.mark()
        # every one is waited for: an effect that is left running could not be undone
        # those of long calls tell themselves how far they are
        still = {effect.title: effect.call.time.value for effect in effects if not effect.call.time.is_long}

        async def made(effect: Effect) -> errors.ExecError | Literal["owed"] | None:
            try:
                return await self._effect(effect)
            finally:
                still.pop(effect.title, None)

        outcomes = await waiting.named(asyncio.gather(*map(made, effects)), still, self.report)
        await self._owe([effect for effect, outcome in zip(effects, outcomes, strict=True) if outcome is OWED])
        self.check_wish()
        for outcome in outcomes:
            if isinstance(outcome, errors.ExecError):
                raise outcome

    async def _owe(self, effects: Sequence[Effect]) -> None:
        """What a node could not be told is its debt from now on."""
        if not effects:
            return
        undos = [owing.owed(self, effect.node, effect.call, effect.title) for effect in effects]
        committer = self._parts.committer
        owed, count = new_debts(undos, self._job, committer.flags, self._parts.clock.time())
        await committer.commit(self._note, writes=owed, flags=count)

    async def _effect(self, effect: Effect) -> errors.ExecError | Literal["owed"] | None:
        try:
            reply = await self._call(effect.node, effect.call)
        except errors.RpcError as err:
            if self.open_requests is not None and _may_go_on(effect.call, err):
                self.open_requests.add(effect.call.request)
                self._late.append(self._fence(effect))
            if effect.on_failure is OnFailure.UNDO:
                return errors.ExecError(f"could not {effect.title}: {err}")
            if effect.on_failure is OnFailure.OWE:
                self.warn(f"could not {effect.title}: {err}", hint="it is done as soon as the node can be told")
                return OWED
            self.warn(f"could not {effect.title}: {err}", hint=effect.hint or "")
        else:
            if effect.hint is not None and reply:
                self.warn(str(reply), hint=effect.hint)
            if effect.passes:
                self._passed = {effect.passes: reply}
        return None

    async def _call(self, node: Uuid, call: ChangingCall[Any]) -> Any:
        """Make the call; a long one is told to stop when the job is killed, and its end is waited for."""
        if not call.time.is_long:
            return await self.rpc.one(node, call)
        lines = ProgressLines(self.report, self._parts.clock)

        async def stop() -> None:
            with contextlib.suppress(errors.RpcError):  # it may end all the same, and is waited for
                await self.rpc.one(node, TaskCancel(request=call.request))

        try:
            return await self.unless_killed(self.rpc.one(node, call, progress=lines.take), stop)
        finally:
            lines.end()

    async def unless_killed(self, work: Awaitable[R], stop: Callable[[], Awaitable[None]]) -> R:
        """The work's result; when the job is killed while it may be, the work is told to stop until it has ended."""
        running = asyncio.ensure_future(work)
        killed = asyncio.ensure_future(
            self._parts.jobs.changed(self._job, lambda: self._parts.jobs.wish(self._job) is Wish.KILL, 1e9)
        )
        try:
            await asyncio.wait({running, killed}, return_when=asyncio.FIRST_COMPLETED)
            while not running.done() and not self.is_decided:
                await stop()  # again and again: it may have come before what it stops
                await asyncio.wait({running}, timeout=STOP_AGAIN_S)
            return await running
        finally:
            killed.cancel()

    def begin(self) -> None:
        """The opcode has its locks and runs."""
        stamp = self._parts.jobs.stamp()
        self._parts.jobs.change_op(self._job, self._index, status=Status.RUNNING, exec_timestamp=stamp)


class _JobMembership:
    """Membership as one job changes it: the stored job says that it runs, and the nodes' files follow."""

    def __init__(self, env: JobEnv, members: Membership) -> None:
        self._env = env
        self._members = members

    async def add_voter(
        self, node: Uuid, changes: Sequence[Change], *, if_still: Callable[[Config], bool] | None = None
    ) -> bool:
        await self._env.mark()
        self._env.has_changed = True
        return await self._members.add_voter(node, changes, if_still=if_still)

    async def remove_voter(self, node: Uuid, changes: Sequence[Change]) -> None:
        await self._env.mark()
        self._env.has_changed = True
        await self._members.remove_voter(node, changes)

    def holders(self) -> Sequence[StateHolder]:
        return self._members.holders()

    async def publish_trust(self, *, everywhere: bool = False) -> None:
        await self._members.publish_trust(everywhere=everywhere)


def _may_go_on(call: ChangingCall[Any], err: errors.RpcError) -> bool:
    """Whether a call that failed so may still arrive, or run, on its node."""
    return err.kind == "timeout" or (call.time.is_long and err.kind in ("unreachable", "busy"))


def _undo(effect: Effect) -> Undo:
    if effect.undo is None:
        raise errors.ExecError(f"no undo for {effect.title}")
    if effect.undo.undoes != effect.call.request:
        raise errors.ExecError(f"the undo of {effect.title!r} does not name the request that it takes back")
    return Undo(node=effect.node, call=encode_call(effect.undo), effect=effect.call.request, title=effect.title)
