"""ganeti-confd: one event loop with a UDP socket; the configuration comes from the file of the node daemon."""

from __future__ import annotations

import asyncio
import errno
import logging
import optparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, cast

from ganeti import errors, paths, settings
from ganeti.confd import protocol
from ganeti.confd.answers import Answers
from ganeti.confd.protocol import Fault, Reply, Status
from ganeti.confd.replays import Replays
from ganeti.host import notify, partition
from ganeti.host.accounts import become
from ganeti.host.clock import Clock, SystemClock
from ganeti.host.daemon import Ready, option_parser, run_daemon
from ganeti.host.watch import FileWatcher
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.wire import codec

log = logging.getLogger(__name__)

NAME = "ganeti-confd"
EXIT_NO_CLUSTER = 5
#: the files are looked at so often even if nobody says that they changed
LOOK_S = 17.0
MAX_FILE = 1 << 30


class Knowledge:
    """The key and the configuration, as their files say. Without one of them nothing is answered."""

    def __init__(self, where: Paths) -> None:
        self._key_path, self._data_path = where.local(paths.CONFD_KEY), where.local(paths.CONFD_DATA)
        self._stamp: tuple[int, ...] = ()
        self.key = b""
        self.answers: Answers | None = None

    def reload(self) -> None:
        """Blocks while it reads. A file that can not be read: what was known of it is forgotten."""
        self.key = _bytes(self._key_path)
        stamp = _stamp(self._data_path)
        if stamp == self._stamp and self.answers is not None:
            return
        self._stamp = stamp
        raw = _bytes(self._data_path)
        if not raw:
            if self.answers is not None:
                log.info("this node has no copy of the configuration any more: no answers")
            self.answers = None
            return
        try:
            self.answers = Answers(codec.unpack(raw, dict[str, Any]))
        except (codec.CodecError, KeyError, TypeError, IndexError, AttributeError) as err:
            self.answers = None
            log.error("cannot read %s: %s; the node daemon writes it anew", self._data_path, err)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE:
                log.error("%s is longer than %d bytes: not read", path, MAX_FILE)
                return b""
            return file.read()  # a limit given here is memory taken, however short the file
    except FileNotFoundError:
        return b""
    except OSError as err:
        log.error("cannot read %s: %s", path, err.strerror)
        return b""


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


class Responder(asyncio.DatagramProtocol):
    """Answers datagrams. What is not a signed request of now is dropped without an answer."""

    def __init__(self, knowledge: Knowledge, clock: Clock, *, is_cut_off: Callable[[str], bool]) -> None:
        self._knowledge, self._clock, self._is_cut_off = knowledge, clock, is_cut_off
        self._replays = Replays(2 * protocol.MAX_AGE_S)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11: the transport of a selector loop has the methods, not the class
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        source = str(addr[0])
        if self._transport is None or self._is_cut_off(source):
            return
        reply = self.answer(data, source)
        if reply:
            self._transport.sendto(reply, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("an answer did not arrive: %s", exc)

    def answer(self, untrusted: bytes, source: str) -> bytes:
        """The datagram that answers; empty: none does."""
        key, answers, now = self._knowledge.key, self._knowledge.answers, self._clock.time()
        if not key or answers is None:
            return b""
        try:
            request = protocol.read_request(untrusted, key, now=now)
        except protocol.BadDatagramError as err:
            log.debug("dropped from %s: %s", source, err)
            return b""
        if self._replays.is_replay(request.rsalt, source, now=now):
            log.warning("dropped from %s: somebody else has sent this request before", source)
            return b""
        reply = protocol.pack(answers.answer(request), request.rsalt, key)
        if len(reply) > protocol.MAX_BYTES:
            log.warning("the answer to a request of type %d has %d bytes: too many", request.type, len(reply))
            too_long = Reply(protocol=protocol.VERSION, status=Status.ERROR, answer=int(Fault.INTERNAL), serial=0)
            reply = protocol.pack(too_long, request.rsalt, key)
        return reply


async def _serve(where: Paths, bind: str, port: int, ready: Ready) -> int:
    loop = asyncio.get_running_loop()
    stop, changed = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    knowledge = Knowledge(where)
    watched = [where.local(file) for file in (paths.CONFD_DATA, paths.CONFD_KEY, paths.IDENTITY)]

    def tell(_: frozenset[str]) -> None:
        loop.call_soon_threadsafe(changed.set)

    watcher = FileWatcher(watched, tell)
    await asyncio.to_thread(knowledge.reload)
    transport = await _listen(
        bind, port, Responder(knowledge, SystemClock(), is_cut_off=lambda peer: partition.blocked(where, peer))
    )
    watcher.start()
    log.info("answers at %s port %d", bind, port)
    ready()
    interval = min(LOOK_S, notify.interval_s() or LOOK_S)
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        while not stop.is_set():
            changing = asyncio.create_task(changed.wait(), name="change")
            await asyncio.wait({stopping, changing}, timeout=interval, return_when=asyncio.FIRST_COMPLETED)
            changing.cancel()
            changed.clear()
            notify.tell(notify.ALIVE)
            if identity.load(where) is None:
                log.info("this node has left its cluster; the daemon ends")
                break
            await asyncio.to_thread(knowledge.reload)
    finally:
        stopping.cancel()
        await asyncio.to_thread(watcher.stop)
        transport.close()
    return 0


async def _listen(address: str, port: int, responder: Responder) -> asyncio.DatagramTransport:
    """Raises PrereqError(environment_error)."""
    try:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: responder, local_addr=(address, port)
        )
    except OSError as err:
        in_use = err.errno == errno.EADDRINUSE
        raise errors.PrereqError(
            "environment_error",
            f"cannot listen at {address} port {port} (UDP): {err.strerror or err}",
            hint="another program has that port" if in_use else "is the address configured on this node?",
        ) from err
    return transport


def make_parser() -> optparse.OptionParser:
    return option_parser(
        NAME,
        "Answers signed questions about the cluster by UDP, from this node's copy of the configuration."
        " On nodes that have none, which are no master candidates, it is silent.",
        usage="%prog [-f] [-d] [-b ADDRESS] [-p PORT]",
        port=settings.CONFD_PORT,
    )


def main(argv: list[str] | None = None) -> int:
    parser = make_parser()
    chosen, arguments = parser.parse_args(argv)
    if arguments:
        parser.error("takes no arguments")
    where = Paths.from_environment()
    try:
        me = identity.load(where)
        if me is None:
            sys.stderr.write(f"{NAME}: this node is in no cluster ({where.local(paths.IDENTITY)} is missing)\n")
            return EXIT_NO_CLUSTER
        address = chosen.bind or me.address

        def body(ready: Ready) -> int:
            become(settings.CONFD_USER, where)
            return asyncio.run(_serve(where, address, chosen.port, ready))

        return run_daemon(NAME, "conf-daemon", where, body, foreground=chosen.foreground, debug=chosen.debug)
    except errors.GanetiError as err:
        sys.stderr.write(f"{NAME}: {err}\n")
        return err.exit_status
