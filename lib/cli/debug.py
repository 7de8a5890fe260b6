"""gnt-debug: looking into the machine, submitting jobs as files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.cli import common, follow, json_file, lists, tables
from ganeti.cli.session import Session as OwnSession
from ganeti.ops.verbs import Argument, Call, CommandOption, Session, flag, option, verb


def _pending(waiters: Sequence[Sequence[Any]] | None) -> str:
    """`[[mode, [job…]]…]` as `mode:job,job`."""
    return " ".join(f"{mode}:{tables.plain(jobs)}" for mode, jobs in waiters or ()) or "-"


def _owners(jobs: Sequence[Any] | None) -> str:
    return tables.plain(jobs) if jobs else "-"


def _waited(seconds: Sequence[float] | None) -> str:
    return ",".join(f"{each:.1f}s" for each in seconds or ()) or "-"


_LISTING = lists.Listing(
    resource="lock",
    default_fields=("name", "mode", "owner", "pending"),
    formats={"pending": _pending, "owner": _owners, "waited": _waited},
)


@verb(
    "gnt-debug",
    "locks",
    options=(
        *lists.OPTIONS,
        option("interval", "--interval", help="show them again every N seconds", kind="int", metavar="N"),
    ),
    exit_codes=(lists.UNKNOWN_FIELD_CODE,),
)
def locks(session: Session, call: Call) -> int:
    """Show the locks that are held or waited for, with their owners and waiters.

    With -o +waited also how long each of the waiting jobs has waited.
    """
    assert isinstance(session, OwnSession), session
    interval_s = call.options.get("interval")
    if interval_s is not None and interval_s < 1:
        raise errors.PrereqError("wrong_input", f"cannot wait {interval_s} seconds", hint="--interval is at least 1")
    while True:
        status = lists.show(session, call, _LISTING)
        if interval_s is None or status:  # a field that is not known now will not be known later
            return status
        session.world.out.flush()
        session.world.clock.sleep(interval_s)


@verb(
    "gnt-debug",
    "submit-job",
    arguments=(Argument(name="json-file", most=None, completes="file"),),
    options=(
        CommandOption(dest="verbose", flags=("-v", "--verbose"), help="tell what is submitted", kind="flag"),
        option("op_repeat", "--op-repeat", help="repeat the opcodes inside a job", kind="int", absent=1, metavar="N"),
        option("job_repeat", "--job-repeat", help="submit each file so often", kind="int", absent=1, metavar="N"),
        flag("timing_stats", "--timing-stats", help="print counts and times"),
        flag("each", "--each", help="one request for each job, not one for all"),
        common.DRY_RUN,
        common.PRIORITY,
    ),
)
def submit_job(session: Session, call: Call) -> int:
    """Submit jobs that are written in files. A file holds a JSON list of opcodes, objects with OP_ID.

    Exit code 1 if a job could not be submitted or failed.
    """
    assert isinstance(session, OwnSession), session
    clock = session.world.clock
    started = clock.monotonic()
    named = []
    for path in call.arguments:
        forms = _read(path) * max(call.options["op_repeat"], 1)
        stamped = [session.stamp(form) for form in forms]
        named += [(path, stamped)] * max(call.options["job_repeat"], 1)
        if call.given("verbose"):
            session.note(f"{path}: {len(stamped)} opcode(s)")
    if call.given("timing_stats"):
        session.out("Submitting ...")
    loaded = clock.monotonic()
    if call.given("each"):
        jobs = [item for entry in named for item in session.submit_many([entry])]
    else:
        jobs = session.submit_many(named)
    sent = clock.monotonic()
    outcomes = follow.wait_all(session, jobs, quiet=call.given("timing_stats") and not call.given("verbose"))
    done = clock.monotonic()
    if call.given("timing_stats"):
        session.out(f"C:op     {sum(len(forms) for _, forms in named)}")
        session.out(f"C:job    {len(named)}")
        session.out(f"T:submit {sent - loaded:.4f}")
        session.out(f"T:exec   {done - sent:.4f}")
        session.out(f"T:total  {done - started:.4f}")
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _read(path: str) -> list[dict[str, Any]]:
    """Opcodes of a file (Any: JSON; the master checks them). Raises PrereqError."""
    content = json_file.read(path)
    if not isinstance(content, list) or not all(isinstance(form, dict) and "OP_ID" in form for form in content):
        raise errors.PrereqError("wrong_input", f"{path}: not a list of opcodes", hint='write [{"OP_ID": "OP_…", …}]')
    return content
