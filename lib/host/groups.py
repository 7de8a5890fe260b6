"""Process groups that outlive who started them: recorded, recognised again, ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import msgspec

from ganeti import errors

_POLL_S = 0.02
END_LIMIT_S = 10.0


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """A process that leads a group and a session of its own. Its number alone may be another's later."""

    pid: int
    start: int  # clock ticks after the boot
    boot: str


class _Stat(msgspec.Struct, frozen=True):
    state: str
    group: int
    session: int
    start: int


def _stat(pid: int) -> _Stat | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the name, in parentheses, may have anything in it; the fields after it are counted from 3
    words = text[text.rindex(")") + 2 :].split()
    return _Stat(words[0], int(words[2]), int(words[3]), int(words[19]))


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def identify(pid: int) -> Leader:
    """Of a child that has not been waited for. Raises ExecError when there is none."""
    found = _stat(pid)
    if found is None:
        raise errors.ExecError(f"there is no process {pid}")
    return Leader(pid=pid, start=found.start, boot=boot_id())


def _members(leader: Leader) -> Iterator[int]:
    for name in os.listdir("/proc"):
        found = _stat(int(name)) if name.isdecimal() else None
        if found is not None and found.group == leader.pid == found.session and found.state not in "ZX":
            yield int(name)


def members(group: int) -> list[int]:
    """Processes of a group that we started, without those that have ended and were not waited for."""
    found = []
    for name in os.listdir("/proc"):
        process = _stat(int(name)) if name.isdecimal() else None
        if process is not None and process.group == group and process.state not in "ZX":
            found.append(int(name))
    return found


def name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def kill_group(group: int) -> None:
    """End every process of a group that we started; gone already is fine."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def lives(leader: Leader) -> bool:
    """Whether a process of the group is left."""
    if leader.boot != boot_id():
        return False
    found = _stat(leader.pid)
    # while anybody is in a group, its number is not given to a new process
    is_other = found is not None and found.start != leader.start
    return not is_other and any(True for _ in _members(leader))


def end(leader: Leader) -> bool:
    """Kill what is left of the group and wait for its end; whether there was something. Raises ExecError."""
    if not lives(leader):
        return False
    deadline = time.monotonic() + END_LIMIT_S
    while lives(leader):
        kill_group(leader.pid)
        if time.monotonic() > deadline:
            raise errors.ExecError(
                f"the processes of group {leader.pid} do not end", hint="they may hang in a system call"
            )
        time.sleep(_POLL_S)
    return True
