"""Lets jobs wait for their locks. The decisions are `LockTable`'s; here are futures, waiting times and ageing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from ganeti import errors
from ganeti.host.clock import Clock
from ganeti.master.locks import LockRow, LockTable
from ganeti.model.locks import LockKey, LockPlan
from ganeti.model.types import JobId

#: no priority is more urgent
HIGHEST_PRIORITY = -20


class _Wait:
    """One job that waits."""

    __slots__ = ("due", "future", "since")

    def __init__(self, future: asyncio.Future[None], now: float, due: float) -> None:
        self.future = future
        self.since = now
        self.due = due  # when it ages next


class LockManager:
    """Grants cluster locks to jobs; order: cluster, instance, group, node, node-res, network; by name within a level.

    All methods belong to the event loop. A waiter becomes one step more urgent for every `age_after_s` seconds that
    it waits, so that a stream of urgent jobs cannot hold it up for ever.
    """

    def __init__(self, clock: Clock, *, age_after_s: float = 30.0) -> None:
        self._clock = clock
        self._age_after_s = age_after_s
        self._table = LockTable()
        # in order of `due`: who has aged goes to the end
        self._waits: dict[JobId, _Wait] = {}
        self._canceled: set[JobId] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, waiter: JobId, plan: LockPlan, priority: int) -> None:
        """Hold all locks of the plan when it returns; a job that holds or waits already goes on as by `replace`.

        Raises JobCanceled after `cancel`. However it ends, the job calls `release` at last.
        """
        self._check(waiter)
        if self._table.held(waiter) is not None:
            await self.replace(waiter, plan)
            return
        await self._wait(waiter, self._table.request(waiter, plan, priority))

    async def replace(self, waiter: JobId, plan: LockPlan) -> None:
        """Hold the locks of this plan instead. The job keeps its place in the queue, but between the two sets it may
        hold nothing: what was read under the old set must be read again. Raises JobCanceled after `cancel`."""
        self._check(waiter)
        granted = self._table.replace(waiter, plan)
        self._tell(granted)
        await self._wait(waiter, waiter in granted)

    async def add(self, waiter: JobId, plan: LockPlan) -> None:
        """Hold these locks too; their levels must be below all that is held. Raises JobCanceled after `cancel`."""
        self._check(waiter)
        await self._wait(waiter, self._table.add(waiter, plan))

    def release(self, waiter: JobId, keys: Iterable[LockKey] | None = None) -> None:
        """Give back some locks early, or all at the end. All of a job that holds none: fine."""
        self._tell(self._table.release(waiter, keys))
        if keys is None:
            self._canceled.discard(waiter)

    def downgrade(self, waiter: JobId, keys: Iterable[LockKey] | None = None) -> None:
        """Keep these locks, or all, in shared mode only."""
        self._tell(self._table.downgrade(waiter, keys))

    def narrow(self, waiter: JobId, plan: LockPlan) -> None:
        """Keep only these of the locks that are held, by name where a whole level is held, or in shared mode."""
        self._tell(self._table.narrow(waiter, plan))

    def own(self, waiter: JobId, key: LockKey) -> None:
        """Hold also the lock of an object that this job is about to create, before others can know of it."""
        self._table.own(waiter, key)

    def force(self, waiter: JobId, plan: LockPlan) -> None:
        """Give a recovered job the locks that it had; before any other job asks for some."""
        self._table.force(waiter, plan)

    def cancel(self, waiter: JobId) -> bool:
        """Make a pending `acquire`, or the next one, raise JobCanceled. False: the job neither waits nor holds."""
        wait = self._waits.get(waiter)
        if wait is None and self._table.held(waiter) is None:
            return False
        self._canceled.add(waiter)
        self._tell(self._table.cancel(waiter))
        if wait is not None and not wait.future.done():
            wait.future.set_result(None)
        return True

    def set_priority(self, waiter: JobId, priority: int) -> None:
        """From now on; ageing goes on from there. A job that neither waits nor holds: nothing happens."""
        self._tell(self._table.set_priority(waiter, priority))

    def held(self, waiter: JobId) -> Mapping[LockKey, bool]:
        """Lock → is exclusive; empty when it holds none."""
        plan = self._table.held(waiter)
        return plan.wanted if plan is not None else {}

    def waiting_s(self, waiter: JobId) -> float | None:
        """Seconds since it began to wait; None: it does not."""
        wait = self._waits.get(waiter)
        return self._clock.monotonic() - wait.since if wait is not None else None

    def blocker(self, waiter: JobId) -> JobId | None:
        """One of the jobs that it waits for."""
        return self._table.blocker(waiter)

    def obstacle(self, waiter: JobId) -> tuple[LockKey, JobId] | None:
        """A lock that it waits for, and who holds it or wants it before."""
        return self._table.obstacle(waiter)

    def rows(self) -> list[LockRow]:
        """Every lock that is held or waited for, by level and name."""
        return self._table.rows()

    # How it works.

    def _check(self, waiter: JobId) -> None:
        if waiter in self._canceled:
            raise errors.JobCanceled("Job canceled by request")

    def _tell(self, granted: Iterable[JobId]) -> None:
        for job in granted:
            wait = self._waits.get(job)
            if wait is not None and not wait.future.done():
                wait.future.set_result(None)

    async def _wait(self, waiter: JobId, is_granted: bool) -> None:
        if is_granted:
            return
        now = self._clock.monotonic()
        self._waits[waiter] = wait = _Wait(asyncio.get_running_loop().create_future(), now, now + self._age_after_s)
        self._set_timer()
        try:
            await wait.future
        finally:
            del self._waits[waiter]
            if self._table.is_waiting(waiter):  # the whole program is being stopped
                self._tell(self._table.cancel(waiter))
            if not self._waits and self._timer is not None:
                self._timer.cancel()
                self._timer = None
        self._check(waiter)

    def _set_timer(self) -> None:
        """One timer for all: it is set for the waiter that ages next."""
        if self._timer is None and self._waits:
            next_due = next(iter(self._waits.values())).due
            delay = max(0.0, next_due - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._age)

    def _age(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        # a timer may fire a trifle early by this clock
        due = [job for job, wait in self._waits.items() if wait.due <= now + 0.001]
        for job in due:
            wait = self._waits.pop(job)
            wait.due = now + self._age_after_s
            self._waits[job] = wait
            priority = self._table.priority(job)
            if priority is not None and priority > HIGHEST_PRIORITY and not wait.future.done():
                self._tell(self._table.set_priority(job, priority - 1))
        self._set_timer()
