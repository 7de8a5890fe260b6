"""Waiting for jobs and telling what they say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ganeti import errors

#: seconds that one request waits for news; the master allows up to 89
WAIT_S = 60
ENDED = ("success", "error", "canceling", "canceled")

_CONTROL = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


class Talk(Protocol):
    """The part of a session that following needs."""

    def out(self, text: str = "") -> None: ...
    def note(self, text: str) -> None: ...
    def flush(self) -> None: ...
    def call(self, method: str, *args: Any) -> Any: ...  # Any: JSON


class Submitted(msgspec.Struct, frozen=True):
    """One job of a multi-submission: an id, or why there is none."""

    name: str  # of the object it is for
    job: int | None
    why: str = ""


class Outcome(msgspec.Struct, frozen=True):
    name: str
    results: list[Any] | None  # Any: JSON, one per opcode
    error: errors.GanetiError | None


def printable(text: str) -> str:
    """On one line, control characters as escapes."""
    return "".join(_CONTROL.get(char) or (char if char.isprintable() else _escape(char)) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def log_line(entry: Sequence[Any]) -> str:
    """`CTIME MESSAGE` of a log entry `[serial, [sec, usec], type, message]`."""
    _, (seconds, _), _, message = entry
    return f"{time.ctime(seconds)} {printable(message_text(message))}"


def message_text(message: Any) -> str:  # Any: JSON
    if isinstance(message, str):
        return message
    from ganeti.wire import codec

    return codec.dumps(message)


def wait(talk: Talk, job: int, *, quiet: bool = False) -> list[Any]:
    """Follow a job to its end; the results of its opcodes (Any: JSON). Raises what it failed with, or JobLost."""
    info: list[Any] | None = None
    serial: int | None = None
    told: set[str] = set()
    while True:
        answer = talk.call("WaitForJobChange", job, ["status"], info, serial, WAIT_S)
        if not answer:
            raise errors.JobLost(f"job {job} has been lost")
        if answer == "nochange":
            if not quiet:
                _tell_patience(talk, job, info[0] if info else "", told)
            continue
        info, entries = answer
        for entry in entries:
            serial = max(serial or 0, entry[0])
            if not quiet:
                talk.out(log_line(entry))
        talk.flush()
        if info and info[0] in ENDED:
            return results(talk, job)


def _tell_patience(talk: Talk, job: int, status: str, told: set[str]) -> None:
    texts = {
        "queued": f"Job {job} is waiting in queue",
        "waiting": f"Job {job} is trying to acquire all necessary locks",
    }
    if status in texts and status not in told:
        told.add(status)
        talk.note(texts[status])


def results(talk: Talk, job: int) -> list[Any]:
    """Of a job that has ended (Any: JSON). Raises what it failed with."""
    row = talk.call("QueryJobs", [job], ["status", "opstatus", "opresult"])[0]
    if row is None or row[0] is None:
        raise errors.JobLost(f"job {job} not found")
    status, opstatus, opresult = row
    if status == "success":
        return list(opresult)
    if status in ("canceling", "canceled"):
        raise errors.JobCanceled("Job was canceled")
    raise failure(opstatus, opresult)


def failure(opstatus: Sequence[str], opresult: Sequence[Any]) -> errors.GanetiError:
    """The error of the first opcode that failed."""
    has_success = False
    for index, (status, result) in enumerate(zip(opstatus, opresult, strict=True)):
        if status == "success":
            has_success = True
        elif status == "error":
            if is_encoded(result):
                return errors.decode(result)
            prefix = f"partial failure (opcode {index}): " if has_success else ""
            return errors.ExecError(prefix + str(result))
    return errors.ExecError("the job failed, no opcode says why: " + ", ".join(opstatus))


def is_encoded(result: Any) -> bool:
    """Whether it is `[class, [args…]]`."""
    return isinstance(result, list) and len(result) == 2 and isinstance(result[0], str) and isinstance(result[1], list)


def jobs_in(result: Any) -> list[Submitted] | None:
    """The jobs that an operation submitted, if its result is of that kind (Any: JSON)."""
    if not isinstance(result, dict) or not isinstance(result.get("jobs"), list):
        return None
    return [
        Submitted(f"job {job}", int(job)) if is_good else Submitted("", None, str(job))
        for is_good, job in result["jobs"]
    ]


def wait_all(talk: Talk, jobs: Sequence[Submitted], *, quiet: bool = False) -> list[Outcome]:
    """Follow several jobs, those first that have something to tell. One bad job does not end it."""
    outcomes: dict[int, Outcome] = {}
    left = list(range(len(jobs)))
    ids = [str(item.job) for item in jobs if item.job is not None]
    chatty = len(jobs) > 1
    if chatty and ids:
        talk.out(f"Submitted jobs {', '.join(ids)}")
    for index in list(left):
        item = jobs[index]
        if item.job is None:
            left.remove(index)
            talk.note(f"Failed to submit job{' for ' + item.name if item.name else ''}: {item.why}")
            outcomes[index] = Outcome(item.name, None, errors.ExecError(item.why))
    while left:
        index = _next(talk, jobs, left)
        left.remove(index)
        outcomes[index] = _wait_one(talk, jobs[index], chatty=chatty, quiet=quiet)
    return [outcomes[index] for index in range(len(jobs))]


def _next(talk: Talk, jobs: Sequence[Submitted], left: Sequence[int]) -> int:
    """A job that has ended, else one that runs, else the first."""
    if len(left) == 1:
        return left[0]
    rows = talk.call("QueryJobs", [jobs[index].job for index in left], ["status"])
    states = {index: row[0] if row else None for index, row in zip(left, rows, strict=True)}
    ended = [index for index in left if states[index] in (None, *ENDED)]
    running = [index for index in left if states[index] == "running"]
    return (ended or running or list(left))[0]


def _wait_one(talk: Talk, item: Submitted, *, chatty: bool, quiet: bool) -> Outcome:
    assert item.job is not None, item
    label = "" if item.name == f"job {item.job}" else f" for {item.name}"
    if chatty and not quiet:
        talk.out(f"Waiting for job {item.job}{label} ...")
    try:
        return Outcome(item.name, wait(talk, item.job, quiet=quiet), None)
    except errors.LuxiError:
        raise
    except errors.GanetiError as err:
        talk.note(f"Job {item.job}{label} has failed: {err}")
        return Outcome(item.name, None, err)
