"""gnt-job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.cli import blocks, common, failure, follow, lists, tables
from ganeti.cli.blocks import Block
from ganeti.model.types import parse_span
from ganeti.ops.verbs import Argument, Call, CommandOption, Session, flag, option, verb
from ganeti.query.filter import filter_of_arguments

_MOMENTS = ("received_ts", "start_ts", "end_ts")
_OP_MOMENTS = ("opstart", "opexec", "opend")


def _moments(pairs: Sequence[Sequence[int] | None]) -> str:
    return ",".join(tables.job_moment(pair) for pair in pairs)


def _steps(steps: Sequence[Sequence[Any] | None]) -> str:  # Any: JSON
    return ",".join(f"{step[0]}/{step[1]}" if step else "-" for step in steps)


def _obstacles(found: Sequence[Sequence[Any]]) -> str:  # Any: JSON
    """`lock:node/n1:12,dependency::11`."""
    return ",".join(":".join("" if part is None else str(part) for part in obstacle) for obstacle in found) or "-"


_LISTING = lists.Listing(
    resource="job",
    default_fields=("id", "status", "summary"),
    name_field="id",
    formats=dict.fromkeys(_MOMENTS, tables.job_moment)
    | dict.fromkeys(_OP_MOMENTS, _moments)
    | {"opstep": _steps, "waits_for": _obstacles},
)

_STATES: dict[str, tuple[str, ...]] = {
    "pending": ("queued", "waiting", "canceling"),
    "running": ("running",),
    "error": ("error",),
    "finished": ("success", "error", "canceled"),
    "queued": ("queued",),
    "waiting": ("waiting",),
}


def _state_flag(name: str) -> CommandOption:
    states = _STATES[name]
    text = ", ".join(states[:-1]) + (" or " if len(states) > 1 else "") + states[-1]
    return flag(name, f"--{name}", help=f"jobs whose status is {text}")


def _in_states(call: Call, names: Sequence[str]) -> list[Any] | None:
    wanted = list(dict.fromkeys(state for name in names if call.given(name) for state in _STATES[name]))
    return ["|", *(["==", "status", state] for state in wanted)] if wanted else None


def _job_id(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise errors.PrereqError("wrong_input", f"invalid job id {word!r}", hint="a job id is a whole number")
    return int(word)


_LIST_STATES = ("pending", "running", "error", "finished")


@verb(
    "gnt-job",
    "list",
    arguments=(Argument(name="job-id", least=0, most=None, completes="job"),),
    options=(
        *lists.OPTIONS,
        common.FILTER,
        *(_state_flag(name) for name in _LIST_STATES),
        flag("archived", "--archived", help="archived jobs too; adds the column archived"),
    ),
    exit_codes=(lists.UNKNOWN_FIELD_CODE,),
)
def list_jobs(session: Session, call: Call) -> int:
    """List jobs. Arguments are ids or one query filter."""
    listing = _LISTING
    if call.given("archived"):
        listing = lists.Listing(
            resource="job",
            default_fields=(*_LISTING.default_fields, "archived"),
            name_field="id",
            formats=_LISTING.formats,
        )
    return lists.show(session, call, listing, also=_in_states(call, _LIST_STATES))


lists.fields_verb("gnt-job", "job")


@verb("gnt-job", "archive", arguments=(Argument(name="job-id", most=None, completes="job"),))
def archive(session: Session, call: Call) -> int:
    """Put finished jobs away: they leave the list and are kept. Exit code 1 if one could not be archived."""
    status = 0
    for job in [_job_id(word) for word in call.arguments]:
        if not session.call("ArchiveJob", job):
            session.note(f"Failed to archive job {job}: there is none, or it has not ended")
            status = 1
    return status


@verb("gnt-job", "autoarchive", arguments=(Argument(name="age|all"),))
def autoarchive(session: Session, call: Call) -> int:
    """Archive all jobs that ended longer ago than an age such as 6h or 2w, or all that have ended."""
    word = call.arguments[0]
    age_s = -1 if word == "all" else parse_span(word)
    archived, left = session.call("AutoArchiveJobs", age_s, 89)
    session.out(f"Archived {archived} jobs, {left} unchecked left")
    return 0


_CHOICE_STATES = ("pending", "queued", "waiting")
_CHOICE = tuple(_state_flag(name) for name in _CHOICE_STATES)
_NOT_CONFIRMED = (
    failure.NOT_CONFIRMED,
    "jobs were selected by status and the question was not answered with yes",
)


def _chosen(session: Session, call: Call, question: str) -> list[int] | None:
    """Ids that were given, or those of the jobs in the wanted states, shown and confirmed; None: not confirmed."""
    wanted = _in_states(call, _CHOICE_STATES)
    if (wanted is None) == (not call.arguments):
        raise errors.PrereqError("wrong_input", "give either job ids or an option that selects jobs by status")
    if wanted is None:
        return [_job_id(word) for word in call.arguments]
    rows = session.call("Query", "job", ["id", "status", "summary"], wanted)["data"]
    jobs = [int(row[0][1]) for row in rows]
    listed = "\n".join(f"  {row[0][1]} {row[1][1]} {tables.plain(row[2][1])}" for row in rows)
    text = f"{question.format(count=len(jobs))}\n{listed}"
    is_sure = not jobs or call.given("force") or session.confirm(text)
    return jobs if is_sure else None


def _for_each(session: Session, jobs: Sequence[int], method: str, *more: Any) -> int:
    """Tell the master's words for each; exit code 1 when one was refused. Any: JSON."""
    status = 0
    for job in jobs:
        is_done, message = session.call(method, job, *more)
        session.out(str(message))
        status = status if is_done else 1
    return status


@verb(
    "gnt-job",
    "cancel",
    arguments=(Argument(name="job-id", least=0, most=None, completes="job"),),
    options=(
        common.FORCE,
        flag("kill", "--kill", help="also stop a job that runs: it ends at its next step; needs --yes-do-it"),
        *_CHOICE,
        common.YES_DO_IT,
    ),
    exit_codes=(_NOT_CONFIRMED,),
)
def cancel(session: Session, call: Call) -> int:
    """Cancel jobs that have not started yet. Either ids or options that select by status are given."""
    if call.given("kill") and not call.given("yes_do_it"):
        raise errors.PrereqError("wrong_input", "--kill also needs --yes-do-it")
    jobs = _chosen(session, call, "Cancel {count} job(s)?")
    if jobs is None:
        return failure.NOT_CONFIRMED
    return _for_each(session, jobs, "CancelJob", *((True,) if call.given("kill") else ()))


@verb(
    "gnt-job",
    "change-priority",
    arguments=(Argument(name="job-id", least=0, most=None, completes="job"),),
    options=(
        common.FORCE,
        option(
            "priority",
            "--priority",
            help="how urgent they are from now on: low, normal or high",
            choices=tuple(common.PRIORITIES),
            metavar="PRIORITY",
        ),
        *_CHOICE,
    ),
    exit_codes=(_NOT_CONFIRMED,),
)
def change_priority(session: Session, call: Call) -> int:
    """Make jobs more or less urgent; opcodes that have ended keep theirs. Either ids or options by status are given."""
    word = call.options.get("priority")
    if word is None:
        raise errors.PrereqError("wrong_input", "no priority was given", hint="add --priority=low, normal or high")
    jobs = _chosen(session, call, f"Change the priority of {{count}} job(s) to {word}?")
    if jobs is None:
        return failure.NOT_CONFIRMED
    return _for_each(session, jobs, "ChangeJobPriority", common.PRIORITIES[word])


_INFO = (
    *("id", "status", "summary", "ops", "opresult", "opstatus", "oplog", *_OP_MOMENTS, *_MOMENTS),
    *("opstep", "waits_for", "priority"),
)


@verb("gnt-job", "info", arguments=(Argument(name="job-id", most=None, completes="job"),), aliases=("show",))
def info(session: Session, call: Call) -> int:
    """Show everything about jobs: times, opcodes with their input, result and log."""
    jobs = [_job_id(word) for word in call.arguments]
    wanted = filter_of_arguments([str(job) for job in jobs], name_field="id")
    answer = session.call("Query", "job", list(_INFO), wanted)
    shown, status = [], 0
    for row in answer["data"]:
        values = {name: value for name, (state, value) in zip(_INFO, row, strict=True) if state == 0}
        if "status" in values:
            shown.append(_block(values))
        else:
            session.note(f"Job ID {values.get('id')} not found")
            status = 1
    if shown:
        session.out(blocks.render(shown).removesuffix("\n"))
    return status


def _block(values: dict[str, Any]) -> Block:  # Any: JSON of the fields
    received, start, end = (values.get(name) for name in _MOMENTS)
    total = f"{_seconds(end) - _seconds(received):.6f} seconds" if received and end else "N/A"
    return Block(
        (
            ("Job ID", values["id"]),
            ("Status", values["status"]),
            ("Received", tables.job_moment(received)),
            ("Processing start", _with_delta(start, received)),
            ("Processing end", _with_delta(end, start)),
            ("Total processing time", total),
            ("Priority", values["priority"]),
            *((("Waits for", [_obstacle(*found) for found in values["waits_for"]]),) if values["waits_for"] else ()),
            ("Opcodes", [_opcode(values, index) for index in range(len(values["ops"]))]),
        )
    )


def _obstacle(kind: str, lock: str | None, job: int | None) -> str:
    if kind == "lock":
        return f"lock {lock}, which job {job} holds or is to get first"
    if kind == "dependency":
        return f"the end of job {job}"
    if kind == "filter":
        return "a job filter or a rate limit, see gnt-filter list"
    return "the end of any job: the limit of running jobs is reached"


def _step(step: Sequence[Any] | None) -> str:  # Any: JSON
    return f"{step[0]} of {step[1]}: {step[2]}" if step else "N/A"


def _seconds(pair: Sequence[int]) -> float:
    return pair[0] + pair[1] / 1_000_000


def _with_delta(pair: Sequence[int] | None, before: Sequence[int] | None) -> str:
    if not pair:
        return "N/A"
    text = tables.job_moment(pair)
    return f"{text} (delta {_seconds(pair) - _seconds(before):.6f}s)" if before else text


def _opcode(values: dict[str, Any], index: int) -> Block:
    given: dict[str, Any] = {key: value for key, value in values["ops"][index].items() if key != "OP_ID"}
    result = values["opresult"][index]
    start, execution, end = (values[name][index] for name in _OP_MOMENTS)
    return Block(
        (
            (str(values["ops"][index].get("OP_ID")), ""),
            ("Status", values["opstatus"][index]),
            ("Step", _step(values["opstep"][index])),
            ("Processing start", tables.job_moment(start) if start else "N/A"),
            ("Execution start", tables.job_moment(execution) if execution else "N/A"),
            ("Processing end", tables.job_moment(end) if end else "N/A"),
            ("Input fields", given),
            ("Result", "No output data" if result is None else result if result != [] else "empty sequence"),
            ("Execution log", [_log_line(entry) for entry in values["oplog"][index]]),
        )
    )


def _log_line(entry: Sequence[Any]) -> str:
    serial, when, kind, message = entry
    return f"{serial}:{tables.job_moment(when)}:{kind} {follow.printable(follow.message_text(message))}"


@verb("gnt-job", "watch", arguments=(Argument(name="job-id", completes="job"),))
def watch(session: Session, call: Call) -> int:
    """Follow a job and print its log. The exit code is that of the job's error."""
    job = _job_id(call.arguments[0])
    head = f"Output from job {job} follows"
    session.out(head)
    session.out("-" * len(head))
    try:
        follow.wait(session, job)
    except errors.LuxiError:
        raise
    except errors.JobLost:
        session.note(f"job {job} is archived or not known")
        return 1
    except errors.GanetiError as err:
        session.note(f"Job {job} failed: {err}")
        return failure.exit_code(err)
    return 0


@verb("gnt-job", "wait", arguments=(Argument(name="job-id", completes="job"),))
def wait(session: Session, call: Call) -> int:
    """Wait for the end of a job without any output. The exit code is that of the job's error."""
    job = _job_id(call.arguments[0])
    try:
        follow.wait(session, job, quiet=True)
    except errors.LuxiError:
        raise
    except errors.GanetiError as err:
        return failure.exit_code(err)
    return 0
