"""Start, stop and look after the daemons of this node."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence

from ganeti import errors, paths
from ganeti.host import files
from ganeti.host.run import PATH, HostRunner
from ganeti.paths import ROOT_VARIABLE, Paths

NODED, MASTERD = "ganeti-noded", "ganeti-masterd"

START_LIMIT_S = 30.0
STOP_LIMIT_S = 30.0


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


def pid_of(where: Paths, daemon: str) -> int | None:
    """The daemon's process, or None when it does not run."""
    text = files.read_text(where.local(paths.pid_file(daemon)))
    if text is None or not text.strip().isdecimal():
        return None
    pid = int(text)
    return pid if _is_daemon(where, daemon, pid) else None


def _is_daemon(where: Paths, daemon: str, pid: int) -> bool:
    """A pid file may be older than the process that has the number now."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().decode("utf-8", "replace").split("\0")
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    is_same_node = f"{ROOT_VARIABLE}={where.root}".encode() in environment if where.is_virtual else True
    return is_same_node and any(os.path.basename(word) == daemon for word in command)


def is_running(where: Paths, daemon: str) -> bool:
    return pid_of(where, daemon) is not None


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
        raise errors.ExecError(
            f"{daemon} did not start" + (": " + " ".join(said) if said else f" ({err.message})"),
            hint=f"its log is in {where.local(paths.LOG_DIR)}",
        ) from err


def stop(where: Paths, daemon: str, *, timeout_s: float = STOP_LIMIT_S) -> bool:
    """Ask it to end, then end it; whether it ran. Waits for the end."""
    pid = pid_of(where, daemon)
    if pid is None:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_daemon(where, daemon, pid):
            return False
        for number, limit in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 10.0)):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return True
            if select.select([handle], [], [], limit)[0]:
                return True
        raise errors.ExecError(f"{daemon} (process {pid}) does not end", hint="it may hang in a system call")
    finally:
        os.close(handle)


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
