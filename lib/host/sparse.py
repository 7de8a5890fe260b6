"""Disks and files with holes: read without reading the holes, written so that zeros take no space, cloned."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator

#: ioctl_ficlone(2): share all extents of another file
_FICLONE = 0x40049409
#: linux/fs.h: zero a range of a block device, by the device itself where it can
_BLKZEROOUT = 0x127F
_ZEROS = bytes(1 << 20)
_NOT_HERE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)


def size_of(handle: int) -> int:
    """Bytes of a file or block device."""
    if stat.S_ISBLK(os.fstat(handle).st_mode):
        return os.lseek(handle, 0, os.SEEK_END)
    return os.fstat(handle).st_size


def extents(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of the parts that may hold something else than zeros, in order."""
    position = 0
    while position < size:
        try:
            begin = os.lseek(handle, position, os.SEEK_DATA)
            end = os.lseek(handle, begin, os.SEEK_HOLE)
        except OSError as err:
            if err.errno == errno.ENXIO:
                return  # nothing but a hole up to the end
            if err.errno == errno.EINVAL:  # a block device
                begin, end = position, size
            else:
                raise
        yield begin, min(end, size)
        position = end


def read_at(handle: int, size: int, offset: int) -> bytes:
    """Exactly so many bytes, or what there is before the end."""
    parts = []
    while size:
        part = os.pread(handle, size, offset)
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_at(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, offset)
        view, offset = view[done:], offset + done


def zero_at(handle: int, offset: int, length: int) -> None:
    """Zeros there when it returns; what is a hole in a file already, stays one."""
    if stat.S_ISBLK(os.fstat(handle).st_mode):
        try:
            fcntl.ioctl(handle, _BLKZEROOUT, struct.pack("QQ", offset, length))
        except OSError as err:
            if err.errno not in _NOT_HERE:
                raise
            _write_zeros(handle, offset, offset + length)
        return
    end = offset + length
    for begin, stop in extents(handle, min(end, size_of(handle))):
        if stop > offset:
            _write_zeros(handle, max(begin, offset), min(stop, end))


def _write_zeros(handle: int, begin: int, end: int) -> None:
    while begin < end:
        count = min(end - begin, len(_ZEROS))
        write_at(handle, _ZEROS[:count], begin)
        begin += count


def clone(source: int, target: int) -> bool:
    """Make the target file share the source's content at once; False: this file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as err:
        if err.errno in _NOT_HERE:
            return False
        raise
    return True


def can_clone(path: str) -> bool:
    """Whether files of the directory of this file can be cloned. Leaves nothing behind."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # O_TMPFILE, open(2): a file without a name
        target = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        os.close(source)
        return False
    try:
        return clone(source, target)
    finally:
        os.close(source)
        os.close(target)
