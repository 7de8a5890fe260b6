"""The processes of a virtual node: found by their environment, killed by identity."""

from __future__ import annotations

import os
import select
import signal
import time

import msgspec

from ganeti.paths import ROOT_VARIABLE

#: in the environment of a person's shell (`tools/vcluster env`): such processes sit before the node, not in it
SHELL_VARIABLE = "GANETI_VCLUSTER_SHELL"


class Process(msgspec.Struct, frozen=True):
    """A process by number and start time: together they never name another one."""

    pid: int
    started: int  # clock ticks since boot
    command: tuple[str, ...]

    @property
    def title(self) -> str:
        """Short name for people: the script that an interpreter runs, or the program."""
        words = [os.path.basename(word) for word in self.command if not word.startswith("-")]
        return words[1] if len(words) > 1 and words[0].startswith("python") else words[0] if words else "?"


def _read(pid: int, name: str) -> bytes | None:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _started(pid: int) -> int | None:
    raw = _read(pid, "stat")
    if not raw:
        return None
    # proc(5): field 22; the command in field 2 may hold blanks and parentheses, so count behind the last one
    fields = raw.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _belongs(pid: int, root: str) -> bool:
    raw = _read(pid, "environ")
    if not raw:
        return False
    variables = raw.split(b"\0")
    return f"{ROOT_VARIABLE}={root}".encode() in variables and not any(
        variable.startswith(SHELL_VARIABLE.encode() + b"=") for variable in variables
    )


def of_root(root: str) -> list[Process]:
    """All processes that act on the node with this root directory; ourselves and our ancestors left out."""
    own = _ancestors()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in own:
            continue
        pid = int(entry)
        started = _started(pid)
        if started is None or not _belongs(pid, root):
            continue
        command = (_read(pid, "cmdline") or b"").decode("utf-8", "replace").rstrip("\0").split("\0")
        found.append(Process(pid, started, tuple(command)))
    return found


def _ancestors() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        raw = _read(pid, "stat")
        pid = int(raw.rpartition(b")")[2].split()[1]) if raw else 0
    return found


def kill(process: Process, root: str, *, signal_number: int = signal.SIGKILL) -> bool:
    """Signal it if it is still the same process; whether it was."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # the descriptor pins the process: what is checked now is what gets the signal
        if _started(process.pid) != process.started or not _belongs(process.pid, root):
            return False
        try:
            signal.pidfd_send_signal(handle, signal_number)
        except ProcessLookupError:
            return False
        if signal_number == signal.SIGKILL:
            select.select([handle], [], [], 10)
        return True
    finally:
        os.close(handle)


def kill_all(root: str, *, timeout_s: float = 20) -> list[Process]:
    """End everything that acts on the node, children forked meanwhile included. Raises TimeoutError."""
    ended: list[Process] = []
    deadline = time.monotonic() + timeout_s
    while running := of_root(root):
        if time.monotonic() > deadline:
            names = ", ".join(f"{process.title} ({process.pid})" for process in running)
            raise TimeoutError(f"these processes of {root} do not end: {names}")
        ended += [process for process in running if kill(process, root)]
    return ended
