"""What the master daemon does when another node claims the mastership too."""

from __future__ import annotations

import random

import pytest

from ganeti import errors
from ganeti.master.contest import CONTEST_S, GRACE_S, Contest
from ganeti.master.daemon import EXIT_NOT_MASTER, NotMasterError, Options, keep_claiming
from ganeti.testing.clock import SteppedClock

TAKES_OVER = Options(take_over=True, seen_term=3)
CONTENDED = errors.ContendedError("only 2 of 5 promise")


class Tries:
    """Each ends as told, after so many seconds."""

    def __init__(self, *ends, try_s=0.1):
        self.ends, self.try_s = list(ends), try_s
        self.clock = SteppedClock()
        self.began, self.asked = self.clock.monotonic(), []

    def run(self, options=TAKES_OVER):
        contest = Contest(self.clock, random.Random(1))
        return keep_claiming(self._try, options, contest, self.clock)

    def _try(self, options):
        self.asked.append(options)
        self.clock.sleep(self.try_s)
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end


def test_who_was_stopped_by_another_ones_claim_tries_the_same_again():
    tries = Tries(CONTENDED, CONTENDED, 0)
    assert tries.run() == 0
    assert tries.asked == [TAKES_OVER] * 3


def test_who_lost_what_was_just_won_claims_it_as_its_own():
    tries = Tries(CONTENDED, EXIT_NOT_MASTER, 0)
    assert tries.run() == 0
    assert tries.asked == [TAKES_OVER, TAKES_OVER, Options()]


def test_who_was_master_for_long_lets_another_one_begin_and_then_learns_whether_it_has():
    tries = Tries(EXIT_NOT_MASTER, NotMasterError("wrong_state", "another one is"), try_s=CONTEST_S)
    with pytest.raises(NotMasterError):
        tries.run()
    assert tries.asked == [TAKES_OVER, Options()]
    assert GRACE_S[0] <= tries.clock.monotonic() - tries.began - 2 * CONTEST_S <= GRACE_S[1]


def test_whose_mastership_was_ended_for_nothing_is_master_again_however_often():
    tries = Tries(*[EXIT_NOT_MASTER] * 5, 0, try_s=CONTEST_S)
    assert tries.run() == 0
    assert len(tries.asked) == 6


@pytest.mark.parametrize(
    "end", [NotMasterError("wrong_state", "no"), errors.QuorumError("too few"), OSError(28, "full")]
)
def test_other_refusals_are_final(end):
    tries = Tries(end)
    with pytest.raises(type(end)) as caught:
        tries.run()
    assert caught.value is end
    assert len(tries.asked) == 1


def test_at_the_end_of_its_patience_the_last_reason_is_told():
    tries = Tries(CONTENDED)
    with pytest.raises(errors.ContendedError, match="only 2 of 5"):
        tries.run()
    assert len(tries.asked) > 10
    assert tries.clock.now <= CONTEST_S + 1
