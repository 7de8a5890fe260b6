"""What travels: the blocks of a disk or of a dump that are not all zeros, the holes between them, and the end. Pure.

A frame is one letter and two 64-bit numbers, then perhaps data::

  D offset length   data
  H offset length   nothing: zeros
  E length  0       the SHA-256 that `Digest` makes

Offsets only grow. Blocks begin at multiples of `BLOCK`; only the last one is shorter.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator

import msgspec

from ganeti import errors

BLOCK = 1 << 20
_HEAD = struct.Struct(">cQQ")
_PLACE = struct.Struct(">QQ")
_ZEROS = bytes(BLOCK)
#: no disk is larger, in bytes
MAX_LENGTH = 1 << 60


class Piece(msgspec.Struct, frozen=True):
    """Some bytes at their place; no data: `length` zeros."""

    offset: int
    length: int
    data: bytes = b""


class End(msgspec.Struct, frozen=True):
    length: int  # of everything, in bytes
    digest: str  # lower-case hex


class Digest:
    """Of a content as a whole: equal however its holes were found, and cheap where there are only zeros."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._length = 0

    def take(self, piece: Piece) -> None:
        if piece.data:
            self._hash.update(_PLACE.pack(piece.offset, piece.length))
            self._hash.update(piece.data)
        self._length = piece.offset + piece.length

    def end(self) -> End:
        whole = self._hash.copy()
        whole.update(_PLACE.pack(self._length, 0))
        return End(self._length, whole.hexdigest())


def piece_of(offset: int, block: bytes) -> Piece:
    """A block read at its place, told as a hole where it is one."""
    is_zero = block == _ZEROS if len(block) == BLOCK else not block.strip(b"\0")
    return Piece(offset, len(block), b"" if is_zero else block)


def joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Neighbouring holes made one."""
    hole: Piece | None = None
    for piece in pieces:
        if piece.data:
            if hole is not None:
                yield hole
                hole = None
            yield piece
        elif hole is None:
            hole = piece
        else:
            hole = Piece(hole.offset, hole.length + piece.length)
    if hole is not None:
        yield hole


def pack(piece: Piece) -> bytes:
    return _HEAD.pack(b"D" if piece.data else b"H", piece.offset, piece.length) + piece.data


def pack_end(end: End) -> bytes:
    return _HEAD.pack(b"E", end.length, 0) + bytes.fromhex(end.digest)


def unpack(read: Callable[[int], bytes]) -> Iterator[Piece | End]:
    """Frames up to the end; `read` gives exactly so many bytes or raises. Raises ExecError for what is no frame."""
    position = 0
    while True:
        letter, offset, length = _HEAD.unpack(read(_HEAD.size))
        if letter == b"E":
            if offset != position:
                raise errors.ExecError(f"the stream ends at {offset} after {position} bytes")
            yield End(offset, read(hashlib.sha256().digest_size).hex())
            return
        if offset != position or not 0 < length <= MAX_LENGTH - offset:
            raise errors.ExecError(f"the stream goes on at {offset} for {length} after {position} bytes")
        position = offset + length
        if letter == b"H":
            yield Piece(offset, length)
        elif letter == b"D" and length <= BLOCK and offset % BLOCK == 0:
            yield Piece(offset, length, read(length))
        else:
            raise errors.ExecError(f"the stream has a frame {letter!r} of {length} bytes at {offset}")
