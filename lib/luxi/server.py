"""The master's end of the local protocol. Knows methods' forms, not what they do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from ganeti import errors, paths
from ganeti.host import files
from ganeti.host.clock import Clock, SystemClock
from ganeti.luxi import framing, methods
from ganeti.luxi.pieces import pieces
from ganeti.paths import File, Paths
from ganeti.wire import codec

log = logging.getLogger(__name__)

#: (method, arguments in today's form, the request's `key` if it has one and the peer's `uid` and `pid`) → JSON
Handler = Callable[[str, list[Any], dict[str, Any]], Awaitable[Any]]

#: a client that sets a time limit is refused at once when it is full; many tools start together
_BACKLOG = 1024
_READ = 1 << 16
#: requests of one connection that are read ahead
_AHEAD = 16
#: bytes of an answer that are given to the socket together
_WRITE = 1 << 18
#: a request of more bytes is parsed in a thread
_LARGE = 1 << 18
#: time in the event loop between two turns of the others, in seconds
SLICE_S = 0.002


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    request_bytes: int = framing.MAX_REQUEST
    # a client that does not read its answer for so long is dropped; clients themselves give up after 180 s
    write_s: float = 180.0
    # a request that has begun has to be complete after so long: half a request holds memory for nobody
    request_s: float = 60.0


class _Request(msgspec.Struct, frozen=True):
    """Members that are not here, such as `version`, are ignored."""

    method: str
    args: Any  # in the form of `methods`
    key: str | None = None


class LuxiServer:
    """Serves both sockets of the account table, each connection on its own, requests of one in their order."""

    def __init__(
        self,
        where: Paths,
        handle: Handler,
        *,
        sockets: Sequence[File] = (paths.QUERY_SOCKET, paths.MASTER_SOCKET),
        clock: Clock | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._paths = where
        self._handle = handle
        self._files = sockets
        self._clock = clock or SystemClock()
        self._limits = limits or Limits()
        self._servers: list[asyncio.Server] = []
        self._bound: list[tuple[str, tuple[int, int]]] = []  # path, (device, inode)
        self._connections: dict[_Connection, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Raises PrereqError when a socket cannot be made; then none is left."""
        try:
            for file in self._files:
                bound = self._bind(file)
                self._servers.append(await asyncio.start_unix_server(self._accept, sock=bound, backlog=_BACKLOG))
        except BaseException:
            await self.close(grace_s=0)
            raise

    async def close(self, grace_s: float = 5.0) -> None:
        """Take no more connections; requests that change something get `grace_s` seconds to be answered."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path, identity in self._bound:
            with contextlib.suppress(FileNotFoundError):
                if _identity(path) == identity:
                    os.unlink(path)
        self._bound.clear()
        for connection in self._connections:
            connection.stop()
        tasks = list(self._connections.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _bind(self, file: File) -> socket.socket:
        path = framing.address(self._paths.local(file))
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_stale(path)
            bound.bind(path)
            # nobody can connect before listen(), so nobody sees the wrong mode
            uid, gid = files.owner_ids(file, is_virtual=self._paths.is_virtual)
            if (uid, gid) == (-1, -1) and not self._paths.is_virtual:
                gid = files.own_group(file)
            if (uid, gid) != (-1, -1):
                os.chown(path, uid, gid)
            os.chmod(path, file.mode)
            self._bound.append((path, _identity(path)))
        except OSError as err:
            bound.close()
            raise errors.PrereqError(
                "environment_error",
                f"cannot make the socket {path}: {err.strerror or err}",
                hint=f"look at the directory {os.path.dirname(path)} and its owner",
            ) from err
        except BaseException:
            bound.close()
            raise
        return bound

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._handle, self._clock, self._limits)
        self._connections[connection] = asyncio.create_task(self._serve(connection), name="luxi connection")

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection.serve()
        except OSError as err:  # TimeoutError is one
            log.debug("connection ended: %s", err)
        except Exception:
            log.exception("connection ended by an error in the program")
        finally:
            connection.abort()
            del self._connections[connection]


class _Connection:
    """One client."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handle: Handler,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._clock = clock
        self._limits = limits
        # done when nobody is interested in answers any more: the client is gone or the server stops
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue(_AHEAD)
        stream: socket.socket = writer.get_extra_info("socket")
        raw_peer = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", raw_peer)
        self._peer = {"uid": uid, "pid": pid}

    def stop(self) -> None:
        """Drop waits for news and the like; what changes something goes on to its end."""
        if not self._gone.done():
            self._gone.set_result(None)

    def abort(self) -> None:
        self._writer.transport.abort()

    async def serve(self) -> None:
        reading = asyncio.create_task(self._read(), name="luxi reader")
        try:
            while True:
                message = await self._next(reading)
                if message is None or not await self._answer(message):
                    break
            if not self._gone.done():
                self._writer.close()
                async with asyncio.timeout(self._limits.write_s):
                    await self._writer.wait_closed()
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self) -> errors.LuxiError | None:
        """Cut what arrives into messages; notice when the client goes away, also while it waits for an answer.

        Returns at the end of the stream, with the error if it was a bad one.
        """
        buffer = framing.MessageBuffer(self._limits.request_bytes)
        limit: float | None = None  # loop time; none while no request has begun
        loop = asyncio.get_running_loop()
        try:
            while data := await self._some(limit):
                messages = buffer.feed(data)
                for message in messages:
                    await self._incoming.put(message)
                if buffer.is_empty:
                    limit = None
                elif messages or limit is None:
                    limit = loop.time() + self._limits.request_s
        except errors.LuxiError as err:
            return err
        except TimeoutError:
            return errors.LuxiError(f"the request was not complete after {self._limits.request_s:g} s")
        except OSError:
            self.stop()
            return None
        if framing.is_hung_up(self._writer.get_extra_info("socket")):
            self.stop()
        return None

    async def _some(self, limit: float | None) -> bytes:
        """What arrives next, until that loop time. Raises TimeoutError."""
        async with asyncio.timeout_at(limit):
            return await self._reader.read(_READ)

    async def _next(self, reading: asyncio.Task[errors.LuxiError | None]) -> bytes | errors.LuxiError | None:
        """The next message, or why there is none; None: the stream has ended, or nobody waits for answers."""
        getting = asyncio.ensure_future(self._incoming.get())
        try:
            waits: list[asyncio.Future[Any]] = [getting, self._gone, reading]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._gone.done():
                return None
            if getting.done():
                return getting.result()
            return reading.result() if self._incoming.empty() else self._incoming.get_nowait()
        finally:
            getting.cancel()

    async def _answer(self, message: bytes | errors.LuxiError) -> bool:
        """Whether to go on with the connection."""
        try:
            if isinstance(message, errors.LuxiError):
                raise codec.CodecError(str(message))
            request, args = await self._parse(message)
        except codec.CodecError as err:
            log.info("a request of process %s cannot be parsed: %s", self._peer["pid"], err)
            await self._send(success=False, result=f"Failed to parse request: {err}")
            return False
        del message
        success = True
        try:
            result = await self._run(request, args)
        except errors.RequestError as err:
            success, result = False, str(err)
        except errors.GanetiError as err:
            success, result = False, errors.encode(err)
        except Exception:
            log.exception("%s failed by an error in the program", request.method)
            text = f"internal error while {request.method} was answered; the master's log has the details"
            success, result = False, errors.encode(errors.GanetiError(text))
        if self._gone.done():
            return False
        await self._send(success=success, result=result)
        return True

    async def _parse(self, message: bytes) -> tuple[_Request, list[Any]]:
        """The request, and its arguments in today's form. Raises CodecError."""

        def parsed() -> tuple[_Request, list[Any]]:
            request = codec.convert(codec.loads(message), _Request)
            return request, methods.normalise(request.method, request.args)

        return await asyncio.to_thread(parsed) if len(message) > _LARGE else parsed()

    async def _run(self, request: _Request, args: list[Any]) -> Any:
        extra: dict[str, Any] = dict(self._peer)
        if request.key is not None:
            extra["key"] = request.key
        running = asyncio.ensure_future(self._handle(request.method, args, extra))
        try:
            waits: list[asyncio.Future[Any]] = [running, self._gone]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and methods.is_question(request.method):
                return None
            return await asyncio.shield(running)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def _send(self, *, success: bool, result: Any) -> None:
        """Raises OSError or TimeoutError when the client does not take it."""
        begun = self._clock.monotonic()
        parts: list[str] = []
        size = 0
        has_begun = False
        try:
            for piece in pieces({"success": success, "result": result}, self._clock.monotonic):
                parts.append(piece)
                size += len(piece)
                if size >= _WRITE:
                    has_begun = True
                    await self._write("".join(parts).encode("ascii"))
                    parts, size = [], 0
                if self._clock.monotonic() - begun >= SLICE_S:
                    await asyncio.sleep(0)
                    begun = self._clock.monotonic()
        except (TypeError, ValueError) as err:
            log.exception("an answer cannot be encoded")
            if has_begun:
                # nothing sensible can follow a part of an answer: the client sees the connection end
                raise ConnectionAbortedError("an answer cannot be encoded") from err
            text = "internal error: the answer cannot be encoded; the master's log has the details"
            parts = [codec.dumps({"success": False, "result": errors.encode(errors.GanetiError(text))})]
        await self._write("".join(parts).encode("ascii") + framing.ETX)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(self._limits.write_s):
            await self._writer.drain()


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(0, "something that is not a socket lies there")
    os.unlink(path)
