"""Whether a file is locked by another process."""

from __future__ import annotations

import fcntl
import os


def is_locked(path: str) -> bool:
    """As emulators lock the files of their disks. Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
