"""Who may take over, by what the other nodes say."""

import pytest

from ganeti import errors
from ganeti.bootstrap import failover
from ganeti.bootstrap.failover import Answers, Situation
from ganeti.calls.node import VersionReply
from ganeti.calls.store import StateReply
from ganeti.model.objects import Node
from ganeti.rpc.identity import Identity
from ganeti.store.api import Position

NAMES = ("a", "b", "c", "d")


def _situation(count=3, me="b", master="a"):
    nodes = {
        name: Node(uuid=name, name=name, primary_ip="192.0.2.1", secondary_ip="", group="g", master_candidate=True)
        for name in NAMES[:count]
    }
    identity = Identity(cluster="c.example", node=me, uuid=me, address="192.0.2.1")
    return Situation(me=identity, master=master, candidates=tuple(nodes), nodes=nodes)


def _version(master, term=3):
    return VersionReply(
        software="1", protocol=1, node="", uuid="", cluster="", master=master, term=term, boot_id="", time=0.0
    )


def _state(term, serial):
    return StateReply(term=term, serial=serial, hash="", promised_term=term, promised_to="", seen_term=term)


SILENT = errors.RpcError("x", "unreachable", "no answer")


def _votes(**said):
    versions = {name: SILENT if master is None else _version(master) for name, master in said.items()}
    return Answers(versions=versions, states={})


@pytest.mark.parametrize(
    ("count", "votes"),
    [
        (3, {"a": None, "c": "a"}),
        (3, {"a": "a", "c": None}),
        (1, {}),
        (2, {"a": "a"}),
        (4, {"a": None, "c": "a", "d": "a"}),
    ],
)
def test_a_majority_that_names_the_old_master_is_enough(count, votes):
    failover.check_votes(_situation(count), _votes(**votes))


@pytest.mark.parametrize(
    ("count", "votes"),
    [(2, {"a": None}), (3, {"a": None, "c": None}), (4, {"a": None, "c": "a", "d": None})],
)
def test_too_few_votes_are_refused_and_the_silent_named(count, votes):
    with pytest.raises(errors.PrereqError, match="no answer from a") as caught:
        failover.check_votes(_situation(count), _votes(**votes))
    assert "--no-voting" in caught.value.hint


@pytest.mark.parametrize("votes", [{"a": None, "c": "c"}, {"a": "c", "c": "c"}])
def test_a_majority_for_another_master_is_named(votes):
    with pytest.raises(errors.PrereqError, match="the master is c, this node takes a for it"):
        failover.check_votes(_situation(), _votes(**votes))


@pytest.mark.parametrize(
    ("state", "is_ahead"),
    [((3, 10), False), ((3, 11), False), ((3, 12), True), ((4, 11), True), ((2, 99), False)],
)
def test_a_copy_that_lacks_more_than_the_last_batch_is_too_old(state, is_ahead):
    answers = Answers(versions={}, states={"a": SILENT, "c": _state(*state)})
    found = failover.ahead(_situation(), answers, Position(3, 10, "h"))
    assert (found is not None) == is_ahead
    if found:
        assert found[0] == "c"


def test_the_highest_term_of_all_answers_counts():
    assert Answers(versions={"a": _version("a", 4), "c": _version("a", 6), "d": SILENT}, states={}).seen == 6
    assert Answers(versions={}, states={}).seen == 0


def test_risks_name_who_may_hold_later_changes():
    text = failover.risks(_situation(), Answers(versions={}, states={"c": SILENT}), Position(3, 10, "h"), "today")
    assert "do not answer: a, c" in text
    assert "LOST" in text
    text = failover.risks(
        _situation(), Answers(versions={}, states={"a": _state(3, 10), "c": _state(3, 10)}), Position(3, 10, "h"), "now"
    )
    assert "LOST" not in text


REFUSED = errors.RpcError("x", "refused", "refused our certificate")


def test_a_node_that_all_who_are_there_refuse_is_no_member_and_becomes_no_master_by_force_either():
    answers = Answers(versions={"a": REFUSED, "c": SILENT, "d": REFUSED}, states={})
    with pytest.raises(errors.PrereqError, match=r"in the cluster no more.* with a, d, where") as caught:
        failover.check_is_member(_situation(4), answers)
    assert "switch off the others" in caught.value.hint


@pytest.mark.parametrize("versions", [{}, {"a": SILENT, "c": SILENT}, {"a": REFUSED, "c": _version("a")}])
def test_one_that_somebody_knows_or_that_is_alone_may_take_over(versions):
    failover.check_is_member(_situation(), Answers(versions=versions, states={}))
