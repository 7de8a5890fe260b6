"""Rules that hold queued jobs back, refuse them or limit how many run at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from ganeti import errors
from ganeti.model.jobs import FilterRule, Job
from ganeti.model.types import JobId
from ganeti.query.fields import Field, Kind, Resource
from ganeti.query.match import Filter
from ganeti.query.view import UNAVAIL, View

ACTIONS = ("ACCEPT", "PAUSE", "REJECT", "CONTINUE")
RATE_LIMIT = "RATE_LIMIT"
MAX_RULES = 1000
MAX_PRIORITY = 2**31 - 1

#: in the reason trail of a job: at most so many jobs of one label run at once
_LABEL = re.compile(r"rate-limit:([1-9][0-9]{0,6}):(.+)\Z", re.DOTALL)
#: the getters below look at the object alone
_NO_VIEW = cast(View, None)

Test = Callable[[Job], bool]


class Bucket(msgspec.Struct, frozen=True):
    """Jobs of which only so many run at once."""

    key: str
    most: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules say of a queued job."""

    is_refused: bool = False
    is_paused: bool = False
    buckets: tuple[Bucket, ...] = ()


def _resource(name: str, fields: Mapping[str, Field], name_field: str) -> Resource:
    return Resource(name=name, fields=fields, every=lambda view: (), name_field=name_field)


_JOB_ID = _resource(
    "job filter", {"id": Field("id", "ID", Kind.NUMBER, "Number of the job", lambda _, job: int(job.id))}, "id"
)
_REASON = _resource(
    "job filter",
    {
        "source": Field("source", "Source", Kind.TEXT, "Who gave the reason", lambda _, entry: str(entry[0])),
        "reason": Field("reason", "Reason", Kind.TEXT, "The reason", lambda _, entry: str(entry[1])),
        "timestamp": Field("timestamp", "Timestamp", Kind.NUMBER, "When, in nanoseconds", lambda _, entry: entry[2]),
    },
    "source",
)


class _Paths(Mapping[str, Field]):
    """A field for every dotted path into an opcode, such as OP_ID or disks.0.size."""

    def __getitem__(self, path: str) -> Field:
        def get(_: View, opcode: Any) -> Any:
            found = opcode
            for part in path.split("."):
                if isinstance(found, Mapping) and part in found:
                    found = found[part]
                elif isinstance(found, list | tuple) and part.isdecimal() and int(part) < len(found):
                    found = found[int(part)]
                else:
                    return UNAVAIL
            return found

        return Field(path, path, Kind.OTHER, "A part of the opcode", get)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_OPCODE = _resource("job filter", _Paths(), "OP_ID")


def _ids(job: Job) -> Sequence[Any]:
    return (job,)


def _opcodes(job: Job) -> Sequence[Any]:
    return [op.input for op in job.ops]


def _reasons(job: Job) -> Sequence[Any]:
    return [entry for op in job.ops for entry in op.input.get("reason") or ()]


_PREDICATES: Mapping[str, tuple[Resource, Callable[[Job], Sequence[Any]]]] = {
    "jobid": (_JOB_ID, _ids),
    "opcode": (_OPCODE, _opcodes),
    "reason": (_REASON, _reasons),
}


def checked(
    uuid: str, *, priority: int, predicates: list[Any], action: Any, reason: list[Any], watermark: int
) -> FilterRule:  # Any: JSON from a client
    """A rule of what a client sent. Raises PrereqError(wrong_input)."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise _wrong(f"the priority of a job filter is 0 to {MAX_PRIORITY}, not {priority}")
    made = FilterRule(
        uuid=uuid,
        watermark=watermark,
        priority=priority,
        predicates=tuple(predicates),
        action=_action(action),
        reason_trail=tuple(reason),
    )
    _tests(made)
    return made


def _action(untrusted: Any) -> tuple[str | int, ...]:
    match untrusted:
        case str(word) if word in ACTIONS:
            return (word,)
        case ["RATE_LIMIT", int(most)] if not isinstance(most, bool) and most > 0:
            return (RATE_LIMIT, most)
    raise _wrong(
        f"{str(untrusted)[:80]} is not an action of a job filter",
        hint=f'there are {", ".join(ACTIONS)} and ["{RATE_LIMIT}", N] with N of at least 1',
    )


def _wrong(message: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", message, hint=hint)


def _tests(rule: FilterRule) -> list[Test]:
    """Raises PrereqError(wrong_input)."""
    return [_test(untrusted, rule.watermark) for untrusted in rule.predicates]


def _test(untrusted: Any, watermark: int) -> Test:
    match untrusted:
        case [str(name), list(condition)] if name in _PREDICATES:
            resource, objects = _PREDICATES[name]
        case _:
            raise _wrong(
                f"{str(untrusted)[:80]} is not a predicate of a job filter",
                hint="it is a list of a name and a query filter; the names are " + ", ".join(_PREDICATES),
            )
    if name == "jobid":
        condition = _with_watermark(condition, watermark)
    try:
        filter_ = Filter(resource, condition)
    except errors.ParameterError as err:
        raise _wrong(f"predicate {name}: {err.message}") from err

    def test(job: Job) -> bool:
        return any(_holds(filter_, obj) for obj in objects(job))

    return test


def _with_watermark(condition: list[Any], watermark: int) -> list[Any]:
    return [
        _with_watermark(part, watermark) if isinstance(part, list) else watermark if part == "watermark" else part
        for part in condition
    ]


def _holds(filter_: Filter, obj: Any) -> bool:
    try:
        return filter_.holds(_NO_VIEW, obj)
    except errors.ParameterError:
        return False  # its value is of another type: not what was asked for


class JobFilters:
    """The rules of now, in their order: priority, watermark, uuid."""

    def __init__(self, rules: Sequence[FilterRule] = ()) -> None:
        self._rules = [(rule, _tests(rule)) for rule in in_order(rules)]

    def judge(self, job: Job) -> Verdict:
        """The first rule that fits and does not say CONTINUE decides; limits in the reason trail hold beside it."""
        buckets = tuple(_labels(job))
        for rule, tests in self._rules:
            if rule.action[0] == "CONTINUE" or not all(test(job) for test in tests):
                continue
            match rule.action:
                case ("REJECT",):
                    return Verdict(is_refused=True)
                case ("PAUSE",):
                    return Verdict(is_paused=True)
                case ("RATE_LIMIT", int(most)):
                    return Verdict(buckets=(*buckets, Bucket(f"rule:{rule.uuid}", most)))
            break
        return Verdict(buckets=buckets)


def in_order(rules: Sequence[FilterRule]) -> list[FilterRule]:
    return sorted(rules, key=lambda rule: (rule.priority, rule.watermark, rule.uuid))


def _labels(job: Job) -> Iterator[Bucket]:
    found: dict[str, int] = {}
    for entry in _reasons(job):
        match = _LABEL.match(str(entry[1]))
        if match:
            key = f"label:{match[2]}"
            found[key] = min(int(match[1]), found.get(key, int(match[1])))
    return (Bucket(key, most) for key, most in found.items())


class Gate:
    """Which queued jobs may start, by the rules and by who runs already. Told of every start and end."""

    def __init__(self) -> None:
        self._source: Sequence[FilterRule] = ()
        self._filters = JobFilters()
        self._running: dict[str, set[JobId]] = {}  # by bucket
        self._verdicts: dict[JobId, Verdict] = {}  # of jobs that were held back: they are asked about again and again

    def follow(self, rules: Sequence[FilterRule]) -> bool:
        """Take these rules. Whether they are new ones: jobs that were held back have to be looked at again."""
        if rules is self._source or (not rules and not self._source):
            return False
        self._source, self._filters = rules, JobFilters(rules)
        self._verdicts.clear()
        return True

    def is_refused(self, job: Job) -> bool:
        return self._filters.judge(job).is_refused

    def admit(self, job: Job) -> bool:
        """Whether it may start now; then it counts as running."""
        verdict = self._verdicts.get(job.id) or self._filters.judge(job)
        is_full = any(len(self._running.get(bucket.key, ())) >= bucket.most for bucket in verdict.buckets)
        if verdict.is_paused or verdict.is_refused or is_full:
            self._verdicts[job.id] = verdict
            return False
        self._verdicts.pop(job.id, None)
        self._count(job.id, verdict)
        return True

    def started(self, job: Job) -> None:
        """It runs whatever the rules say: it is recovered."""
        self._count(job.id, self._filters.judge(job))

    def _count(self, job: JobId, verdict: Verdict) -> None:
        for bucket in verdict.buckets:
            self._running.setdefault(bucket.key, set()).add(job)

    def ended(self, job: JobId) -> bool:
        """Whether another one may take its place."""
        self._verdicts.pop(job, None)
        mine = [key for key, jobs in self._running.items() if job in jobs]
        for key in mine:
            self._running[key].discard(job)
            if not self._running[key]:
                del self._running[key]
        return bool(mine)
