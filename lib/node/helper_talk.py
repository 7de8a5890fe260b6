"""What a helper machine says through its port: a hello, the script's output, its end. Pure.

Everything of it is data of others. Lines of ours begin with a mark and the token of this one run, so that no output is
taken for them by chance; a script that says them on purpose deceives nobody but its own instance.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ganeti.node.helper_job import MARK

#: longer lines are cut into such pieces
MAX_LINE = 8192
_STATUS = re.compile(rb"end ([0-9]{1,3})\Z")
# what a terminal would act upon, and what changes the order of text
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def readable(data: bytes) -> str:
    """As text without anything that a terminal would act upon."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub("?", text)


class Talk:
    """Takes what comes in pieces of any size; hands on what is the script's, line by line."""

    def __init__(self, token: str, write: Callable[[str], None]) -> None:
        self._mark = f"{MARK} {token} ".encode()
        self._write = write
        self._rest = b""
        self._is_line_start = True  # of the line whose rest is kept
        self._owes_newline = False  # an empty line before the end is not the script's
        self.has_begun = False
        self.status: int | None = None  # of the script; None: it has not ended

    def take(self, data: bytes) -> None:
        """What comes after the end is dropped."""
        if self.status is not None:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if any(self._ends_with(line + b"\n") for line in lines):
            self._rest = b""
        while len(self._rest) > MAX_LINE:
            self._tell(self._rest[:MAX_LINE])
            self._rest, self._is_line_start = self._rest[MAX_LINE:], False

    def finish(self) -> None:
        """Nothing comes any more."""
        if self._rest:
            self._tell(self._rest + b"\n")
            self._rest = b""

    def _ends_with(self, line: bytes) -> bool:
        """Whether this is the last line."""
        is_whole, self._is_line_start = self._is_line_start, True
        if is_whole and line.startswith(self._mark):
            said = line[len(self._mark) :].strip()
            ended = _STATUS.match(said)
            if said == b"hello":
                self.has_begun = True
                return False
            if ended and self.has_begun:
                self.status = int(ended[1])
                return True
        if is_whole and line == b"\n":
            if self._owes_newline:
                self._write("\n")
            self._owes_newline = True
            return False
        while len(line) > MAX_LINE:
            self._tell(line[:MAX_LINE])
            line = line[MAX_LINE:]
        self._tell(line)
        return False

    def _tell(self, data: bytes) -> None:
        if self._owes_newline:
            self._write("\n")
            self._owes_newline = False
        self._write(readable(data))
