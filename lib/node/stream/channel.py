"""One connection between two nodes: chunks one way, then one answer. TLS with the certificates of both."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Protocol

from ganeti import errors, paths
from ganeti.host import tls
from ganeti.paths import Paths
from ganeti.rpc.tls_socket import TlsSocket

CONNECT_S = 20.0
HANDSHAKE_S = 20.0
#: of one chunk, in bytes
MAX_CHUNK = 2 << 20
_LENGTH = struct.Struct(">I")
#: `tcpi_last_ack_recv` of struct tcp_info (linux/tcp.h), in milliseconds
_LAST_ANSWER = struct.Struct("=56xI")


class Wire(Protocol):
    """A connected socket, or what looks like one."""

    def recv_into(self, buffer: bytearray | memoryview) -> int: ...
    def sendall(self, data: bytes) -> None: ...
    def has_input(self) -> bool: ...
    def silence_s(self) -> float:
        """From any thread: how long ago the other side's kernel has answered, in seconds."""
        ...

    def abort(self) -> None:
        """From any thread: whoever reads or writes here fails. Repeatable."""
        ...

    def close(self) -> None: ...


class Channel:
    """Chunks with their lengths over a wire. Losing it raises ExecError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._sending_since: float | None = None

    def send(self, *parts: bytes) -> None:
        """A chunk; none of it: the end of the stream."""
        length = sum(map(len, parts))
        self._sending_since = time.monotonic()
        try:
            self._wire.sendall(b"".join((_LENGTH.pack(length), *parts)))
        except OSError as err:
            raise errors.ExecError(f"the connection to the other node was lost: {_reason(err)}") from err
        finally:
            self._sending_since = None

    def blocked_s(self) -> float:
        """How long the chunk that is being sent has not been taken. From any thread."""
        since = self._sending_since
        return 0.0 if since is None else time.monotonic() - since

    def receive(self) -> bytes:
        """A chunk; empty at the end of the stream."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        if length > MAX_CHUNK:
            raise errors.ExecError(f"the other node sends a chunk of {length} bytes, {MAX_CHUNK} are allowed")
        return self._exactly(length)

    def chunks(self) -> Iterator[bytes]:
        """Up to the end of the stream."""
        while chunk := self.receive():
            yield chunk

    def _exactly(self, size: int) -> bytes:
        buffer = bytearray(size)
        view, done = memoryview(buffer), 0
        while done < size:
            try:
                count = self._wire.recv_into(view[done:])
            except OSError as err:
                raise errors.ExecError(f"the connection to the other node was lost: {_reason(err)}") from err
            if not count:
                raise errors.ExecError("the other node ended the connection in the middle of the stream")
            done += count
        return bytes(buffer)

    def has_word(self) -> bool:
        """Whether the other side has sent something, or has gone."""
        return self._wire.has_input()

    def silence_s(self) -> float:
        """How long the other node has not answered at all; it need not take anything. From any thread."""
        return self._wire.silence_s()

    def linger(self, seconds: float) -> None:
        """Before closing: take what still comes until the other side has closed, or it would not get our last word."""
        deadline = time.monotonic() + seconds
        buffer = bytearray(65536)
        try:
            while time.monotonic() < deadline:
                if self._wire.has_input():
                    if not self._wire.recv_into(buffer):
                        return
                else:
                    time.sleep(0.05)
        except OSError:
            return

    def abort(self) -> None:
        self._wire.abort()

    def close(self) -> None:
        self._wire.close()


def _reason(err: OSError) -> str:
    # what OpenSSL calls a protocol violation: the other daemon has died
    if isinstance(err, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "it was ended there; has its node daemon died?"
    return err.strerror or str(err)


class _ServerWire:
    def __init__(self, raw: socket.socket, made: TlsSocket) -> None:
        self._raw, self._made = raw, made

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        return self._made.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._made.send(data)

    def has_input(self) -> bool:
        return bool(self._made.pending()) or _readable(self._raw)

    def silence_s(self) -> float:
        return _silence_s(self._raw)

    def abort(self) -> None:
        _shut(self._raw)

    def close(self) -> None:
        _shut(self._raw)
        self._raw.close()


class SocketWire:
    """Over any connected socket."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        return self._raw.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._raw.sendall(data)

    def has_input(self) -> bool:
        return _readable(self._raw)

    def silence_s(self) -> float:
        return _silence_s(self._raw)

    def abort(self) -> None:
        _shut(self._raw)

    def close(self) -> None:
        _shut(self._raw)
        self._raw.close()


class _ClientWire:
    """Over a TLS socket, which may become readable by what TLS alone has to say."""

    def __init__(self, made: ssl.SSLSocket) -> None:
        self._made = made
        self._ahead = b""

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        if self._ahead:
            count = min(len(buffer), len(self._ahead))
            buffer[:count], self._ahead = self._ahead[:count], self._ahead[count:]
            return count
        return self._made.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._made.sendall(data)

    def has_input(self) -> bool:
        if self._ahead or not (self._made.pending() or _readable(self._made)):
            return bool(self._ahead)
        self._made.settimeout(0)
        try:
            self._ahead = self._made.recv(4096)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True
        finally:
            self._made.settimeout(None)
        return True

    def silence_s(self) -> float:
        return _silence_s(self._made)

    def abort(self) -> None:
        _shut(self._made)

    def close(self) -> None:
        _shut(self._made)
        self._made.close()


def _readable(raw: socket.socket) -> bool:
    poller = select.poll()
    poller.register(raw, select.POLLIN)
    return bool(poller.poll(0))


def _silence_s(raw: socket.socket) -> float:
    try:
        told = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ANSWER.size)
    except OSError:
        return 0.0  # closed, or no TCP
    return float(_LAST_ANSWER.unpack(told)[0]) / 1000


def _shut(raw: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed by the other side, or by us
        socket.socket.shutdown(raw, socket.SHUT_RDWR)


def keep_alive(raw: socket.socket) -> None:
    """Where nothing is on its way, a peer that is gone without a word is noticed within about two minutes."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
    # not TCP_USER_TIMEOUT: it also ends a connection whose other side answers, but takes nothing for so long, as an
    # import script that first makes a file system (tcp(7) does not say so, net/ipv4/tcp_timer.c does); see `silence_s`


def listening(address: str) -> socket.socket:
    """On a free port. Raises OSError."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.bind((address, 0))
        made.listen(4)
    except OSError:
        made.close()
        raise
    return made


class Links(Protocol):
    """How two nodes get a channel."""

    def listen(self, address: str) -> socket.socket:
        """On a free port. Raises OSError."""
        ...

    def accept(self, raw: socket.socket, peer_digest: str) -> Channel: ...
    def connect(self, address: str, port: int, peer: str) -> Channel: ...


class TlsLinks:
    """With the node's own certificate; the other side has to have exactly the one that is expected."""

    def __init__(self, where: Paths, own_address: str) -> None:
        self._bundle, self._authority = where.local(paths.NODE_CERT), where.local(paths.CA_CERT)
        self._own_address = own_address

    def listen(self, address: str) -> socket.socket:
        return listening(address)

    def accept(self, raw: socket.socket, peer_digest: str) -> Channel:
        """Raises ExecError when it is somebody else. The handshake is made by the first use."""
        keep_alive(raw)
        context = tls.server_context(self._bundle, self._authority, lambda digest: digest == peer_digest)
        return Channel(_ServerWire(raw, TlsSocket(context, raw, handshake_s=HANDSHAKE_S)))

    def connect(self, address: str, port: int, peer: str) -> Channel:
        """Raises ExecError."""
        context = tls.client_context(self._bundle, self._authority)
        source = (self._own_address, 0) if self._own_address else None
        try:
            raw = socket.create_connection((address, port), timeout=CONNECT_S, source_address=source)
            keep_alive(raw)
            made = context.wrap_socket(raw, server_hostname=peer)
            made.settimeout(None)
        except (OSError, ssl.CertificateError) as err:
            raise errors.ExecError(f"cannot connect to {address} port {port}: {err}") from err
        return Channel(_ClientWire(made))
