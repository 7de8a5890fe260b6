"""The way of a Xen guest's memory from node to node."""

import shlex
import shutil
import socket
import subprocess

import pytest

from ganeti.hypervisor.xen import transport


def test_a_dead_end_is_noticed_on_both_sides():
    (listener,) = (word for word in transport.listen("192.0.2.1", 8002, "x") if word.startswith("TCP-LISTEN"))
    sender = shlex.split(transport.connect("192.0.2.1", 8002), comments=True)[-1]
    assert listener == "TCP-LISTEN:8002,bind=192.0.2.1,reuseaddr,keepalive,keepidle=15,keepintvl=10,keepcnt=3"
    assert sender.split(",") == [
        "TCP:192.0.2.1:8002", "keepalive", "keepidle=15", "keepintvl=10", "keepcnt=3", "setsockopt-int=6:18:45000",
    ]  # fmt: skip


def test_the_command_of_xl_itself_is_a_comment():
    assert transport.connect("192.0.2.1", 8002).endswith(" #")


@pytest.mark.skipif(shutil.which("socat") is None, reason="there is no socat")
def test_socat_takes_its_options_and_carries_both_ways():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(transport.listen("127.0.0.1", port, "tr a-z A-Z"), stderr=subprocess.PIPE) as receiver:
        sender = f"for i in 1 2 3 4 5 6 7 8 9; do echo memory | {transport.connect('127.0.0.1', port)} xl\n"
        done = subprocess.run(
            ["/bin/sh", "-c", f"{sender} test $? = 0 && break; sleep 0.3; done"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        receiver.terminate()
        assert "MEMORY" in done.stdout, (done, receiver.stderr.read())
