"""Processes that outlive the node daemon: each group of them has a session of its own, named by its first process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from ganeti.host import files


def _processes(leader: int) -> list[int]:
    """Processes of the session that `leader` has made; the number of a session lives as long as one of them."""
    if not leader:
        return []
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _session_of(int(entry)) == leader]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return 0


def is_alive(leader: int) -> bool:
    return bool(_processes(leader))


def _command(pid: int) -> str:
    return (files.read_text(f"/proc/{pid}/comm") or "").strip()


def end(leader: int, *, command: str) -> None:
    """Ask the session's processes of this name to end."""
    for pid in _processes(leader):
        if _command(pid) == command:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def is_listening(address: str, port: int, leader: int) -> bool:
    """Whether a process of the session waits there: proc_pid_net(5), state 0A; the address in host byte order."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(address.split("."))) + f":{port:04X}"
    inodes = {
        words[9]
        for line in (files.read_text("/proc/net/tcp", max_bytes=1 << 24) or "").splitlines()[1:]
        if len(words := line.split()) > 9 and words[1] == wanted and words[3] == "0A"
    }
    return any(f"socket:[{inode}]" in _open_files(pid) for inode in inodes for pid in _processes(leader))


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
            except OSError:
                continue  # closed meanwhile
    except OSError:
        return set()  # ended meanwhile
    return found
