"""A blocking socket over `OpenSSL.SSL.Connection`, as cheroot wants it.

The handshake is made by the first read, which is in a worker thread: a slow peer never holds up the thread that
accepts connections. All failures are `OSError`, time limits `TimeoutError`.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import time
from typing import Any

from OpenSSL import SSL

from ganeti.host import tls

log = logging.getLogger(__name__)

HANDSHAKE_S = 5.0
#: how long a refused peer may take to read why
LINGER_S = 1.0
_PIECE = 64 * 1024


class TlsSocket:
    """One accepted connection. Used by one thread at a time."""

    def __init__(self, context: SSL.Context, raw: socket.socket, *, handshake_s: float = HANDSHAKE_S) -> None:
        raw.setblocking(False)
        self._raw = raw
        self._tls = SSL.Connection(context, raw)
        self._tls.set_accept_state()
        self._timeout: float | None = None
        self._handshake_s = handshake_s
        self._is_ready = False
        self._is_broken = False
        #: SHA-256 of the peer's certificate once the handshake is done
        self.peer_digest = ""
        self.peer_name = ""

    # what cheroot and socket.SocketIO ask for

    def fileno(self) -> int:
        return self._raw.fileno()

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        return self._timeout

    def getsockname(self) -> Any:  # Any: as socket.getsockname, by family
        return self._raw.getsockname()

    def pending(self) -> int:
        """Bytes that were decrypted and not read: poll does not see them."""
        return self._tls.pending() if self._is_ready else 0

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        deadline = self._deadline()
        self._handshake()
        while True:
            try:
                return self._tls.recv_into(buffer)  # type: ignore[arg-type]  # the stub knows bytearray only
            except SSL.ZeroReturnError:
                return 0
            except SSL.Error as err:
                if isinstance(err, SSL.SysCallError) and err.args[0] == -1:
                    return 0  # closed without goodbye: between requests that is an end like any other
                self._wait_or_fail(err, deadline)

    def send(self, data: bytes) -> int:
        """All of it; the time limit is for each piece."""
        self._handshake()
        view, sent = memoryview(data), 0
        deadline = self._deadline()
        while sent < len(view):
            try:
                sent += self._tls.send(view[sent : sent + _PIECE])
                deadline = self._deadline()
            except SSL.Error as err:
                self._wait_or_fail(err, deadline)
        return sent

    def sock_shutdown(self, how: int) -> None:
        """cheroot calls this at the end of a connection: say goodbye, then end the TCP connection."""
        if self._is_ready and not self._is_broken:
            try:
                self._tls.shutdown()
            except SSL.Error as err:
                log.debug("goodbye was not sent: %r", err)
        self._raw.shutdown(how)

    def shutdown(self, how: int) -> None:
        self._raw.shutdown(how)

    def close(self) -> None:
        self._raw.close()

    def _decref_socketios(self) -> None:
        """socket.SocketIO calls this when it closes; the connection is closed by cheroot, not by its files."""

    # inside

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _handshake(self) -> None:
        if self._is_broken:
            raise OSError(errno.EPIPE, "the TLS connection is broken")
        if self._is_ready:
            return
        deadline = time.monotonic() + self._handshake_s
        while True:
            try:
                self._tls.do_handshake()
                break
            except SSL.SysCallError as err:
                self._is_broken = True
                raise ConnectionResetError(errno.ECONNRESET, "peer went away in the handshake") from err
            except SSL.Error as err:
                self._wait_or_fail(err, deadline)
        peer = self._tls.get_peer_certificate()
        if peer is None:
            self._is_broken = True
            raise ConnectionAbortedError(errno.ECONNABORTED, "peer showed no certificate")
        self.peer_digest = tls.peer_digest(peer)
        self.peer_name = tls.peer_name(peer)
        self._is_ready = True

    def _wait_or_fail(self, err: SSL.Error, deadline: float | None) -> None:
        if isinstance(err, SSL.WantReadError):
            events = select.POLLIN
        elif isinstance(err, SSL.WantWriteError):
            events = select.POLLOUT
        elif isinstance(err, SSL.SysCallError):
            self._is_broken = True
            number = err.args[0] if isinstance(err.args[0], int) and err.args[0] > 0 else errno.ECONNRESET
            raise OSError(number, "TLS connection lost") from err
        else:
            self._is_broken = True
            reasons = "; ".join(str(part[-1]) for part in err.args[0]) if err.args else "unknown"
            log.info("refused a connection from %s: %s", self._peer_address(), reasons)
            self._let_it_read()
            raise ConnectionAbortedError(errno.ECONNABORTED, f"TLS: {reasons}") from err
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._poll(events, left):
            self._is_broken = self._is_broken or not self._is_ready
            raise TimeoutError("timed out")

    def _poll(self, events: int, seconds: float | None) -> bool:
        poller = select.poll()
        poller.register(self._raw, events)
        return bool(poller.poll(None if seconds is None else seconds * 1000))

    def _let_it_read(self) -> None:
        """Closing with unread data would send a reset, and the peer might never see our alert."""
        deadline = time.monotonic() + LINGER_S
        try:
            self._raw.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0 and self._poll(select.POLLIN, left):
                if not self._raw.recv(65536):
                    return
        except OSError as err:
            log.debug("refused peer was gone already: %s", err)

    def _peer_address(self) -> str:
        try:
            return str(self._raw.getpeername()[0])
        except OSError:
            return "a peer that is gone"
