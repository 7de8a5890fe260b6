"""How far a stream is, as people want to read it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, MutableMapping

from ganeti.host.clock import Clock
from ganeti.node.stream.frames import Piece

_MIB = 1 << 20
_EACH_S = 0.5
#: the rate is that of the last so many seconds
_WINDOW_S = 10.0


class Meter:
    """Counts what is read and what is sent, and keeps `progress` up to date."""

    def __init__(self, progress: MutableMapping[str, float | str], clock: Clock, what: str, total: int) -> None:
        """`total` bytes are expected."""
        self._progress, self._clock, self._what = progress, clock, what
        self.total = total
        self._read = self._sent = 0
        self._begun = self._told = clock.monotonic()
        self._marks = [(self._begun, 0)]
        self._size_handle: int | None = None

    def expect_size(self, handle: int) -> None:
        """A script may say there how much it is going to write."""
        os.set_blocking(handle, False)
        self._size_handle = handle

    def watch(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            yield piece
            self._read = piece.offset + piece.length
            self._tell()

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes read and sent. From any thread."""
        return self._read, self._sent

    def sent(self, count: int) -> None:
        self._sent += count

    def _tell(self) -> None:
        now = self._clock.monotonic()
        if now - self._told < _EACH_S:
            return
        self._told = now
        self._ask_size()
        self._marks = [mark for mark in self._marks if now - mark[0] <= _WINDOW_S] or self._marks[-1:]
        since, before = self._marks[0]
        self._marks.append((now, self._read))
        rate = (self._read - before) / (now - since) if now > since else 0.0
        text = f"{self._what}: {self._read // _MIB} of {self.total // _MIB} MiB"
        if self.total:
            text += f" ({min(100, 100 * self._read // self.total)}%)"
        text += f", {self._sent / _MIB:.1f} MiB sent, {rate / _MIB:.1f} MiB/s"
        if rate and self.total > self._read:
            text += f", {(self.total - self._read) / rate:.0f} s left"
        self._progress.update(read=float(self._read), sent=float(self._sent), rate=rate, text=text)

    def _ask_size(self) -> None:
        if self._size_handle is None:
            return
        try:
            told = os.read(self._size_handle, 64)
        except BlockingIOError:
            return
        self._size_handle = None
        if told.strip().isdigit():
            self.total = int(told)

    def end(self) -> None:
        """The last word: what it was altogether."""
        seconds = max(self._clock.monotonic() - self._begun, 0.001)
        self._progress.update(
            read=float(self._read),
            sent=float(self._sent),
            rate=self._read / seconds,
            text=f"{self._what}: {self._read / _MIB:.1f} MiB in {seconds:.1f} s, {self._sent / _MIB:.1f} MiB sent",
        )
