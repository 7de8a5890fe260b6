"""The state file is the one that we mean, whatever the account that owns its directory puts there meanwhile.

SQLite takes paths, not descriptors, and follows a link in the place of a database; in those of its log and its index
it opens none (O_NOFOLLOW). So it is looked before at what is there, and after the opening, before anything is read or
written, at what SQLite has opened: that name is the file's own, with no link in its last part.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat

from ganeti import errors


def expected(path: str, *, for_writing: bool) -> str:
    """The file that is to be opened for that path: this one, or what a link of the administrator's points to.

    Raises FileNotFoundError; StoreError for anything else than a file, for another account's link, and, if it is
    `for_writing`, where others than its owner may write in the directory.
    """
    directory, name = os.path.realpath(os.path.dirname(path)), os.path.basename(path)
    try:
        where = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if for_writing:
                _check_directory(os.fstat(where), directory)
            entry = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
        finally:
            os.close(where)
        try:
            return _real(entry, directory, name)
        finally:
            os.close(entry)
    except FileNotFoundError:
        raise
    except OSError as err:
        raise errors.StoreError(f"the state file {path} is not opened: {err.strerror}") from err


def check_opened(connection: sqlite3.Connection, path: str, wanted: str) -> None:
    """Raises StoreError when it is another file than `expected` told. To be called before the first access."""
    opened = next(row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main")
    if os.path.join(os.path.realpath(os.path.dirname(opened)), os.path.basename(opened)) != wanted:
        raise errors.StoreError(
            f"the state file {path} was replaced by a link to {opened} while it was opened; nothing was changed there",
            hint="whoever did that has the rights of the account that owns the directory: find out who it was",
        )


def _check_directory(found: os.stat_result, directory: str) -> None:
    is_groups = bool(found.st_mode & stat.S_IWGRP) and found.st_gid not in (0, os.getegid())
    if found.st_mode & stat.S_IWOTH or is_groups:
        mode = stat.S_IMODE(found.st_mode)
        raise PermissionError(
            errno.EPERM, f"others may write in {directory} (mode {mode:04o}); type: chmod go-w {directory}"
        )


def _real(entry: int, directory: str, name: str) -> str:
    """`entry` was opened by O_PATH: it is the link itself."""
    found = os.fstat(entry)
    if stat.S_ISREG(found.st_mode):
        return os.path.join(directory, name)
    if not stat.S_ISLNK(found.st_mode):
        raise OSError(errno.EINVAL, "what is there is no file")
    if found.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, "a symbolic link of another account is in its place")
    real = os.path.realpath(os.path.join(directory, os.readlink("", dir_fd=entry)))
    if not stat.S_ISREG(os.stat(real).st_mode):
        raise OSError(errno.EINVAL, f"{real}, to which it is a link, is no file")
    return real
