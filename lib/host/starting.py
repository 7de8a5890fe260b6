"""Starts the programs and daemons of this node."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import msgspec

from ganeti import errors, paths, settings
from ganeti.host import faults, services
from ganeti.host.run import PATH, HostRunner
from ganeti.host.running import is_running
from ganeti.paths import Paths

NODED, MASTERD, CONFD, RAPI = "ganeti-noded", "ganeti-masterd", "ganeti-confd", "ganeti-rapi"


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """One of our daemons, in the table below."""

    name: str
    log_name: str
    about: str  # what it does, for its unit and its man page
    on_master_only: bool = False
    user: str = "root"  # its account where it is a service
    keeps_guests: bool = False  # what it has started goes on without it
    is_needed: bool = True  # without it the cluster does not work


#: in the order in which they start; they are stopped the other way round
DAEMONS = (
    Daemon(name=NODED, log_name="node-daemon", about="node daemon", keeps_guests=True),
    Daemon(name=CONFD, log_name="conf-daemon", about="configuration query daemon", user=settings.CONFD_USER),
    Daemon(
        name=MASTERD,
        log_name="master-daemon",
        about="master daemon",
        on_master_only=True,
        user=settings.MASTERD_USER,
    ),
    Daemon(
        name=RAPI,
        log_name="rapi-daemon",
        about="REST interface",
        on_master_only=True,
        user=settings.RAPI_USER,
        is_needed=False,
    ),
)
LOG_NAMES = {daemon.name: daemon.log_name for daemon in DAEMONS}

#: a machine that boots, or a busy one, needs its time
START_LIMIT_S = 90.0
#: with which a daemon ends, or is not even started, where it is not wanted
EXIT_NOT_WANTED = 11
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
    """Returns when it runs; running already: nothing to do. Raises ExecError with what it said.

    Where it is a service of this machine it is started as that. `bin_dir`: the program there, and no service.
    """
    if is_running(where, daemon):
        return
    manager = services.of(where)
    try:
        if not bin_dir and manager.has(services.unit(daemon)):
            _start_service(where, manager, daemon, arguments)
            return
        HostRunner(where).run(
            (program(daemon, bin_dir=bin_dir), *arguments),
            timeout_s=START_LIMIT_S,
            environment={name: os.environ[name] for name in (faults.VARIABLE,) if name in os.environ},
        )
    except errors.CommandFailed as err:
        # systemctl only says where to look
        said = [] if err.argv[0] == "systemctl" else err.output.strip().splitlines()[-5:]
        if not said and (last := last_error(where.local(paths.log_file(LOG_NAMES[daemon])), daemon)):
            said = [f"{err.message}; the last that it logged:", last]
        raise errors.ExecError(
            f"{daemon} did not start" + (": " + " ".join(said) if said else f" ({err.message})"),
            hint=f"its log is in {where.local(paths.LOG_DIR)}",
        ) from err


def _start_service(where: Paths, manager: services.Services, daemon: str, arguments: Sequence[str]) -> None:
    manager.start(daemon, arguments, timeout_s=START_LIMIT_S)
    if not (manager.is_active(daemon) and is_running(where, daemon)):
        # a unit whose condition does not hold is passed over, a daemon that is not wanted ends: both count as success
        raise errors.CommandFailed(("systemctl", "start", services.unit(daemon)), EXIT_NOT_WANTED, "")


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
