"""Request ids: once, again, taken back."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from ganeti import errors
from ganeti.calls.node import HooksRun
from ganeti.calls.node import TestDelay as Delay
from ganeti.host import faults
from ganeti.host.clock import SystemClock
from ganeti.model.types import RequestId
from ganeti.rpc.pools import Busy
from ganeti.rpc.request_table import AFTER_BEGIN, BEFORE_BEGIN, BEFORE_END, RequestTable, State
from ganeti.rpc.requests import KEEP_S, Outcome, Requests


class Execution:
    def __init__(self) -> None:
        self.stop = threading.Event()
        self.progress: dict[str, float | str] = {}


class FixedClock(SystemClock):
    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def call(name: str, *, undoes: str | None = None, path: str = "p") -> HooksRun:
    return HooksRun(
        path=path,
        phase="pre",
        environment={},
        request=RequestId(name),
        undoes=None if undoes is None else RequestId(undoes),
    )


GOOD = Outcome(result=["done"])
BAD = Outcome(error=["StorageError", ["full"]], kind="failed")


class Counter:
    """Work that counts its runs."""

    def __init__(self, outcome: Outcome = GOOD) -> None:
        self.runs = 0
        self.outcome = outcome

    def __call__(self) -> Outcome:
        self.runs += 1
        return self.outcome


class Blocked:
    """Work in a thread that waits until it is released, or stopped when it listens to that."""

    def __init__(self, requests: Requests, made: HooksRun, *, listens: bool = False) -> None:
        self.execution = Execution()
        self.entered, self.release = threading.Event(), threading.Event()
        self.outcome: Outcome | None = None

        def work() -> Outcome:
            self.entered.set()
            if listens:
                assert self.execution.stop.wait(10)
                return Outcome(error=["GenericError", ["stopped"]], kind="failed")
            assert self.release.wait(10)
            return GOOD

        def target() -> None:
            self.outcome = requests.run(made, self.execution, work)

        self.thread = threading.Thread(target=target)
        self.thread.start()
        assert self.entered.wait(10)

    def end(self) -> None:
        self.release.set()
        self.thread.join(10)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "requests.db")


@pytest.fixture
def requests(path):
    made = Requests(path, SystemClock(), wait_s=5.0)
    yield made
    made.close()


@pytest.mark.parametrize("outcome", [GOOD, BAD])
def test_repeat_answers_the_stored_outcome_also_after_a_restart(path, requests, outcome):
    work = Counter(outcome)
    assert requests.run(call("a"), Execution(), work) == outcome
    assert requests.run(call("a"), Execution(), work) == outcome
    again = Requests(path, SystemClock())
    assert again.run(call("a"), Execution(), work) == outcome
    again.close()
    assert work.runs == 1


def test_repeat_while_it_runs_waits_for_the_same_outcome(requests):
    first = Blocked(requests, call("a"))
    second = Counter()
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(requests.run(call("a"), Execution(), second)))
    thread.start()
    first.end()
    thread.join(10)
    assert (outcomes, second.runs) == ([GOOD], 0)


def test_repeat_of_one_that_does_not_end_is_busy(path):
    requests = Requests(path, SystemClock(), wait_s=0.01)
    first = Blocked(requests, call("a"))
    with pytest.raises(Busy, match="still running"):
        requests.run(call("a"), Execution(), Counter())
    first.end()
    requests.close()


def test_same_id_for_another_call_is_refused(requests):
    requests.run(call("a"), Execution(), Counter())
    with pytest.raises(errors.NodeFailure, match="used for another call"):
        requests.run(call("a", path="q"), Execution(), Counter())


def test_undo_before_its_request_leaves_a_tombstone(path, requests):
    assert requests.run(call("undo", undoes="a"), Execution(), Counter()) == GOOD
    late = Counter()
    with pytest.raises(errors.NodeFailure, match="taken back before it came"):
        requests.run(call("a"), Execution(), late)
    again = Requests(path, SystemClock())
    with pytest.raises(errors.NodeFailure, match="taken back"):
        again.run(call("a"), Execution(), late)
    again.close()
    assert late.runs == 0


def test_undo_after_its_request_makes_a_repeat_of_it_refused(requests):
    requests.run(call("a"), Execution(), Counter())
    undo = Counter()
    requests.run(call("undo", undoes="a"), Execution(), undo)
    with pytest.raises(errors.NodeFailure, match="taken back"):
        requests.run(call("a"), Execution(), Counter())
    assert undo.runs == 1


def test_undo_during_its_request_stops_it_first(requests):
    first = Blocked(requests, call("a"), listens=True)
    undo = Counter()
    assert requests.run(call("undo", undoes="a"), Execution(), undo) == GOOD
    first.end()
    assert first.outcome is not None
    assert not first.outcome.is_good
    assert undo.runs == 1


def test_undo_of_a_request_that_does_not_stop_is_busy_and_may_be_repeated(path):
    requests = Requests(path, SystemClock(), wait_s=0.01)
    first = Blocked(requests, call("a"))
    undo = Counter()
    with pytest.raises(Busy, match="does not end"):
        requests.run(call("undo", undoes="a"), Execution(), undo)
    assert (first.execution.stop.is_set(), undo.runs) == (True, 0)
    first.end()
    assert requests.run(call("undo", undoes="a"), Execution(), undo) == GOOD
    assert undo.runs == 1
    requests.close()


def test_failed_undo_runs_again_when_repeated(requests):
    undo = Counter(BAD)
    requests.run(call("undo", undoes="a"), Execution(), undo)
    undo.outcome = GOOD
    assert requests.run(call("undo", undoes="a"), Execution(), undo) == GOOD
    assert undo.runs == 2


class Died(BaseException):
    """The process ends here."""


def die_at(point):
    def hit(passed):
        if passed == point:
            raise Died

    return hit


@pytest.mark.parametrize(("point", "ran"), [(BEFORE_BEGIN, 0), (AFTER_BEGIN, 0), (BEFORE_END, 1)])
def test_request_that_a_crash_interrupted_runs_again(path, point, ran):
    requests = Requests(path, SystemClock())
    work = Counter()
    faults.arm(die_at(point))
    try:
        with pytest.raises(Died):
            requests.run(call("a"), Execution(), work)
    finally:
        faults.arm(None)
    assert work.runs == ran
    requests.close()
    again = Requests(path, SystemClock())
    assert again.poll("a", 0).state == "unknown"
    assert again.run(call("a"), Execution(), work) == GOOD
    assert work.runs == ran + 1
    again.close()


def test_undo_of_an_interrupted_request_proceeds(path):
    table = RequestTable(path)
    table.begin("a", "digest", 1.0)
    table.close()
    requests = Requests(path, FixedClock())
    assert requests.run(call("undo", undoes="a"), Execution(), Counter()) == GOOD
    with pytest.raises(errors.NodeFailure, match="taken back"):
        requests.run(call("a"), Execution(), Counter())
    requests.close()


def test_defect_in_the_work_leaves_no_one_waiting(requests):
    def work():
        raise Died

    with pytest.raises(Died):
        requests.run(call("a"), Execution(), work)
    assert requests.running() == 0


def test_old_entries_are_forgotten_and_young_ones_kept(path):
    clock = FixedClock()
    requests = Requests(path, clock)
    requests.run(call("old"), Execution(), Counter())
    clock.now += KEEP_S - 1
    requests.run(call("young"), Execution(), Counter())
    clock.now += 3600
    work = Counter()
    requests.run(call("young"), Execution(), work)
    requests.run(call("old"), Execution(), work)
    assert work.runs == 1  # "old" alone
    requests.close()


def test_long_call_is_polled_until_its_end(requests):
    release, ended = threading.Event(), threading.Event()

    def work() -> Outcome:
        assert release.wait(10)
        return GOOD

    execution = Execution()
    execution.progress["percent"] = 40.0
    made = Delay(duration=1.0, request=RequestId("long"))
    requests.start(made, execution, work, ended.set)
    running = requests.poll("long", 0.0)
    assert (running.state, running.progress) == ("running", {"percent": 40.0})
    release.set()
    assert ended.wait(10)
    assert requests.poll("long", 5.0).result == ["done"]
    assert requests.poll("long", 5.0).progress == {"percent": 40.0}
    assert requests.poll("other", 0.0).state == "unknown"


def test_repeated_start_of_a_long_call_runs_once(requests):
    ended = threading.Semaphore(0)
    work = Counter()
    made = Delay(duration=1.0, request=RequestId("long"))
    requests.start(made, Execution(), work, ended.release)
    assert ended.acquire(timeout=10)
    requests.start(made, Execution(), work, ended.release)
    assert ended.acquire(timeout=10)
    assert work.runs == 1


def test_full_disk_when_it_ends_does_not_lose_the_answer(path):
    requests = Requests(path, SystemClock())
    blocker = sqlite3.connect(path, isolation_level=None)

    def work() -> Outcome:
        blocker.execute("DROP TABLE request")
        return GOOD

    assert requests.run(call("a"), Execution(), work) == GOOD
    blocker.close()
    requests.close()


def test_unwritable_table_refuses_before_anything_runs(path):
    requests = Requests(path, SystemClock())
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE request")
    other.close()
    work = Counter()
    with pytest.raises(errors.StoreError, match="request table"):
        requests.run(call("a"), Execution(), work)
    assert (work.runs, requests.running()) == (0, 0)
    requests.close()


def test_a_long_call_that_could_not_be_begun_says_why_and_may_come_again(path):
    requests = Requests(path, SystemClock())
    with sqlite3.connect(path) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON request BEGIN SELECT RAISE(FAIL, 'no space'); END")
    work, ended = Counter(), threading.Event()
    requests.start(call("a"), Execution(), work, ended.set)
    assert ended.wait(10)
    with sqlite3.connect(path) as other:
        other.execute("DROP TRIGGER full")
    other.close()
    reply = requests.poll("a", 0)
    assert (reply.state, work.runs) == ("failed", 0)
    assert "cannot write the request table" in str(reply.result)
    assert requests.poll("a", 0).state == "unknown"
    ended.clear()
    requests.start(call("a"), Execution(), work, ended.set)
    assert ended.wait(10)
    assert (requests.poll("a", 1).state, work.runs) == ("done", 1)
    requests.close()


def test_damaged_file_is_a_clear_error(path):
    with open(path, "wb") as file:
        file.write(b"not a database, but long enough to be looked at as one" * 50)
    with pytest.raises(errors.StoreError, match="move the file away"):
        Requests(path, SystemClock())


def test_states_survive_in_the_table(path):
    table = RequestTable(path)
    table.begin("a", "d", 1.0)
    assert table.interrupt_all(2.0) == 1
    row = table.get("a")
    assert row is not None
    assert row.state is State.INTERRUPTED
    table.close()
