"""Tells a service manager how a daemon is: the datagrams of sd_notify(3), without its library."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

SOCKET_VARIABLE = "NOTIFY_SOCKET"
READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def tell(*states: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody was told; nobody asked to be: nothing to do. Never raises: a daemon lives without it."""
    address = environ.get(SOCKET_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            # the manager reads it at its leisure: a full queue must not hold a daemon up
            link.settimeout(1.0)
            link.sendto("\n".join(states).encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError as err:
        log.warning("the service manager was not told %s: %s", states[0], err)
        return False
    return True


def interval_s(*, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """How often `ALIVE` has to be told, in seconds: a third of the manager's limit. None: nobody watches."""
    limit, of = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or int(limit) == 0 or (of and of != str(os.getpid() if pid is None else pid)):
        return None
    return int(limit) / 3e6


async def keep_telling() -> None:
    """That this loop turns, to a service manager that watches; returns when nobody does."""
    interval = interval_s()
    while interval is not None:
        tell(ALIVE)
        await asyncio.sleep(interval)
