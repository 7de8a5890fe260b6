"""Connections to the REST interface that never come to an end, on a real socket but without a cluster."""

import asyncio
import contextlib

from unit.rapi.kit import TABLE, Master

from ganeti.rapi.serving import Limits, Service
from ganeti.rapi.users import Users

LIMIT_S = 60
GOOD = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


def serve(tmp_path, limits, body, master=None):
    """Runs `body(port, service)` beside a server of this process."""

    async def main():
        loop = asyncio.get_running_loop()
        users = Users(str(tmp_path / "users"), require_authentication=False, monotonic=loop.time)
        service = Service(TABLE, master or Master(), users, limits=limits)
        server = service.server()
        listening = await loop.create_server(service.protocols(server), "127.0.0.1", 0)
        sweeping = asyncio.create_task(service.sweep(server, every_s=0.05))
        try:
            async with asyncio.timeout(LIMIT_S):
                await body(listening.sockets[0].getsockname()[1])
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
            listening.close()
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
            writer.write(GOOD)
            assert b" 200 " in await reader.readline()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await until_closed(reader, writer) == b""
        for _, writer in first:
            writer.close()

    serve(tmp_path, Limits(connections=3), body)


def test_request_without_host_is_bad_and_half_a_request_is_no_traceback(tmp_path):
    async def body(port):
        for text in (b"GET /version HTTP/1.1\r\n\r\n", b"\x16\x03\x01 nonsense\r\n\r\n", b"GET " + b"/" * 20000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(text)
            found = await until_closed(reader, writer)
            assert b" 400 " in found and b"Traceback" not in found

    serve(tmp_path, Limits(header_s=0.5), body)
