"""Whether the files that were opened are still those at their paths: what is written to others is lost."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3

from ganeti import errors
from ganeti.host import files
from ganeti.host.own_file import open_own
from ganeti.store import sql

log = logging.getLogger(__name__)


class Place:
    """The state file at `path` and its log, as they are when they are opened."""

    def __init__(self, path: str) -> None:
        self._path, self._wal = path, path + "-wal"
        self._files = {path: _identity(path)}  # path → (device, inode) of what is written to

    def log_is_there(self) -> None:
        """From the first access on."""
        self._files[self._wal] = _identity(self._wal)

    def displaced(self) -> str:
        """Path of a file of ours that is not the one any more that was opened; empty: all are in their places."""
        return next((path for path, known in self._files.items() if known is None or _identity(path) != known), "")

    def check(self) -> None:
        """Raises DamagedError when somebody has removed or replaced the file, or its log."""
        missing = self.displaced()
        if missing:
            raise sql.removed(self._path, missing)

    def rescue(self, connection: sqlite3.Connection) -> None:
        """What the master had is written beside, as `state.db.rescued`: it may be the only copy."""
        rescued = self._path + ".rescued"
        try:
            # not VACUUM INTO: SQLite would write to what a link in that place points to
            files.write_atomic(rescued, connection.serialize(), mode=0o600)
        except (sqlite3.Error, OSError) as err:
            log.error("the content of the removed state file is not saved in %s: %s", rescued, err)
        else:
            log.warning("the content of the removed state file is in %s", rescued)

    def put_log_aside(self) -> None:
        """SQLite would take the log of the file that is gone for that of the one in its place."""
        wal = self._wal
        if self._files[wal] is not None and _identity(wal) == self._files[wal]:
            with contextlib.suppress(OSError):
                os.replace(wal, wal + ".stale")
            with contextlib.suppress(OSError):
                os.unlink(self._path + "-shm")


def create_file(path: str, ids: tuple[int, int]) -> None:
    try:
        if os.path.lexists(path):
            if os.path.islink(path) and os.lstat(path).st_uid not in (0, os.geteuid()):
                raise PermissionError(errno.EPERM, "a symbolic link of another account is in its place")
            return
        os.close(open_own(path, os.O_WRONLY, 0o600, uid=ids[0], gid=ids[1]))
        files.sync_directory(os.path.dirname(path))
    except OSError as err:
        raise errors.StoreError(f"cannot create the state file {path}: {err.strerror}") from err


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None: there is no file, or it cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
