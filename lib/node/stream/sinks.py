"""Where pieces go to: dumps, disks, and scripts."""

from __future__ import annotations

import logging
import os

from ganeti import errors
from ganeti.host import sparse
from ganeti.host.script import Input
from ganeti.node.stream.frames import Piece

log = logging.getLogger(__name__)

_ZEROS = bytes(1 << 20)


class DumpSink:
    """A new file; zeros are holes in it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._length = 0

    def put(self, piece: Piece) -> None:
        if piece.data:
            sparse.write_at(self._handle, piece.data, piece.offset)
        self._length = piece.offset + piece.length

    def end(self) -> None:
        """On disk when it returns."""
        os.ftruncate(self._handle, self._length)
        os.fsync(self._handle)


class DiskSink:
    """A disk, or a file that is one. It keeps its size; what is behind the end of the stream is not touched."""

    def __init__(self, handle: int, what: str) -> None:
        self._handle = handle
        self._size = sparse.size_of(handle)
        self._what = what

    def put(self, piece: Piece) -> None:
        if piece.offset + piece.length > self._size:
            raise errors.ExecError(
                f"the dump is larger than {self._what}, which has {self._size} bytes",
                hint="give it at least the size that the exported disk had",
            )
        if piece.data:
            sparse.write_at(self._handle, piece.data, piece.offset)
        else:
            sparse.zero_at(self._handle, piece.offset, piece.length)

    def end(self) -> None:
        os.fsync(self._handle)


class ScriptSink:
    """A script's input. It need not read everything."""

    def __init__(self, target: Input) -> None:
        self._target = target
        self._reads = True

    def put(self, piece: Piece) -> None:
        if piece.data:
            self._write(piece.data)
            return
        left = piece.length
        while left and self._reads:
            self._write(_ZEROS[: min(left, len(_ZEROS))])
            left -= min(left, len(_ZEROS))

    def _write(self, data: bytes) -> None:
        if self._reads and not self._target.write(data):
            self._reads = False
            log.info("the script does not read all of its input; the rest is only checked")
