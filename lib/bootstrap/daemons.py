"""Start, stop and look after the daemons of this node."""

from __future__ import annotations

import time
from collections.abc import Callable

from ganeti import errors
from ganeti.host.running import is_running, pid_of, stop
from ganeti.host.starting import CONFD, LOG_NAMES, MASTERD, NODED, RAPI, last_error, program, start

__all__ = [
    "CONFD",
    "LOG_NAMES",
    "MASTERD",
    "NODED",
    "RAPI",
    "is_running",
    "last_error",
    "pid_of",
    "program",
    "start",
    "stop",
    "wait_until",
]


def wait_until(
    what: str,
    is_so: Callable[[], bool],
    *,
    timeout_s: float,
    while_true: Callable[[], bool] = lambda: True,
    every_s: float = 0.02,
) -> None:
    """Poll. Raises ExecError when the time is over, or when `while_true` says that it will never be."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if not while_true():
            raise errors.ExecError(f"{what} did not come: its process has ended", hint="the log says why")
        if time.monotonic() > deadline:
            raise errors.ExecError(f"{what} did not come within {timeout_s:g} s", hint="the log may say why")
        time.sleep(every_s)
