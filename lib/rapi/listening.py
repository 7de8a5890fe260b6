"""Takes connections, up to a number: those whose handshake is not done count as well, for each costs memory."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from aiohttp import web

log = logging.getLogger(__name__)

_BACKLOG = 1024
_HANDSHAKE_S = 10.0
#: for the client's end of a connection that we close
_GOODBYE_S = 5.0
#: after the system had no room for one more connection
_PAUSE_S = 0.5
#: a client that has said nothing for so long gives its place to a new one when there are no more
PATIENCE_S = 2.0
_TELL_EVERY_S = 60.0


def listening_sockets(address: str | None, port: int, interface: str = "") -> list[socket.socket]:
    """One for each address family; no address: all of this machine, or of one interface. Raises OSError."""
    found: list[socket.socket] = []
    wanted = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, kind, protocol, _, where in wanted:
            try:
                found.append(_listening(socket.socket(family, kind, protocol), where, interface))
            except OSError as err:
                # a kernel without IPv6 has no such sockets, or no such addresses
                if address or family != socket.AF_INET6 or err.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
    except OSError:
        for one in found:
            one.close()
        raise
    return found


def _listening(one: socket.socket, where: tuple[str | int | bytes, ...], interface: str) -> socket.socket:
    try:
        if interface:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setblocking(False)
        one.bind(where)
        one.listen(_BACKLOG)
    except OSError:
        one.close()
        raise
    return one


class Listener:
    """Owns the sockets and the handshakes that are under way.

    `drop_idle(seconds)` ends one connection that has been without a request for so long; false: there was none.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        server: web.Server,
        protocol: Callable[[], asyncio.Protocol],
        drop_idle: Callable[[float], bool],
        *,
        most: int,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._sockets, self._server, self._protocol, self._drop_idle = sockets, server, protocol, drop_idle
        self._most, self._context = most, context
        self._greeting: dict[asyncio.Task[None], float] = {}  # oldest first; since when
        self._accepting: list[asyncio.Task[None]] = []
        self._told = -_TELL_EVERY_S

    def start(self) -> None:
        self._accepting = [asyncio.create_task(self._accept(one), name="accept") for one in self._sockets]

    async def close(self) -> None:
        """No more connections; those that are there go on."""
        every = [*self._accepting, *self._greeting]
        for task in every:
            task.cancel()
        await asyncio.gather(*every, return_exceptions=True)
        for one in self._sockets:
            one.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # it was given up already
            except OSError as err:
                log.warning("cannot take a connection: %s", err.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._greeting) + len(self._server.connections) >= self._most and not self._make_room(loop.time()):
                connection.close()
                continue
            task = asyncio.create_task(self._greet(connection), name="handshake")
            self._greeting[task] = loop.time()
            task.add_done_callback(self._greeting.pop)

    def _make_room(self, now: float) -> bool:
        if now - self._told > _TELL_EVERY_S:
            self._told = now
            log.warning("all %s connections are taken; --max-clients would allow more", self._most)
        task, since = next(iter(self._greeting.items()), (None, now))
        if task is not None and now - since > PATIENCE_S:
            return task.cancel()
        return self._drop_idle(PATIENCE_S)

    async def _greet(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=_HANDSHAKE_S if self._context else None,
                ssl_shutdown_timeout=_GOODBYE_S if self._context else None,
            )
        except OSError as err:  # ssl.SSLError is one
            log.debug("a connection broke off before its first request: %s", err)
