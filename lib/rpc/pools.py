"""How many calls of each kind a node works on at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ganeti import errors
from ganeti.calls.base import Reserve

#: handlers at once, per resource class; calls for the quorum are not counted, threads are kept for them
CAPS: Mapping[Reserve, int] = {
    Reserve.INFO: 32,
    Reserve.STORAGE: 32,
    Reserve.HYPERVISOR: 32,
    Reserve.SCRIPTS: 32,
}
#: long calls run in threads of their own and are counted apart
LONG_CAP = 64
#: threads that no capped pool can take
QUORUM_THREADS = 64
#: callers that may wait in `task_poll` at once; others are answered at once
POLL_WAITERS = 32


class Busy(errors.NodeFailure):
    """The node has its hands full; nothing was begun, ask again."""


class Pools:
    """Counts running handlers."""

    def __init__(self, caps: Mapping[Reserve, int] = CAPS, *, long_cap: int = LONG_CAP) -> None:
        self._caps, self._long_cap = dict(caps), long_cap
        self._lock = threading.Lock()
        self._used: dict[tuple[Reserve, bool], int] = {}

    @property
    def threads(self) -> int:
        """Worker threads that are enough for all pools at once."""
        return sum(self._caps.values()) + QUORUM_THREADS

    def take(self, reserve: Reserve, *, is_long: bool = False) -> None:
        """Count one more. Raises Busy when the pool is full."""
        cap = self._long_cap if is_long else self._caps.get(reserve)
        with self._lock:
            used = self._used.get((reserve, is_long), 0)
            if cap is not None and used >= cap:
                raise Busy(f"already works on {used} {'long ' if is_long else ''}{reserve.value} calls")
            self._used[reserve, is_long] = used + 1

    def give(self, reserve: Reserve, *, is_long: bool = False) -> None:
        with self._lock:
            self._used[reserve, is_long] -= 1

    @contextmanager
    def slot(self, reserve: Reserve) -> Iterator[None]:
        self.take(reserve)
        try:
            yield
        finally:
            self.give(reserve)

    def running(self) -> int:
        """Handlers at work now, of all kinds."""
        with self._lock:
            return sum(self._used.values())
