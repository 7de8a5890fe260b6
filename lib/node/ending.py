"""The wish that the daemon ends."""

from __future__ import annotations

import os
import select
import signal
import time


class Ending:
    """Set once, from any thread or signal handler; the main thread waits for it.

    Not a `threading.Event`: a signal handler must not set one, it may interrupt its own `wait`.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def set_on(self, *signals: signal.Signals) -> None:
        """Those signals mean it too. For the main thread."""
        # The kernel may give a signal to any thread; Python runs its handler in the main thread, once that wakes up.
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: self.set())

    def set(self) -> None:
        self._is_set = True
        try:
            os.write(self._writer, b"x")
        except BlockingIOError:
            return  # full: whoever waits is awake

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is set; waits that long for it."""
        deadline = None if seconds is None else time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        while not self._is_set:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not poller.poll(None if left is None else left * 1000):
                break
            os.read(self._reader, 4096)
        return self._is_set
