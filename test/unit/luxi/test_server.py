"""The server over real sockets. Waits end by events, never by time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ganeti import errors, paths
from ganeti.luxi.server import Handler, Limits, LuxiServer
from ganeti.paths import Paths

Scenario = Callable[[LuxiServer], Awaitable[None]]


async def echo(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
    return [method, args]


def serve(where: Paths, handle: Handler, scenario: Scenario, limits: Limits | None = None) -> None:
    async def main() -> None:
        server = LuxiServer(where, handle, limits=limits)
        await server.start()
        try:
            async with asyncio.timeout(20):
                await scenario(server)
        finally:
            await server.close(grace_s=2)

    asyncio.run(main())


class Peer:
    """A client of the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, where: Paths, file: paths.File = paths.QUERY_SOCKET) -> Peer:
        return cls(*await asyncio.open_unix_connection(where.local(file), limit=1 << 26))

    def send(self, method: str, *args: Any, **more: Any) -> None:
        self.send_raw(json.dumps({"method": method, "args": list(args), **more}).encode() + b"\x03")

    def send_raw(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> Any:
        return json.loads((await self.reader.readuntil(b"\x03"))[:-1])

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def test_both_sockets_are_served_with_their_modes_and_are_gone_at_the_end(where: Paths) -> None:
    async def scenario(server: LuxiServer) -> None:
        for file in (paths.QUERY_SOCKET, paths.MASTER_SOCKET):
            assert stat.S_IMODE(os.stat(where.local(file)).st_mode) == 0o660
            peer = await Peer.connect(where, file)
            peer.send("QueryClusterInfo")
            assert await peer.reply() == {"success": True, "result": ["QueryClusterInfo", []]}
            await peer.close()

    serve(where, echo, scenario)
    assert os.listdir(where.local(paths.SOCKET_DIR)) == []


def test_start_when_a_stale_socket_lies_there_then_it_is_replaced(where: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(where.local(paths.QUERY_SOCKET))

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send("ArchiveJob", "3")
        assert (await peer.reply())["result"] == ["ArchiveJob", [3]]
        await peer.close()

    serve(where, echo, scenario)


def test_start_when_something_else_lies_there_then_it_is_left_alone(where: Paths) -> None:
    with open(where.local(paths.MASTER_SOCKET), "w", encoding="ascii") as file:
        file.write("precious")

    async def scenario(server: LuxiServer) -> None:
        raise AssertionError("started")

    with pytest.raises(errors.PrereqError, match="not a socket"):
        serve(where, echo, scenario)
    assert os.listdir(where.local(paths.SOCKET_DIR)) == ["ganeti-master"]


def test_start_when_the_directory_is_missing_then_the_error_names_it(where: Paths) -> None:
    os.rmdir(where.local(paths.SOCKET_DIR))

    async def scenario(server: LuxiServer) -> None:
        raise AssertionError("started")

    with pytest.raises(errors.PrereqError, match="cannot make the socket") as caught:
        serve(where, echo, scenario)
    assert where.local(paths.SOCKET_DIR) in str(caught.value)


def test_requests_of_one_connection_are_answered_in_order_others_do_not_wait(where: Paths) -> None:
    release = asyncio.Event()

    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        if method == "WaitForJobChange":
            await release.wait()
        return method

    async def scenario(server: LuxiServer) -> None:
        slow, quick = await Peer.connect(where), await Peer.connect(where)
        slow.send("WaitForJobChange", 1, ["status"], None, None, 60)
        slow.send("QueryClusterInfo")
        quick.send("QueryTags", "cluster", "")
        assert (await quick.reply())["result"] == "QueryTags"
        release.set()
        assert (await slow.reply())["result"] == "WaitForJobChange"
        assert (await slow.reply())["result"] == "QueryClusterInfo"
        await slow.close()
        await quick.close()

    serve(where, handle, scenario)


def test_request_when_in_small_parts_then_it_is_put_together(where: Paths) -> None:
    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        for byte in b'{"method":"SetDrainFlag","args":[true],"version":3000000}\x03':
            peer.send_raw(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert await peer.reply() == {"success": True, "result": ["SetDrainFlag", [True]]}
        await peer.close()

    serve(where, echo, scenario)


def test_request_when_it_has_a_key_then_the_handler_gets_it_with_the_peer(where: Paths) -> None:
    seen: list[dict[str, Any]] = []

    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        seen.append(extra)

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send("SubmitJob", [{}], key="abc")
        assert await peer.reply() == {"success": True, "result": None}
        peer.send("SubmitJob", [{}])
        await peer.reply()
        await peer.close()

    serve(where, handle, scenario)
    me = {"uid": os.getuid(), "pid": os.getpid()}
    assert seen == [me | {"key": "abc"}, me]


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello",
        b"",
        b"\xff\xfe",
        b"[1]",
        b'{"method":"QueryClusterInfo"}',
        b'{"method":5,"args":[]}',
        b'{"method":"Nonsense","args":[]}',
        b'{"method":"CancelJob","args":["x"]}',
        b'{"method":"QueryClusterInfo","args":[],"key":7}',
        b"[" * 100_000,
        b"1" * 10_000,
    ],
)
def test_request_when_it_cannot_be_parsed_then_it_says_so_and_closes(where: Paths, garbage: bytes) -> None:
    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send_raw(garbage + b"\x03")
        reply = await peer.reply()
        assert reply["success"] is False
        assert reply["result"].startswith("Failed to parse request: ")
        assert await peer.reader.read() == b""
        await peer.close()

    serve(where, echo, scenario)


def test_request_when_too_long_then_it_says_the_limit_and_closes(where: Paths) -> None:
    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send_raw(b"x" * 2000)
        assert "more than 1000 bytes" in (await peer.reply())["result"]
        await peer.close()

    serve(where, echo, scenario, Limits(request_bytes=1000))


def test_request_when_large_then_it_is_taken(where: Paths) -> None:
    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        ops = [{"OP_ID": "OP_TEST_DELAY", "comment": "x" * 1000} for _ in range(1000)]
        peer.send("SubmitJob", ops)
        assert (await peer.reply())["result"] == ["SubmitJob", [ops]]
        await peer.close()

    serve(where, echo, scenario)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (errors.PrereqError("wrong_input", "no such field"), ["OpPrereqError", ["no such field", "wrong_input"]]),
        (errors.JobQueueFull("full"), ["JobQueueFull", []]),
        (errors.RequestError("not here"), "not here"),
    ],
)
def test_handler_when_it_refuses_then_the_error_is_encoded_and_the_connection_stays(
    where: Paths, error: errors.GanetiError, result: Any
) -> None:
    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        raise error

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        for _ in range(2):
            peer.send("QueryClusterInfo")
            assert await peer.reply() == {"success": False, "result": result}
        await peer.close()

    serve(where, handle, scenario)


def test_handler_when_it_has_a_bug_then_the_log_knows_and_the_client_does_not(
    where: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        raise KeyError("a secret detail")

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send("QueryClusterInfo")
        reply = await peer.reply()
        assert reply["success"] is False
        assert reply["result"][0] == "GenericError"
        assert "secret" not in str(reply)
        await peer.close()

    with caplog.at_level(logging.ERROR):
        serve(where, handle, scenario)
    assert "a secret detail" in caplog.text


@pytest.mark.parametrize("before", [0, 1000])
def test_answer_when_it_cannot_be_encoded_then_an_error_comes_unless_half_of_it_is_sent(
    where: Paths, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        return ["x" * 1000] * before + [float("inf")]

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send("QueryClusterInfo")
        if before:
            assert b"\x03" not in await peer.reader.read()
        else:
            assert "cannot be encoded" in (await peer.reply())["result"][1][0]
        await peer.close()

    serve(where, handle, scenario)
    assert "cannot be encoded" in caplog.text


def test_wait_when_the_client_goes_away_then_it_is_cancelled(where: Paths) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send("WaitForJobChange", 1, ["status"], None, None, 60)
        await started.wait()
        await peer.close()
        await cancelled.wait()

    serve(where, handle, scenario)


def test_submission_when_the_client_goes_away_then_it_runs_to_its_end(where: Paths) -> None:
    started, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        started.set()
        await go_on.wait()
        finished.set()

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send("SubmitJob", [{}])
        await started.wait()
        await peer.close()
        other = await Peer.connect(where)
        go_on.set()
        await finished.wait()
        await other.close()

    serve(where, handle, scenario)


def test_answer_when_the_client_has_ended_its_sending_then_it_still_comes(where: Paths) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        started.set()
        await go_on.wait()
        return "here"

    async def scenario(server: LuxiServer) -> None:
        peer = await Peer.connect(where)
        peer.send("WaitForJobChange", 1, ["status"], None, None, 60)
        peer.writer.write_eof()
        await started.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        go_on.set()
        assert await peer.reply() == {"success": True, "result": "here"}
        assert await peer.reader.read() == b""
        await peer.close()

    serve(where, handle, scenario)


def test_client_that_does_not_read_holds_up_nobody_and_is_dropped(where: Paths) -> None:
    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        return ["x" * 1000] * 20_000 if method == "QueryClusterInfo" else method

    async def scenario(server: LuxiServer) -> None:
        slow, quick = await Peer.connect(where), await Peer.connect(where)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined] # of Unix transports
        slow.send("QueryClusterInfo")
        for _ in range(20):
            quick.send("QueryTags", "cluster", "")
            assert (await quick.reply())["result"] == "QueryTags"
        while len(server._connections) == 2:
            await asyncio.sleep(0)
        slow.writer.transport.abort()
        await quick.close()

    serve(where, handle, scenario, Limits(write_s=0.05))


def test_answer_when_large_then_others_get_their_turn_between(where: Paths) -> None:
    rows = [[[0, f"instance{number}.example.com"], [0, number]] for number in range(20_000)]

    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        return {"fields": [], "data": rows} if method == "Query" else method

    async def scenario(server: LuxiServer) -> None:
        large = await Peer.connect(where)
        large.send("Query", "instance", ["name"], None)
        reading = asyncio.ensure_future(large.reply())
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        assert (await reading)["result"]["data"] == rows
        # some 50 ms of work in slices of about 2 ms; in one go there would be a handful
        assert turns > 12
        await large.close()

    serve(where, handle, scenario)


def test_close_when_requests_run_then_waits_end_and_submissions_are_answered(where: Paths) -> None:
    started, closing = asyncio.Event(), asyncio.Event()

    async def handle(method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        if method == "WaitForJobChange":
            started.set()
            await asyncio.Event().wait()
        await closing.wait()
        return 7

    async def main() -> None:
        server = LuxiServer(where, handle)
        await server.start()
        waiter, submitter = await Peer.connect(where), await Peer.connect(where)
        waiter.send("WaitForJobChange", 1, ["status"], None, None, 60)
        submitter.send("SubmitJob", [{}])
        await started.wait()
        ending = asyncio.ensure_future(server.close())
        assert await waiter.reader.read() == b""
        closing.set()
        await ending
        await waiter.close()
        await submitter.close()

    asyncio.run(main())


def test_many_connections_that_come_and_go_leave_nothing(where: Paths) -> None:
    async def scenario(server: LuxiServer) -> None:
        peers = [await Peer.connect(where) for _ in range(50)]
        for peer in peers:
            peer.send("QueryClusterInfo")
            peer.send_raw(b'{"method":')
        for peer in peers:
            assert (await peer.reply())["success"]
            await peer.close()
        while server._connections:
            await asyncio.sleep(0)

    serve(where, echo, scenario)


def test_half_a_request_is_given_up_after_a_while_and_an_idle_client_is_not(where: Paths) -> None:
    async def scenario(server: LuxiServer) -> None:
        idle, half = await Peer.connect(where), await Peer.connect(where)
        half.send_raw(b'{"method": "Query')
        refused = await half.reply()
        assert refused["success"] is False
        assert "not complete" in refused["result"]
        assert await half.reader.read() == b""
        idle.send("QueryTags", "cluster", "")
        assert (await idle.reply())["success"] is True
        # what begins after a whole request has a time limit too
        idle.send_raw(b'{"method": "QueryTags", "args": ["cluster", ""]}\x03{"me')
        assert (await idle.reply())["success"] is True
        assert "not complete" in (await idle.reply())["result"]
        await half.close()
        await idle.close()

    serve(where, echo, scenario, Limits(request_s=0.05))
