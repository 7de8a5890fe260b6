"""Which CPUs of the node the virtual ones may run on."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ganeti import errors

Cpus = frozenset[int]


def parse(mask: str) -> list[Cpus | None]:
    """Of `0-2,^1:3:all`: the sets, None for all. One that is alone is for the whole emulator."""
    return [None if part == "all" else _set(part) for part in mask.split(":")]


def _set(part: str) -> Cpus:
    wanted: set[int] = set()
    left_out: set[int] = set()
    for word in part.split(","):
        first, _, last = word.removeprefix("^").partition("-")
        numbers = range(int(first), int(last or first) + 1)
        (left_out if word.startswith("^") else wanted).update(numbers)
    return frozenset(wanted - left_out)


def problem(mask: str, count: int) -> str:
    """What is wrong with it on a node of `count` CPUs, or nothing."""
    for cpus in parse(mask):
        if cpus is not None and (not cpus or max(cpus) >= count):
            return f"cpu_mask {mask} does not fit this node, which has the CPUs 0 to {count - 1}"
    return ""


def check_count(mask: str, vcpus: int) -> None:
    """Raises HypervisorError."""
    parts = len(parse(mask))
    if parts not in (1, vcpus):
        raise errors.HypervisorError(
            f"cpu_mask {mask} is for {parts} virtual CPUs, but the instance has {vcpus}",
            hint="give one list for all of them, or one for each with colons between",
        )


def pin(pid: int, threads: Sequence[int], mask: str) -> None:
    """`threads`: those of the virtual CPUs. Raises HypervisorError."""
    parts = parse(mask)
    targets = [(thread, cpus) for thread, cpus in zip(threads, parts, strict=False) if cpus is not None]
    if len(parts) == 1:
        cpus = parts[0]
        every = [int(task) for task in os.listdir(f"/proc/{pid}/task")] if cpus is not None else []
        targets = [(thread, cpus) for thread in every if cpus is not None]
    for thread, cpus in targets:
        try:
            os.sched_setaffinity(thread, cpus)
        except ProcessLookupError:
            continue  # a thread that had only a short task
        except OSError as err:
            raise errors.HypervisorError(f"cannot bind thread {thread} to CPUs {sorted(cpus)}: {err.strerror}") from err
