"""What a failover says of candidates that answer without a good copy, and of a daemon that does not get ready."""

import os

import pytest

from ganeti import errors, paths
from ganeti.bootstrap import daemons, failover
from ganeti.bootstrap.failover import Answers, Situation
from ganeti.calls.store import StateReply
from ganeti.model.objects import Node
from ganeti.paths import Paths
from ganeti.rpc.identity import Identity
from ganeti.store.api import Position

DAMAGED = errors.RpcError("c", "failed", "the state file /x/state.db is damaged (malformed)")
SILENT = errors.RpcError("c", "unreachable", "no answer")


def _situation():
    nodes = {
        name: Node(uuid=name, name=name, primary_ip="192.0.2.1", secondary_ip="", group="g", master_candidate=True)
        for name in ("a", "b", "c")
    }
    me = Identity(cluster="c.example", node="b", uuid="b", address="192.0.2.1")
    return Situation(me=me, master="a", candidates=tuple(nodes), nodes=nodes)


def _state(term, serial):
    return StateReply(term=term, serial=serial, hash="", promised_term=term, promised_to="", seen_term=term)


@pytest.mark.parametrize("other", [_state(3, 9), SILENT, DAMAGED, _state(0, 0)])
def test_two_good_copies_of_three_are_enough(other):
    failover.check_copies(_situation(), Answers(versions={}, states={"a": _state(3, 9), "c": other}))


def test_damaged_and_missing_copies_are_named_and_no_daemon_is_to_be_started():
    answers = Answers(versions={}, states={"a": _state(0, 0), "c": DAMAGED})
    with pytest.raises(
        errors.PrereqError, match=r"only 1 of 3.*a \(it has no copy.*c \(the state file .* damaged"
    ) as caught:
        failover.check_copies(_situation(), answers)
    assert "start the node daemons" not in caught.value.hint
    assert "the node daemons of a, c run" in caught.value.hint
    assert "`gnt-cluster master-failover --no-voting`" in caught.value.hint
    assert "LOST" in caught.value.hint


def test_silent_ones_are_told_apart_from_damaged_ones():
    answers = Answers(versions={}, states={"a": SILENT, "c": DAMAGED})
    with pytest.raises(errors.PrereqError, match=r"a \(no answer\)") as caught:
        failover.check_copies(_situation(), answers)
    assert "start the node daemons of a; the node daemons of c run" in caught.value.hint


def test_risks_tell_damaged_copies_from_silent_ones():
    answers = Answers(versions={}, states={"a": SILENT, "c": DAMAGED})
    text = failover.risks(_situation(), answers, Position(3, 10, "h"), "today")
    assert "do not answer: a." in text
    assert "on c, which answers but has no good copy: the state file" in text
    assert "LOST" in text


LOG = """\
2026-01-01 10:00:00,000: ganeti-masterd pid=7 ERROR of an earlier process
2026-01-01 11:00:00,000: ganeti-masterd pid=8 INFO started
2026-01-01 11:00:01,000: ganeti-masterd pid=8 WARNING candidate c fails: no answer
2026-01-01 11:00:02,000: ganeti-masterd pid=8 ERROR no majority
Traceback (most recent call last):
2026-01-01 11:00:03,000: ganeti-masterd pid=8 INFO goes on
"""


def test_the_last_error_of_the_last_process_is_found_in_a_log(tmp_path):
    log = tmp_path / "master-daemon.log"
    assert daemons.last_error(str(log), "ganeti-masterd") == ""
    log.write_text(LOG)
    assert daemons.last_error(str(log), "ganeti-masterd") == "no majority"
    log.write_text(LOG + "2026-01-01 12:00:00,000: ganeti-masterd pid=9 INFO started\n")
    assert daemons.last_error(str(log), "ganeti-masterd") == ""


def test_a_daemon_that_ends_without_a_word_is_quoted_from_its_log(tmp_path):
    where = Paths(str(tmp_path))
    log = where.local(paths.log_file("master-daemon"))
    os.makedirs(os.path.dirname(log))
    with open(log, "w") as file:
        file.write(LOG)
    program = tmp_path / "ganeti-masterd"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(errors.ExecError, match="the last that it logged: no majority"):
        daemons.start(where, daemons.MASTERD, bin_dir=str(tmp_path), arguments=["--take-over"])
