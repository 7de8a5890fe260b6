"""Every method of the protocol: its arguments, and the older forms that are understood.

A method that is not here is refused by the server; one line more is a new method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from ganeti.model import words
from ganeti.model.ready import make_ready
from ganeti.wire.codec import CodecError

MAX_JOB_ID = 10**12  # the store's keys have twelve digits
#: the calendars of clients end before it; epoch seconds
_YEAR_10000 = 253_402_300_800


class JobNumber(int):
    """A job id on the wire: whole number or decimal string."""


class Args(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Positional arguments. Any in the subclasses: JSON that the receiver checks."""


class NoArgs(Args, frozen=True, array_like=True):
    pass


class OneJob(Args, frozen=True, array_like=True):
    job: JobNumber


class Opcodes(Args, frozen=True, array_like=True):
    ops: list[Any]


class ManyOpcodes(Args, frozen=True, array_like=True):
    jobs: list[Any]


class Waiting(Args, frozen=True, array_like=True):
    job: JobNumber
    fields: list[str]
    previous_info: list[Any] | None
    previous_serial: int | None
    timeout_s: float


class Canceling(Args, frozen=True, array_like=True):
    job: JobNumber
    kill: bool = False


class NewPriority(Args, frozen=True, array_like=True):
    job: JobNumber
    priority: Annotated[int, msgspec.Meta(ge=-20, le=19)]


class Archiving(Args, frozen=True, array_like=True):
    age_s: float
    timeout_s: float = 89.0


class Purging(Args, frozen=True, array_like=True):
    age_s: float


class Switch(Args, frozen=True, array_like=True):
    value: bool


class Exporting(Args, frozen=True, array_like=True):
    with_secrets: bool = False


class Pause(Args, frozen=True, array_like=True):
    until: Annotated[float, msgspec.Meta(ge=0, lt=_YEAR_10000)] | None  # epoch seconds


class Querying(Args, frozen=True, array_like=True):
    what: str
    fields: list[str]
    qfilter: Any = None


class Describing(Args, frozen=True, array_like=True):
    what: str
    fields: list[str] | None = None


class Classic(Args, frozen=True, array_like=True):
    names: list[str] | None
    fields: list[str]
    use_locking: bool = False


class Exports(Args, frozen=True, array_like=True):
    nodes: list[str] | None
    use_locking: bool = False


class JobList(Args, frozen=True, array_like=True):
    ids: list[JobNumber] | None
    fields: list[str]


class RuleList(Args, frozen=True, array_like=True):
    uuids: list[str] | None
    fields: list[str]


class OneRule(Args, frozen=True, array_like=True):
    uuid: str


class NewRule(Args, frozen=True, array_like=True):
    uuid: str | None
    priority: int
    predicates: list[Any]
    action: Any
    reason: list[Any]


class Fields(Args, frozen=True, array_like=True):
    fields: list[str]


class Tags(Args, frozen=True, array_like=True):
    kind: str
    name: str | None = ""


class Method(msgspec.Struct, frozen=True):
    args: type[Args]
    # It changes nothing: a client may send it again, and a server may drop it when nobody waits for the answer.
    is_question: bool = False
    # Whether arguments are in the form of version 2.0, where a single one is not wrapped in a list.
    is_bare: Callable[[Any], bool] | None = None


def _is_scalar(args: Any) -> bool:
    return not isinstance(args, list)


def _is_objects(args: Any) -> bool:
    """`[{op}, {op}]` instead of `[[{op}, {op}]]`."""
    return isinstance(args, list) and bool(args) and all(isinstance(arg, dict) for arg in args)


def _is_jobs(args: Any) -> bool:
    """`[[{op}], [{op}]]` instead of `[[[{op}], [{op}]]]`."""
    return isinstance(args, list) and (len(args) > 1 or (len(args) == 1 and _is_objects(args[0])))


def _is_words(args: Any) -> bool:
    """`["a", "b"]` instead of `[["a", "b"]]`."""
    return isinstance(args, list) and all(isinstance(arg, str) for arg in args)


METHODS: dict[str, Method] = {
    "SubmitJob": Method(Opcodes, is_bare=_is_objects),
    "SubmitJobToDrainedQueue": Method(Opcodes, is_bare=_is_objects),
    "SubmitManyJobs": Method(ManyOpcodes, is_bare=_is_jobs),
    "PickupJob": Method(OneJob),
    "WaitForJobChange": Method(Waiting, is_question=True),
    "CancelJob": Method(Canceling, is_bare=_is_scalar),
    "ChangeJobPriority": Method(NewPriority),
    "ArchiveJob": Method(OneJob, is_bare=_is_scalar),
    "AutoArchiveJobs": Method(Archiving, is_bare=_is_scalar),
    "PurgeArchive": Method(Purging, is_bare=_is_scalar),
    "SetDrainFlag": Method(Switch, is_bare=_is_scalar),
    "SetWatcherPause": Method(Pause, is_bare=_is_scalar),
    "Query": Method(Querying, is_question=True),
    "QueryFields": Method(Describing, is_question=True),
    "QueryInstances": Method(Classic, is_question=True),
    "QueryNodes": Method(Classic, is_question=True),
    "QueryGroups": Method(Classic, is_question=True),
    "QueryNetworks": Method(Classic, is_question=True),
    "QueryExports": Method(Exports, is_question=True),
    "QueryJobs": Method(JobList, is_question=True),
    "QueryFilters": Method(RuleList, is_question=True),
    "ReplaceFilter": Method(NewRule),
    "DeleteFilter": Method(OneRule),
    "QueryConfigValues": Method(Fields, is_question=True, is_bare=_is_words),
    "QueryClusterInfo": Method(NoArgs, is_question=True),
    "CheckQuorum": Method(NoArgs, is_question=True),
    "ExportConfig": Method(Exporting, is_question=True),
    "QueryTags": Method(Tags, is_question=True),
    "QueryMetrics": Method(NoArgs, is_question=True),
}


def is_question(method: str) -> bool:
    known = METHODS.get(method)
    return known is not None and known.is_question


def normalise(method: str, untrusted_args: Any) -> list[Any]:
    """All arguments of a method in today's form: defaults filled in, job ids as numbers. Raises CodecError."""
    known = METHODS.get(method)
    if known is None:
        raise CodecError(f"unknown method {method[:80]!r}")
    if known.is_bare is not None and known.is_bare(untrusted_args):
        untrusted_args = [untrusted_args]
    make_ready(known.args)
    try:
        args = msgspec.convert(untrusted_args, known.args, dec_hook=_decode)
    except msgspec.ValidationError as err:
        wanted = ", ".join(known.args.__struct_fields__) or "none"
        problem = words.told(str(err), untrusted_args, known.args)
        raise CodecError(f"arguments of {method}: {problem}; they are: {wanted}") from err
    return [_plain(name, getattr(args, name)) for name in known.args.__struct_fields__]


def _plain(name: str, value: Any) -> Any:
    if value is None and name in ("names", "nodes", "ids", "uuids"):
        return []  # null and empty mean the same: everything
    if value is None and name == "name":
        return ""
    if isinstance(value, JobNumber):
        return int(value)
    if name == "ids":
        return [int(number) for number in value]
    return value


def _decode(wanted: type, untrusted: Any) -> Any:
    if wanted is not JobNumber:
        raise NotImplementedError(f"no decoder for {wanted}")
    is_number = isinstance(untrusted, int) and not isinstance(untrusted, bool)
    is_text = isinstance(untrusted, str) and untrusted.isascii() and untrusted.isdigit() and len(untrusted) <= 12
    if not (is_number or is_text) or not 0 <= int(untrusted) < MAX_JOB_ID:
        raise ValueError(f"{str(untrusted)[:40]!r} is not a job id")
    return JobNumber(untrusted)
