"""Time for tests of blocking code."""

from __future__ import annotations


class SteppedClock:
    """Implements `host.clock.Clock`: time passes by sleeping only, or when `now` is set."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
