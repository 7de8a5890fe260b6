"""The process of xl that stays beside each domain: when the guest reboots, it ends the domain and makes a new one.

In between, which takes a minute where there is much memory, there is no domain: who takes the guest for ended then
starts it elsewhere, or believes it stopped, and it comes back. The process is known by the log that it has open.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from ganeti.host import files
from ganeti.hypervisor import traces
from ganeti.hypervisor.xen import parse
from ganeti.paths import Paths

_LOG = "/var/log/xen/xl-{name}.log"
#: it writes there when the guest ends; one that has said nothing for so long does not bring it back
_SILENT_S = 600.0


def _logs(paths: Paths, name: str) -> set[str]:
    """By the name that the domain had first: one that came by a migration had another."""
    found = [_LOG.format(name=traces.safe(name) + suffix) for suffix in ("", parse.INCOMING)]
    return {os.path.realpath(path) for logical in found for path in (logical, paths.local(logical))}


def processes(paths: Paths, name: str) -> list[int]:
    wanted = _logs(paths, name)
    if not any(os.path.exists(log) for log in wanted):
        return []
    return [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and (files.read_text(f"/proc/{entry}/comm") or "").strip() == "xl" and _writes(entry, wanted)
    ]


def _writes(pid: str, logs: set[str]) -> bool:
    with suppress(OSError):  # it has just ended
        return any(os.readlink(f"/proc/{pid}/fd/{number}") in logs for number in os.listdir(f"/proc/{pid}/fd"))
    return False


def brings_back(paths: Paths, name: str, now: float) -> bool:
    """Of a guest that has no domain: whether it gets one. `now` in epoch seconds."""
    written = [os.stat(log).st_mtime for log in _logs(paths, name) if os.path.exists(log)]
    return bool(written) and now - max(written) < _SILENT_S and bool(processes(paths, name))


def end(paths: Paths, name: str) -> None:
    """Nobody brings it back any more. What it had made of a domain stays."""
    for pid in processes(paths, name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
