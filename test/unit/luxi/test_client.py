"""The client against a scripted server in a thread."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ganeti import errors, paths
from ganeti.luxi.client import Client, default_address
from ganeti.luxi.framing import ETX, is_hung_up
from ganeti.paths import Paths
from ganeti.testing.clock import SteppedClock

Act = Callable[[socket.socket], None]


class FakeClock(SteppedClock):
    """Sleeping takes no time, and may make something happen."""

    def __init__(self, on_sleep: Callable[[float], None] = lambda seconds: None) -> None:
        super().__init__()
        self.slept: list[float] = []
        self._on_sleep = on_sleep

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.slept.append(seconds)
        self._on_sleep(seconds)


def request(stream: socket.socket) -> Any:
    data = b""
    while not data.endswith(ETX):
        received = stream.recv(4096)
        assert received, "the client hung up"
        data += received
    return json.loads(data[:-1])


def answer(stream: socket.socket, result: Any, *, success: bool = True) -> None:
    stream.sendall(json.dumps({"success": success, "result": result}).encode() + ETX)


def listen(where: Paths, file: paths.File = paths.QUERY_SOCKET) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(where.local(file))
    server.listen(5)
    return server


@contextmanager
def master(where: Paths, *acts: Act) -> Iterator[list[BaseException]]:
    """Each connection is served by the next act; errors of the acts are raised at the end."""
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            for act in acts:
                stream, _ = server.accept()
                with stream:
                    act(stream)
        except BaseException as err:  # noqa: BLE001 - raised again in the test's own thread
            failures.append(err)

    with listen(where) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield failures
        finally:
            thread.join(10)
            assert not thread.is_alive(), "not all acts were played"
    if failures:
        raise failures[0]


def client(where: Paths, clock: FakeClock | None = None, **more: Any) -> Client:
    return Client(paths=where, environ={}, clock=clock or FakeClock(), **more)


def set_master(where: Paths, name: str) -> None:
    path = where.local(paths.ssconf("master_node"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(name + "\n")


def test_default_address_follows_the_environment(where: Paths) -> None:
    assert default_address(where, {}) == where.local(paths.QUERY_SOCKET)
    assert default_address(where, {"FORCE_LUXI_SOCKET": "query"}) == where.local(paths.QUERY_SOCKET)
    assert default_address(where, {"FORCE_LUXI_SOCKET": "master"}) == where.local(paths.MASTER_SOCKET)
    assert default_address(where, {"FORCE_LUXI_SOCKET": "/tmp/x"}) == "/tmp/x"


def test_call_sends_the_form_that_servers_know_and_keeps_the_connection(where: Paths) -> None:
    def act(stream: socket.socket) -> None:
        assert request(stream) == {"method": "QueryJobs", "args": [[1], ["id"]]}
        answer(stream, [[1]])
        assert request(stream) == {"method": "SubmitJob", "args": [[{}]], "key": "k"}
        answer(stream, 7)

    with master(where, act), client(where) as luxi:
        assert luxi.call("QueryJobs", [1], ["id"]) == [[1]]
        assert luxi.call("SubmitJob", [{}], key="k") == 7


def test_call_when_the_answer_comes_in_parts_then_it_is_put_together(where: Paths) -> None:
    def act(stream: socket.socket) -> None:
        request(stream)
        for byte in b'{"success":true,"result":[1,2]}' + ETX:
            stream.sendall(bytes([byte]))

    with master(where, act), client(where) as luxi:
        assert luxi.call("QueryClusterInfo") == [1, 2]


def test_call_when_the_master_refuses_then_its_error_is_raised(where: Paths) -> None:
    def act(stream: socket.socket) -> None:
        request(stream)
        answer(stream, ["OpPrereqError", ["no such thing", "unknown_entity"]], success=False)
        request(stream)
        answer(stream, "Failed to parse request: what?", success=False)

    with master(where, act), client(where) as luxi:
        with pytest.raises(errors.PrereqError, match="no such thing") as caught:
            luxi.call("QueryClusterInfo")
        assert caught.value.code == "unknown_entity"
        with pytest.raises(errors.RequestError, match="Failed to parse"):
            luxi.call("QueryClusterInfo")


@pytest.mark.parametrize("garbage", [b"nonsense", b"[]", b'{"success":1,"result":2}', b'{"success":true}'])
def test_call_when_the_answer_is_garbage_then_it_says_so(where: Paths, garbage: bytes) -> None:
    def act(stream: socket.socket) -> None:
        request(stream)
        stream.sendall(garbage + ETX)

    with master(where, act), client(where) as luxi, pytest.raises(errors.LuxiError, match="the master's answer"):
        luxi.call("QueryClusterInfo")


def test_call_when_two_answers_come_then_neither_is_taken_for_a_later_one(where: Paths) -> None:
    def twice(stream: socket.socket) -> None:
        request(stream)
        stream.sendall(b'{"success":true,"result":1}\x03{"success":true,"result":2}\x03')

    def once(stream: socket.socket) -> None:
        request(stream)
        answer(stream, 3)

    with master(where, twice, once), client(where) as luxi:
        with pytest.raises(errors.LuxiError, match="more than one answer"):
            luxi.call("QueryClusterInfo")
        assert luxi.call("QueryClusterInfo") == 3


def hang_up(stream: socket.socket) -> None:
    request(stream)


def hang_up_in_the_middle(stream: socket.socket) -> None:
    request(stream)
    stream.sendall(b'{"success":tr')


@pytest.mark.parametrize("cut", [hang_up, hang_up_in_the_middle])
@pytest.mark.parametrize(("method", "key"), [("QueryClusterInfo", None), ("SubmitJob", "k")])
def test_call_when_the_connection_is_lost_and_a_repeat_is_harmless_then_it_is_sent_again(
    where: Paths, cut: Act, method: str, key: str | None
) -> None:
    def act(stream: socket.socket) -> None:
        assert request(stream).get("key") == key
        answer(stream, "here")

    clock = FakeClock()
    with master(where, cut, cut, act), client(where, clock) as luxi:
        assert luxi.call(method, key=key) == "here"
    assert clock.slept == [0.0, 1.0]


def test_call_when_the_connection_is_lost_and_a_repeat_could_do_it_twice_then_it_is_not_sent_again(
    where: Paths,
) -> None:
    with master(where, hang_up), client(where) as luxi:
        with pytest.raises(errors.LuxiError, match="after SubmitJob was sent") as caught:
            luxi.call("SubmitJob", [{}])
        assert "look before you repeat" in caught.value.hint


def test_call_when_the_connection_is_lost_again_and_again_then_it_ends(where: Paths) -> None:
    with master(where, *[hang_up] * 6), client(where) as luxi, pytest.raises(errors.LuxiError, match="again and again"):
        luxi.call("QueryClusterInfo")


def test_call_when_the_server_was_restarted_between_calls_then_even_a_submission_goes_through(where: Paths) -> None:
    def one(stream: socket.socket) -> None:
        request(stream)
        answer(stream, 1)

    def act(stream: socket.socket) -> None:
        assert request(stream)["method"] == "SubmitJob"
        answer(stream, 2)

    with master(where, one, act), client(where) as luxi:
        assert luxi.call("SubmitJob", [{}]) == 1
        # the first connection is closed when the server waits for the second
        while not _is_closed(luxi):
            os.sched_yield()
        assert luxi.call("SubmitJob", [{}]) == 2


def _is_closed(luxi: Client) -> bool:
    stream = luxi._socket
    assert stream is not None
    return is_hung_up(stream)


def test_call_when_no_answer_comes_in_time_then_it_says_so_and_starts_anew(where: Paths) -> None:
    gave_up = threading.Event()

    def silent(stream: socket.socket) -> None:
        request(stream)
        gave_up.wait(10)

    def act(stream: socket.socket) -> None:
        request(stream)
        answer(stream, 1)

    with master(where, silent, act), client(where, read_timeout_s=0.02) as luxi:
        with pytest.raises(errors.LuxiError, match="did not answer within"):
            luxi.call("QueryClusterInfo")
        gave_up.set()
        luxi._read_timeout_s = 10
        assert luxi.call("QueryClusterInfo") == 1


def test_connect_when_this_is_not_the_master_then_it_names_the_master_at_once(where: Paths) -> None:
    set_master(where, "node2.example.com")
    clock = FakeClock()
    with pytest.raises(errors.PrereqError) as caught:
        client(where, clock).call("QueryClusterInfo")
    assert caught.value.message == "not the master, connect to node2.example.com"
    assert clock.slept == []


def test_connect_when_there_is_no_cluster_then_it_says_so(where: Paths) -> None:
    with pytest.raises(errors.PrereqError, match="not part of a cluster"):
        client(where).call("QueryClusterInfo")


def test_connect_when_the_master_does_not_answer_then_it_is_tried_each_second(where: Paths) -> None:
    set_master(where, "node1.example.com")
    clock = FakeClock()
    with pytest.raises(errors.NoMasterError, match="nobody answers") as caught:
        client(where, clock).call("QueryClusterInfo")
    assert "ganeti-masterd" in caught.value.hint
    assert clock.slept == [1.0] * 30


@pytest.mark.parametrize(("method", "seconds"), [("QueryClusterInfo", 10), ("SubmitJob", 30)])
def test_connect_when_the_first_call_is_a_question_then_it_gives_up_sooner_and_tells_that_it_waits(
    where: Paths, method: str, seconds: int
) -> None:
    set_master(where, "node1.example.com")
    clock = FakeClock()
    told: list[tuple[float, str]] = []
    luxi = client(where, clock, first_question_timeout_s=10.0, tell=lambda line: told.append((clock.now, line)))
    with pytest.raises(errors.NoMasterError):
        luxi.call(method)
    assert told == [(2.0, "waiting for the master daemon...")]
    assert clock.slept == [1.0] * seconds


def test_connect_when_told_not_to_wait_then_it_is_tried_once(where: Paths) -> None:
    set_master(where, "node1.example.com")
    clock = FakeClock()
    with pytest.raises(errors.NoMasterError):
        client(where, clock, wait_for_master=False).call("QueryClusterInfo")
    assert clock.slept == []


def test_connect_when_own_name_is_the_short_form_then_it_is_the_master_all_the_same(where: Paths) -> None:
    set_master(where, "node1.example.com")
    with pytest.raises(errors.NoMasterError):
        client(where, wait_for_master=False, own_name=lambda: "node1").call("QueryClusterInfo")


def test_connect_when_the_master_comes_up_meanwhile_then_the_call_goes_through(where: Paths) -> None:
    set_master(where, "node1.example.com")
    path = where.local(paths.QUERY_SOCKET)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    threads: list[threading.Thread] = []

    def come_up(_seconds: float) -> None:
        if len(clock.slept) == 3:
            os.unlink(path)
            server = listen(where)
            threads.append(threading.Thread(target=play, args=(server,)))
            threads[0].start()

    def play(server: socket.socket) -> None:
        with server:
            stream, _ = server.accept()
            with stream:
                request(stream)
                answer(stream, "up")

    clock = FakeClock(come_up)
    with client(where, clock) as luxi:
        assert luxi.call("QueryClusterInfo") == "up"
    threads[0].join(10)
    assert clock.slept == [1.0, 1.0, 1.0]


def test_connect_when_too_many_are_connecting_then_it_tries_again_soon(where: Paths) -> None:
    waiting: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(where.local(paths.QUERY_SOCKET))
        server.listen(0)
        while True:
            stream = socket.socket(socket.AF_UNIX)
            waiting.append(stream)
            stream.setblocking(False)
            try:
                stream.connect(where.local(paths.QUERY_SOCKET))
            except BlockingIOError:
                break
        clock = FakeClock()
        with pytest.raises(errors.NoMasterError):
            client(where, clock, connect_timeout_s=1.0).call("QueryClusterInfo")
        assert set(clock.slept) == {0.1}
    for stream in waiting:
        stream.close()


def test_import_stays_cheap() -> None:
    code = "import sys, ganeti.luxi.client, ganeti.luxi.framing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"asyncio", "ssl", "logging", "tempfile", "subprocess", "hashlib", "ipaddress", "ganeti.luxi.methods"}
    assert heavy.isdisjoint(loaded)
