"""Start, stop and look after the daemons of this node."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence

from ganeti import errors, paths
from ganeti.host.run import PATH, HostRunner
from ganeti.host.running import is_running, pid_of, stop
from ganeti.paths import Paths

__all__ = ["MASTERD", "NODED", "is_running", "pid_of", "program", "start", "stop", "wait_until"]

NODED, MASTERD = "ganeti-noded", "ganeti-masterd"

LOG_NAMES = {NODED: "node-daemon", MASTERD: "master-daemon"}

START_LIMIT_S = 30.0
#: how much of a log's end is looked at
TAIL_SIZE = 1 << 16


def program(name: str, *, bin_dir: str = "") -> str:
    """Full path of one of our programs: beside the running one, beside the interpreter, or on the search path.

    Raises PrereqError(environment_error).
    """
    places = [bin_dir] if bin_dir else []
    places += [os.path.dirname(os.path.abspath(sys.argv[0])), os.path.dirname(sys.executable), *PATH.split(":")]
    for place in places:
        if os.access(f"{place}/{name}", os.X_OK):
            return f"{place}/{name}"
    raise errors.PrereqError(
        "environment_error",
        f"the program {name} is not found",
        hint=f"looked in {', '.join(dict.fromkeys(places))}; is the installation complete?",
    )


def start(where: Paths, daemon: str, *, bin_dir: str = "", arguments: Sequence[str] = ()) -> None:
    """Returns when it runs; running already: nothing to do. Raises ExecError with what it said."""
    if is_running(where, daemon):
        return
    try:
        HostRunner(where).run(
            (program(daemon, bin_dir=bin_dir), *arguments),
            timeout_s=START_LIMIT_S,
            environment={name: os.environ[name] for name in ("GANETI_FAULT",) if name in os.environ},
        )
    except errors.CommandFailed as err:
        said = err.output.strip().splitlines()[-5:]
        if not said and (last := last_error(where.local(paths.log_file(LOG_NAMES[daemon])), daemon)):
            said = [f"{err.message}; the last that it logged:", last]
        raise errors.ExecError(
            f"{daemon} did not start" + (": " + " ".join(said) if said else f" ({err.message})"),
            hint=f"its log is in {where.local(paths.LOG_DIR)}",
        ) from err


def last_error(log_path: str, daemon: str) -> str:
    """The last warning or error of the last process of that daemon in its log; empty: there is none."""
    try:
        with open(log_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_SIZE))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    form = re.compile(rf".*?: {re.escape(daemon)} pid=(\d+) ([A-Z]+) (.*)")
    entries = [found.groups() for found in map(form.fullmatch, lines) if found]
    last = entries[-1][0] if entries else ""
    told = [text for pid, level, text in entries if pid == last and level in ("WARNING", "ERROR", "CRITICAL")]
    return told[-1] if told else ""


def wait_until(
    what: str,
    is_so: Callable[[], bool],
    *,
    timeout_s: float,
    while_true: Callable[[], bool] = lambda: True,
    every_s: float = 0.02,
) -> None:
    """Poll. Raises ExecError when the time is over, or when `while_true` says that it will never be."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if not while_true():
            raise errors.ExecError(f"{what} did not come: its process has ended", hint="the log says why")
        if time.monotonic() > deadline:
            raise errors.ExecError(f"{what} did not come within {timeout_s:g} s", hint="the log may say why")
        time.sleep(every_s)
