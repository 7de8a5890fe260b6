"""One event loop whose time is virtual, and simulated processes on it that can be paused or killed at any await."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import greenlet

from ganeti.host.clock import Clock

T = TypeVar("T")

#: epoch seconds at which every simulation begins
EPOCH = 1_900_000_000.0

_numbers = itertools.count(1)


class Died(BaseException):
    """Ends blocking work of a process that was killed; no handler may catch it."""


class Process:
    """An operating system process: everything that runs in its `context` stops with it, without any last word."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_paused = False
        self.parked: list[asyncio.Handle] = []
        self.blocked: list[greenlet.greenlet] = []  # blocking work that waits
        self.at_end: list[Callable[[], None]] = []  # what the kernel does when it ends: locks, connections
        self.context = contextvars.copy_context()
        self.context.run(CURRENT.set, self)


#: whose code is running; None: the world's
CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("CURRENT", default=None)
_WORLD = contextvars.Context()


class _Future(asyncio.Future[T]):
    """With a hash that is the same in every run: some sets of futures are iterated."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        self._number = next(_numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[T]):
    def __init__(self, *args: Any, context: contextvars.Context | None = None, **kwargs: Any) -> None:
        self._number = next(_numbers)
        self.process = CURRENT.get() if context is None else context.get(CURRENT)
        super().__init__(*args, context=context, **kwargs)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """When nothing can run now, time jumps to the next timer. No sockets, no signals, no threads.

    Uses `_ready` and `_scheduled` of CPython's base class, as they are in 3.11 to 3.14.
    """

    _ready: Any  # Any: the base class has no types for these
    _scheduled: Any
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.steps = 0  # callbacks that were run
        self.on_step: Callable[[], None] | None = None
        # those of dead processes must not be collected: that would run their last words
        self._tasks: list[_Task[Any]] = []

    def time(self) -> float:
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **_: Any) -> Any:
        task: _Task[Any] = _Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        if len(self._tasks) % 4096 == 0:
            self._tasks = [each for each in self._tasks if not each.done()]
        return task

    async def end_others(self) -> None:
        """Cancel the other tasks of this process and wait for them, as `asyncio.run` does when its main one ends."""
        process, me = CURRENT.get(), asyncio.current_task()
        others = [task for task in self._tasks if task.process is process and task is not me and not task.done()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def bury_tasks(self) -> None:
        """End what is left of dead processes; whatever they still do is done by the dead."""
        nobody = Process("nobody")
        nobody.is_dead = True
        for task in self._tasks:
            if task.done() or task.process is None:
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # of CPython: it is meant to be left
            coroutine = task.get_coro()
            if coroutine is not None:
                with contextlib.suppress(BaseException):
                    nobody.context.run(coroutine.close)

    def call_in(self, process: Process | None, delay_s: float, action: Callable[..., object], *args: Any) -> None:
        """Call it in the name of a process; None: of the world, which nobody pauses."""
        context = process.context.copy() if process else _WORLD.copy()
        if delay_s > 0:
            self.call_later(delay_s, action, *args, context=context)
        else:
            self.call_soon(action, *args, context=context)  # in order, which timers of one moment are not

    def start(self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task: asyncio.Task[T] = self.create_task(work, context=process.context.copy())
        return task

    def resume(self, process: Process) -> None:
        process.is_paused = False
        parked, process.parked = process.parked, []
        self._ready.extend(parked)

    def _write_to_self(self) -> None:
        """There is nobody to wake: all runs in this thread."""

    def _process_events(self, event_list: Any) -> None:
        """No events."""

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:
            if not scheduled:
                raise RuntimeError("everything waits and no timer runs")
            self._now = max(self._now, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        if self.on_step is not None:
            self.on_step()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(CURRENT)
            if process is not None:
                if process.is_dead:
                    continue
                if process.is_paused:
                    process.parked.append(handle)
                    continue
            self.steps += 1
            handle._run()


def the_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def current() -> Process:
    process = CURRENT.get()
    assert process is not None, "this runs in no simulated process"
    return process


class VirtualClock(Clock):
    """The loop's time; `sleep` blocks only the blocking work that calls it."""

    def time(self) -> float:
        return EPOCH + the_loop().time()

    def monotonic(self) -> float:
        return the_loop().time()

    def sleep(self, seconds: float) -> None:
        from ganeti.testing.sim import blocking

        blocking.sleep(seconds)
