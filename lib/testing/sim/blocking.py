"""Blocking code in the simulation: each piece runs in a greenlet that gives way to the loop when it waits.

Node handlers, drivers and the store's file operations are written for threads. Here they run one at a time and
change places only where they wait: in `sleep`, in `Event.wait`, between two works of an executor.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import greenlet

from ganeti.testing.sim.loop import Died, current, the_loop

Work = Callable[[], object]


def start(work: Work) -> None:
    """Run it now, in the name of the current process, until it waits or ends. It must handle its own errors."""

    def guarded() -> None:
        try:
            work()
        except Died:
            return

    made = greenlet.greenlet(guarded)
    made.gr_context = contextvars.copy_context()
    made.switch()


def wait(arm: Callable[[Callable[[], object]], None]) -> None:
    """Stop here until the function that `arm` is given is called. Raises Died when the process is killed meanwhile."""
    process, me = current(), greenlet.getcurrent()
    parent = me.parent
    assert parent is not None, "blocking code must run in its own greenlet"
    process.blocked.append(me)

    def go_on() -> None:
        if me in process.blocked:
            process.blocked.remove(me)
            me.switch()

    arm(go_on)
    parent.switch()


def sleep(seconds: float) -> None:
    wait(lambda go_on: the_loop().call_in(current(), seconds, go_on))


class Event(threading.Event):
    """For blocking code and for those that end its wait."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Callable[[], object]] = []

    def set(self) -> None:
        super().set()
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            the_loop().call_soon(go_on)

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_set() or (timeout is not None and timeout <= 0):
            return self.is_set()

        def arm(go_on: Callable[[], object]) -> None:
            self._waiting.append(go_on)
            if timeout is not None:
                the_loop().call_in(current(), timeout, go_on)

        wait(arm)
        return self.is_set()


def spawn(work: Work, name: str) -> None:
    """In the place of a new thread."""
    process = current()
    del name
    the_loop().call_in(process, 0.0, start, work)


class Executor(concurrent.futures.Executor):
    """One thread of one process: works in order; each takes a moment before and after it happens."""

    def __init__(self, moment: Callable[[], float]) -> None:
        self._moment = moment
        self._queue: deque[tuple[concurrent.futures.Future[Any], Callable[[], Any]]] = deque()
        self._is_busy = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._queue.append((future, lambda: fn(*args, **kwargs)))
        if not self._is_busy:
            self._is_busy = True
            self._soon(self._next)
        return future

    def _soon(self, action: Callable[..., object], *args: Any) -> None:
        the_loop().call_later(self._moment(), action, *args)

    def _next(self) -> None:
        if not self._queue:
            self._is_busy = False
            return
        start(lambda: self._work(*self._queue.popleft()))

    def _work(self, future: concurrent.futures.Future[Any], work: Callable[[], Any]) -> None:
        try:
            result = work()
        except Died:
            raise
        except BaseException as err:  # noqa: BLE001 - as an executor does
            self._soon(self._end, future, None, err)
        else:
            self._soon(self._end, future, result, None)

    def _end(self, future: concurrent.futures.Future[Any], result: Any, err: BaseException | None) -> None:
        if not future.cancelled():
            if err is not None:
                future.set_exception(err)
            else:
                future.set_result(result)
        self._next()
