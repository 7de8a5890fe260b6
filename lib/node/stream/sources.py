"""Where pieces come from: disks and files with holes, and what scripts write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ganeti.host import sparse
from ganeti.node.stream import frames
from ganeti.node.stream.frames import BLOCK, Piece

Read = Callable[[int], bytes]
Finish = Callable[[], None]


def of_file(handle: int) -> Iterator[Piece]:
    """Of a file or device; holes are not read."""
    size = sparse.size_of(handle)
    return frames.joined(_blocks(handle, size))


def _blocks(handle: int, size: int) -> Iterator[Piece]:
    position = 0
    for first, end in sparse.extents(handle, size):
        begin = max(position, first - first % BLOCK)
        if begin > position:
            yield Piece(position, begin - position)
            position = begin
        while position < end:
            block = sparse.read_at(handle, min(BLOCK, size - position), position)
            if not block:
                raise OSError(f"the file ended at {position} of {size} bytes")
            yield frames.piece_of(position, block)
            os.posix_fadvise(handle, position, len(block), os.POSIX_FADV_DONTNEED)
            position += len(block)
    if position < size:
        yield Piece(position, size - position)


def of_stream(read: Read) -> Iterator[Piece]:
    """Of what `read` gives, some bytes at a time and none at the end."""
    return frames.joined(_of_stream(read))


def _of_stream(read: Read) -> Iterator[Piece]:
    position = 0
    while True:
        parts, missing = [], BLOCK
        while missing and (part := read(missing)):
            parts.append(part)
            missing -= len(part)
        block = b"".join(parts)
        if block:
            yield frames.piece_of(position, block)
            position += len(block)
        if missing:
            return
