"""What the leader may do with what its voters have."""

from __future__ import annotations

import pytest

from ganeti.store.quorum import Limits, Standing, is_acknowledged, majority

LIMITS = Limits(patience_s=1.0, slow_s=5.0)


def standing(matched: int, *, failing_since: float | None = None, behind_since: float | None = None) -> Standing:
    voter = Standing("n")
    voter.matched, voter.failing_since, voter.behind_since = matched, failing_since, behind_since
    return voter


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_majority(count: int, needed: int):
    assert majority(count) == needed


def test_missing_after_failing_or_being_behind_for_long_enough():
    assert not standing(3, failing_since=9.5).is_missing(10.0, LIMITS)
    assert standing(3, failing_since=9.0).is_missing(10.0, LIMITS)
    assert not standing(3, behind_since=5.5).is_missing(10.0, LIMITS)
    assert standing(3, behind_since=5.0).is_missing(10.0, LIMITS)


def test_behind_is_counted_from_its_first_moment():
    voter = standing(3)
    voter.follow(4, 1.0)
    voter.follow(5, 2.0)
    assert voter.behind_since == 1.0
    voter.matched = 5
    voter.follow(5, 3.0)
    assert voter.behind_since is None


@pytest.mark.parametrize(
    ("others", "may_go_solo", "expected"),
    [
        ([], True, True),
        ([standing(7)], True, True),
        ([standing(6)], True, False),
        ([standing(6, failing_since=0.0)], True, True),
        ([standing(7), standing(6)], False, True),
        ([standing(6, failing_since=0.0), standing(6, failing_since=0.0)], False, False),
        ([standing(6, failing_since=0.0), standing(6, failing_since=0.0)], True, True),
        ([standing(6, failing_since=0.0), standing(6)], True, False),
        ([standing(7), standing(6), standing(6)], False, False),
    ],
)
def test_acknowledged(others: list[Standing], may_go_solo: bool, expected: bool):
    assert is_acknowledged(7, others, 100.0, LIMITS, may_go_solo=may_go_solo) == expected
