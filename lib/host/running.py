"""Finds a daemon of this node by its pid file, and ends it."""

from __future__ import annotations

import os
import select
import signal

from ganeti import errors, paths
from ganeti.host import files, services
from ganeti.paths import ROOT_VARIABLE, Paths

STOP_LIMIT_S = 30.0
KILL_LIMIT_S = 10.0


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


def reopen_log(where: Paths, daemon: str) -> bool:
    """Make it open its log file anew; whether it runs."""
    pid = pid_of(where, daemon)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    return True


def _is_paused(pid: int) -> bool:
    """By a signal, or by a debugger."""
    text = files.read_text(f"/proc/{pid}/stat") or ""
    # proc(5): the state follows the name, which stands in parentheses and may have any of them in it
    return text.rpartition(")")[2].split()[:1] in (["T"], ["t"])


def stop(where: Paths, daemon: str, *, timeout_s: float = STOP_LIMIT_S, hurry_after_s: float | None = None) -> bool:
    """Ask it to end, then end it; whether it ran. Waits for the end.

    After `hurry_after_s` it is asked once more, which the master daemon takes as: do not wait for running jobs.
    One that is paused (SIGSTOP) is ended at once. Raises ExecError when nothing helps.
    """
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
        steps = [(signal.SIGTERM, timeout_s), (signal.SIGKILL, KILL_LIMIT_S)]
        if hurry_after_s is not None:
            steps.insert(0, (signal.SIGTERM, hurry_after_s))
        manager = services.of(where)
        is_service = manager.runs(daemon, pid)
        if _is_paused(pid) and not is_service:
            del steps[:-1]  # it would not hear before it is woken up
        for place, (number, limit) in enumerate(steps):
            try:
                if place == 0 and is_service:
                    manager.begin_stop(daemon)
                else:
                    signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return True
            if select.select([handle], [], [], limit)[0]:
                return True
        raise errors.ExecError(f"{daemon} (process {pid}) does not end", hint="it may hang in a system call")
    finally:
        os.close(handle)
