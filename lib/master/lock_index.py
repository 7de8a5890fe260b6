"""Who claims which lock, found in constant or logarithmic time; whole-level claims included.

One index holds what is granted (a claim is a job), one holds what is waited for (a claim is a place in the queue).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.types import JobId

#: a place in the queue: priority (lower is more urgent), serial of the request, job
Place = tuple[int, int, JobId]

C = TypeVar("C")


class Slot(Protocol[C]):
    """All claims on one lock."""

    def add(self, claim: C, is_exclusive: bool) -> None: ...
    def discard(self, claim: C) -> None: ...
    def conflict(self, claim: C, is_exclusive: bool) -> C | None:
        """Another claim that stands in the way of this one."""
        ...

    def __bool__(self) -> bool: ...


class Owners:
    """Jobs that hold one lock."""

    __slots__ = ("_every", "_exclusive")

    def __init__(self) -> None:
        # dicts as ordered sets: iteration must be the same in every run
        self._every: dict[JobId, None] = {}
        self._exclusive: dict[JobId, None] = {}

    def add(self, claim: JobId, is_exclusive: bool) -> None:
        self._every[claim] = None
        if is_exclusive:
            self._exclusive[claim] = None

    def discard(self, claim: JobId) -> None:
        self._every.pop(claim, None)
        self._exclusive.pop(claim, None)

    def conflict(self, claim: JobId, is_exclusive: bool) -> JobId | None:
        return next((job for job in (self._every if is_exclusive else self._exclusive) if job != claim), None)

    def __bool__(self) -> bool:
        return bool(self._every)


class Line:
    """Places of those who wait for one lock, in the order in which they will get it."""

    __slots__ = ("_every", "_exclusive")

    def __init__(self) -> None:
        self._every: list[Place] = []
        self._exclusive: list[Place] = []

    def add(self, claim: Place, is_exclusive: bool) -> None:
        insort(self._every, claim)
        if is_exclusive:
            insort(self._exclusive, claim)

    def discard(self, claim: Place) -> None:
        for places in (self._every, self._exclusive):
            at = bisect_left(places, claim)
            if at < len(places) and places[at] == claim:
                del places[at]

    def conflict(self, claim: Place, is_exclusive: bool) -> Place | None:
        """The last one before `claim`: it is probably the last that `claim` has to wait for."""
        places = self._every if is_exclusive else self._exclusive
        at = bisect_left(places, claim)
        return places[at - 1] if at else None

    def __bool__(self) -> bool:
        return bool(self._every)


class _Shelf(Generic[C]):
    """The slots of one level."""

    __slots__ = ("anyone", "names", "whole")

    def __init__(self, new_slot: Callable[[], Slot[C]]) -> None:
        self.names: dict[str, Slot[C]] = {}
        self.whole = new_slot()  # claims on ALL
        self.anyone = new_slot()  # claims on ALL or on any name: what a claim on ALL collides with


class Index(Generic[C]):
    def __init__(self, new_slot: Callable[[], Slot[C]]) -> None:
        self._new_slot = new_slot
        self._shelves = {level: _Shelf(new_slot) for level in Level}

    def add(self, claim: C, wanted: Mapping[LockKey, bool]) -> None:
        levels: dict[Level, bool] = {}
        for key, is_exclusive in wanted.items():
            levels[key.level] = levels.get(key.level, False) or is_exclusive
            shelf = self._shelves[key.level]
            if key.name == ALL:
                shelf.whole.add(claim, is_exclusive)
                continue
            slot = shelf.names.get(key.name)
            if slot is None:
                slot = shelf.names[key.name] = self._new_slot()
            slot.add(claim, is_exclusive)
        for level, is_exclusive in levels.items():
            self._shelves[level].anyone.add(claim, is_exclusive)

    def discard(self, claim: C, wanted: Mapping[LockKey, bool]) -> None:
        """`wanted` is what the claim was added with, or all that it was added with on some levels."""
        for key in wanted:
            shelf = self._shelves[key.level]
            if key.name == ALL:
                shelf.whole.discard(claim)
                continue
            slot = shelf.names[key.name]
            slot.discard(claim)
            if not slot:
                del shelf.names[key.name]
        for level in {key.level for key in wanted}:
            self._shelves[level].anyone.discard(claim)

    def conflict(self, claim: C, key: LockKey, is_exclusive: bool) -> C | None:
        """A claim of somebody else that rules out `key` in that mode."""
        shelf = self._shelves[key.level]
        if key.name == ALL:
            return shelf.anyone.conflict(claim, is_exclusive)
        slot = shelf.names.get(key.name)
        found = slot.conflict(claim, is_exclusive) if slot is not None else None
        return found if found is not None else shelf.whole.conflict(claim, is_exclusive)
