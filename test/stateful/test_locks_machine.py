"""The lock table against a plain model that looks at everybody each time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ganeti.master.locks import LockTable
from ganeti.model.locks import ALL, Level, LockKey, LockPlan
from ganeti.model.types import JobId

JOBS = st.integers(1, 7).map(JobId)
KEYS = st.builds(
    LockKey, st.sampled_from([Level.INSTANCE, Level.NODE, Level.NODE_RES]), st.sampled_from(["a", "b", ALL])
)
WANTED = st.dictionaries(KEYS, st.booleans(), min_size=1, max_size=4)
PRIORITIES = st.integers(-2, 2)

Wanted = dict[LockKey, bool]


def collide(one: Wanted, other: Wanted) -> bool:
    return any(
        a.level == b.level and (a.name == b.name or ALL in (a.name, b.name)) and (a_exclusive or b_exclusive)
        for a, a_exclusive in one.items()
        for b, b_exclusive in other.items()
    )


def is_within(held: Wanted, wanted: Wanted) -> bool:
    """Every wanted lock is there, by its own name or by its level's, and some of these is as strong."""
    for key, is_exclusive in wanted.items():
        modes = [held[k] for k in (key, LockKey(key.level, ALL)) if k in held]
        if not modes or max(modes) < is_exclusive:
            return False
    return True


class Locks(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = LockTable()
        self.held: dict[JobId, Wanted] = {}
        self.waiting: dict[JobId, Wanted] = {}
        self.additions: dict[JobId, Wanted] = {}
        self.places: dict[JobId, tuple[int, int]] = {}
        self.forced: set[JobId] = set()
        self.serial = 0

    # the model

    def grant_all_possible(self) -> set[JobId]:
        granted: set[JobId] = set()
        for job in list(self.additions):
            if not any(collide(self.additions[job], held) for other, held in self.held.items() if other != job):
                self.held[job] |= self.additions.pop(job)
                granted.add(job)
        ahead = list(self.additions.values())
        for job in sorted(self.waiting, key=self.places.__getitem__):
            wanted = self.waiting[job]
            if any(collide(wanted, other) for other in [*ahead, *self.held.values()]):
                ahead.append(wanted)
            else:
                self.held[job] = self.waiting.pop(job)
                granted.add(job)
        return granted

    def next_place(self, priority: int) -> tuple[int, int]:
        self.serial += 1
        return priority, self.serial

    def is_idle(self, job: JobId) -> bool:
        return job not in self.held and job not in self.waiting

    # what can happen

    @rule(job=JOBS, wanted=WANTED, priority=PRIORITIES)
    def request(self, job: JobId, wanted: Wanted, priority: int) -> None:
        if not self.is_idle(job):
            return
        self.waiting[job], self.places[job] = dict(wanted), self.next_place(priority)
        assert self.table.request(job, LockPlan(wanted), priority) == (self.grant_all_possible() == {job})

    @rule(job=JOBS, wanted=WANTED, priority=PRIORITIES, data=st.data())
    def request_what_is_free(self, job: JobId, wanted: Wanted, priority: int, data: st.DataObject) -> None:
        """Some locks are wanted only if nobody is in the way."""
        if not self.is_idle(job):
            return
        optional = data.draw(st.sets(st.sampled_from(sorted(wanted))))
        place = self.next_place(priority)
        others = [*self.held.values(), *self.additions.values()]
        others += [other for rival, other in self.waiting.items() if self.places[rival] < place]
        possible = {
            key: mode
            for key, mode in wanted.items()
            if key not in optional or not any(collide({key: mode}, other) for other in others)
        }
        self.waiting[job], self.places[job] = possible, place
        granted = self.table.request(job, LockPlan(wanted, frozenset(optional)), priority)
        assert granted == (self.grant_all_possible() == {job})

    @precondition(lambda self: self.held)
    @rule(wanted=WANTED, data=st.data())
    def narrow(self, wanted: Wanted, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.held)))
        keep = {key: mode for key, mode in wanted.items() if is_within(self.held[job], {key: mode})}
        self.held[job] = dict(keep)
        assert set(self.table.narrow(job, LockPlan(keep))) == self.grant_all_possible()

    @rule(job=JOBS, wanted=WANTED)
    def replace(self, job: JobId, wanted: Wanted) -> None:
        if self.is_idle(job) or job in self.additions:
            return
        if job in self.held and is_within(self.held[job], wanted):
            self.held[job] = dict(wanted)
            expected = {job} | self.grant_all_possible()
        else:
            self.held.pop(job, None)
            self.forced.discard(job)
            self.waiting[job] = dict(wanted)
            expected = self.grant_all_possible()
        assert set(self.table.replace(job, LockPlan(wanted))) == expected

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def replace_by_some_of_the_same(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.held)))
        if self.held[job]:
            keys = st.sampled_from(sorted(self.held[job]))
            self.replace(job, data.draw(st.dictionaries(keys, st.booleans(), min_size=1)))

    @precondition(lambda self: self.held)
    @rule(job=JOBS, wanted=WANTED)
    def add(self, job: JobId, wanted: Wanted) -> None:
        if job not in self.held or job in self.additions:
            return
        deepest = max((key.level for key in self.held[job]), default=-1)
        below = {key: mode for key, mode in wanted.items() if key.level > deepest}
        if not below:
            return
        self.additions[job] = below
        self.serial += 1
        assert self.table.add(job, LockPlan(below)) == (self.grant_all_possible() == {job})

    @precondition(lambda self: self.held or self.waiting)
    @rule(job=JOBS)
    def release(self, job: JobId) -> None:
        self.held.pop(job, None)
        self.waiting.pop(job, None)
        self.additions.pop(job, None)
        self.forced.discard(job)
        assert set(self.table.release(job)) == self.grant_all_possible()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release_some(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.held)))
        if not self.held[job]:
            return
        keys = data.draw(st.sets(st.sampled_from(sorted(self.held[job])), min_size=1))
        for key in keys:
            del self.held[job][key]
        assert set(self.table.release(job, keys)) == self.grant_all_possible()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def downgrade(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.held)))
        keys = data.draw(st.none() | st.sets(st.sampled_from(sorted(self.held[job])))) if self.held[job] else None
        for key in self.held[job] if keys is None else keys:
            self.held[job][key] = False
        assert set(self.table.downgrade(job, keys)) == self.grant_all_possible()

    @rule(job=JOBS)
    def cancel(self, job: JobId) -> None:
        self.waiting.pop(job, None)
        self.additions.pop(job, None)
        assert set(self.table.cancel(job)) == self.grant_all_possible()

    @rule(job=JOBS, priority=PRIORITIES)
    def set_priority(self, job: JobId, priority: int) -> None:
        if not self.is_idle(job):
            self.places[job] = (priority, self.places[job][1])
        assert set(self.table.set_priority(job, priority)) == self.grant_all_possible()

    @rule(job=JOBS, wanted=WANTED)
    def force(self, job: JobId, wanted: Wanted) -> None:
        if not self.is_idle(job):
            return
        self.held[job], self.places[job] = dict(wanted), self.next_place(0)
        self.forced.add(job)
        self.table.force(job, LockPlan(wanted))

    # what is always so

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert {job: dict(plan.wanted) for job in self.held if (plan := self.table.held(job))} == self.held
        owned = {(key, job) for key, owners in self.table.holders().items() for job in owners}
        assert owned == {(key, job) for job, wanted in self.held.items() for key in wanted}
        assert set(self.table.pending()) == self.waiting.keys() | self.additions.keys()

    @invariant()
    def nobody_collides_but_recovered_jobs(self) -> None:
        plain = [(job, wanted) for job, wanted in self.held.items() if job not in self.forced]
        for job, wanted in plain:
            assert not any(collide(wanted, other) for rival, other in plain if rival != job)

    @invariant()
    def every_waiter_waits_for_somebody(self) -> None:
        for job in self.table.pending():
            assert self.table.blocker(job) in self.held.keys() | self.waiting.keys()
            obstacle = self.table.obstacle(job)
            assert obstacle is not None
            key, rival = obstacle
            claims = [table[rival] for table in (self.held, self.waiting, self.additions) if rival in table]
            mine = {key: (self.additions.get(job) or self.waiting[job])[key]}
            assert any(collide(mine, claim) for claim in claims)

    def teardown(self) -> None:
        """Nobody starves: as holders end, everyone gets its turn, and nothing is left."""
        served = set(self.held)
        expected = served | set(self.waiting)
        while self.held:
            job = next(iter(self.held))
            self.release(job)
            served |= set(self.held)
        assert served == expected
        assert not self.table.pending()
        assert not self.table.rows()


Locks.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestLocks = Locks.TestCase
