"""Jobs, their opcodes' states, their journal."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from ganeti.model.types import JobId, RequestId, Uuid


class Status(enum.Enum):
    """Of an opcode; a job's is computed from them."""

    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCESS = "success"
    ERROR = "error"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self in (Status.SUCCESS, Status.ERROR, Status.CANCELED)


#: (seconds, microseconds), as clients see times of jobs
Timestamp = tuple[int, int]


def timestamp(epoch_s: float) -> Timestamp:
    micros = round(epoch_s * 1_000_000)
    return micros // 1_000_000, micros % 1_000_000


class OpState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One opcode of a job. `input` is the opcode in wire form, with OP_ID."""

    input: dict[str, Any]  # Any: checked against the opcode's struct at submission
    status: Status = Status.QUEUED
    result: Any = None  # Any: JSON; `[class, args]` for errors
    priority: int = 0
    start_timestamp: Timestamp | None = None
    exec_timestamp: Timestamp | None = None
    end_timestamp: Timestamp | None = None
    # its configuration change is committed: after a crash the opcode ends in success with `result`
    decided: bool = False
    steps_done: int = 0
    steps_total: int = 0
    step_title: str = ""  # of the last one that was begun


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: JobId
    ops: tuple[OpState, ...]
    received_timestamp: Timestamp | None = None
    start_timestamp: Timestamp | None = None
    end_timestamp: Timestamp | None = None
    key: str = ""  # of the exactly-once submission, or empty
    kill: bool = False

    @property
    def status(self) -> Status:
        if len(self.ops) == 1:
            return self.ops[0].status
        # it is asked for at every change, and most of thousands of opcodes have one of two states
        success, queued = Status.SUCCESS, Status.QUEUED
        left = [op.status for op in self.ops if op.status is not success]
        status = queued if left else success
        for found in [each for each in left if each is not queued]:
            if found not in (Status.WAITING, Status.RUNNING):
                return found
            status = found
        return status

    def with_stored(self, changed: Mapping[int, OpState]) -> Job:
        """With what was stored of these opcodes since the job was; what they are to do is in the job alone."""
        ops = list(self.ops)
        for index, stored in changed.items():
            ops[index] = msgspec.structs.replace(stored, input=ops[index].input)
        return msgspec.structs.replace(
            self, ops=tuple(ops), start_timestamp=self.start_timestamp or ops[0].start_timestamp
        )

    @property
    def priority(self) -> int:
        return min((op.priority for op in self.ops if not op.status.is_final), default=0)


class LogEntry(msgspec.Struct, frozen=True, array_like=True):
    """What a job tells its watchers. Wire form `[serial, [sec, usec], type, message]`."""

    serial: int
    time: Timestamp
    type: str
    message: Any  # Any: text, or an object for typed entries


class Undo(msgspec.Struct, frozen=True, kw_only=True, tag="undo", omit_defaults=True):
    """A node call as data that takes an effect back: unconditionally and idempotently."""

    node: Uuid
    call: dict[str, Any]  # Any: wire form of a `calls.ChangingCall` whose `undoes` names the effect
    effect: RequestId
    title: str
    # of a debt: the instance whose disks must all be complete on its primary node before the call is made; until then
    # what it removes may be the only good copy of them
    until_good: Uuid | None = None


class Resolve(msgspec.Struct, frozen=True, kw_only=True, tag="resolve"):
    """A named procedure that observes the nodes first, then goes back or forward."""

    procedure: str
    arguments: dict[str, Any]  # Any: JSON, read by the procedure
    title: str


Recovery = Undo | Resolve


class JournalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Committed before the step has its effect; run backwards on failure, cancel or a new master."""

    job: JobId
    op: int
    serial: int  # order within the job
    recovery: Recovery
    # locks the job held, as (level, name, is_exclusive), with the first record of an opcode
    locks: tuple[tuple[str, str, bool], ...] = ()


class Debt(msgspec.Struct, frozen=True, kw_only=True):
    """An undo that its node could not run yet. Runs before any other changing call when the node is back.

    One with `undo.until_good` runs by itself when that is so, and hinders nothing meanwhile.
    """

    serial: int  # unique in the cluster
    node: Uuid
    job: JobId
    undo: Undo
    since: float  # epoch seconds


class FilterRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done with queued jobs that fulfil all predicates."""

    uuid: str
    watermark: int  # highest job id when it was set
    priority: int = 0  # lower ones are looked at first
    predicates: tuple[Any, ...] = ()  # Any: JSON, checked when it was set: [name, query filter]
    action: tuple[str | int, ...] = ("CONTINUE",)  # ACCEPT, PAUSE, REJECT, CONTINUE, or RATE_LIMIT and how many
    reason_trail: tuple[Any, ...] = ()  # Any: JSON, [source, reason, nanoseconds]


class UsersRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which users of the REST interface count."""

    digest: str  # SHA-256 of their file
    master: Uuid  # which node was the master then


class Flags(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Switches of the queue, set by clients directly (no job)."""

    drained: bool = False
    watcher_pause: float | None = None  # epoch seconds until which the watcher rests
    last_job: int = 0  # highest id ever given
    last_debt: int = 0
    trust_serial: int = 0
    rest_users: UsersRecord | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """An exactly-once submission, kept until some days after its last job ended."""

    digest: str  # SHA-256 of the body
    results: tuple[tuple[bool, int | str], ...]  # as answered: (true, job id) or (false, why not)
    time: float  # epoch seconds


class ArchivedJob(msgspec.Struct, frozen=True, kw_only=True):
    job: Job
    log: tuple[LogEntry, ...]
