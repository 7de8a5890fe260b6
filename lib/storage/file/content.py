"""What is in a volume: grown, copied without its holes, overwritten. Raises OSError."""

from __future__ import annotations

import errno
import fcntl
import os

from ganeti import errors
from ganeti.storage.base import Watch

_MIB = 1 << 20
_PIECE = 4 * _MIB
#: ioctl_ficlone(2): shares the blocks, where the file system can
_FICLONE = 0x40049409


def grow(local: str, size: int) -> None:
    handle = os.open(local, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(handle).st_size < size:
            os.ftruncate(handle, size)
            os.fsync(handle)
    finally:
        os.close(handle)


def copy(source: str, target: str, watch: Watch) -> None:
    """All of it, into a file of at least that size that is all zeroes."""
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    writer = os.open(target, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.ioctl(writer, _FICLONE, reader)
        except OSError:  # another file system, or one that cannot
            _copy_pieces(reader, writer, watch)
        os.fsync(writer)
    finally:
        os.close(reader)
        os.close(writer)


def _copy_pieces(reader: int, writer: int, watch: Watch) -> None:
    size = os.fstat(reader).st_size
    place = 0
    while (place := _next_data(reader, place, size)) < size:
        _look(watch, place, size)
        piece = os.pread(reader, min(_PIECE, size - place), place)
        _write(writer, piece, place)
        place += len(piece)


def _next_data(reader: int, place: int, size: int) -> int:
    if place >= size:
        return size
    try:
        return os.lseek(reader, place, os.SEEK_DATA)
    except OSError as err:
        if err.errno == errno.ENXIO:  # nothing but a hole up to the end
            return size
        raise


def wipe(local: str, begin: int, end: int, watch: Watch) -> None:
    """Zeroes really written, so that the space is there."""
    handle = os.open(local, os.O_RDWR | os.O_CLOEXEC)
    zeroes = bytes(_PIECE)
    try:
        place = begin
        while place < end:
            _look(watch, place - begin, end - begin)
            amount = min(_PIECE, end - place)
            _write(handle, zeroes[:amount], place)
            place += amount
        os.fsync(handle)
    finally:
        os.close(handle)


def _look(watch: Watch, done: int, total: int) -> None:
    if watch.stop.is_set():
        raise errors.StorageError("stopped on request")
    watch.progress["text"] = f"{100 * done // total}% of {total // _MIB} MiB"


def _write(handle: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, place)
        view, place = view[written:], place + written
