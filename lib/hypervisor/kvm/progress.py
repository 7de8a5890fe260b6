"""How far a migration is, from what QEMU tells of its memory (`ram` of query-migrate, in bytes). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MIB = 1 << 20
#: at this distance from its end it is watched closely: from then on the guest's pause depends on us
_NEAR_S = 2.0
_CLOSE_S, _FAR_S = 0.02, 0.25


class Meter:
    """Fed with figures from time to time; times are of a monotonic clock, in seconds."""

    def __init__(self, now: float) -> None:
        self.begun = now
        self.moved = now  # when the last progress was seen
        self.total = self.remaining = self.transferred = 0
        self.rate = 0.0  # bytes per second
        self._seen = (now, 0)

    def take(self, now: float, ram: Mapping[str, Any]) -> None:  # Any: numbers of JSON
        transferred = int(ram.get("transferred", 0))
        if transferred != self.transferred:
            self.moved = now
        self.transferred = transferred
        self.total, self.remaining = int(ram.get("total", 0)), int(ram.get("remaining", 0))
        then, before = self._seen
        if now - then >= 1.0 or not self.rate:
            self.rate = max(0, transferred - before) / (now - then) if now > then else 0.0
            self._seen = (now, transferred) if now - then >= 1.0 else self._seen

    @property
    def percent(self) -> float:
        """Of the memory that is the same at both ends; a busy guest lets it go back."""
        return 100.0 * (self.total - self.remaining) / self.total if self.total else 0.0

    def pause(self) -> float:
        """How long to wait before the next look."""
        is_near = not self.rate or self.remaining / self.rate < _NEAR_S
        return _CLOSE_S if is_near else _FAR_S

    def text(self) -> str:
        mib = self.remaining / _MIB
        return f"{self.percent:.0f} % sent, {self.rate / _MIB:.1f} MiB/s, {mib:.0f} MiB remain"

    def summary(self, migration: Mapping[str, Any]) -> str:
        """Of a completed one; `migration` is the whole answer, its times are in milliseconds."""
        seconds, pause = int(migration.get("total-time", 0)) / 1000, int(migration.get("downtime", 0))
        return f"sent {self.transferred / _MIB:.1f} MiB in {seconds:.1f} s, the last part of it in {pause} ms"

    def progress(self) -> dict[str, float | str]:
        return {
            "percent": round(self.percent, 1),
            "transferred": self.transferred,
            "remaining": self.remaining,
            "rate": round(self.rate),
            "text": self.text(),
        }
