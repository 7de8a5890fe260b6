"""The master's side of node calls: one HTTPS session for all nodes, one answer or `RpcError` per node."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import aiohttp

from ganeti import errors, paths, settings
from ganeti.calls import base as calls
from ganeti.calls.base import Call, ChangingCall, Reserve, Time
from ganeti.calls.port import Progress
from ganeti.calls.task import TaskCancel, TaskPoll, TaskReply
from ganeti.host import partition, tls
from ganeti.host.timings import Timings
from ganeti.model.objects import Node
from ganeti.model.types import RequestId, Uuid
from ganeti.paths import Paths
from ganeti.rpc.connector import DEADLINE, DEFAULT_LIMITS, Connector, Deadline, Limits
from ganeti.rpc.dispatch import MAX_BODY
from ganeti.rpc.identity import Identity
from ganeti.wire import codec

log = logging.getLogger(__name__)

R = TypeVar("R")

#: idle connections are kept so long; shorter than the server's limit
KEEP_ALIVE_S = 60.0
#: how long `close` waits for the other ends of connections that are being closed, in seconds
FAREWELL_S = 1.0
#: calls at once to one node, by resource class; fewer than the node works on, so that it is seldom busy
PER_NODE = {Reserve.QUORUM: 48, Reserve.INFO: 24, Reserve.STORAGE: 24, Reserve.HYPERVISOR: 24, Reserve.SCRIPTS: 24}
#: how long one poll of a long call waits on the node
POLL_S = 5.0
#: the same when somebody wants to know how far it is
PROGRESS_POLL_S = 2.0
#: how long a long call survives that its node cannot be asked, for instance because its daemon restarts
PATIENCE_S = 60.0
_RESTARTS = 3
_AGAIN_S = 0.5
#: a read is not worth waiting longer for a busy node
_BUSY_READ_S = 1.0
#: how the stdlib's text of a TLS alert begins after its library name
_ALERT = "ALERT"
#: an alert that comes at all comes within this
_ALERT_S = 0.5
#: bodies from here on are sent in pieces, so that the event loop goes on meanwhile
_LARGE = 256 * 1024


class Client:
    """Implements `calls.port.Rpc`. Belongs to one event loop; `close` it at the end.

    `nodes` finds a node by uuid, `term` is that of our mastership, 0 for none: then only reads are answered.
    """

    def __init__(
        self,
        where: Paths,
        me: Identity,
        *,
        nodes: Callable[[Uuid], Node | None],
        term: Callable[[], int],
        port: int = settings.NODED_PORT,
        patience_s: float = PATIENCE_S,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Raises PrereqError(environment_error) when the certificate files cannot be used."""
        self._paths = where
        self._me = me
        self._nodes = nodes
        self._term = term
        self._port = port
        self._patience_s, self._limits = patience_s, limits
        self._files = (where.local(paths.NODE_CERT), where.local(paths.CA_CERT))
        self._seen = self._fingerprint()
        self._context = self._new_context()
        self._session: aiohttp.ClientSession | None = None
        self._connector: Connector | None = None
        self.timings = Timings()  # of single exchanges, by call
        self._long_calls: dict[RequestId, bool] = {}  # under way; whether it shall stop
        self._slots: dict[tuple[str, Reserve], asyncio.Semaphore] = {}

    def _new_context(self) -> ssl.SSLContext:
        return tls.client_context(*self._files)

    def _fingerprint(self) -> tuple[tuple[int, int], ...]:
        """Of the certificate files; those that are not there are left out."""
        found = []
        for path in self._files:
            with contextlib.suppress(OSError):
                status = os.stat(path)
                found.append((status.st_ino, status.st_mtime_ns))
        return tuple(found)

    def _follow_renewal(self) -> None:
        """Certificates that were renewed are used from the next connection on: they are looked at before each call.

        That is at once, which a watcher in a thread would not be: the call after a renewal may rely on it.
        """
        found = self._fingerprint()
        if found == self._seen:
            return
        self._seen = found
        try:
            self._context = self._new_context()
            log.info("new certificate files are in use")
        except errors.PrereqError as err:
            log.error("%s; going on with those in memory", err)

    async def close(self) -> None:
        if self._session is None or self._connector is None:
            return
        # a TLS farewell would outlive the loop
        await self._connector.close(abort_ssl=True)
        await self._session.close()
        self._session = None
        # connections that were closed earlier may still say theirs
        limit = time.monotonic() + FAREWELL_S
        while any(each.fileno() != -1 for each in self._connector.sockets) and time.monotonic() < limit:
            await asyncio.sleep(0.01)

    async def one(self, node: Uuid, call: Call[R], *, progress: Progress | None = None) -> R:
        """As in `calls.port.Rpc`."""
        found = self._nodes(node)
        if found is None:
            raise errors.RpcError(node, "failed", "is not in the configuration")
        if found.offline:
            raise errors.RpcError(found.name, "offline", "is marked offline")
        return await self._at(found, call, progress)

    async def many(self, nodes: Iterable[Uuid], call: Call[R]) -> dict[Uuid, R | errors.RpcError]:
        """As in `calls.port.Rpc`."""
        wanted = list(dict.fromkeys(nodes))

        async def guarded(node: Uuid) -> R | errors.RpcError:
            try:
                return await self.one(node, call)
            except errors.RpcError as err:
                return err

        answers = await asyncio.gather(*(guarded(node) for node in wanted))
        return dict(zip(wanted, answers, strict=True))

    async def at(self, node: Node, call: Call[R]) -> R:
        """As in `calls.port.Rpc`: the node's flags are not looked at."""
        return await self._at(node, call, None)

    async def _at(self, node: Node, call: Call[R], progress: Progress | None) -> R:
        if isinstance(call, TaskCancel) and call.request in self._long_calls:
            self._long_calls[call.request] = True
        if call.time.is_long and isinstance(call, ChangingCall):
            self._long_calls[call.request] = False
            try:
                result = await self._long(node, call, progress)
            finally:
                self._long_calls.pop(call.request, None)
        else:
            result = await self._patiently(node, call, call.time.value)
        return self._decode(node, call, result)

    async def cancel(self, node: Uuid, request: RequestId) -> None:
        """Ask a long call to stop; whoever waits for it sees its end. Raises RpcError."""
        await self.one(node, TaskCancel(request=request))

    def _decode(self, node: Node, call: Call[R], result: Any) -> R:
        try:
            return cast(R, codec.convert(result, call.reply))
        except codec.CodecError as err:
            raise errors.RpcError(
                node.name,
                "failed",
                f"answered {call.call_name} in a form that is not known: {err}",
                hint="is its software of another version?",
            ) from err

    # long calls

    async def _long(self, node: Node, call: ChangingCall[Any], progress: Progress | None) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.time.value
        await self._start(node, call, deadline)
        restarts, trouble_since = 0, None
        while loop.time() < deadline:
            asked = loop.time()
            try:
                wait_s = POLL_S if progress is None else PROGRESS_POLL_S
                raw = await self._patiently(node, TaskPoll(request=call.request, wait=wait_s), Time.NORMAL.value)
            except errors.RpcError as err:
                trouble_since = trouble_since or asked
                if err.kind not in ("unreachable", "timeout", "busy") or asked - trouble_since > self._patience_s:
                    raise
                log.info("%s; still waiting for its %s", err, call.call_name)
                await asyncio.sleep(1.0)
                continue
            trouble_since = None
            reply = codec.convert(raw, TaskReply)
            if progress is not None and reply.progress:
                progress(reply.progress)
            if reply.state == "done":
                return reply.result
            if reply.state == "failed":
                raise _failed(node, reply.result)
            if reply.state == "unknown":
                # the daemon ended while it ran: the handler finds what is done and does the rest
                restarts += 1
                if restarts > _RESTARTS:
                    raise errors.RpcError(
                        node.name, "failed", f"began {call.call_name} {restarts} times and never ended it"
                    )
                await self._start(node, call, deadline)
            elif loop.time() - asked < 0.2:
                await asyncio.sleep(0.2)  # too many wait there: the node answered at once
        await self._give_up(node, call)
        raise errors.RpcError(node.name, "timeout", f"{call.call_name} did not end within {call.time.value:g} s")

    async def _start(self, node: Node, call: ChangingCall[Any], deadline: float) -> None:
        """Until the node says that it has begun. A lost answer: the same request again. Busy: until it is not."""
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + self._patience_s
        while True:
            if self._long_calls.get(call.request):
                raise errors.RpcError(node.name, "failed", f"{call.call_name} was stopped before it began")
            try:
                await self._limited(node, call, min(Time.NORMAL.value, max(0.1, deadline - loop.time())))
                return
            except errors.RpcError as err:
                until = {"timeout": patient_until, "busy": deadline}.get(err.kind, 0.0)
                if loop.time() >= until:
                    raise
                log.info("%s; sending %s again", err, call.call_name)
            await asyncio.sleep(_AGAIN_S)

    async def _give_up(self, node: Node, call: ChangingCall[Any]) -> None:
        try:
            await self._patiently(node, TaskCancel(request=call.request), Time.URGENT.value)
        except errors.RpcError as err:
            log.warning("%s", err)

    # one exchange

    async def _patiently(self, node: Node, call: Call[Any], limit_s: float) -> Any:
        """The result as builtins; a busy node is asked again: it has not begun anything."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        patience = limit_s if isinstance(call, ChangingCall) else min(limit_s, _BUSY_READ_S)
        pause = 0.05
        while True:
            try:
                return await self._limited(node, call, limit_s - (loop.time() - begun))
            except errors.RpcError as err:
                if err.kind != "busy" or loop.time() - begun + pause > patience:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.25)

    async def _limited(self, node: Node, call: Call[Any], limit_s: float) -> Any:
        begun, failed = time.monotonic(), True
        try:
            async with asyncio.timeout(limit_s) as timer, self._slot(node, call.reserve):
                mark = DEADLINE.set(Deadline(timer, limit_s))
                try:
                    result = await self._exchange(node, call)
                finally:
                    DEADLINE.reset(mark)
            failed = False
            return result
        except TimeoutError as err:
            raise errors.RpcError(
                node.name,
                "timeout",
                f"no answer to {call.call_name} within {limit_s:.0f} s",
                hint="whether it was done is not known" if call.needs_term else "",
            ) from err
        finally:
            self.timings.add(call.call_name, time.monotonic() - begun, failed=failed)

    def _slot(self, node: Node, reserve: Reserve) -> asyncio.Semaphore:
        key = (node.uuid, reserve)
        if key not in self._slots:
            self._slots[key] = asyncio.Semaphore(PER_NODE[reserve])
        return self._slots[key]

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._connector = Connector(source=self._me.address, keepalive_s=KEEP_ALIVE_S, limits=self._limits)
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        return self._session

    async def _exchange(self, node: Node, call: Call[Any]) -> Any:
        if partition.blocked(self._paths, node.primary_ip):
            raise errors.RpcError(node.name, "unreachable", f"cannot connect to {node.primary_ip}: cut off")
        self._follow_renewal()
        body = codec.encode({"term": self._term(), "call": calls.encode(call)})
        if len(body) > MAX_BODY:
            raise errors.RpcError(
                node.name, "failed", f"{call.call_name} of {len(body)} bytes is not sent: nodes take {MAX_BODY} at most"
            )
        try:
            raw = await self._post(node, body)
        except (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError) as err:
            if isinstance(err, aiohttp.ClientConnectorError) or _is_alert(err):
                raise _no_connection(node, err) from err
            # most often a kept connection that the node closed just now; every call may be repeated
            try:
                raw = await self._post(node, body)
            except (aiohttp.ClientError, OSError) as again:
                if not isinstance(again, aiohttp.ClientConnectorError) and await self._is_refused(node):
                    raise _refused(node) from again
                raise _no_connection(node, again) from again
        except (aiohttp.ClientError, OSError) as err:
            raise _no_connection(node, err) from err
        return _unpack(node, raw)

    async def _is_refused(self, node: Node) -> bool:
        """Whether the node does not like our certificate.

        With TLS 1.3 that is known only after the handshake, when a request may be on its way already: then all that
        is left of the alert may be a broken connection. Here nothing is sent, so that the alert is all there is.
        """
        source = (self._me.address, 0) if self._me.address else None
        try:
            async with asyncio.timeout(self._limits.both_s):
                reader, writer = await asyncio.open_connection(
                    node.primary_ip, self._port, ssl=self._context, server_hostname=node.uuid, local_addr=source
                )
        except OSError as err:
            return _is_alert(err)
        try:
            async with asyncio.timeout(_ALERT_S):
                await reader.read(1)
        except OSError as err:  # ssl.SSLError and TimeoutError are two
            return _is_alert(err)
        finally:
            writer.transport.abort()
        return False

    async def _post(self, node: Node, body: bytes) -> bytes:
        host = f"[{node.primary_ip}]" if ":" in node.primary_ip else node.primary_ip
        async with self._open().post(
            f"https://{host}:{self._port}/call",
            data=io.BytesIO(body) if len(body) > _LARGE else body,
            ssl=self._context,
            server_hostname=node.uuid,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
        ) as response:
            return await response.read()


def _unpack(node: Node, raw: bytes) -> Any:
    try:
        answer = codec.loads(raw)
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise codec.CodecError("no member `ok`")
    except codec.CodecError as err:
        raise errors.RpcError(
            node.name, "failed", f"what answers there is no node daemon: {err}", hint="look at its log"
        ) from err
    if answer["ok"]:
        return answer.get("result")
    kind = answer.get("kind")
    raise _failed(node, answer.get("error"), kind if isinstance(kind, str) and kind else "failed")


def _failed(node: Node, error: Any, kind: str = "failed") -> errors.RpcError:
    cause = errors.decode(error)
    made = errors.RpcError(node.name, kind, cause.message)
    made.__cause__ = cause
    return made


def _is_alert(err: BaseException) -> bool:
    """Whether the peer ended TLS with an alert: it did not like our certificate."""
    seen: BaseException | None = err
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, ssl.SSLCertVerificationError):
            return _ALERT in str(seen.reason or seen).upper()
        seen = seen.__cause__ or seen.__context__ or getattr(seen, "os_error", None)
    return any("_ALERT_" in str(argument).upper() for argument in err.args)


def _refused(node: Node) -> errors.RpcError:
    return errors.RpcError(
        node.name,
        "refused",
        "refused our certificate",
        hint="it does not have this node in its trust file: it was offline when certificates changed, or is of "
        "another cluster; add it again with --readd",
    )


def _no_connection(node: Node, err: BaseException) -> errors.RpcError:
    if isinstance(err, aiohttp.ClientConnectorCertificateError):
        return errors.RpcError(
            node.name,
            "refused",
            f"the certificate shown at {node.primary_ip} is not that node's: {err.certificate_error}",
            hint="is the address right? join the node again if it was installed anew",
        )
    if _is_alert(err):
        return _refused(node)
    if isinstance(err, aiohttp.ClientConnectorError):
        return errors.RpcError(
            node.name,
            "unreachable",
            f"cannot connect to {node.primary_ip}: {err.os_error.strerror or err.os_error}",
            hint="is its node daemon running?",
        )
    if isinstance(err, aiohttp.ServerTimeoutError):
        return errors.RpcError(node.name, "unreachable", str(err.__cause__ or err))
    return errors.RpcError(
        node.name,
        "timeout",
        f"the connection was lost before the answer ({err})",
        hint="whether it was done is not known",
    )
