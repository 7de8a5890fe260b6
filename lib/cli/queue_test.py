"""gnt-debug test-jobqueue: whether the queue does with small jobs what it promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.cli import common, follow
from ganeti.cli.session import Session as OwnSession
from ganeti.ops.verbs import Call, Session, verb

_NOWHERE = "no-such-node.invalid"
_FIELDS = ("status", "opstatus", "oplog", "start_ts", "end_ts")


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A job to submit, and what must become of it."""

    what: str
    ops: tuple[dict[str, Any], ...]  # Any: wire form
    opstatus: tuple[str, ...]
    lines: int = 0  # of its log
    after: int | None = None  # it may start only when that one has ended


def _delay(**more: Any) -> dict[str, Any]:
    return {"OP_ID": "OP_TEST_DELAY", "duration": 0, "no_locks": True, **more}


def _on(distance: int, status: str) -> list[Any]:
    return [[-distance, [status]]]


_JOBS = (
    _Wanted(what="a job with a log", ops=(_delay(repeat=2),), opstatus=("success",), lines=3),
    _Wanted(what="a job after it", ops=(_delay(depends=_on(1, "success")),), opstatus=("success",), after=0),
    _Wanted(
        what="a job that fails half-way",
        ops=(_delay(), _delay(on_nodes=[_NOWHERE]), _delay()),
        opstatus=("success", "error", "error"),
    ),
    _Wanted(what="a job that wanted its success", ops=(_delay(depends=_on(1, "success")),), opstatus=("error",)),
    _Wanted(
        what="a job that wanted its failure", ops=(_delay(depends=_on(2, "error")),), opstatus=("success",), after=2
    ),
)


@verb("gnt-debug", "test-jobqueue", options=(common.PRIORITY,))
def test_jobqueue(session: Session, call: Call) -> int:
    """Check the queue with small jobs: submission, order, dependencies, logs, failure. Exit code 1: it is not good."""
    assert isinstance(session, OwnSession), session
    jobs = session.submit_many([(wanted.what, [session.stamp(form) for form in wanted.ops]) for wanted in _JOBS])
    ids = [_id(item) for item in jobs]
    for job in ids:
        _wait(session, job)
    rows = [dict(zip(_FIELDS, row, strict=True)) for row in session.call("QueryJobs", ids, list(_FIELDS))]
    problems = [problem for index in range(len(_JOBS)) for problem in _problems(index, rows)]
    for problem in problems:
        session.note(problem)
    if not problems:
        session.out("Job queue test successful")
    return 1 if problems else 0


def _id(item: follow.Submitted) -> int:
    if item.job is None:
        raise errors.ExecError(f"{item.name} was not taken: {item.why}")
    return item.job


def _wait(session: Session, job: int) -> None:
    try:
        follow.wait(session, job, quiet=True)
    except errors.LuxiError:
        raise
    except errors.GanetiError:
        return  # some shall fail


def _problems(index: int, rows: Sequence[dict[str, Any]]) -> list[str]:
    wanted, found = _JOBS[index], rows[index]
    problems = []
    if tuple(found["opstatus"]) != wanted.opstatus:
        problems.append(f"its opcodes ended with {', '.join(found['opstatus'])}, not {', '.join(wanted.opstatus)}")
    lines = sum(len(entries) for entries in found["oplog"])
    if lines < wanted.lines:
        problems.append(f"its log has {lines} lines, not {wanted.lines}")
    if wanted.after is not None and _seconds(found["start_ts"]) < _seconds(rows[wanted.after]["end_ts"]):
        problems.append("it started before the job that it depends on had ended")
    return [f"{wanted.what}: {problem}" for problem in problems]


def _seconds(stamp: Sequence[int] | None) -> float:
    return stamp[0] + stamp[1] / 1_000_000 if stamp else 0.0
