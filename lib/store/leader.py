"""The master's side of the store: group commit, replication, mastership (doc/design/store.rst)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from ganeti import errors
from ganeti.calls.port import Rpc
from ganeti.calls.store import StateReply, StoreDrop
from ganeti.host.clock import Clock
from ganeti.host.timings import Timings
from ganeti.model.types import Uuid
from ganeti.store import parcel
from ganeti.store.api import Batch, Note, Position, VoterState, Write
from ganeti.store.batch import Entry, seal
from ganeti.store.chain import Chain
from ganeti.store.claim import Claim
from ganeti.store.db import VOTERS, Database, parse_voters, voters_write
from ganeti.store.fleet import Fleet
from ganeti.store.group import Pending, take
from ganeti.store.quorum import DEFAULT_LIMITS, Limits, Standing
from ganeti.store.sender import Outrun
from ganeti.store.sql import DiskFullError
from ganeti.store.statements import Promise

log = logging.getLogger(__name__)

#: while a batch is under way: how often time limits are looked at, in seconds
TICK_S = 0.1
#: a copy that lacks no more batches than that is up to date enough for a vote
CLOSE = 20
#: between two attempts to write to a full disk, in seconds
FULL_DISK_RETRY_S = 1.0


class Leader:
    """Implements `store.api.Leadership`. Order: `open`, load the rows, `on_publish`, `claim`, then commits; `close`."""

    def __init__(
        self,
        database: Database,
        own: str,
        rpc: Rpc,
        clock: Clock,
        *,
        name_of: Callable[[str], str] = str,
        limits: Limits = DEFAULT_LIMITS,
        executor: Executor | None = None,
        readers: Executor | None = None,
    ) -> None:
        """`database` was opened (with the writer lock) by the caller, who closes it after `close`.

        `own` is this node's uuid, `name_of` makes uuids names in messages. The executors are for simulations:
        `executor` must run one call after the other.
        """
        self._database, self._own, self._rpc, self._clock = database, own, rpc, clock
        self._name_of, self._limits = name_of, limits
        self._executor = executor or ThreadPoolExecutor(1, "store")
        self._owns_executor = executor is None
        self._chain = Chain(database, self._executor, readers=readers, recent_size=limits.recent_size)
        self._fleet = Fleet(
            own, chain=self._chain, rpc=rpc, clock=clock, limits=limits, name_of=name_of, ended=self._ended
        )
        self.lost = asyncio.Event()
        self.timings = Timings()
        self._over: errors.GanetiError | None = None  # why nothing is committed any more
        self._term = 0
        self._is_master = False  # its first batch is published
        self._refused: errors.QuorumError | None = None  # why the last claim was not won
        self._stalled: errors.StoreError | None = None
        self._published = database.position
        self._old_values: tuple[Write, ...] = ()  # of the rows that the batch under way changes on our disk
        self._fetched: list[Batch] = []  # by a claim; published with its first batch
        self._listeners: list[Callable[[Batch], None]] = []
        self._queue: deque[Pending] = deque()
        self._under_way: list[Pending] = []
        self._work = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self._one_change = asyncio.Lock()
        self._last_change: asyncio.Future[Position] | None = None
        self._background: set[asyncio.Task[None]] = set()

    # Reading

    async def open(self) -> None:
        """Read position and voters. Raises StoreError when this copy is empty."""
        self._chain.reset()
        self._published = self._chain.tip
        if self._published.serial == 0:
            raise errors.StoreError(
                f"the state file {self._database.path} is empty: this node has no copy of the state",
                hint="only a master candidate can become master",
            )
        self._fleet.follow(await self._chain.run(self._database.voters))

    async def all_rows(self) -> list[tuple[str, str, str]]:
        """(table, key, value) of all tables but `archive`."""
        stored = await self._chain.run(self._database.all_rows)
        if not self._old_values:
            return stored
        table = {(table, key): value for table, key, value in stored}
        for old in reversed(self._old_values):
            if old.value is None:
                table.pop((old.table, old.key), None)
            elif old.table != "archive":
                table[old.table, old.key] = old.value
        return sorted((*place, value) for place, value in table.items())

    async def rows(self, table: str, *, prefix: str = "") -> Sequence[tuple[str, str]]:
        stored = await self._chain.run(self._database.rows, table, prefix=prefix)
        # the first old value of a key is the published one: later writes of the batch came on top of it
        old = {w.key: w.value for w in reversed(self._old_values) if w.table == table and w.key.startswith(prefix)}
        if not old:
            return stored
        merged: dict[str, str | None] = {**dict(stored), **old}
        return sorted((key, value) for key, value in merged.items() if value is not None)

    async def history(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Published batches after that serial, oldest first."""
        found = await self._chain.run(self._database.batches, after, limit)
        return [batch for batch in found if batch.serial <= self._published.serial]

    async def secrets(self) -> dict[str, str]:
        """All of them."""
        return await self._chain.secrets()

    async def secret(self, name: str) -> str | None:
        return await self._chain.run(self._database.secret, name)

    # Standing

    @property
    def term(self) -> int:
        return self._term

    @property
    def position(self) -> Position:
        return self._published

    @property
    def led_last(self) -> bool:
        """Whether the last batch on our disk is of a mastership of this node."""
        return self._database.led == self._chain.tip.term

    @property
    def is_solo(self) -> bool:
        return self._is_master and self._fleet.is_solo

    def missing_voters(self) -> Sequence[str]:
        return self._fleet.missing()

    def check_quorum(self) -> None:
        """Also raises StaleTermError when the mastership is over or not won, StoreError when the own disk is full."""
        self._check_master()
        if self._stalled is not None:
            raise self._stalled
        self._fleet.check()

    def _check_master(self) -> None:
        if self._over is not None:
            raise self._over
        if not self._is_master:
            refused = self._refused
            raise errors.QuorumError(
                "this node is not the master yet" + (f": {refused.message}" if refused else ""),
                hint=refused.hint if refused else "it asks the other master candidates just now",
            )

    def voters(self) -> Sequence[VoterState]:
        return self._fleet.states(self._published.serial)

    # Committing

    async def commit(
        self, writes: Sequence[Write], note: Note, *, secrets: Mapping[str, str | None] | None = None
    ) -> Position:
        """Raises StaleTermError when the mastership ends before: then it may be stored or not; StoreError at once when
        it is too large."""
        if any((write.table, write.key) == VOTERS for write in writes):
            raise ValueError("voters change by add_voter and remove_voter")
        self._check_master()
        # secrets travel with it
        parcel.check([*writes, *(Write("secret", name, value) for name, value in (secrets or {}).items())])
        return await asyncio.shield(self._enqueue(Pending(tuple(writes), note, dict(secrets or {}))))

    def _enqueue(self, pending: Pending) -> asyncio.Future[Position]:
        pending.waiter = waiter = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(_seen)
        self._queue.append(pending)
        self._work.set()
        return waiter

    def commit_soon(self, writes: Sequence[Write], note: Note) -> None:
        if self._over is not None:
            return
        self._queue.append(Pending(tuple(writes), note, {}))
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(self._limits.soon_s, self._work.set)

    def on_publish(self, listener: Callable[[Batch], None]) -> None:
        self._listeners.append(listener)

    async def _write(self) -> None:
        """The writer's task."""
        while True:
            await self._work.wait()
            self._work.clear()
            if self._soon is not None:
                self._soon.cancel()
                self._soon = None
            while self._queue:
                self._under_way = take(self._queue, self._limits.group_size)
                await self._write_batch(self._under_way)
                self._under_way = []

    async def _write_batch(self, group: list[Pending]) -> None:
        tip, begun = self._chain.tip, self._clock.monotonic()
        batch = Batch(
            self._term,
            tip.serial + 1,
            self._clock.time(),
            tuple(write for pending in group for write in pending.writes),
            tuple(dict.fromkeys(pending.note for pending in group)),
        )
        entry = seal(batch, tip.hash)
        secrets = {name: value for pending in group for name, value in pending.secrets.items()}
        self._chain.add(entry, secrets)
        self._fleet.wake()
        self._old_values = await self._write_here(entry, secrets)
        self.timings.add("disk", self._clock.monotonic() - begun)
        while not self._fleet.is_acknowledged(batch.serial):
            self._fleet.progress.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._fleet.progress.wait()
        self.timings.add("majority", self._clock.monotonic() - begun)
        self._publish(entry, group)

    async def _write_here(self, entry: Entry, secrets: Mapping[str, str | None]) -> tuple[Write, ...]:
        """To our own disk; as long as that is full, again and again: the voters may have the batch already."""
        while True:
            try:
                old = await self._chain.run(self._database.apply, [entry], secrets=secrets, is_leader=True)
            except DiskFullError as err:
                if self._stalled is None:
                    log.error("%s", err)
                self._stalled = err
                await asyncio.sleep(FULL_DISK_RETRY_S)
            else:
                self._stalled = None
                return old

    def _publish(self, entry: Entry, group: list[Pending]) -> None:
        self._published, self._old_values = entry.position, ()
        fetched, self._fetched = self._fetched, []
        for batch in (*fetched, entry.batch):
            for write in batch.writes:
                if (write.table, write.key) == VOTERS:
                    self._fleet.follow(parse_voters(write.value))
            for listener in self._listeners:
                listener(batch)
        for pending in group:
            if pending.waiter is not None and not pending.waiter.done():
                pending.waiter.set_result(entry.position)

    # Voters

    async def catch_up(self, node: str) -> None:
        self._check_master()
        if node in self._fleet.voters:
            return
        try:
            await self._caught_up(self._fleet.enlist(node))
        except errors.StoreError:
            self._fleet.dismiss(node)
            raise

    async def add_voter(self, node: str, writes: Sequence[Write], note: Note) -> None:
        """Raises StoreError when the node cannot be brought up to date; nothing was changed then."""
        async with self._one_change:
            await self._settled()
            self.check_quorum()
            if node in self._fleet.voters:
                await self.commit(writes, note)
                return
            try:
                await self._caught_up(self._fleet.enlist(node))
                await self._change_voters((*self._fleet.voters, node), writes, note)
            finally:
                if node not in self._fleet.voters and (self._last_change is None or self._last_change.done()):
                    self._fleet.dismiss(node)

    async def _caught_up(self, standing: Standing) -> None:
        # the last few batches may still be on their way: it is the vote of one that is far behind that would hurt
        target = max(self._published.serial - CLOSE, 1)
        limit = self._clock.monotonic() + self._limits.catch_up_s
        while True:
            now = self._clock.monotonic()
            if self._over is not None:
                raise self._over
            if standing.has(target) and not standing.why:
                return
            if standing.is_failing(now, self._limits) or now > limit:
                name = self._name_of(standing.node)
                raise errors.StoreError(
                    f"node {name} cannot be brought up to date: {standing.why or 'it takes too long'}",
                    hint="it becomes no master candidate; check its node daemon and its disk",
                )
            await asyncio.sleep(TICK_S / 5)

    async def remove_voter(self, node: str, writes: Sequence[Write], note: Note) -> None:
        """Its copy is put aside afterwards, if it can be reached. Raises PrereqError for the master itself."""
        if node == self._own:
            raise errors.PrereqError(
                "wrong_state", "the master must stay a master candidate", hint="make another node the master first"
            )
        async with self._one_change:
            await self._settled()
            self.check_quorum()
            voters = self._fleet.voters
            if node not in voters:
                await self.commit(writes, note)
                return
            await self._change_voters(tuple(voter for voter in voters if voter != node), writes, note)
            drop = StoreDrop(serial=self._published.serial, leader=self._own, leader_term=self._term)
            task = asyncio.create_task(self._drop(node, drop), name=f"drop the copy of {node}")
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _change_voters(self, voters: tuple[str, ...], writes: Sequence[Write], note: Note) -> None:
        self._check_master()
        self._last_change = self._enqueue(Pending((*writes, voters_write(voters)), note, {}, is_alone=True))
        await asyncio.shield(self._last_change)

    async def _settled(self) -> None:
        """A change whose caller has gone goes on: wait for it."""
        if self._last_change is not None and not self._last_change.done():
            await asyncio.wait([self._last_change])

    async def _drop(self, node: str, call: StoreDrop) -> None:
        try:
            await self._rpc.one(Uuid(node), call)
        except errors.RpcError as err:
            log.warning("the old copy of the state stays on %s: %s", self._name_of(node), err)

    # Mastership

    async def claim(self, nodes: Sequence[str], *, no_voting: bool = False, takes_over: bool = False) -> None:
        """Win a new mastership; may be tried again after a QuorumError. `nodes`: uuids of all nodes of the cluster.

        Raises QuorumError, naming who is missing, when a majority cannot be asked, does not promise or accept;
        ContendedError, which is one, when another node claims it too; StaleTermError when a voter has a newer state
        (this node must not be master); PrereqError when this node is no voter. `no_voting` needs no majority: ask the
        operator first. `takes_over`: the operator wants another master than the last one.
        """
        if self._over is not None:
            raise self._over
        if self._term:
            raise errors.StoreError("this node is the master already")
        try:
            await self._claim(nodes, no_voting=no_voting, takes_over=takes_over)
        except errors.QuorumError as err:
            self._refused = err
            raise
        except errors.StaleTermError as err:
            if self.lost.is_set():
                # to a claim that may fail itself: nobody who has won is known
                raise errors.ContendedError(err.message, hint=err.hint) from err
            raise

    async def _claim(self, nodes: Sequence[str], *, no_voting: bool, takes_over: bool) -> None:
        await self.open()
        if self._own not in self._fleet.voters:
            raise errors.PrereqError(
                "wrong_state", "this node is no master candidate by its own copy of the state", hint="use another node"
            )
        attempt = Claim(self._own, self._rpc, name_of=self._name_of, grace_s=self._limits.grace_s, is_forced=no_voting)
        states = await attempt.ask_states(self._fleet.voters)
        best = attempt.ahead(states, self._chain.tip)
        if best is not None:
            if not self._may_fetch(states[best], takes_over=takes_over):
                raise attempt.refusal(best, states[best], self._chain.tip)
            await self._fetch(attempt, best)
            if attempt.ahead(states, self._chain.tip) is not None:
                raise attempt.refusal(best, states[best], self._chain.tip)
        seen = await attempt.highest_term(nodes, states)
        term = max(seen, self._database.promise.term, self._chain.tip.term) + 1
        # the others first: a claim that fails must not leave a term here that ends the mastership of who won
        await attempt.ask_promises(self._fleet.voters, term, self._chain.tip)
        await self._chain.run(self._database.keep_promise, Promise(term, self._own))
        self._term = term  # from here on calls carry it
        try:
            await attempt.push_term(nodes, term)
            self._writer = asyncio.create_task(self._write(), name="store writer")
            self._writer.add_done_callback(self._ended)
            self._fleet.begin(term, is_forced=no_voting)
            await self._commit_first(term)
        except BaseException:
            await self._stop_tasks()
            self._term = 0
            self._under_way, self._queue = [], deque(pending for pending in self._queue if pending.waiter is None)
            raise
        self._is_master = True
        log.info("won term %s", term)

    def _may_fetch(self, state: StateReply, *, takes_over: bool) -> bool:
        """Whether what a voter has more is the end of a mastership that this node may go on from."""
        tip = self._chain.tip
        is_last_one = takes_over and state.serial == tip.serial + 1
        return state.term == tip.term and (self._database.led == tip.term or is_last_one)

    async def _fetch(self, attempt: Claim, node: str) -> None:
        """Get what our disk missed when the last mastership ended."""
        while True:
            found = await attempt.fetch(node, self._chain.tip)
            if found is None or not found[0]:
                return
            entries, secrets = found
            log.warning("fetching batches up to %s from %s", entries[-1].batch.serial, self._name_of(node))
            await self._chain.run(self._database.apply, entries, secrets=secrets, all_secrets=True)
            self._fetched += [entry.batch for entry in entries]
            self._chain.reset()
            self._fleet.follow(await self._chain.run(self._database.voters))

    async def _commit_first(self, term: int) -> None:
        note = Note(actor="mastership", reason=f"{self._name_of(self._own)} is master in term {term}")
        try:
            async with asyncio.timeout(self._limits.claim_s):
                await self._enqueue(Pending((), note, {}, is_alone=True))
        except TimeoutError as err:
            raise errors.QuorumError(
                f"no majority of the master candidates has stored the first batch of term {term}",
                hint="check their node daemons and disks",
            ) from err

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task of ours ends by itself only when the mastership is over or the disk fails."""
        if task.cancelled():
            return
        err = task.exception()
        if isinstance(err, Outrun | errors.GanetiError):
            self._lose(str(err))
        elif err is not None:
            log.critical("the store cannot go on", exc_info=err)
            self._lose(f"{type(err).__name__}: {err}")

    def _lose(self, why: str) -> None:
        if self._over is not None:
            return
        log.error("the mastership of term %s is over: %s", self._term, why)
        self._over = errors.StaleTermError(
            f"the mastership of this node is over: {why}",
            hint="what was not answered may be done or not: look on the new master",
        )
        self.lost.set()
        self._fleet.cancel()
        if self._writer is not None:
            self._writer.cancel()
        self._fail_waiters(self._over)

    def _fail_waiters(self, err: errors.GanetiError) -> None:
        for pending in (*self._under_way, *self._queue):
            if pending.waiter is not None and not pending.waiter.done():
                pending.waiter.set_exception(err)
        self._under_way, self._queue = [], deque()

    async def _stop_tasks(self) -> None:
        tasks = [*self._background] + ([self._writer] if self._writer is not None else [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fleet.stop()
        self._writer = None
        self._old_values = ()
        # a batch may still be on its way to the disk, in its thread: wait for its end
        await self._chain.run(lambda: None)

    async def close(self) -> None:
        """Finish what is under way if that is quick, then stop. Waiters that are left get a StoreError."""
        if self._is_master and self._over is None:
            with contextlib.suppress(TimeoutError, errors.GanetiError):
                async with asyncio.timeout(self._limits.drain_s):
                    if self._queue or self._under_way:
                        await self._enqueue(Pending((), Note(actor="mastership", reason="end"), {}))
                    await asyncio.gather(*self._background, return_exceptions=True)
                    # a successor whose copy lacks the last batches would be refused
                    while not self._fleet.is_level(self._chain.tip.serial):
                        self._fleet.progress.clear()
                        await self._fleet.progress.wait()
        if self._soon is not None:
            self._soon.cancel()
        await self._stop_tasks()
        if self._over is None:
            self._over = errors.StoreError(
                "the master daemon is stopping", hint="whether the change is stored is seen when it is back"
            )
        self._fail_waiters(self._over)
        if self._owns_executor:
            self._executor.shutdown(wait=False)


def _seen(waiter: asyncio.Future[Position]) -> None:
    """A commit whose caller has gone may fail without anybody looking."""
    if not waiter.cancelled():
        waiter.exception()
