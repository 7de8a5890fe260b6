"""When a node that was stopped by another one's claim tries again."""

import random

from ganeti.master.contest import CONTEST_S, LONGEST_S, SHORTEST_S, Contest
from ganeti.testing.clock import SteppedClock


def pauses(try_s, seed=1):
    """Of tries that take so long each, until it is enough."""
    clock = SteppedClock()
    contest, found, began = Contest(clock, random.Random(seed)), [], clock.monotonic()
    while True:
        clock.sleep(try_s)
        pause_s = contest.pause_s()
        if pause_s is None:
            return found, clock.monotonic() - began
        clock.sleep(pause_s)
        found.append(pause_s)


def test_quick_tries_are_many_and_their_pauses_short():
    found, spent_s = pauses(0.05)
    assert len(found) > 20
    assert all(SHORTEST_S <= pause_s <= LONGEST_S for pause_s in found)
    assert spent_s <= CONTEST_S + 0.05


def test_after_a_slow_try_the_pause_may_be_longer_than_the_next_one():
    longest = [max(pauses(5.0, seed)[0]) for seed in range(20)]
    assert all(pause_s <= 10.0 for pause_s in longest)
    assert max(longest) > 5.0


def test_two_nodes_do_not_keep_in_step():
    assert pauses(0.05, seed=1)[0] != pauses(0.05, seed=2)[0]


def test_it_ends_when_the_time_is_over():
    assert pauses(CONTEST_S)[0] == []
