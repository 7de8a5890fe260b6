"""Failovers at one moment, with many courses: one of them wins, and that is so because they try again."""

from __future__ import annotations

import functools
import logging

import pytest

from ganeti.master.contest import Contest
from ganeti.testing.sim.claims import ClaimsAtOnce
from ganeti.testing.sim.master import CONTENDED
from ganeti.testing.sim.story import Outcome, play
from ganeti.testing.sim.world import Kinds

SEEDS = range(1, 41)


class OneTry(Contest):
    def pause_s(self) -> None:
        return None

    def after_loss_s(self) -> None:
        return None


@functools.cache
def played(seed: int, *, tries_again: bool = True) -> Outcome:
    logging.disable(logging.CRITICAL)
    try:
        return play(seed, kinds=Kinds() if tries_again else Kinds(contest=OneTry), story=ClaimsAtOnce)
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", SEEDS)
def test_claims_at_one_moment_make_one_master(seed: int) -> None:
    assert played(seed).violations == ()


def test_votes_are_split_in_most_of_them_and_with_one_try_each_there_would_be_no_master() -> None:
    assert sum(CONTENDED in played(seed).faults for seed in SEEDS) > len(SEEDS) / 2
    assert sum(bool(played(seed, tries_again=False).violations) for seed in SEEDS) > len(SEEDS) / 4
