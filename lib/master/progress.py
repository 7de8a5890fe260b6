"""How far a long call is, as lines of a job's log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ganeti.host.clock import Clock

#: shortest time between two lines about the progress of one call, in seconds
PROGRESS_S = 2.0


class ProgressLines:
    """Tells how far a long call is, as its node puts it for people; seldom enough for a log that is stored."""

    def __init__(self, report: Callable[[str], None], clock: Clock) -> None:
        self._report = report
        self._clock = clock
        self._begun = self._told_at = clock.monotonic()
        self._text = self._told = ""

    def take(self, progress: Mapping[str, float | str]) -> None:
        self._text = str(progress.get("text", ""))
        now = self._clock.monotonic()
        # the longer it takes, the less a moment matters
        if now - self._told_at >= max(PROGRESS_S, (now - self._begun) / 20):
            self._told_at = now
            self.end()

    def end(self) -> None:
        """Tell the last that is known."""
        if self._text and self._text != self._told:
            self._told = self._text
            self._report(f"  {self._text}")
