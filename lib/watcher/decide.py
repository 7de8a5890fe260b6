"""What is to be done about what was seen. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ganeti.watcher.memory import Attempts, Boot

#: starts of an instance before it is given up
MAX_ATTEMPTS = 5
#: after so many seconds without a start an instance that was given up gets its chances again
EXPIRY_S = 8 * 3600.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as the master told it."""

    name: str
    uuid: str
    serial: int  # of its configuration
    status: str  # running, ERROR_down, ...
    is_up: bool  # wanted to run
    has_disks: bool  # its disks are wanted to be active
    secondaries: tuple[str, ...] = ()


class SeenNode(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    is_offline: bool
    boot_id: str  # empty: it did not tell


class Verdict(enum.Enum):
    NOTHING = "nothing"
    START = "start"
    GIVE_UP = "give up"  # said once
    RECORD_SHUTDOWN = "record"  # somebody stopped it from inside: that is what is wanted now
    RECOVERED = "recovered"


def judge(seen: Seen, attempts: Attempts | None, now: float) -> tuple[Verdict, Attempts | None]:
    """What to do, and what to remember of it.

    Only what surely does not run is started: of a node that does not answer or is offline nothing is known. Drained
    nodes keep what they have, so theirs are started as well.
    """
    if seen.status == "ERROR_down":
        if attempts is None or now - attempts.restart_when > EXPIRY_S:
            return Verdict.START, Attempts(1, now)
        if attempts.restart_count < MAX_ATTEMPTS:
            return Verdict.START, Attempts(attempts.restart_count + 1, now)
        if attempts.restart_count == MAX_ATTEMPTS:
            return Verdict.GIVE_UP, Attempts(MAX_ATTEMPTS + 1, attempts.restart_when)
        return Verdict.NOTHING, attempts
    if seen.status == "USER_down" and seen.is_up:
        return Verdict.RECORD_SHUTDOWN, None
    if seen.status == "running" and attempts is not None:
        return Verdict.RECOVERED, None
    return Verdict.NOTHING, None


def booted(nodes: Iterable[SeenNode], known: Mapping[str, Boot]) -> dict[str, Boot]:
    """Nodes that were booted since their instances' disks were last looked at, or were never looked at."""
    return {
        node.name: Boot(node.boot_id)
        for node in nodes
        if node.boot_id and (node.name not in known or known[node.name].bootid != node.boot_id)
    }


def to_activate(instances: Iterable[Seen], booted_nodes: Iterable[str], started: Iterable[str]) -> Sequence[Seen]:
    """Whose disks have lost their other half in a boot. What was just started has its disks already."""
    fresh, skipped = set(booted_nodes), set(started)
    return [
        seen
        for seen in instances
        if seen.has_disks and seen.name not in skipped and not fresh.isdisjoint(seen.secondaries)
    ]
