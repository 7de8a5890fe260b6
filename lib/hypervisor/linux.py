"""What Linux says about this node: memory, processors, processes. `parse_…` are pure."""

from __future__ import annotations

import os
import re

from ganeti.calls.node import HypervisorInfo
from ganeti.model.types import MiB
from ganeti.paths import Paths

_NUMA = "/sys/devices/system/node/online"
_LINE = re.compile(r"^(\w+(?:\(\w+\))?):\s+(\d+)", re.MULTILINE)


def parse_memory(meminfo: str) -> tuple[MiB, MiB]:
    """(total, free) of /proc/meminfo; free is what programs could get, caches included."""
    found = {name: int(kib) for name, kib in _LINE.findall(meminfo)}
    total = found["MemTotal"]
    # MemAvailable is there since Linux 3.14, proc(5)
    free = found.get("MemAvailable", found["MemFree"] + found.get("Buffers", 0) + found.get("Cached", 0))
    return total // 1024, free // 1024


def parse_processors(cpuinfo: str) -> tuple[int, int]:
    """(logical CPUs, sockets) of /proc/cpuinfo."""
    count = len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))
    sockets = set(re.findall(r"^physical id\s*:\s*(\d+)", cpuinfo, re.MULTILINE))
    return count, max(1, len(sockets))


def parse_numa(online: str) -> int:
    """Number of NUMA nodes of /sys/devices/system/node/online, such as `0-1,3`; 1 where there is no such file."""
    count = 0
    for part in online.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal():
            count += int(last or first) - int(first) + 1
    return max(1, count)


def node_info(*, reserved: MiB = 0, version: str = "") -> HypervisorInfo:
    """`reserved` MiB count as used although they are not."""
    with open("/proc/meminfo", encoding="ascii") as file:
        total, free = parse_memory(file.read())
    cpus, sockets = parse_processors(cpuinfo())
    return HypervisorInfo(
        memory_total=total,
        memory_free=max(0, free - reserved),
        memory_dom0=total - free,
        cpu_total=cpus,
        cpu_nodes=parse_numa(_read(_NUMA)),
        cpu_sockets=sockets,
        version=version,
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""  # a kernel without NUMA


def cpuinfo() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        return file.read()


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def host_file(paths: Paths, logical: str) -> str:
    """Local path of a file that belongs to the system (emulator, kernel), not to the cluster.

    A virtual node may have its own below its root; else it shares the host's.
    """
    own = paths.local(logical)
    return own if os.path.exists(own) else logical
