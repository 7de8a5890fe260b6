"""The watcher's talk with the master: questions, and jobs with a limit on all waiting together."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from ganeti import errors
from ganeti.host.clock import Clock

#: of all jobs of a run together, in seconds; what is not done then is left to itself
PATIENCE_S = 900.0
#: of one request
_WAIT_S = 30.0
_ENDED = ("success", "error", "canceled")


class Client(Protocol):
    """The part of `luxi.client.Client` that is used. Any: JSON."""

    def call(self, method: str, *args: Any, key: str | None = None) -> Any: ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    job: int = 0  # 0: it was not accepted
    results: tuple[Any, ...] | None = None  # Any: JSON, one for each opcode; None: no success
    why: str = ""  # there is no success
    is_open: bool = False  # it still goes on


class Master:
    """Asks and submits. The patience begins when it is made."""

    def __init__(self, client: Client, clock: Clock, *, patience_s: float = PATIENCE_S) -> None:
        self._client = client
        self._clock = clock
        self._until = clock.monotonic() + patience_s

    def values(self, *names: str) -> list[Any]:
        found: list[Any] = self._client.call("QueryConfigValues", list(names))
        return found

    def rows(self, what: str, fields: Sequence[str], qfilter: Any = None) -> list[dict[str, Any]]:
        """Each object's values by field; what is not known is missing. Any: JSON."""
        answer = self._client.call("Query", what, list(fields), qfilter)
        return [
            {name: value for name, (status, value) in zip(fields, row, strict=True) if status == 0}
            for row in answer["data"]
        ]

    def archive(self, older_than_s: int) -> int:
        archived, _ = self._client.call("AutoArchiveJobs", older_than_s)
        return int(archived)

    def is_open(self, job: int) -> bool:
        """Whether the job has not ended yet."""
        rows = self._client.call("QueryJobs", [job], ["status"])
        return bool(rows and rows[0] and rows[0][0] is not None and rows[0][0] not in _ENDED)

    def run(self, wanted: Mapping[str, Sequence[dict[str, Any]]], reason: str) -> dict[str, Outcome]:
        """One job for each entry (its opcodes as JSON objects), all at once; waits for them."""
        if not wanted:
            return {}
        trail = [["gnt:watcher", reason, int(self._clock.time() * 1_000_000_000)]]
        forms = [[{**form, "reason": trail} for form in ops] for ops in wanted.values()]
        answers = self._client.call("SubmitManyJobs", forms, key=uuid.uuid4().hex)
        return {
            name: self._wait(int(job)) if is_good else Outcome(why=str(job))
            for name, (is_good, job) in zip(wanted, answers, strict=True)
        }

    def _wait(self, job: int) -> Outcome:
        info: list[Any] | None = None
        while True:
            left_s = self._until - self._clock.monotonic()
            answer = self._client.call(
                "WaitForJobChange", job, ["status"], info, 1 << 60, max(0.0, min(left_s, _WAIT_S))
            )
            if answer != "nochange":
                info = answer[0]
                if info and info[0] in _ENDED:
                    return self._result(job)
            if left_s <= 0:
                return Outcome(job=job, why=f"job {job} has not ended in time and is left to itself", is_open=True)

    def _result(self, job: int) -> Outcome:
        status, results = self._client.call("QueryJobs", [job], ["status", "opresult"])[0]
        if status == "success":
            return Outcome(job=job, results=tuple(results))
        failed = [_text(result) for result in results if result]
        return Outcome(job=job, why=f"job {job}: " + ("; ".join(failed) or status))


def _text(result: Any) -> str:  # Any: JSON
    try:
        return str(errors.decode(result))
    except (TypeError, ValueError):
        return str(result)
