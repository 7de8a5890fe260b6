"""The shell on the console of the example OS, as an administrator at a terminal uses it: across a move, to its end."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest
from functional import migration_kit as kit
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import paths, settings
from ganeti.testing.vcluster import newest_kernel

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (os.path.exists(settings.KVM_PATH) and newest_kernel() and shutil.which("busybox")),
        reason="needs QEMU, a kernel in /boot and busybox",
    ),
]

LIMIT_S = 120
SHORT = kit.INSTANCE.partition(".")[0]
HEARTBEAT = re.compile(rf"^heartbeat {re.escape(kit.INSTANCE)} (\d+)\r?$", re.MULTILINE)


class Terminal:
    """`gnt-instance console` at a pseudo-terminal."""

    def __init__(self, shell):
        self.shown = ""
        self._fd, terminal = pty.openpty()
        layout = shell.cluster.layout
        self._process = subprocess.Popen(
            [f"{layout.bin_dir}/gnt-instance", "console", kit.INSTANCE],
            env=layout.environment(shell.master),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def __enter__(self):
        self.expect("Connected to the console of")
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._fd)

    def type(self, text):
        os.write(self._fd, text.encode())

    def expect(self, pattern):
        """Until what came since the last call matches; what came up to there."""
        deadline = time.monotonic() + LIMIT_S
        while not (found := re.search(pattern, self.shown)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.shown!r}"
            if select.select([self._fd], [], [], left)[0]:
                self.shown += os.read(self._fd, 65536).decode("utf-8", "replace")
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before

    def ends(self):
        self.expect("Console closed")
        return self._process.wait(LIMIT_S)


@pytest.fixture
def shell():
    made = make_cluster(2, hypervisors=("kvm", "fake"))
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


def _console(node):
    path = node.paths.local(f"{paths.CONSOLE_LOG_DIR.path}/{kit.INSTANCE}.log")
    if not os.path.exists(path):
        return ""
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")


def _beats(node):
    return [int(number) for number in HEARTBEAT.findall(_console(node))]


def test_the_shell_answers_moves_with_its_guest_and_lets_it_be_shut_down(shell):
    source, target = shell.nodes
    shell.ok(*kit.ADD, "-n", source.short_name, kit.INSTANCE)
    wait_until("the network is up", lambda: re.search(r"^network eth0 10\.0\.2\.15\r$", _console(source), re.MULTILINE))
    wait_until("the heart beats", lambda: _beats(source))

    with Terminal(shell) as terminal:
        terminal.type("\r")
        terminal.expect(rf"\n{SHORT}:.*# ")
        terminal.type("echo hello-$((6*7))\r")
        assert not HEARTBEAT.search(terminal.expect("hello-42\r\n"))
        # a command in front keeps the heart quiet, however long it takes
        terminal.type("kept=$((40+4)); cat\r")
        terminal.expect(r"cat\r\n")
        terminal.type("\x1d")
        assert terminal.ends() == 0
    beat = _beats(source)[-1]

    shell.ok("gnt-instance", "migrate", "-f", "-n", target.short_name, kit.INSTANCE)
    with Terminal(shell) as terminal:
        terminal.type("word\r")
        terminal.expect("word\r\nword\r\n")  # the echo, and cat's answer
        terminal.type("\x04echo $kept-$?\r")
        terminal.expect("44-0\r\n")
        # Ctrl-C reaches the command, not us
        terminal.type("echo ready; sleep 1000\r")
        terminal.expect("\r\nready\r\n")
        terminal.type("\x03")
        terminal.expect(r"\^C")
        terminal.expect(rf"{SHORT}:.*# ")
        terminal.type("exit\r")
        terminal.expect("built-in shell")  # a new one, at once
        wait_until("the heart beats on", lambda: _beats(target))
        assert _beats(target)[0] > beat + 1, "it counts on while it is quiet"
        terminal.type("vi\r")  # has the terminal for itself, and nobody ends it
        terminal.expect("~")
        shell.ok("gnt-instance", "shutdown", "--timeout=60", kit.INSTANCE)
        terminal.expect("powers off")
        assert terminal.ends() == 0
    assert kit.emulators(shell) == []
    assert len(_beats(target)) < 30
