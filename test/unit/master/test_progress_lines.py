"""Lines about long calls in a job's log: few, and the last one always."""

from ganeti.host.clock import SystemClock
from ganeti.master.progress import PROGRESS_S, ProgressLines


class FakeClock(SystemClock):
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def tell(texts, *, every_s):
    """The lines that a call leaves that tells these texts."""
    clock, lines = FakeClock(), []
    progress = ProgressLines(lines.append, clock)
    for text in texts:
        clock.now += every_s
        progress.take({"text": text, "percent": 1.0})
    progress.end()
    return lines


def test_each_is_told_when_they_come_seldom():
    assert tell(["10 %", "20 %"], every_s=PROGRESS_S) == ["  10 %", "  20 %"]


def test_the_last_is_told_even_if_it_comes_at_once():
    assert tell(["10 %", "20 %", "done"], every_s=0.01) == ["  done"]


def test_what_has_not_changed_is_told_once():
    assert tell(["10 %", "10 %"], every_s=PROGRESS_S) == ["  10 %"]


def test_without_words_nothing_is_told():
    assert tell(["", ""], every_s=PROGRESS_S) == []


def test_a_long_one_is_told_ever_more_seldom():
    lines = tell([f"step {number}" for number in range(3600)], every_s=PROGRESS_S)
    assert 50 < len(lines) < 200
