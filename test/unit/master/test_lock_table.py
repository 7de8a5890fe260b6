"""The lock table: cases worth reading. The stateful test holds the rest."""

from __future__ import annotations

import pytest

from ganeti.master.locks import LockTable, Pending
from ganeti.model.locks import ALL, BIG, Level, LockKey, LockPlan, exclusive, shared
from ganeti.model.types import JobId

WEB = LockKey(Level.INSTANCE, "web")


def plan(**names: object) -> LockPlan:
    return LockPlan.of(**names)  # type: ignore[arg-type] # the tests name levels as LockPlan.of does


def job(number: int) -> JobId:
    return JobId(number)


def test_request_when_a_later_one_is_compatible_with_the_owner_then_it_does_not_overtake_the_waiter() -> None:
    table = LockTable()
    assert table.request(job(1), plan(nodes=shared("n1")), 0)
    assert not table.request(job(2), plan(nodes=exclusive("n1")), 0)
    assert not table.request(job(3), plan(nodes=shared("n1")), 0)
    assert table.release(job(1)) == [2]
    assert table.release(job(2)) == [3]


def test_request_when_another_object_is_wanted_then_a_waiter_is_no_obstacle() -> None:
    table = LockTable()
    table.request(job(1), plan(instances=exclusive("a")), 0)
    table.request(job(2), plan(instances=exclusive("a")), 0)
    assert table.request(job(3), plan(instances=exclusive("b")), 0)


def test_request_when_more_urgent_then_it_is_served_first() -> None:
    table = LockTable()
    table.request(job(1), plan(instances=exclusive("a")), 0)
    table.request(job(2), plan(instances=exclusive("a")), 0)
    table.request(job(3), plan(instances=exclusive("a")), -10)
    assert table.pending() == [3, 2]
    assert table.release(job(1)) == [3]


def test_whole_level_when_held_then_future_names_are_held_too() -> None:
    table = LockTable()
    table.request(job(1), plan(instances=shared(ALL)), 0)
    assert not table.request(job(2), plan(instances=exclusive("not-there-yet")), 0)
    assert table.request(job(3), plan(instances=shared("other")), 0)


def test_whole_level_when_a_name_is_held_then_it_waits() -> None:
    table = LockTable()
    table.request(job(1), plan(instances=exclusive("a")), 0)
    assert not table.request(job(2), plan(instances=shared(ALL)), 0)
    assert table.blocker(job(2)) == 1
    assert table.release(job(1)) == [2]


def test_big_lock_when_exclusive_then_everybody_waits() -> None:
    table = LockTable()
    table.request(job(1), plan(cluster=exclusive(BIG)), 0)
    assert not table.request(job(2), plan(), 0)


def test_replace_when_waiting_then_the_place_is_kept() -> None:
    table = LockTable()
    table.request(job(1), plan(instances=exclusive("a", "b")), 0)
    table.request(job(2), plan(instances=exclusive("a")), 0)
    table.request(job(3), plan(instances=exclusive("b")), 0)
    assert table.replace(job(2), plan(instances=exclusive("b"))) == []
    assert table.release(job(1)) == [2]


def test_replace_when_the_new_set_is_free_then_it_is_held_at_once() -> None:
    table = LockTable()
    table.request(job(1), plan(nodes=exclusive("a")), 0)
    assert table.replace(job(1), plan(nodes=exclusive("a", "b"))) == [1]
    assert table.held(job(1)) == plan(nodes=exclusive("a", "b"))


def test_replace_when_the_new_set_is_taken_then_nothing_is_held_meanwhile() -> None:
    table = LockTable()
    table.request(job(1), plan(nodes=exclusive("a")), 0)
    table.request(job(2), plan(nodes=exclusive("b")), 0)
    table.request(job(3), plan(nodes=shared("a")), 0)
    assert table.replace(job(1), plan(nodes=shared("a", "b"))) == [3]
    assert table.held(job(1)) is None
    assert table.release(job(2)) == [1]


def test_replace_when_the_new_set_is_part_of_a_whole_level_then_the_rest_is_given_back() -> None:
    table = LockTable()
    table.request(job(1), plan(nodes=exclusive(ALL)), 0)
    table.request(job(2), plan(nodes=exclusive("b")), 0)
    assert table.replace(job(1), plan(nodes=shared("a"))) == [1, 2]


def test_replace_when_a_shared_lock_becomes_exclusive_then_it_waits_for_the_other_owners() -> None:
    table = LockTable()
    table.request(job(1), LockPlan({WEB: False}), 0)
    table.request(job(2), LockPlan({WEB: False}), 0)
    assert table.replace(job(1), LockPlan({WEB: True})) == []
    assert table.release(job(2)) == [1]


def test_replace_when_the_priority_was_changed_meanwhile_then_the_place_follows_from_it() -> None:
    table = LockTable()
    table.request(job(1), plan(nodes=exclusive("a")), 0)
    table.request(job(2), plan(nodes=exclusive("b")), 0)
    table.request(job(3), plan(nodes=exclusive("b")), 0)
    assert table.set_priority(job(1), 5) == []
    table.replace(job(1), plan(nodes=exclusive("b")))
    assert table.pending() == [3, 1]


def test_add_when_not_below_all_held_then_it_is_refused() -> None:
    table = LockTable()
    table.request(job(1), plan(nodes=exclusive("a")), 0)
    with pytest.raises(ValueError, match="holds NODE locks"):
        table.add(job(1), LockPlan({WEB: True}))
    with pytest.raises(ValueError, match="holds NODE locks"):
        table.add(job(1), LockPlan({LockKey(Level.NODE, "b"): True}))


def test_add_when_a_plain_waiter_wants_both_then_neither_waits_for_ever() -> None:
    table = LockTable()
    res = LockKey(Level.NODE_RES, "a")
    table.request(job(1), plan(nodes=exclusive("a")), 0)
    table.request(job(2), LockPlan({res: True}), 0)
    table.request(job(3), plan(nodes=exclusive("a"), node_res=exclusive("a")), -5)
    assert not table.add(job(1), LockPlan({res: False}))
    assert table.release(job(2)) == [1]
    assert table.release(job(1)) == [3]


def test_downgrade_when_somebody_waits_to_share_then_it_is_let_in() -> None:
    table = LockTable()
    table.request(job(1), LockPlan({WEB: True}), 0)
    table.request(job(2), LockPlan({WEB: False}), 0)
    assert table.downgrade(job(1)) == [2]


def test_release_when_only_some_then_the_others_stay() -> None:
    table = LockTable()
    table.request(job(1), plan(instances=exclusive("a", "b")), 0)
    table.request(job(2), plan(instances=exclusive("a")), 0)
    table.request(job(3), plan(instances=exclusive("b")), 0)
    assert table.release(job(1), [LockKey(Level.INSTANCE, "a")]) == [2]
    with pytest.raises(ValueError, match="does not hold INSTANCE lock a"):
        table.release(job(1), [LockKey(Level.INSTANCE, "a")])
    assert table.release(job(1)) == [3]


def test_force_when_two_recovered_jobs_overlap_then_both_hold_and_others_wait_for_both() -> None:
    table = LockTable()
    table.force(job(1), LockPlan({WEB: True}))
    table.force(job(2), LockPlan({WEB: True}))
    assert not table.request(job(3), LockPlan({WEB: False}), 0)
    assert table.release(job(1)) == []
    assert table.release(job(2)) == [3]


def test_rows_show_owners_and_waiters_in_order() -> None:
    table = LockTable()
    table.request(job(1), LockPlan({WEB: False}), 0)
    table.request(job(2), LockPlan({WEB: True}), 0)
    table.request(job(3), LockPlan({WEB: False}), -1)
    (row,) = table.rows()
    assert (row.key, row.owners, row.is_exclusive) == (WEB, (1, 3), False)
    assert row.pending == (Pending(job(2), True),)


def test_release_when_a_thousand_wait_for_one_lock_then_each_is_looked_at_about_once() -> None:
    # Counted in look-ups, because time depends on the machine.
    table = LockTable()
    looks = 0
    find = table._blocker

    def counted(*args: object) -> JobId | None:
        nonlocal looks
        looks += 1
        return find(*args)  # type: ignore[arg-type] # passed through as they came

    table._blocker = counted  # type: ignore[method-assign] # counts, and changes nothing
    for number in range(1, 1001):
        table.request(job(number), LockPlan({WEB: True}), 0)
    for number in range(1, 1000):
        assert table.release(job(number)) == [number + 1]
    assert looks <= 2500
