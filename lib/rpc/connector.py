"""Connections to node daemons: a host that is gone is noticed soon, a busy one gets its time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import weakref
from contextvars import ContextVar
from typing import Any

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler

from ganeti.calls.base import CONNECTING_S

#: a node that acknowledges nothing for so long has lost its power: without this a call waits for all of its time
_DEAD_S = 30
_KEEPALIVE_IDLE_S, _KEEPALIVE_EACH_S = 10, 5


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of a new connection, in seconds."""

    connect_s: float = 5.0  # the other kernel answers, however busy its machine is
    handshake_s: float = CONNECTING_S - 5.0  # the other daemon's signature takes its time where the load is high

    @property
    def both_s(self) -> float:
        return self.connect_s + self.handshake_s


DEFAULT_LIMITS = Limits()


class Deadline:
    """The time limit of one call: it begins when there is a connection, whose parts have limits of their own."""

    def __init__(self, timer: asyncio.Timeout, limit_s: float) -> None:
        self._timer, self._limit_s = timer, limit_s

    def begin(self, *, later_s: float = 0.0) -> None:
        """Now, or at the latest after `later_s` more seconds. It is over already: it stays over."""
        if not self._timer.expired():
            self._timer.reschedule(asyncio.get_running_loop().time() + later_s + self._limit_s)


#: of the call that this task makes
DEADLINE: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class Connector(aiohttp.BaseConnector):
    """For aiohttp's session. Hosts are addresses, every connection is TLS."""

    def __init__(self, *, source: str, keepalive_s: float, limits: Limits) -> None:
        """`source`: own address to connect from; empty: any."""
        # the callers limit how many: a vote must not queue behind disks
        super().__init__(limit=0, keepalive_timeout=keepalive_s)
        self._source, self._limits = source, limits
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    # Any: aiohttp's own types of requests and traces, of which little is used. The name is aiohttp's for what a kind
    # of connector has to bring
    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        """Raises TimeoutError that tells which part took too long: aiohttp makes it the cause of its own."""
        key, address, deadline = req.connection_key, req.url.raw_host, DEADLINE.get()
        if deadline is not None:
            deadline.begin(later_s=self._limits.both_s)
        try:
            made = await self._connected(address, req.port)
        except TimeoutError as err:
            raise TimeoutError(f"no connection to {address} within {self._limits.connect_s:g} s") from err
        except OSError as err:
            raise aiohttp.ClientConnectorError(key, err) from err
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                _, protocol = await asyncio.get_running_loop().create_connection(
                    self._factory, sock=made, ssl=req.ssl, server_hostname=req.server_hostname
                )
        except TimeoutError as err:
            raise TimeoutError(
                f"{address} was connected to, and the TLS handshake did not end within {self._limits.handshake_s:g} s"
            ) from err
        except ssl.SSLCertVerificationError as err:
            raise aiohttp.ClientConnectorCertificateError(key, err) from err
        except ssl.SSLError as err:
            raise aiohttp.ClientConnectorSSLError(key, err) from err
        except OSError as err:
            raise aiohttp.ClientConnectorError(key, err) from err
        if deadline is not None:
            deadline.begin()
        return protocol

    async def _connected(self, address: str, port: int) -> socket.socket:
        with contextlib.ExitStack() as undo:
            made = watched_socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            undo.callback(made.close)
            self.sockets.add(made)
            made.setblocking(False)
            if self._source:
                made.bind((self._source, 0))
            async with asyncio.timeout(self._limits.connect_s):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
            undo.pop_all()
            return made


def watched_socket(family: int) -> socket.socket:
    """One that notices the death of its other end, whether it is sending or waiting."""
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_EACH_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _DEAD_S)
    return made
