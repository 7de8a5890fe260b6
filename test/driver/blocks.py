"""Reading and writing of what a volume is: a file, or a block device past all caches."""

import mmap
import os
import stat

_BLOCK = 4096


def size(path):
    """Bytes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)


def read(path, offset, length):
    begin, span = _span(offset, length)
    handle = os.open(path, os.O_RDONLY | _direct(path))
    try:
        with mmap.mmap(-1, span) as buffer:
            got = os.preadv(handle, [buffer], begin)
            return buffer[offset - begin : min(offset - begin + length, got)]
    finally:
        os.close(handle)


def write(path, offset, data):
    begin, span = _span(offset, len(data))
    handle = os.open(path, os.O_RDWR | _direct(path))  # never made: what is not there is an error
    try:
        with mmap.mmap(-1, span) as buffer:
            got = os.preadv(handle, [buffer], begin)
            buffer[offset - begin : offset - begin + len(data)] = data
            with memoryview(buffer) as view:
                os.pwritev(handle, [view[:got]], begin)
        os.fsync(handle)
    finally:
        os.close(handle)


def _span(offset, length):
    """Where the blocks begin that hold it, and their length."""
    begin = offset // _BLOCK * _BLOCK
    return begin, -(-(offset + length - begin) // _BLOCK) * _BLOCK


def _direct(path):
    return os.O_DIRECT if stat.S_ISBLK(os.stat(path).st_mode) else 0
