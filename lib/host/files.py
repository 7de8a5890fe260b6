"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ganeti import errors
from ganeti.host import regular
from ganeti.host.own_file import open_own
from ganeti.paths import File, Paths


def sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(
    path: str, data: bytes, *, mode: int = 0o644, uid: int = -1, gid: int = -1, durable: bool = True
) -> None:
    """Replace a file: a reader sees the old or the new content, also after a power failure.

    Not `durable`: for run-time files, which mean nothing after a power failure.
    """
    directory = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix="." + os.path.basename(path) + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if uid != -1 or gid != -1:
                os.fchown(file.fileno(), uid, gid)
            if durable:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(directory)


def owner_ids(file: File, *, is_virtual: bool) -> tuple[int, int]:
    """(uid, gid) of the account table's names; (-1, -1) where we are not root: everything is ours anyway."""
    if is_virtual or os.geteuid() != 0:
        return -1, -1
    try:
        return pwd.getpwnam(file.user).pw_uid, grp.getgrnam(file.group).gr_gid
    except KeyError as err:
        raise errors.PrereqError(
            "environment_error", f"account {err} does not exist", hint="create the accounts named at configure time"
        ) from err


def own_group(file: File) -> int:
    """The account table's group of a file, if this process, which is not root, is in it; else -1."""
    try:
        gid = grp.getgrnam(file.group).gr_gid
    except KeyError:
        return -1
    return gid if gid in os.getgroups() else -1


def write(paths: Paths, file: File, data: bytes) -> None:
    """`write_atomic` with path, owner and mode from the account table."""
    uid, gid = owner_ids(file, is_virtual=paths.is_virtual)
    write_atomic(paths.local(file), data, mode=file.mode, uid=uid, gid=gid)


def make_directory(paths: Paths, directory: File) -> None:
    """Create it with its parents, owner and mode; there already: owner and mode are set right, if we may.

    Raises OSError; PrereqError when it is a link that another account has made.
    """
    local = paths.local(directory)
    os.makedirs(local, exist_ok=True)
    uid, gid = owner_ids(directory, is_virtual=paths.is_virtual)
    found = os.lstat(local)
    is_link = stat.S_ISLNK(found.st_mode)
    if is_link and found.st_uid not in (0, os.geteuid()):
        # one of the administrator's is fine; another account's would have us give it what it points to
        raise errors.PrereqError(
            "environment_error",
            f"the directory {local} is a symbolic link that belongs to user {found.st_uid}",
            hint="nobody but root should have made it: find out who did, and remove it",
        )
    # a daemon with an account of its own finds what root has made
    if os.geteuid() not in (0, os.stat(local).st_uid):
        return
    handle = os.open(local, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if is_link else os.O_NOFOLLOW))
    try:
        if uid != -1 or gid != -1:
            os.fchown(handle, uid, gid)
        os.fchmod(handle, directory.mode)
    finally:
        os.close(handle)


def read_text(path: str, *, max_bytes: int = 1 << 20) -> str | None:
    """The whole file, or None if it is not there. Raises OSError, also for what is no regular file."""
    try:
        return regular.read(path, max_bytes=max_bytes).decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def read_own(path: str, *, max_bytes: int) -> str | None:
    """`read_text` of a file in a directory of another account, whose link to one of root's is not followed.

    Raises OSError, when it is a link with ELOOP.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read(max_bytes).decode("utf-8", "replace")


@contextmanager
def locked(path: str, *, wait: bool = True, mode: int = 0o600) -> Iterator[None]:
    """Hold an exclusive lock on a file. Raises BlockingIOError when somebody else has it and `wait` is false.

    Everybody may make files where locks are (/var/lock), and who may read one may lock it: what another account has put
    in the place of root's is removed.
    """
    if os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(path)
            if found.st_uid != 0:
                (shutil.rmtree if stat.S_ISDIR(found.st_mode) else os.unlink)(path)
    handle = open_own(path, os.O_RDWR, mode)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) & ~mode:
            os.fchmod(handle, mode)
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
