"""What the emulator and the kernel say, as values. Text in, values out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import msgspec

from ganeti.calls.instance import GuestState
from ganeti.model.types import MiB

_VERSION = re.compile(r"version (\d+)\.(\d+)(?:\.(\d+))?")

# QMP RunState (qemu-qmp-ref(7)) → what it means here; the others are pauses
_RUNNING = ("running", "suspended")
_MIGRATING = ("inmigrate", "postmigrate")
SWITCHED_OFF = "shutdown"
_ENDED = (SWITCHED_OFF, "guest-panicked", "internal-error")


class ProcessStat(msgspec.Struct, frozen=True):
    """Of /proc/PID/stat."""

    is_zombie: bool
    cpu_ticks: int
    started: int  # clock ticks since boot


class CommandLine(msgspec.Struct, frozen=True, kw_only=True):
    """What an emulator of ours was told; nothing, 0: it was not."""

    uuid: str
    memory: MiB
    vcpus: int


def command_line(words: Sequence[str]) -> CommandLine:
    told = dict(itertools.pairwise(words))
    memory, vcpus = re.match(r"(\d+)(k?)\Z", told.get("-m", "")), re.match(r"\d+", told.get("-smp", ""))
    size = int(memory[1]) // (1024 if memory[2] else 1) if memory else 0
    return CommandLine(uuid=told.get("-uuid", ""), memory=size, vcpus=int(vcpus[0]) if vcpus else 0)


def version(text: str) -> tuple[int, int, int] | None:
    """Of `qemu-system-x86_64 --version`."""
    match = _VERSION.search(text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3] or 0))


def machine_types(text: str) -> frozenset[str]:
    """Of `-machine help`: first line is a title, the type is the first word of each other."""
    return frozenset(line.split()[0] for line in text.splitlines()[1:] if line.strip())


def guest_state(run_state: str) -> GuestState:
    if run_state in _RUNNING:
        return GuestState.RUNNING
    if run_state in _MIGRATING:
        return GuestState.MIGRATING
    return GuestState.SHUTDOWN if run_state in _ENDED else GuestState.PAUSED


def process_stat(raw: bytes) -> ProcessStat:
    """proc(5): the command in field 2 may hold blanks and parentheses, so fields count from behind the last one."""
    fields = raw.rpartition(b")")[2].split()
    return ProcessStat(
        is_zombie=fields[0] in (b"Z", b"X"), cpu_ticks=int(fields[11]) + int(fields[12]), started=int(fields[19])
    )


def arguments(raw: bytes) -> tuple[str, ...]:
    """Of /proc/PID/cmdline."""
    return tuple(raw.decode("utf-8", "surrogateescape").rstrip("\0").split("\0"))
