from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.master.schedule import JobSchedule
from ganeti.model.types import JobId

ANY: frozenset[str] = frozenset()
GOOD = frozenset({"success"})


def job(number: int) -> JobId:
    return JobId(number)


def alive(_job: JobId) -> str | None:
    return "queued"


def ended(status: str | None) -> Callable[[JobId], str | None]:
    return lambda _job: status


def add(schedule: JobSchedule, number: int, priority: int = 0, **depends: frozenset[str]) -> None:
    wanted = {job(int(name.removeprefix("on"))): statuses for name, statuses in depends.items()}
    assert schedule.add(job(number), priority, wanted, alive) is None


def test_ready_starts_by_priority_then_id_up_to_the_limit() -> None:
    schedule = JobSchedule(max_running=2)
    for number, priority in ((1, 0), (2, 0), (3, -10), (4, 10)):
        add(schedule, number, priority)
    assert schedule.ready() == [3, 1]
    assert schedule.ready() == []
    assert schedule.finished(job(3), "success") == []
    assert schedule.ready() == [2]
    schedule.set_limit(5)
    assert schedule.ready() == [4]
    assert schedule.running() == [1, 2, 4]


def test_ready_when_a_recovered_job_runs_then_it_counts() -> None:
    schedule = JobSchedule(max_running=1)
    schedule.started(job(1))
    add(schedule, 2)
    assert schedule.ready() == []
    schedule.finished(job(1), "error")
    assert schedule.ready() == [2]


def test_set_priority_when_queued_then_the_order_changes() -> None:
    schedule = JobSchedule(max_running=1)
    for number in (1, 2, 3):
        add(schedule, number)
    schedule.set_priority(job(3), -5)
    schedule.set_priority(job(1), 5)
    assert schedule.queued() == [3, 2, 1]
    schedule.set_limit(3)
    assert schedule.ready() == [3, 2, 1]


def test_dependency_when_the_other_ends_as_wanted_then_the_job_starts() -> None:
    schedule = JobSchedule(max_running=9)
    add(schedule, 1)
    add(schedule, 2)
    add(schedule, 3, on1=GOOD, on2=ANY)
    assert schedule.ready() == [1, 2]
    assert schedule.waits_for(job(3)) == [1, 2]
    assert schedule.finished(job(1), "success") == []
    assert schedule.ready() == []
    assert schedule.finished(job(2), "error") == []
    assert schedule.ready() == [3]


@pytest.mark.parametrize(
    ("wanted", "status", "verdict"),
    [
        (GOOD, "error", "Dependency job 1 finished with status 'error', not one of success"),
        (GOOD, "canceled", ""),
        (frozenset({"error", "canceled"}), "success", "finished with status 'success', not one of canceled, error"),
    ],
)
def test_dependency_when_the_other_ends_otherwise_then_a_verdict_tells_why(
    wanted: frozenset[str], status: str, verdict: str
) -> None:
    schedule = JobSchedule(max_running=9)
    add(schedule, 1)
    add(schedule, 2, on1=wanted)
    schedule.ready()
    ((doomed, why),) = schedule.finished(job(1), status)
    assert doomed == 2
    assert why.endswith(verdict)
    assert bool(why) == bool(verdict)
    assert not schedule.is_queued(job(2))
    assert schedule.ready() == []
    early = JobSchedule(max_running=9)
    assert early.add(job(2), 0, {job(1): wanted}, ended(status)) == why
    assert not early.is_queued(job(2))


def test_add_when_the_other_job_is_lost_or_not_earlier_then_it_fails() -> None:
    schedule = JobSchedule(max_running=9)
    assert "job 1 is not known" in str(schedule.add(job(2), 0, {job(1): ANY}, ended(None)))
    assert "not an earlier one" in str(schedule.add(job(2), 0, {job(2): ANY}, alive))
    assert "not an earlier one" in str(schedule.add(job(2), 0, {job(7): ANY}, alive))


def test_add_when_the_other_has_ended_as_wanted_then_it_starts_at_once() -> None:
    schedule = JobSchedule(max_running=9)
    assert schedule.add(job(2), 0, {job(1): GOOD}, ended("success")) is None
    assert schedule.ready() == [2]


def test_finished_when_a_queued_job_is_canceled_then_the_chain_behind_it_ends_one_by_one() -> None:
    schedule = JobSchedule(max_running=9)
    add(schedule, 1)
    add(schedule, 2, on1=GOOD)
    add(schedule, 3, on2=GOOD, on1=ANY)
    schedule.remove(job(1))
    assert schedule.ready() == []
    assert schedule.finished(job(1), "canceled") == [(2, "")]
    assert schedule.finished(job(2), "canceled") == [(3, "")]
    assert schedule.queued() == []


def test_finished_when_a_doomed_job_waited_for_others_too_then_they_do_not_mention_it() -> None:
    schedule = JobSchedule(max_running=9)
    add(schedule, 1)
    add(schedule, 2)
    add(schedule, 3, on1=GOOD, on2=GOOD)
    schedule.ready()
    assert [other for other, _ in schedule.finished(job(1), "error")] == [3]
    assert schedule.finished(job(2), "error") == []


@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.sets(st.integers(1, 30)), st.booleans(), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_every_job_ends_exactly_once_whatever_depends_on_what(
    jobs: list[tuple[int, set[int], bool, bool]], limit: int
) -> None:
    schedule = JobSchedule(limit)
    ends: dict[int, str] = {}
    running: list[JobId] = []

    def end(number: JobId, status: str) -> None:
        assert number not in ends
        ends[number] = status
        for other, why in schedule.finished(number, status):
            end(other, "error" if why else "canceled")

    for at, (priority, before, only_good, _) in enumerate(jobs, start=1):
        depends = {job(other): GOOD if only_good else ANY for other in before if other < at}
        assert schedule.add(job(at), priority, depends, lambda other: ends.get(other, "queued")) is None
    while True:
        running += schedule.ready()
        assert len(running) <= limit
        if not running:
            break
        ready = running.pop(0)
        end(ready, "error" if jobs[ready - 1][3] else "success")
    assert sorted(ends) == list(range(1, len(jobs) + 1))
    for at, (_, before, only_good, _) in enumerate(jobs, start=1):
        if ends[at] == "success" and only_good:
            assert all(ends[other] == "success" for other in before if other < at)


def test_what_may_not_start_is_held_until_it_is_reconsidered() -> None:
    schedule = JobSchedule(max_running=3)
    for number in (1, 2, 3, 4):
        add(schedule, number)
    assert schedule.ready(lambda number: number > 2) == [3, 4]
    assert schedule.is_held(job(1))
    assert schedule.ready(lambda _: True) == []
    schedule.remove(job(2))
    schedule.reconsider()
    assert not schedule.is_held(job(1))
    assert schedule.ready() == [1]
    assert not schedule.is_queued(job(2))


def test_a_held_job_with_a_new_priority_is_started_once() -> None:
    schedule = JobSchedule(max_running=3)
    add(schedule, 1)
    assert schedule.ready(lambda _: False) == []
    schedule.set_priority(job(1), -5)
    schedule.reconsider()
    assert schedule.ready() == [1]
    assert schedule.ready() == []
