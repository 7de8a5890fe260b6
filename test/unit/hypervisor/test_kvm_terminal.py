"""The client of the serial console: bytes both ways, the key that leaves it, its errors."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.hypervisor.kvm import terminal
from ganeti.hypervisor.kvm.runtime import Layout
from ganeti.paths import Paths


class Desk:
    """A keyboard, a screen and a guest, as files."""

    def __init__(self) -> None:
        self.guest, self.console = socket.socketpair()
        self.keys, self.keyboard = os.pipe()
        self.screen_out, self.screen = os.pipe()
        self.why = ""
        self._thread = threading.Thread(target=self._relay)

    def _relay(self) -> None:
        self.why = terminal.relay(self.console, self.keys, self.screen)

    def __enter__(self) -> Desk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()

    def shown(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            found += os.read(self.screen_out, length)
        return found

    def typed(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            found += self.guest.recv(length)
        return found

    def close(self) -> None:
        self.guest.close()
        self.console.close()
        for handle in (self.keys, self.screen_out, self.screen):
            os.close(handle)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def test_bytes_go_both_ways_until_the_escape_key(desk):
    with desk:
        os.write(desk.keyboard, b"ls\x03\r")
        assert desk.typed(4) == b"ls\x03\r"
        desk.guest.sendall(b"bin etc\r\n")
        assert desk.shown(9) == b"bin etc\r\n"
        os.write(desk.keyboard, b"x\x1dy")
        assert desk.typed(1) == b"x"
    assert desk.why == "left"
    os.close(desk.keyboard)


def test_it_ends_when_the_guest_ends(desk):
    with desk:
        desk.guest.shutdown(socket.SHUT_RDWR)
    assert "guest has ended" in desk.why
    os.close(desk.keyboard)


def test_a_pipe_that_ends_still_gets_the_answer(desk):
    with desk:
        os.write(desk.keyboard, b"date\r")
        os.close(desk.keyboard)
        assert desk.typed(5) == b"date\r"
        desk.guest.sendall(b"today\r\n")
        assert desk.shown(7) == b"today\r\n"
    assert desk.why == "end of input"


def test_a_guest_that_does_not_read_does_not_stop_its_output(desk):
    with desk:
        flood = threading.Thread(target=os.write, args=(desk.keyboard, b"k" * 2_000_000))
        flood.start()
        desk.guest.sendall(b"still here")
        assert desk.shown(10) == b"still here"
        assert len(desk.typed(2_000_000)) == 2_000_000
        flood.join(10)
        os.write(desk.keyboard, terminal.ESCAPE)
    os.close(desk.keyboard)


def test_terminal_is_as_before_afterwards():
    leader, follower = os.openpty()
    try:
        import termios

        before = termios.tcgetattr(follower)
        with terminal.raw(follower):
            assert not termios.tcgetattr(follower)[3] & termios.ECHO
        assert termios.tcgetattr(follower) == before
    finally:
        os.close(leader)
        os.close(follower)


def test_connect_finds_the_guests_socket():
    with tempfile.TemporaryDirectory(prefix="gnt-", dir="/tmp") as root:  # sockets need short paths
        check_connect(Paths(root, "node1"))


def check_connect(where: Paths) -> None:
    path = Layout(where).files("web1").serial
    os.makedirs(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        with terminal.connect("Web1", where):
            server.accept()[0].close()
    with pytest.raises(errors.PrereqError, match="cannot connect"):
        terminal.connect("web1", where)


@pytest.mark.parametrize("name", ["web2", "../web1", "a/b"])
def test_connect_to_what_is_not_there(tmp_path: Path, name: str):
    with pytest.raises(errors.PrereqError):
        terminal.connect(name, Paths(str(tmp_path), "node1"))


@pytest.mark.parametrize(("words", "status"), [([], 2), (["-h"], 0), (["a", "b"], 2)])
def test_main_with_wrong_words_or_a_question(words, status, capfd):
    with pytest.raises(SystemExit) as ended:
        terminal.main(words)
    assert ended.value.code == status
    assert "ganeti-kvm-console" in "".join(capfd.readouterr())


def test_main_with_what_is_no_name(capfd):
    assert terminal.main(["no/name"]) == 1
    assert "ganeti-kvm-console" in capfd.readouterr().err
