"""The node daemon's HTTPS server: cheroot with our TLS socket. POST /call, nothing else."""

from __future__ import annotations

import errno
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from cheroot import server as cheroot
from cheroot.makefile import StreamReader, StreamWriter
from cheroot.ssl import Adapter
from OpenSSL import SSL

from ganeti import errors
from ganeti.rpc.dispatch import MAX_BODY, Peer
from ganeti.rpc.tls_socket import HANDSHAKE_S, TlsSocket

log = logging.getLogger(__name__)

MAX_HEADER = 16 * 1024
#: seconds that a connection may be idle; longer than our client keeps it
IDLE_S = 120
_PIECE = 64 * 1024


class Answer(Protocol):
    """What makes an answer of a request body; never raises."""

    def __call__(self, raw_body: bytes, peer: Peer) -> bytes: ...


class _Reader(StreamReader):
    """Knows of bytes that OpenSSL has decrypted already: poll would not report them."""

    def __init__(self, sock: TlsSocket, mode: str, bufsize: int) -> None:
        super().__init__(sock, mode, bufsize)
        self._tls = sock

    def has_data(self) -> bool:
        return bool(super().has_data()) or self._tls.pending() > 0  # type: ignore[no-untyped-call]  # cheroot's


def _make_file(sock: TlsSocket, mode: str = "r", bufsize: int = -1) -> StreamReader | StreamWriter:
    return _Reader(sock, mode, bufsize) if "r" in mode else StreamWriter(sock, mode, bufsize)


class TlsAdapter(Adapter):
    """Gives cheroot our sockets. `reload` makes a new context for the connections to come."""

    def __init__(self, new_context: Callable[[], SSL.Context], *, handshake_s: float = HANDSHAKE_S) -> None:
        self._new_context = new_context
        self._handshake_s = handshake_s
        self.context = new_context()

    def reload(self) -> None:
        """After the certificate files changed. Raises PrereqError when they cannot be used: the old ones stay."""
        self.context = self._new_context()

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[TlsSocket, dict[str, str]]:
        return TlsSocket(self.context, sock, handshake_s=self._handshake_s), {}

    def get_environ(self) -> dict[str, str]:
        return {}

    def makefile(self, sock: TlsSocket, mode: str = "r", bufsize: int = -1) -> StreamReader | StreamWriter:
        return _make_file(sock, mode, bufsize)


class _Workers:
    """The pool that cheroot gives connections with something to read to: it calls `start`, `put` and `stop`.

    Grows when all its threads are at work, and does not wait for ever when it is stopped.
    """

    def __init__(self, server: cheroot.HTTPServer, most: int) -> None:
        self._server = server
        self._most = most
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._queue: queue.SimpleQueue[cheroot.HTTPConnection | None] = queue.SimpleQueue()

    def start(self) -> None:
        self._grow()

    def put(self, conn: cheroot.HTTPConnection) -> None:
        with self._lock:
            is_short = self._queue.qsize() >= self._idle
        if is_short:
            self._grow()
        self._queue.put(conn)

    def _grow(self) -> None:
        with self._lock:
            if len(self._threads) >= self._most:
                return
            # a hung handler must not keep the process alive
            thread = threading.Thread(target=self._run, name=f"call {len(self._threads)}", daemon=True)
            self._threads.append(thread)
            self._idle += 1
        thread.start()

    def _run(self) -> None:
        while True:
            conn = self._queue.get()
            if conn is None:
                return
            with self._lock:
                self._idle -= 1
            try:
                self._serve(conn)
            finally:
                with self._lock:
                    self._idle += 1

    def _serve(self, conn: cheroot.HTTPConnection) -> None:
        is_kept = False
        try:
            is_kept = bool(conn.communicate())  # type: ignore[no-untyped-call]  # cheroot's
        except OSError as err:
            log.info("connection from %s: %s", conn.remote_addr, err)
        try:
            if is_kept:
                self._server.put_conn(conn)
            else:
                conn.close()
        except (OSError, ValueError, KeyError, RuntimeError) as err:
            # the selector is closed already, or the descriptor was: the server is being stopped
            log.debug("connection from %s could not be kept: %s", conn.remote_addr, err)
            conn.socket.close()

    def stop(self, timeout: float | None = 5) -> None:
        deadline = time.monotonic() + (timeout or 0.0)
        with self._lock:
            threads, self._threads = self._threads, []
            self._most = 0
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        while not self._queue.empty():
            conn = self._queue.get()
            if conn is not None:
                conn.close()


class _Gateway(cheroot.Gateway):
    """One request."""

    def respond(self) -> None:
        req = self.req
        server: NodeServer = req.server.owner
        peer_socket: TlsSocket = req.conn.socket
        if server.is_cut_off(req.conn.remote_addr):
            req.close_connection = True
            raise ConnectionResetError(errno.ECONNRESET, "cut off")
        # piece by piece: asked for all of it, the reader would make a buffer of the whole size for each TLS record
        body = b"".join(iter(lambda: req.rfile.read(_PIECE), b""))
        if req.path != b"/call" or req.method != b"POST":
            self._reply(
                "404 Not Found", b'{"ok":false,"error":["GenericError",["only POST /call is served"]],"kind":"failed"}'
            )
            return
        if not server.accepts(peer_socket.peer_digest):
            # it was trusted when the connection was made, and is not any more
            req.close_connection = True
            self._reply(
                "403 Forbidden",
                b'{"ok":false,"error":["GenericError",["this certificate is not trusted any more"]],"kind":"refused"}',
            )
            return
        self._reply("200 OK", server.answer(body, Peer(peer_socket.peer_name, peer_socket.peer_digest)))

    def _reply(self, status: str, body: bytes) -> None:
        self.req.status = status.encode("ascii")
        self.req.outheaders = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode("ascii")),
        ]
        self.req.ensure_headers_sent()
        self.req.write(body)


class _Server(cheroot.HTTPServer):
    """Logs where we log."""

    keep_alive_conn_limit = None  # type: ignore[assignment]  # cheroot's stub forgets it: no limit
    request_queue_size = 256
    max_request_body_size = MAX_BODY
    max_request_header_size = MAX_HEADER
    owner: NodeServer
    turned_s = 0.0  # when its loop turned last, monotonic

    @property
    def timeout(self) -> float:  # type: ignore[override]  # cheroot's is a plain attribute
        # read by the loop itself at each turn (ConnectionManager._run), and only by it
        self.turned_s = time.monotonic()
        return IDLE_S

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def process_conn(self, conn: cheroot.HTTPConnection) -> None:
        """A new connection gets a thread when its first bytes are there: silent peers cost none."""
        if conn.last_used is None:
            self.put_conn(conn)
        else:
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(level, "%s", msg, exc_info=traceback)


class NodeServer:
    """Serves until `stop`. `accepts` is asked again at each request, on top of the handshake's check.

    Peers whose address `is_cut_off` (a virtual cluster's partition) get no answer.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        adapter: TlsAdapter,
        answer: Answer,
        accepts: Callable[[str], bool],
        threads: int,
        is_cut_off: Callable[[str], bool] = lambda address: False,
        max_body: int = MAX_BODY,
    ) -> None:
        self.answer = answer
        self.accepts = accepts
        self.is_cut_off = is_cut_off
        self._server = _Server((address, port), _Gateway, server_name="ganeti-noded")
        self._server.owner = self
        self._server.ssl_adapter = adapter
        self._server.max_request_body_size = max_body
        self._server.requests = _Workers(self._server, threads)
        self._where = f"{address} port {port}"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen and serve in a thread. Raises PrereqError(environment_error) when the address cannot be had."""
        try:
            self._server.prepare()
        except OSError as err:
            raise errors.PrereqError(
                "environment_error",
                f"cannot listen on {self._where}: {err}",
                hint="is another node daemon running, and is the address one of this machine?",
            ) from err
        self._thread = threading.Thread(target=self._server.serve, name="server", daemon=True)
        self._thread.start()

    def idle_s(self) -> float:
        """Seconds since its loop turned last; it turns with every connection, and twice a second."""
        return time.monotonic() - self._server.turned_s

    @property
    def port(self) -> int:
        return int(self._server.bind_addr[1])

    def stop(self, *, limit_s: float = 5.0) -> None:
        """Take no more calls, let the running ones answer, for at most so many seconds."""
        self._server.shutdown_timeout = max(1, round(limit_s))
        # cheroot looks at its stop flag only when something happens or half a second has passed
        waker = threading.Thread(target=self._wake, name="server waker", daemon=True)
        waker.start()
        self._server.stop()
        if self._thread is not None:
            self._thread.join(limit_s)
            self._thread = None
        waker.join()

    def _wake(self) -> None:
        for _ in range(20):
            try:
                socket.create_connection(self._server.bind_addr, timeout=0.5).close()
            except OSError:
                return  # it does not listen any more
            time.sleep(0.02)
