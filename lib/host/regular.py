"""Reads files that somebody names: never one that has no end, or that would have us wait for a writer."""

from __future__ import annotations

import errno
import os
import re
import stat

_INHERITED = re.compile(r"/dev/fd/([0-9]{1,9})")


def read(path: str, *, max_bytes: int = -1) -> bytes:
    """The content, or its first `max_bytes`. Raises OSError, also for a pipe, a socket or a device."""
    # a look before: opening a device may do something, and a writer may wait for a reader of its pipe
    check(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
        _check(os.fstat(file.fileno()), path)
        return file.read(max_bytes)


def read_argument(path: str, *, max_bytes: int = -1) -> bytes:
    """As `read`, for a file that was named to a command: what the user's shell calls `<(command)` is fine there."""
    inherited = _INHERITED.fullmatch(path)
    if not inherited:
        return read(path, max_bytes=max_bytes)
    with open(os.dup(int(inherited[1])), "rb") as file:
        if not stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            _check(os.fstat(file.fileno()), path)
        return file.read(max_bytes)


def check(path: str) -> None:
    """Raises OSError for what `read` would not read."""
    _check(os.stat(path), path)


def _check(found: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        kind = "a pipe" if stat.S_ISFIFO(found.st_mode) else "a socket" if stat.S_ISSOCK(found.st_mode) else "a device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", path)
