"""How often and how long: counters that only grow, for metrics."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

#: upper bounds of the classes, in seconds
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)


class Timings:
    """By name: number of times, of failures, seconds, and how many took how long."""

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self._bounds = bounds
        self._found: dict[str, list[Any]] = {}

    def add(self, name: str, seconds: float, *, failed: bool = False) -> None:
        entry = self._found.get(name)
        if entry is None:
            entry = self._found[name] = [0, 0, 0.0, [0] * (len(self._bounds) + 1)]
        entry[0] += 1
        entry[1] += failed
        entry[2] += seconds
        entry[3][bisect.bisect_left(self._bounds, seconds)] += 1

    def tell(self) -> dict[str, Any]:
        """JSON: `{name: {count, failed, seconds, classes}}`, the last class is everything above the last bound."""
        return {
            name: {"count": count, "failed": failed, "seconds": seconds, "classes": list(classes)}
            for name, (count, failed, seconds, classes) in self._found.items()
        }
