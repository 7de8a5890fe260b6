"""Which job holds which lock, and who is next. Pure: no clock, no I/O, no await.

An opcode gets all its locks together or waits for all of them, so plain waiters hold nothing and cannot deadlock.
The queue is ordered by priority (lower is more urgent), then by age of the request. A waiter is granted as soon as
nothing in its way is held by others or wanted by somebody before it: it is never overtaken by a later one that it
conflicts with, and those it does not conflict with never wait for it.

Each waiter watches one job that stands in its way and is looked at again only when that job gives something back,
so that a release costs about what it lets in, however many are waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ganeti.master.lock_index import Index, Line, Owners, Place
from ganeti.model.locks import ALL, LockKey, LockPlan
from ganeti.model.types import JobId

#: Additions stand before all plain waiters. A plain waiter holds nothing, so letting an addition wait for it could
#: make both wait for ever: the waiter may want what the adding job holds.
_ADDITION = -1000


class Pending(msgspec.Struct, frozen=True):
    job: JobId
    is_exclusive: bool


class LockRow(msgspec.Struct, frozen=True):
    """One lock that is held or waited for. `pending` is in order of the queue."""

    key: LockKey
    owners: tuple[JobId, ...]
    is_exclusive: bool  # of the owners; meaningless without them
    pending: tuple[Pending, ...]


class _Claim:
    """What one job holds, or waits for."""

    __slots__ = ("blocker", "place", "wanted")

    def __init__(self, place: Place, wanted: Mapping[LockKey, bool]) -> None:
        self.place = place
        self.wanted = dict(wanted)
        self.blocker: JobId | None = None  # the one who stands in the way; None: not queued

    @property
    def is_addition(self) -> bool:
        return self.place[0] == _ADDITION


def covers(held: Mapping[LockKey, bool], wanted: Mapping[LockKey, bool]) -> bool:
    """Whether everything wanted is held, in that mode or a stronger one, by name or by level."""
    for key, is_exclusive in wanted.items():
        by_name = held.get(key)
        by_level = held.get(LockKey(key.level, ALL))
        if by_name is None and by_level is None:
            return False
        if is_exclusive and not (by_name or by_level):
            return False
    return True


class LockTable:
    """Misuse (an unknown job, a lock that is not held, an addition out of order) raises ValueError."""

    def __init__(self) -> None:
        self._held: dict[JobId, _Claim] = {}
        self._waiting: dict[JobId, _Claim] = {}
        self._owners: Index[JobId] = Index(Owners)
        self._line: Index[Place] = Index(Line)
        self._watchers: dict[JobId, dict[JobId, None]] = {}
        self._last_serial = 0

    # Changes. What returns a list of jobs returns those that were granted by it, in order of the queue.

    def request(self, waiter: JobId, plan: LockPlan, priority: int) -> bool:
        """Whether all locks were granted at once; else the job waits for them."""
        if waiter in self._held or waiter in self._waiting:
            raise ValueError(f"job {waiter} holds or waits for locks already; replace its plan instead")
        place = (priority, self._serial(), waiter)
        return self._settle(waiter, _Claim(place, self._possible(waiter, place, plan)))

    def replace(self, waiter: JobId, plan: LockPlan) -> list[JobId]:
        """Exchange what the job holds or waits for; it keeps its place. It is among the granted if it has all now.

        A holder whose new set is not covered by the old one gives back everything, and waits at its old place
        unless the new set is free.
        """
        waiting = self._waiting.get(waiter)
        if waiting is not None:
            if waiting.is_addition:
                raise ValueError(f"job {waiter} waits for an addition; cancel that first")
            self._leave_line(waiter)
            waiting.wanted = dict(self._possible(waiter, waiting.place, plan))
            own = [waiter] if self._settle(waiter, waiting) else []
            return own + self._wake(waiter)
        holding = self._holding(waiter)
        wanted = self._possible(waiter, holding.place, plan)
        if covers(holding.wanted, wanted):
            self._hold(waiter, _Claim(holding.place, wanted))
            return [waiter, *self._wake(waiter)]
        self._drop_held(waiter)
        own = [waiter] if self._settle(waiter, _Claim(holding.place, wanted)) else []
        return own + self._wake(waiter)

    def add(self, waiter: JobId, plan: LockPlan) -> bool:
        """More locks for a holder, at levels strictly below all that it holds; whether they were granted at once.

        Holders wait only downwards, so they cannot wait for each other in a circle.
        """
        holding = self._holding(waiter)
        if waiter in self._waiting:
            raise ValueError(f"job {waiter} waits for an addition already")
        lowest_held = max((key.level for key in holding.wanted), default=None)
        for key in plan.wanted:
            if lowest_held is not None and key.level <= lowest_held:
                raise ValueError(
                    f"job {waiter} cannot add {key.level.name} lock {key.name}: it holds {lowest_held.name} locks"
                )
        return self._settle(waiter, _Claim((_ADDITION, self._serial(), waiter), plan.wanted))

    def release(self, waiter: JobId, keys: Iterable[LockKey] | None = None) -> list[JobId]:
        """Give back some locks, or all and forget the job. All of a job that is not known: nothing happens."""
        if keys is None:
            if waiter in self._waiting:
                self._leave_line(waiter)
            if waiter in self._held:
                self._drop_held(waiter)
            return self._wake(waiter)
        given = set(keys)
        self._narrow(waiter, dict.fromkeys(given))
        return self._wake(waiter)

    def downgrade(self, waiter: JobId, keys: Iterable[LockKey] | None = None) -> list[JobId]:
        """Keep these locks, or all, in shared mode only."""
        chosen = self._holding(waiter).wanted if keys is None else keys
        self._narrow(waiter, dict.fromkeys(chosen, False))
        return self._wake(waiter)

    def narrow(self, waiter: JobId, plan: LockPlan) -> list[JobId]:
        """Keep only these of the locks that are held, by name where a whole level is held, or in shared mode."""
        holding = self._holding(waiter)
        if not covers(holding.wanted, plan.wanted):
            raise ValueError(f"job {waiter} does not hold all the locks that it wants to keep")
        self._hold(waiter, _Claim(holding.place, plan.wanted))
        return self._wake(waiter)

    def own(self, waiter: JobId, key: LockKey) -> None:
        """A holder gets the exclusive lock of an object that it is about to create: nobody can have asked for it."""
        holding = self._holding(waiter)
        self._hold(waiter, _Claim(holding.place, {**holding.wanted, key: True}))

    def force(self, waiter: JobId, plan: LockPlan, priority: int = 0) -> None:
        """Grant whatever others hold: a recovered job had these locks when the master died.

        Two recovered jobs may overlap, because one that had given a lock back early may be recorded with it.
        """
        if waiter in self._held or waiter in self._waiting:
            raise ValueError(f"job {waiter} holds or waits for locks already")
        self._hold(waiter, _Claim((priority, self._serial(), waiter), plan.wanted))

    def cancel(self, waiter: JobId) -> list[JobId]:
        """Stop waiting; what is held stays held. Not waiting: nothing happens."""
        if waiter not in self._waiting:
            return []
        self._leave_line(waiter)
        return self._wake(waiter)

    def set_priority(self, waiter: JobId, priority: int) -> list[JobId]:
        """Move a waiter in the queue. A holder gets that place should it have to wait again."""
        holding, waiting = self._held.get(waiter), self._waiting.get(waiter)
        if holding is not None:
            holding.place = (priority, holding.place[1], waiter)
        if waiting is None or waiting.is_addition:
            return []
        self._leave_line(waiter)
        waiting.place = (priority, waiting.place[1], waiter)
        own = [waiter] if self._settle(waiter, waiting) else []
        return own + self._wake(waiter)

    # Questions.

    def is_waiting(self, waiter: JobId) -> bool:
        return waiter in self._waiting

    def held(self, waiter: JobId) -> LockPlan | None:
        holding = self._held.get(waiter)
        return LockPlan(dict(holding.wanted)) if holding is not None else None

    def blocker(self, waiter: JobId) -> JobId | None:
        """One of the jobs that a waiter waits for."""
        waiting = self._waiting.get(waiter)
        return waiting.blocker if waiting is not None else None

    def obstacle(self, waiter: JobId) -> tuple[LockKey, JobId] | None:
        """A lock that a waiter has to wait for, and who holds it or wants it before; None: it does not wait."""
        claim = self._waiting.get(waiter)
        if claim is None:
            return None
        for key, is_exclusive in claim.wanted.items():
            owner = self._owners.conflict(waiter, key, is_exclusive)
            if owner is not None:
                return key, owner
        for key, is_exclusive in claim.wanted.items():
            ahead = None if claim.is_addition else self._line.conflict(claim.place, key, is_exclusive)
            if ahead is not None:
                return key, ahead[2]
        return None

    def priority(self, waiter: JobId) -> int | None:
        """Present priority of a waiter or holder."""
        claim = self._held.get(waiter) or self._waiting.get(waiter)
        return claim.place[0] if claim is not None else None

    def holders(self) -> dict[LockKey, dict[JobId, bool]]:
        """Lock → owner → is exclusive."""
        found: dict[LockKey, dict[JobId, bool]] = {}
        for job, claim in self._held.items():
            for key, is_exclusive in claim.wanted.items():
                found.setdefault(key, {})[job] = is_exclusive
        return found

    def pending(self) -> list[JobId]:
        """Waiters in order of the queue."""
        return [claim.place[2] for claim in sorted(self._waiting.values(), key=lambda claim: claim.place)]

    def rows(self) -> list[LockRow]:
        """Every lock that is held or waited for, by level and name."""
        owners = self.holders()
        pending: dict[LockKey, list[Pending]] = {}
        for job in self.pending():
            for key, is_exclusive in self._waiting[job].wanted.items():
                pending.setdefault(key, []).append(Pending(job, is_exclusive))
        return [
            LockRow(
                key,
                tuple(owners.get(key, ())),
                any(owners.get(key, {}).values()),
                tuple(pending.get(key, ())),
            )
            for key in sorted(owners.keys() | pending.keys())
        ]

    # How it works.

    def _serial(self) -> int:
        self._last_serial += 1
        return self._last_serial

    def _holding(self, waiter: JobId) -> _Claim:
        holding = self._held.get(waiter)
        if holding is None:
            raise ValueError(f"job {waiter} holds no locks")
        return holding

    def _blocker(self, waiter: JobId, claim: _Claim) -> JobId | None:
        """The last waiter before this one that it conflicts with, else some owner; None: free."""
        if not claim.is_addition:
            ahead: Place | None = None
            for key, is_exclusive in claim.wanted.items():
                found = self._line.conflict(claim.place, key, is_exclusive)
                if found is not None and (ahead is None or found > ahead):
                    ahead = found
            if ahead is not None:
                return ahead[2]
        for key, is_exclusive in claim.wanted.items():
            owner = self._owners.conflict(waiter, key, is_exclusive)
            if owner is not None:
                return owner
        return None

    def _possible(self, waiter: JobId, place: Place, plan: LockPlan) -> Mapping[LockKey, bool]:
        """What is wanted, without what is optional and not to be had now."""
        if not plan.optional:
            return plan.wanted

        def is_free(key: LockKey, is_exclusive: bool) -> bool:
            ahead = self._line.conflict(place, key, is_exclusive)
            return ahead is None and self._owners.conflict(waiter, key, is_exclusive) is None

        return {key: mode for key, mode in plan.wanted.items() if key not in plan.optional or is_free(key, mode)}

    def _settle(self, waiter: JobId, claim: _Claim) -> bool:
        """Grant a claim that is not in the line, or put it there."""
        blocker = self._blocker(waiter, claim)
        if blocker is None:
            self._grant(waiter, claim)
            return True
        self._waiting[waiter] = claim
        self._line.add(claim.place, claim.wanted)
        self._watch(waiter, claim, blocker)
        return False

    def _grant(self, waiter: JobId, claim: _Claim) -> None:
        holding = self._held.get(waiter)
        if holding is not None:  # an addition: its levels are its own
            claim = _Claim(holding.place, {**holding.wanted, **claim.wanted})
        self._hold(waiter, claim)

    def _hold(self, waiter: JobId, claim: _Claim) -> None:
        if waiter in self._held:
            self._drop_held(waiter)
        self._held[waiter] = claim
        self._owners.add(waiter, claim.wanted)

    def _drop_held(self, waiter: JobId) -> None:
        self._owners.discard(waiter, self._held.pop(waiter).wanted)

    def _narrow(self, waiter: JobId, to: Mapping[LockKey, bool | None]) -> None:
        """Change the mode of held locks; None: not held any more. Costs the size of the levels concerned."""
        holding = self._holding(waiter)
        missing = [key for key in to if key not in holding.wanted]
        if missing:
            raise ValueError(f"job {waiter} does not hold {missing[0].level.name} lock {missing[0].name}")
        levels = {key.level for key in to}
        self._owners.discard(waiter, {key: mode for key, mode in holding.wanted.items() if key.level in levels})
        for key, is_exclusive in to.items():
            if is_exclusive is None:
                del holding.wanted[key]
            else:
                holding.wanted[key] = is_exclusive
        self._owners.add(waiter, {key: mode for key, mode in holding.wanted.items() if key.level in levels})

    def _watch(self, waiter: JobId, claim: _Claim, blocker: JobId) -> None:
        claim.blocker = blocker
        self._watchers.setdefault(blocker, {})[waiter] = None

    def _leave_line(self, waiter: JobId) -> None:
        claim = self._waiting.pop(waiter)
        self._line.discard(claim.place, claim.wanted)
        if claim.blocker is not None:
            watchers = self._watchers.get(claim.blocker)
            if watchers is not None:
                watchers.pop(waiter, None)
                if not watchers:
                    del self._watchers[claim.blocker]
            claim.blocker = None

    def _wake(self, blocker: JobId) -> list[JobId]:
        """Look again at those who watched a job that has given something back or has moved."""
        watchers = self._watchers.pop(blocker, None)
        if not watchers:
            return []
        granted: list[JobId] = []
        for waiter in sorted(watchers, key=lambda job: self._waiting[job].place):
            claim = self._waiting[waiter]
            claim.blocker = None
            still = self._blocker(waiter, claim)
            if still is not None:
                self._watch(waiter, claim, still)
                continue
            self._leave_line(waiter)
            self._grant(waiter, claim)
            granted.append(waiter)
        return granted
