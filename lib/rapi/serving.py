"""From a connection to a resource and back: limits, authentication, errors, the access log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from ganeti import errors, settings
from ganeti.luxi.aio import AsyncClient
from ganeti.rapi import access, failures
from ganeti.rapi.ask import Answer, Ask, Query
from ganeti.rapi.failures import HttpFailure
from ganeti.rapi.measure import Measures
from ganeti.rapi.routes import Route, Table
from ganeti.rapi.users import Users
from ganeti.wire import codec

log = logging.getLogger(__name__)

SERVER = f"ganeti-rapi/{settings.VERSION}"
#: a large answer is compressed for who wants that, from so many bytes
_COMPRESS = 1 << 14


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    body_bytes: int = 8 << 20
    # of a request that needs no right: anybody could fill the memory with those
    stranger_body_bytes: int = 1 << 16
    line_bytes: int = 8192
    header_bytes: int = 16384
    # at once, handshakes included; each costs 256 KiB of memory by TLS
    connections: int = 500
    # for the whole header of a request, or its start on a connection that is kept
    header_s: float = 15.0
    body_s: float = 60.0
    # a client that does not take its answer for so long is dropped
    write_s: float = 120.0


class Service:
    """Answers requests; `sweep` drops connections on which nothing comes to its end."""

    def __init__(
        self,
        table: Table,
        luxi: AsyncClient,
        users: Users,
        *,
        limits: Limits | None = None,
        measures: Measures | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._luxi = luxi
        self._users = users
        self.limits = limits or Limits()
        self.measures = measures or Measures()
        self._clock = clock
        # connections that wait for (the rest of) a request, and since when; missing: a request is being answered
        self._waiting: dict[Any, float] = {}  # Any: aiohttp's protocol objects, compared by identity
        self._busy: set[Any] = set()
        #: set at the end: who waits for a job is answered at once
        self.ending = asyncio.Event()

    def server(self) -> web.Server:
        return web.Server(self._handle)

    def protocol(self, server: web.Server) -> asyncio.Protocol:
        """Of a new connection."""
        return _Connection(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # we write our own
            logger=_http_log(),
            keepalive_timeout=self.limits.header_s,
            max_line_size=self.limits.line_bytes,
            max_field_size=self.limits.header_bytes,
            lingering_time=2.0,
            auto_decompress=False,
        )

    async def sweep(self, server: web.Server, *, every_s: float = 1.0) -> None:
        """Endless."""
        while True:
            await asyncio.sleep(every_s)
            now = asyncio.get_running_loop().time()
            open_now = set(server.connections)
            self._waiting = {one: since for one, since in self._waiting.items() if one in open_now}
            for connection in open_now - self._busy:
                since = self._waiting.setdefault(connection, now)
                if now - since > self.limits.header_s and connection.transport is not None:
                    log.info("a connection without a whole request is closed")
                    connection.transport.abort()

    def drop_idle(self, server: web.Server, longer_than_s: float) -> bool:
        """End one connection that has been without a request for so long; whether there was one."""
        now, open_now = asyncio.get_running_loop().time(), set(server.connections)
        for connection, since in self._waiting.items():
            if now - since > longer_than_s and connection in open_now and connection.transport is not None:
                del self._waiting[connection]
                connection.transport.abort()
                return True
        return False

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        self._waiting.pop(connection, None)
        self._busy.add(connection)
        began = time.monotonic()
        try:
            user, found, name = await self._answered(request)
            response = _response(request, found)
            try:
                async with asyncio.timeout(self.limits.write_s):
                    await response.prepare(request)
                    await response.write_eof()
            except TimeoutError:
                log.info("%s does not take its answer; the connection is closed", request.remote)
                if request.transport is not None:
                    request.transport.abort()
            status, size = found.status, len(found.text)
            text = f"{request.method} {request.raw_path} HTTP/{request.version.major}.{request.version.minor}"
            access.log.info(access.line(request.remote or "", user, self._clock(), text, status=status, size=size))
            self.measures.answered(name, request.method, status, time.monotonic() - began)
            return response
        finally:
            self._busy.discard(connection)

    async def _answered(self, request: web.BaseRequest) -> tuple[str, Answer, str]:
        """(user, answer, name of the resource)."""
        user = name = ""
        try:
            if request.version >= (2, 0):
                raise HttpFailure(505, "HTTP/1.0 and HTTP/1.1 are spoken here")
            # a slash that is written as %2F is part of a name, and no name has one
            if "%2f" in request.rel_url.raw_path.lower():
                raise HttpFailure(404)
            route, words = self._table.find(request.method, request.path)
            name = route.name
            header = request.headers.get("Authorization")
            who = await self._users.admit(header, route.rights, request.remote or "")
            user = who.name if who else ""
            ask = await self._ask(request, route, words)
            ask = msgspec.structs.replace(ask, user=who)
            return user, await route.run(ask), name
        except HttpFailure as err:
            failure = err
        except errors.GanetiError as err:
            failure = failures.of_error(err)
        except TimeoutError:
            failure = HttpFailure(408)
        except ConnectionError as err:
            failure = HttpFailure(400, f"The request broke off: {type(err).__name__}")
        except Exception:
            log.exception("%s failed by an error in the program", name or request.method)
            failure = HttpFailure(500, "Internal error; the log of ganeti-rapi has the details")
        text = codec.encode(failures.body(failure.status, failure.message))
        return user, Answer(text=text, status=failure.status, headers=failure.headers), name

    async def _ask(self, request: web.BaseRequest, route: Route, words: dict[str, str]) -> Ask:
        headers = request.headers
        return Ask(
            path=words,
            query=Query(list(request.query.items())),
            body=await self._body(request, self.limits.body_bytes if route.rights else self.limits.stranger_body_bytes),
            luxi=self._luxi,
            now_ns=int(self._clock() * 1e9),
            expected=headers.get("If-Match", ""),
            known=headers.get("If-None-Match", ""),
            key=headers.get("Idempotency-Key", ""),
            wait_s=_wait_wish(headers.get("Prefer", "")),
            resource=route.name,
            is_about_cluster=route.takes_expected and not route.words,
            ending=self.ending,
        )

    async def _body(self, request: web.BaseRequest, limit: int) -> Any:  # Any: JSON; UNSET: there is none
        too_large = f"The body may have {limit} bytes"
        if (request.content_length or 0) > limit:
            raise HttpFailure(413, too_large, headers={"Connection": "close"})
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not request.can_read_body:
            return msgspec.UNSET
        parts, size = [], 0
        async with asyncio.timeout(self.limits.body_s):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise HttpFailure(413, too_large, headers={"Connection": "close"})
                parts.append(part)
        untrusted = b"".join(parts)
        if not untrusted:
            return msgspec.UNSET
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HttpFailure(415, "The body must be application/json")
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise HttpFailure(415, "The body must not be compressed")
        try:
            return codec.loads(untrusted)
        except codec.CodecError as err:
            raise HttpFailure(400, f"Unable to parse JSON data: {err}") from err


class _Connection(web.RequestHandler):
    """A request that cannot be read is answered in the form of all errors, without what the client sent."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, message)  # logs it; raises if an answer is under way already
        # what comes after the colon is what the client sent
        text = codec.encode(failures.body(status, (message or "").partition(":")[0].strip()))
        access.log.info(access.line(request.remote or "", "", time.time(), "-", status=status, size=len(text)))
        return _response(request, Answer(text=text, status=status))


def _http_log() -> logging.Logger:
    """Of what cannot be understood as a request; that is no error of ours, so it needs no traceback."""

    def without_traceback(record: logging.LogRecord) -> bool:
        if isinstance(record.exc_info, tuple):
            record.msg, record.args = "a request that cannot be read: %r", (str(record.exc_info[1])[:200],)
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
        return True

    found = logging.getLogger(f"{__name__}.http")
    if not found.filters:
        found.addFilter(without_traceback)
    return found


def _wait_wish(header: str) -> float:
    """Seconds of `Prefer: wait=N`; what cannot be understood is no wish."""
    for word in header.split(","):
        name, _, value = word.partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit() and len(value) < 6:
            return float(value)
    return 0.0


def _response(request: web.BaseRequest, found: Answer) -> web.Response:
    headers = {"Server": SERVER, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", **found.headers}
    if found.status != 304:
        headers["Content-Type"] = found.content_type
    response = web.Response(body=found.text, status=found.status, headers=headers)
    # clients of this interface know it as one that closes; who wants a connection kept has to say so
    wishes = {word.strip().lower() for word in request.headers.get("Connection", "").split(",")}
    if headers.get("Connection") == "close" or "keep-alive" not in wishes:
        response.headers["Connection"] = "close"
        response.force_close()
    if len(found.text) >= _COMPRESS and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response
