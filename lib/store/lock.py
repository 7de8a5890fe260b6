"""One writer per state file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from ganeti import errors
from ganeti.host.own_file import open_own


class InUseError(errors.StoreError):
    """Another process writes this file."""


class WriterLock:
    """An flock on a file beside the database; it ends with the process. The file names its holder."""

    def __init__(self, path: str, owner: str, *, ids: tuple[int, int] = (-1, -1)) -> None:
        """`owner` is shown to whoever is refused. Raises StoreError when the lock file cannot be made."""
        self._path, self._owner = path, owner
        try:
            self._handle = open_own(path, os.O_RDWR, 0o600, uid=ids[0], gid=ids[1])
        except OSError as err:
            raise errors.StoreError(
                f"cannot open the lock file {path}: {err.strerror}", hint="check the directory and its owner"
            ) from err
        self.is_held = False

    def acquire(self, *, wait_s: float = 0.0) -> None:
        """Raises InUseError, naming the holder, when it is not free within `wait_s` seconds."""
        limit = time.monotonic() + wait_s
        while not self.is_held:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.is_held = True
            except BlockingIOError as err:
                if time.monotonic() >= limit:
                    holder = os.pread(self._handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
                    raise InUseError(
                        f"the state is in use by {holder}",
                        hint=f"only one process may write it; stop that one first ({self._path})",
                    ) from err
                time.sleep(0.02)
        text = f"{self._owner} (process {os.getpid()})\n".encode()
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the name
            os.pwrite(self._handle, text, 0)
            os.ftruncate(self._handle, len(text))

    def release(self) -> None:
        if self.is_held:
            self.is_held = False
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        self.is_held = False
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
