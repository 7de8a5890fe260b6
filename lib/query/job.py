"""List fields of jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti import errors
from ganeti.model.jobs import Job, LogEntry, OpState
from ganeti.model.types import JobId
from ganeti.query.fields import Compare, Field, Getter, Kind, Need, Resource, table
from ganeti.query.view import UNAVAIL, JobRow, View

TEXT, BOOL, NUMBER, OTHER = Kind.TEXT, Kind.BOOL, Kind.NUMBER, Kind.OTHER


def job_id(untrusted: str | int) -> JobId:
    """From a number or its digits. Raises PrereqError(wrong_input)."""
    is_number = isinstance(untrusted, int) and not isinstance(untrusted, bool) and untrusted >= 0
    if not is_number and not (isinstance(untrusted, str) and untrusted.isascii() and untrusted.isdigit()):
        raise errors.PrereqError("wrong_input", f"invalid job id {str(untrusted)[:80]!r}", hint="it is a whole number")
    return JobId(int(untrusted))


def _of_job(get: Callable[[Job], Any]) -> Getter:
    def value(_: View, row: JobRow) -> Any:
        found = None if row.job is None else get(row.job)
        return UNAVAIL if found is None else found

    return value


def _of_ops(get: Callable[[OpState], Any]) -> Getter:
    return _of_job(lambda job: [get(op) for op in job.ops])


def log_by_op(job: Job, log: list[LogEntry] | tuple[LogEntry, ...]) -> list[list[LogEntry]]:
    """A job's log, split by opcode.

    Opcodes run one after the other, so an entry belongs to the last one that had started when it was written.
    """
    found: list[list[LogEntry]] = [[] for _ in job.ops]
    index = 0
    for entry in log:
        while index + 1 < len(job.ops):
            following = job.ops[index + 1].start_timestamp
            if following is None or following > entry.time:
                break
            index += 1
        if found:
            found[index].append(entry)
    return found


def _oplog(_: View, row: JobRow) -> Any:
    if row.job is None:
        return UNAVAIL
    return [
        [[entry.serial, list(entry.time), entry.type, entry.message] for entry in entries]
        for entries in log_by_op(row.job, list(row.log))
    ]


def _summary(op: OpState) -> str:
    return str(op.input.get("OP_ID", "")).removeprefix("OP_")


def _step(op: OpState) -> list[Any] | None:
    """The one that was begun last."""
    if not op.steps_total:
        return None
    return [min(op.steps_done + 1, op.steps_total), op.steps_total, op.step_title]


def fields(summary: Callable[[dict[str, Any]], str] | None = None) -> dict[str, Field]:
    """`summary` makes the short text of an opcode's wire form; without it, its name alone."""

    def text(op: OpState) -> str:
        return summary(op.input) if summary else _summary(op)

    return table((
        Field("id", "ID", NUMBER, "Number", lambda _, row: row.id),
        Field("status", "Status", TEXT, "State", _of_job(lambda job: job.status.value)),
        Field("priority", "Priority", NUMBER, "Priority of the next opcode; lower is more urgent",
              _of_job(lambda job: job.priority)),
        Field("archived", "Archived", BOOL, "Whether it is archived; asking for it lists archived jobs too",
              lambda _, row: UNAVAIL if row.job is None else row.is_archived, Need.ARCHIVE),
        Field("ops", "OpCodes", OTHER, "Opcodes", _of_ops(lambda op: op.input)),
        Field("opresult", "OpCode_result", OTHER, "Result of each opcode", _of_ops(lambda op: op.result)),
        Field("opstatus", "OpCode_status", OTHER, "State of each opcode", _of_ops(lambda op: op.status.value)),
        Field("oplog", "OpCode_log", OTHER, "Log of each opcode", _oplog),
        Field("opstart", "OpCode_start", OTHER, "When each opcode was taken up",
              _of_ops(lambda op: op.start_timestamp)),
        Field("opexec", "OpCode_exec", OTHER, "When each opcode had its locks", _of_ops(lambda op: op.exec_timestamp)),
        Field("opend", "OpCode_end", OTHER, "When each opcode ended", _of_ops(lambda op: op.end_timestamp)),
        Field("oppriority", "OpCode_prio", OTHER, "Priority of each opcode", _of_ops(lambda op: op.priority)),
        Field("opstep", "OpCode_step", OTHER,
              "Step of each opcode as number, count and title; null before its first one", _of_ops(_step)),
        Field("waits_for", "WaitsFor", OTHER,
              "What holds it up, each as kind (lock, dependency, filter, limit), the lock, and the job that has it",
              lambda _, row: UNAVAIL if row.job is None else [list(found) for found in row.waits_for()]),
        Field("summary", "Summary", OTHER, "Short text of each opcode", _of_ops(text)),
        Field("received_ts", "Received", OTHER, "When it was accepted", _of_job(lambda job: job.received_timestamp),
              compare=Compare.SECONDS),
        Field("start_ts", "Start", OTHER, "When it was taken up", _of_job(lambda job: job.start_timestamp),
              compare=Compare.SECONDS),
        Field("end_ts", "End", OTHER, "When it ended", _of_job(lambda job: job.end_timestamp),
              compare=Compare.SECONDS),
    ))  # fmt: skip


def _lookup(view: View, name: str | int) -> JobRow:
    wanted = job_id(name)
    return view.jobs(wanted) or JobRow(wanted, None)


def resource(summary: Callable[[dict[str, Any]], str] | None = None) -> Resource:
    return Resource(
        name="job",
        fields=fields(summary),
        every=lambda view: view.all_jobs(),
        name_field="id",
        lookup=_lookup,
        identity=lambda row: row.id,
    )
