"""The emulator's process: found by more than its number, signalled through a pidfd only."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ganeti.hypervisor import linux
from ganeti.hypervisor.kvm import parse
from ganeti.hypervisor.kvm.runtime import Runtime

_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A live emulator of ours; as long as this is open, its number cannot name another process."""

    def __init__(self, pid: int, handle: int, stat: parse.ProcessStat) -> None:
        self.pid = pid
        self.started = stat.started
        self.cpu_seconds = stat.cpu_ticks / _TICKS
        self._handle = handle

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end. pidfd_open(2): the descriptor becomes readable when the process ends."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    @property
    def is_alive(self) -> bool:
        return not self.ends_within(0)

    def send(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._handle, number)
        except ProcessLookupError:
            return  # it has just ended


@contextmanager
def of(runtime: Runtime, pid_file: str) -> Iterator[Process | None]:
    """The process of a run-time file, or None when it is gone or was never there."""
    pid = runtime.pid or _read_pid(pid_file)
    if not pid or runtime.boot_id != linux.boot_id():
        yield None
        return
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield _identify(runtime, pid, handle, pid_file)
    finally:
        os.close(handle)


def _identify(runtime: Runtime, pid: int, handle: int, pid_file: str) -> Process | None:
    raw_stat = _read(pid, "stat")
    if not raw_stat:
        return None
    stat = parse.process_stat(raw_stat)
    if stat.is_zombie:
        return None
    if runtime.pid:
        is_ours = stat.started == runtime.process_started
    else:
        # We died between its start and our note of it: its own arguments say whose it is.
        is_ours = pid_file in parse.arguments(_read(pid, "cmdline"))
    found = Process(pid, handle, stat)
    # alive after the reading: what was read is of the process that the descriptor holds
    return found if is_ours and found.is_alive else None


def with_argument_below(directory: str) -> dict[int, str]:
    """Processes that have a path directly in `directory` among their arguments: number → that path."""
    found: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        for argument in parse.arguments(_read(int(entry), "cmdline")):
            if os.path.dirname(argument) == directory:
                found[int(entry)] = argument
    return found


def described(pid: int) -> tuple[parse.CommandLine, int] | None:
    """What it was told, and when it began, in clock ticks since boot. None: it has ended."""
    raw_stat = _read(pid, "stat")
    words = parse.arguments(_read(pid, "cmdline"))
    return (parse.command_line(words), parse.process_stat(raw_stat).started) if raw_stat else None


def _read_pid(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdigit() else 0


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""  # gone, or not ours to read
