"""Rules for queued jobs: which fit, what they say, who may start."""

import pytest

from ganeti import errors
from ganeti.master.job_filters import Bucket, Gate, JobFilters, Verdict, checked, in_order
from ganeti.model.jobs import Job, OpState

FREE = Verdict()


def a_job(number=7, *, reason=(), op="OP_TEST_DELAY", **more):
    trail = [["gnt:user", text, 5] for text in reason]
    return Job(id=number, ops=(OpState(input={"OP_ID": op, "reason": trail, **more}),))


def rule(*predicates, action="PAUSE", uuid="r1", priority=0, watermark=5):
    return checked(uuid, priority=priority, predicates=list(predicates), action=action, reason=[], watermark=watermark)


def fits(job, *predicates):
    return JobFilters([rule(*predicates)]).judge(job).is_paused


@pytest.mark.parametrize(
    ("predicate", "is_fit"),
    [
        (["jobid", ["==", "id", 7]], True),
        (["jobid", [">", "id", "watermark"]], True),
        (["jobid", ["|", ["<=", "id", "watermark"], ["==", "id", 8]]], False),
        (["opcode", ["==", "OP_ID", "OP_TEST_DELAY"]], True),
        (["opcode", ["=~", "OP_ID", "INSTANCE"]], False),
        (["opcode", ["==", "disks.0.size", 10]], True),
        (["opcode", ["==", "disks.1.size", 10]], False),
        (["opcode", ["==", "nosuch", 10]], False),
        (["opcode", ["!", ["==", "nosuch", 10]]], False),
        (["opcode", ["==", "OP_ID", 10]], False),  # of another type
        (["opcode", ["=[]", "tags", "a"]], True),
        (["reason", ["=~", "reason", "^upgrade"]], True),
        (["reason", ["&", ["==", "source", "gnt:user"], ["<", "timestamp", 5]]], False),
    ],
)
def test_predicates(predicate, is_fit):
    job = a_job(reason=("other", "upgrade of node1"), disks=[{"size": 10}], tags=["a", "b"])
    assert fits(job, predicate) is is_fit


def test_all_predicates_must_fit():
    assert fits(a_job(), ["jobid", ["==", "id", 7]], ["opcode", ["==", "OP_ID", "OP_TEST_DELAY"]])
    assert not fits(a_job(), ["jobid", ["==", "id", 7]], ["jobid", ["==", "id", 8]])
    assert fits(a_job())


def test_the_first_that_fits_and_does_not_say_continue_decides():
    rules = [
        rule(uuid="c", action="PAUSE", priority=2),
        rule(uuid="b", action="ACCEPT", priority=1, watermark=9),
        rule(uuid="a", action="CONTINUE", priority=1, watermark=8),
        rule(["jobid", ["==", "id", 1]], uuid="d", action="REJECT"),
    ]
    assert [each.uuid for each in in_order(rules)] == ["d", "a", "b", "c"]
    assert JobFilters(rules).judge(a_job()) == FREE
    assert JobFilters(rules).judge(a_job(1)).is_refused
    assert JobFilters(rules[:1]).judge(a_job()).is_paused


def test_limits_come_from_rules_and_from_reasons():
    filters = JobFilters([rule(action=["RATE_LIMIT", 2])])
    job = a_job(reason=("rate-limit:3:backups", "rate-limit:2:backups", "rate-limit:0:never", "rate-limit:x"))
    assert filters.judge(job).buckets == (Bucket("label:backups", 2), Bucket("rule:r1", 2))
    assert JobFilters().judge(job).buckets == (Bucket("label:backups", 2),)


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": -1},
        {"priority": 10**29},
        {"action": "STOP"},
        {"action": ["RATE_LIMIT", 0]},
        {"action": ["RATE_LIMIT", True]},
        {"action": None},
        {"predicates": ["jobid"]},
        {"predicates": [["planet", ["==", "id", 1]]]},
        {"predicates": [["jobid", ["==", "colour", 1]]]},
        {"predicates": [["jobid", ["==", "id"]]]},
        {"predicates": [["opcode", ["=~", "OP_ID", "("]]]},
    ],
)
def test_what_is_no_rule_is_refused(changes):
    given = {"priority": 0, "predicates": [], "action": "PAUSE", "reason": [], "watermark": 0}
    with pytest.raises(errors.PrereqError) as caught:
        checked("r1", **(given | changes))
    assert caught.value.code == "wrong_input"


def test_the_gate_lets_so_many_through_and_more_when_they_have_ended():
    gate = Gate()
    assert gate.follow((rule(action=["RATE_LIMIT", 2]),))
    gate.started(a_job(1))  # recovered
    assert gate.admit(a_job(2))
    assert not gate.admit(a_job(3))
    assert not gate.ended(9)
    assert gate.ended(1)
    assert gate.admit(a_job(3))


def test_the_gate_says_when_rules_are_new():
    gate = Gate()
    assert not gate.follow(())
    rules = (rule(action="REJECT"),)
    assert gate.follow(rules)
    assert not gate.follow(rules)
    assert gate.is_refused(a_job())
    assert not gate.admit(a_job())
    assert gate.follow(())
    assert gate.admit(a_job())
