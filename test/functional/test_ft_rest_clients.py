"""Connections to the REST interface that never come to an end, on a real socket but without a cluster."""

import asyncio
import contextlib
import functools
import socket
import ssl
import time

import pytest
import simplejson
from unit.rapi.kit import TABLE, Master

from ganeti.host import tls
from ganeti.rapi.daemon import server_context
from ganeti.rapi.listening import Listener, listening_sockets
from ganeti.rapi.serving import Limits, Service
from ganeti.rapi.users import Users

LIMIT_S = 60
GOOD = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
KEPT = GOOD.replace(b"Host", b"Connection: keep-alive\r\nHost")


def serve(tmp_path, limits, body, master=None, context=None):
    """Runs `body(port)` beside a server of this process."""

    async def main():
        loop = asyncio.get_running_loop()
        users = Users(str(tmp_path / "users"), require_authentication=False, monotonic=loop.time)
        service = Service(TABLE, master or Master(), users, limits=limits)
        server = service.server()
        sockets = listening_sockets("127.0.0.1", 0)
        listening = Listener(
            sockets,
            server,
            functools.partial(service.protocol, server),
            functools.partial(service.drop_idle, server),
            most=service.limits.connections,
            context=context,
        )
        listening.start()
        sweeping = asyncio.create_task(service.sweep(server, every_s=0.05))
        try:
            async with asyncio.timeout(LIMIT_S):
                await body(sockets[0].getsockname()[1])
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
            await listening.close()
            await server.shutdown(1.0)

    asyncio.run(main())


async def until_closed(reader, writer, drip=b""):
    """Feeds the connection until the other end has enough; all that was answered."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while not reader.at_eof():
            if drip:
                writer.write(drip)
                await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    found += await reader.read(1000)
    writer.close()
    return found


async def tried(port, context=None):
    """The answer; nothing when the connection was refused."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        with contextlib.closing(writer):
            writer.write(GOOD)
            return await reader.read(1000)
    return b""


def test_header_that_drips_is_cut_off_while_others_are_served(tmp_path):
    async def body(port):
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        for _, writer in slow[:40]:
            writer.write(b"GET /version HTTP/1.1\r\nX: ")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GOOD)
        assert b" 200 " in await reader.readline()
        writer.close()
        dripping = [until_closed(*one, drip=b"x") for one in slow[:40]]
        silent = [until_closed(*one) for one in slow[40:]]
        assert set(await asyncio.gather(*dripping, *silent)) == {b""}

    serve(tmp_path, Limits(header_s=0.5), body)


def test_body_that_does_not_come_is_given_up(tmp_path):
    async def body(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            b"GET /2/jobs/1/wait HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        writer.write(head.replace(b"GET /2/jobs/1/wait", b"GET /version"))
        assert b" 408 " in await until_closed(reader, writer)

    serve(tmp_path, Limits(body_s=0.3, header_s=0.5), body)


def test_answer_that_nobody_takes_is_given_up(tmp_path):
    class Large(Master):
        async def call(self, method, *args, key=None):
            return ["x" * 1000] * 20000

    async def body(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(GOOD.replace(b"/version", b"/2/tags"))
        await asyncio.sleep(1.0)
        size = 0
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(1 << 20):
                size += len(part)
        assert size < 20_000_000
        writer.close()

    serve(tmp_path, Limits(write_s=0.3), body, Large())


def test_connection_too_many_is_closed_at_once(tmp_path):
    async def body(port):
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for reader, writer in first:
            writer.write(KEPT)
            assert b" 200 " in await reader.readline()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await until_closed(reader, writer) == b""
        for _, writer in first:
            writer.close()

    serve(tmp_path, Limits(connections=3), body)


async def answer_to(port, text):
    """(status, JSON of the body) and what else the header says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    head, _, body = (await until_closed(reader, writer)).partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    return int(lines[0].split()[1]), simplejson.loads(body), [line.lower() for line in lines[1:]]


def test_handshake_that_does_not_come_counts_as_a_connection(tmp_path):
    """Else a stranger could make the daemon spend any amount of memory."""
    made = tls.make_service("rest", addresses=("127.0.0.1",), now=time.time())
    bundle = tmp_path / "rapi.pem"
    bundle.write_text(made.bundle)

    async def body(port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        refused = await asyncio.open_connection("127.0.0.1", port)
        assert await until_closed(*refused) == b""
        for _, writer in silent:
            writer.close()
        context = ssl.create_default_context(cafile=str(bundle))
        while b" 200 " not in await tried(port, context):  # until the end of the others has been noticed
            pass

    serve(tmp_path, Limits(connections=3), body, context=server_context(str(bundle)))


def test_silent_client_gives_its_place_to_a_new_one(tmp_path):
    """Strangers who say nothing do not keep others out."""

    async def body(port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        while b" 200 " not in await tried(port):  # until the first one has been silent for long enough
            pass
        for _, writer in silent:
            writer.close()

    serve(tmp_path, Limits(connections=3, header_s=100.0), body)


def test_all_addresses_are_listened_on_by_a_socket_for_each_family():
    sockets = listening_sockets(None, 0)
    with contextlib.ExitStack() as stack:
        for one in sockets:
            stack.callback(one.close)
        assert socket.AF_INET in {one.family for one in sockets}
        with pytest.raises(OSError, match=r"No such device|not permitted"):
            listening_sockets(None, 0, "none0")
        with pytest.raises(OSError, match=r"in use|not permitted"):
            listening_sockets("127.0.0.1", sockets[0].getsockname()[1], "lo")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET /version HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400),
        (b"GET " + b"/" * 20000, 400),
        (GOOD.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
        (GOOD.replace(b"\r\n\r\n", b"\r\nX: " + b"secret" * 9000 + b"\r\n\r\n"), 400),
        (GOOD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"), 400),
        (GOOD.replace(b"\r\n\r\n", b"\r\nX-A: secret\0\r\n\r\n"), 400),
        (GOOD.replace(b"/version", b"/2%2Finfo"), 404),
    ],
)
def test_request_that_cannot_be_read_is_told_of_in_the_form_of_all_errors(tmp_path, text, status):
    async def body(port):
        found, value, _ = await answer_to(port, text)
        assert (found, value["code"], sorted(value)) == (status, status, ["code", "explain", "message"])
        assert "secret" not in value["message"]

    serve(tmp_path, Limits(header_s=0.5), body)


def test_compressed_body_is_no_json(tmp_path):
    head = b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"

    async def body(port):
        assert (await answer_to(port, GOOD[:-2] + head))[0] == 415

    serve(tmp_path, Limits(header_s=0.5), body)


def test_stranger_cannot_fill_the_memory_with_a_body(tmp_path):
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    async def body(port):
        for size, status in ((1000, 200), (1 << 17, 413)):
            text = b"{}".ljust(size)
            assert (await answer_to(port, GOOD[:-2] + head % size + text))[0] == status

    serve(tmp_path, Limits(), body)


def test_connection_is_closed_unless_the_client_asks_for_it_to_be_kept(tmp_path):
    """Clients that read an answer to the end of the connection do not ask."""

    async def body(port):
        for version in (b"1.0", b"1.1"):
            status, value, header = await answer_to(port, GOOD.replace(b"1.1", version))
            assert (status, value, "connection: close" in header) == (200, 2, True)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(KEPT)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head and b"close" not in head
            assert await reader.readexactly(1) == b"2"
        writer.close()

    serve(tmp_path, Limits(), body)
