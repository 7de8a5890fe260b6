"""How messages lie on the wire: JSON text, then one byte ETX, the same in both directions.

Cheap to import: the command line needs it at every start.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from ganeti import errors
from ganeti.wire import codec

#: ends every message; JSON text never has it, not even in strings
ETX = b"\x03"
#: what a server takes, in bytes: about 60,000 opcodes in one submission
MAX_REQUEST = 64 << 20
#: what a client takes, in bytes
MAX_REPLY = 1 << 30
#: unix(7), sun_path: 108 bytes with the terminating zero
_MAX_ADDRESS = 107


def frame(message: Any) -> bytes:
    """The bytes of one message. Any: JSON."""
    return codec.encode(message) + ETX


class MessageBuffer:
    """Cuts a stream of bytes into messages."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, without their ETX. Raises LuxiError when one is too long."""
        *ends, rest = data.split(ETX)
        messages: list[bytes] = []
        for end in ends:
            self._keep(end)
            messages.append(b"".join(self._parts))
            self._parts, self._size = [], 0
        if rest:
            self._keep(rest)
        return messages

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_bytes:
            raise errors.LuxiError(f"message of more than {self._max_bytes} bytes", hint="send it in smaller parts")
        self._parts.append(part)

    @property
    def is_empty(self) -> bool:
        """Whether no message has begun."""
        return not self._parts


def address(path: str) -> str:
    """The path of a socket as the kernel takes it. Raises PrereqError when it is too long."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        return path
    # the run directory of a virtual node is a link to a place with a short name
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    if len(os.fsencode(real)) > _MAX_ADDRESS:
        raise errors.PrereqError(
            "environment_error",
            f"the path of socket {path} has {len(os.fsencode(real))} bytes, and the system takes {_MAX_ADDRESS}",
            hint="use a root directory with a shorter path",
        )
    return real


def is_hung_up(stream: socket.socket) -> bool:
    """Whether the other end is closed altogether; one that has only ended its sending still reads answers."""
    import select

    poll = select.poll()
    poll.register(stream.fileno(), 0)
    # unix_poll() of Linux: HUP is told when both directions are shut down, which close() at the other end does
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
