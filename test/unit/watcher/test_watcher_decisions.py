"""Whom the watcher starts, and when it leaves somebody alone."""

import pytest

from ganeti.watcher.decide import EXPIRY_S, Seen, SeenNode, Verdict, booted, judge, to_activate
from ganeti.watcher.memory import Attempts, Boot

NOW = 1_700_000_000.0


def seen(status, **more):
    return Seen(name="web1", uuid="u1", serial=1, status=status, **{"is_up": True, "has_disks": True, **more})


def test_instance_that_is_down_is_started_five_times_then_given_up_once():
    attempts, verdicts = None, []
    for run in range(8):
        verdict, attempts = judge(seen("ERROR_down"), attempts, NOW + run * 300)
        verdicts.append(verdict)
    assert verdicts == [Verdict.START] * 5 + [Verdict.GIVE_UP] + [Verdict.NOTHING] * 2
    assert attempts == Attempts(6, NOW + 4 * 300)


def test_chances_come_back_after_eight_hours():
    given_up = Attempts(6, NOW)
    assert judge(seen("ERROR_down"), given_up, NOW + EXPIRY_S) == (Verdict.NOTHING, given_up)
    assert judge(seen("ERROR_down"), given_up, NOW + EXPIRY_S + 1) == (Verdict.START, Attempts(1, NOW + EXPIRY_S + 1))


@pytest.mark.parametrize(
    "status",
    ["ERROR_nodedown", "ERROR_nodeoffline", "ERROR_up", "ERROR_wrongnode", "ADMIN_down", "ADMIN_offline", "running"],
)
def test_nothing_else_is_started_and_its_record_ends(status):
    assert judge(seen(status), None, NOW) == (Verdict.NOTHING, None)
    assert judge(seen(status), Attempts(3, NOW), NOW)[1] is None


def test_one_that_runs_again_is_told_of():
    assert judge(seen("running"), Attempts(2, NOW), NOW) == (Verdict.RECOVERED, None)


def test_shutdown_from_inside_is_recorded_once():
    assert judge(seen("USER_down"), Attempts(1, NOW), NOW) == (Verdict.RECORD_SHUTDOWN, None)
    assert judge(seen("USER_down", is_up=False), None, NOW) == (Verdict.NOTHING, None)


def test_nodes_that_booted_are_those_with_another_boot_id_or_none_before():
    nodes = [
        SeenNode(name="same", is_offline=False, boot_id="1"),
        SeenNode(name="other", is_offline=False, boot_id="2"),
        SeenNode(name="new", is_offline=False, boot_id="3"),
        SeenNode(name="silent", is_offline=True, boot_id=""),
    ]
    known = {"same": Boot("1"), "other": Boot("1"), "silent": Boot("9")}
    assert booted(nodes, known) == {"other": Boot("2"), "new": Boot("3")}


def test_disks_are_activated_where_a_secondary_booted_unless_just_started():
    def instance(name, *secondaries, has_disks=True):
        return Seen(
            name=name, uuid="u1", serial=1, status="running", is_up=True, has_disks=has_disks, secondaries=secondaries
        )

    all_of_them = [
        instance("a", "n1"),
        instance("b", "n2"),
        instance("c", "n1", has_disks=False),
        instance("d", "n1"),
        instance("e"),
    ]
    assert [found.name for found in to_activate(all_of_them, ["n1"], ["d"])] == ["a"]
