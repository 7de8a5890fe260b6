"""Telling a service manager."""

import socket

import pytest

from ganeti.host import notify


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(5)
        yield link


def test_states_go_to_the_manager_as_one_datagram(manager):
    assert notify.tell("READY=1", "MAINPID=7", environ={"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(4096) == b"READY=1\nMAINPID=7"


def test_abstract_address_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("")  # the kernel chooses an abstract one, unix(7)
        link.settimeout(5)
        address = "@" + link.getsockname()[1:].decode()
        assert notify.tell("READY=1", environ={"NOTIFY_SOCKET": address})
        assert link.recv(4096) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_nobody_who_listens_is_no_error(environ):
    assert not notify.tell("READY=1", environ=environ)


def test_manager_that_is_gone_is_no_error(tmp_path):
    assert not notify.tell("READY=1", environ={"NOTIFY_SOCKET": str(tmp_path / "gone")})


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_interval_is_a_third_of_what_the_manager_waits(environ, seconds):
    assert notify.interval_s(environ=environ, pid=7) == seconds
