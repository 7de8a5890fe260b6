"""The wish that the daemon ends."""

from __future__ import annotations

import os
import select


class Ending:
    """Set once, from any thread or signal handler; the main thread waits for it."""

    def __init__(self) -> None:
        # a threading.Event must not be set from a signal handler: it may interrupt its own `wait`
        self._handle = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        os.eventfd_write(self._handle, 1)

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is set; waits that long for it."""
        poller = select.poll()
        poller.register(self._handle, select.POLLIN)
        return bool(poller.poll(None if seconds is None else seconds * 1000))

    def is_set(self) -> bool:
        return self.wait(0)

    def close(self) -> None:
        os.close(self._handle)
