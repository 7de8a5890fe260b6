"""Waiting for locks, on a loop whose time passes only when all are waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ganeti import errors
from ganeti.master.lockmanager import LockManager
from ganeti.model.locks import Level, LockKey, LockPlan
from ganeti.model.types import JobId
from ganeti.testing.clock import SteppedClock

WEB = LockKey(Level.INSTANCE, "web")
DB = LockKey(Level.INSTANCE, "db")
ALONE = LockPlan({WEB: True})
ONE, TWO, THREE = JobId(1), JobId(2), JobId(3)


class _Selector(selectors.SelectSelector):
    def __init__(self, clock: SteppedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits and no timer is set"
        self._clock.now += max(timeout, 0.0)
        return super().select(0)


def run(scenario: Callable[[LockManager, SteppedClock], Awaitable[None]]) -> None:
    clock = SteppedClock(1000.0)

    def new_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(_Selector(clock))
        loop.time = clock.monotonic  # type: ignore[method-assign] # the loop's documented way to tell its time
        return loop

    async def main() -> None:
        await scenario(LockManager(clock), clock)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_acquire_when_another_releases_then_it_returns_with_the_locks() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        await locks.acquire(ONE, ALONE, 0)
        waiting = asyncio.ensure_future(locks.acquire(TWO, ALONE, 0))
        await asyncio.sleep(7)
        assert locks.waiting_s(TWO) == pytest.approx(7)
        assert locks.blocker(TWO) == ONE
        assert not locks.held(TWO)
        locks.release(ONE)
        await waiting
        assert locks.held(TWO) == ALONE.wanted
        assert locks.waiting_s(TWO) is None

    run(scenario)


def test_acquire_when_canceled_while_waiting_then_it_raises_and_the_next_is_not_held_up() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        await locks.acquire(ONE, LockPlan({WEB: False}), 0)
        second = asyncio.ensure_future(locks.acquire(TWO, ALONE, 0))
        third = asyncio.ensure_future(locks.acquire(THREE, LockPlan({WEB: False}), 0))
        await settle()
        assert locks.cancel(TWO)
        with pytest.raises(errors.JobCanceled):
            await second
        await third
        locks.release(TWO)
        assert locks.held(THREE) == {WEB: False}

    run(scenario)


def test_cancel_when_the_grant_is_on_its_way_then_acquire_raises_all_the_same() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        await locks.acquire(ONE, ALONE, 0)
        second = asyncio.ensure_future(locks.acquire(TWO, ALONE, 0))
        await settle()
        locks.release(ONE)
        locks.cancel(TWO)
        with pytest.raises(errors.JobCanceled):
            await second
        with pytest.raises(errors.JobCanceled):
            await locks.acquire(TWO, ALONE, 0)
        locks.release(TWO)
        await locks.acquire(TWO, ALONE, 0)

    run(scenario)


def test_cancel_when_the_job_is_unknown_then_it_says_so() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        assert not locks.cancel(ONE)
        await locks.acquire(ONE, ALONE, 0)

    run(scenario)


def test_acquire_when_its_task_ends_from_outside_then_the_place_in_the_queue_is_free() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        await locks.acquire(ONE, LockPlan({WEB: False}), 0)
        second = asyncio.ensure_future(locks.acquire(TWO, ALONE, 0))
        third = asyncio.ensure_future(locks.acquire(THREE, LockPlan({WEB: False}), 0))
        await settle()
        second.cancel()
        await third
        assert [row.pending for row in locks.rows()] == [()]

    run(scenario)


def test_acquire_again_when_holding_then_the_set_is_exchanged() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        await locks.acquire(ONE, ALONE, 0)
        await locks.acquire(TWO, LockPlan({DB: True}), 0)
        again = asyncio.ensure_future(locks.acquire(ONE, LockPlan({WEB: True, DB: True}), 0))
        await settle()
        assert not locks.held(ONE)
        locks.release(TWO)
        await again
        assert locks.held(ONE) == {WEB: True, DB: True}

    run(scenario)


def test_waiting_long_when_urgent_jobs_keep_coming_then_the_old_one_gets_its_turn() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        await locks.acquire(ONE, ALONE, 0)
        order: list[int] = []

        async def take(job: JobId, priority: int) -> None:
            await locks.acquire(job, ALONE, priority)
            order.append(job)

        async with asyncio.TaskGroup() as group:
            group.create_task(take(TWO, 2))
            await asyncio.sleep(100)  # three steps: 2 becomes -1
            group.create_task(take(THREE, 0))
            await settle()
            locks.release(ONE)
            await settle()
            locks.release(TWO)
        assert order == [TWO, THREE]

    run(scenario)


def test_ageing_when_nobody_waits_then_no_timer_is_left() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        await locks.acquire(ONE, ALONE, 0)
        waiting = asyncio.ensure_future(locks.acquire(TWO, ALONE, 0))
        await settle()
        locks.release(ONE)
        await waiting
        forever = asyncio.get_running_loop().create_future()
        # the selector objects to an endless wait: it comes to that only when no timer is set
        with pytest.raises(AssertionError, match="no timer is set"):
            locks.release(TWO)
            await forever

    with pytest.raises(AssertionError, match="no timer is set"):
        run(scenario)


def test_force_then_others_wait_for_the_recovered_job() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        locks.force(ONE, ALONE)
        waiting = asyncio.ensure_future(locks.acquire(TWO, ALONE, 0))
        await settle()
        assert not waiting.done()
        locks.release(ONE)
        await waiting

    run(scenario)


def test_add_when_taken_then_it_waits_and_keeps_what_it_has() -> None:
    async def scenario(locks: LockManager, clock: SteppedClock) -> None:
        res = LockKey(Level.NODE_RES, "n1")
        await locks.acquire(ONE, ALONE, 0)
        await locks.acquire(TWO, LockPlan({res: True}), 0)
        adding = asyncio.ensure_future(locks.add(ONE, LockPlan({res: True})))
        await settle()
        assert locks.held(ONE) == {WEB: True}
        locks.downgrade(TWO)
        await settle()
        assert not adding.done()
        locks.release(TWO, [res])
        await adding
        assert locks.held(ONE) == {WEB: True, res: True}

    run(scenario)
