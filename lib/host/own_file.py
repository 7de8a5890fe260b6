"""Opens files of ours in directories where other accounts may write, too."""

from __future__ import annotations

import errno
import os
import stat

_TRIES = 3


def open_own(path: str, flags: int, mode: int, *, uid: int = -1, gid: int = -1) -> int:
    """A handle of the file, which is made if it is not there; then it is that owner's.

    What somebody has put in its place, a link to a file of another's, say, is not opened: root would write there in
    his stead. Raises OSError.
    """
    handle = _open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise PermissionError(errno.EPERM, "not a file, but a pipe or a device", path)
        if (uid, gid) not in ((-1, -1), (found.st_uid, found.st_gid)):
            # a backup may have linked a file of ours; one that is to be given away must be nobody else's
            if found.st_nlink > 1:
                raise PermissionError(errno.EPERM, "it has another name too, and is another account's", path)
            os.fchown(handle, uid, gid)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _open(path: str, flags: int, mode: int) -> int:
    for _ in range(_TRIES):
        # never "create or open": proc(5), protected_regular: not even root may, where the file is another account's
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        except OSError as err:
            if err.errno == errno.ELOOP:
                raise PermissionError(errno.EPERM, "a symbolic link is in its place", path) from err
            raise
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
    raise PermissionError(errno.EPERM, "it comes and goes", path)
