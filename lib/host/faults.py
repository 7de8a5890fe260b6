"""Named places where a test can make the process die or fail; free in production."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import NewType

Point = NewType("Point", str)

#: environment of a virtual node's programs: the point where one kills itself, `:` and at which passing (the first)
VARIABLE = "GANETI_FAULT"
#: every registered point, in order of registration
POINTS: list[Point] = []

_armed: Callable[[Point], None] | None = None


def register(name: str) -> Point:
    """Declare a fault point at import. Both sides of every durable step have one."""
    point = Point(name)
    if point in POINTS:
        raise ValueError(f"fault point {name} is registered twice")
    POINTS.append(point)
    return point


def hit(point: Point) -> None:
    """Pass the point; an armed test decides what happens."""
    if _armed is not None:
        _armed(point)


def arm(action: Callable[[Point], None] | None) -> None:
    """Call `action` at each point from now on; None disarms."""
    global _armed
    _armed = action


def arm_to_die(wanted: str) -> None:
    """Kill this process at a point, as `VARIABLE` has it."""
    point, _, count = wanted.partition(":")
    left = int(count or "1")
    lock = threading.Lock()

    def hit(passed: Point) -> None:
        nonlocal left
        if passed == point:
            with lock:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    arm(hit)
