"""Becoming a daemon, in processes of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from ganeti import paths
from ganeti.paths import Paths

PROGRAM = """
    import sys, logging
    from ganeti import errors
    from ganeti.host.daemon import run_daemon
    from ganeti.paths import Paths

    def main(ready):
        {body}

    sys.exit(run_daemon("ganeti-test", "test", Paths.from_environment(), main, foreground={foreground}, debug=False))
"""


def launch(root: object, body: str, *, foreground: bool = False, **more: str) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(PROGRAM).format(body=body, foreground=foreground)
    environment = {**os.environ, **Paths(str(root), "node1").environment(), **more}
    return subprocess.run(
        (sys.executable, "-c", program), env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def log_of(root: object) -> str:
    with open(Paths(str(root)).local(paths.log_file("test")), encoding="utf-8") as file:
        return file.read()


def test_ready_daemon_lets_its_caller_go_with_0(tmp_path):
    done = launch(tmp_path, "ready(); return 3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("raise errors.StoreError('no state', hint='restore it')", 2, "ganeti-test: no state; restore it"),
        ("return 11", 11, "ended before it was ready"),
        ("return 0", 1, "ended before it was ready"),
        ("raise OSError(28, 'No space left on device')", 1, "No space left on device"),
        ("return {}['x']", 1, "internal error: KeyError"),
        ("import os; os.kill(os.getpid(), 9)", 1, "ended before it was ready"),
    ],
)
def test_daemon_that_is_never_ready_tells_its_caller_why(tmp_path, body, status, said):
    done = launch(tmp_path, body)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("foreground", [True, False])
def test_log_has_the_line_format_and_no_pid_file_stays(tmp_path, foreground):
    launch(tmp_path, "ready(); logging.getLogger('x').warning('hello %s', 'there'); return 1", foreground=foreground)
    assert "WARNING hello there" in wait_for_end(tmp_path)
    line = next(line for line in log_of(tmp_path).splitlines() if "hello" in line)
    date, clock, name, pid, level, *_ = line.split()
    assert (len(date), clock[-1], name, pid[:4], level) == (10, ":", "ganeti-test", "pid=", "WARNING")
    assert not os.path.exists(Paths(str(tmp_path)).local(paths.pid_file("ganeti-test")))


def wait_for_end(root: object) -> str:
    """The lock on the pid file goes with the daemon."""
    import fcntl

    path = Paths(str(root)).local(paths.pid_file("ganeti-test"))
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
    return log_of(root)


def test_foreground_returns_the_status_of_main(tmp_path):
    assert launch(tmp_path, "ready(); return 7", foreground=True).returncode == 7


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("ready(); return 0", ["READY=1", "STOPPING=1"]),
        ("raise errors.StoreError('no state')", ["STATUS=no state"]),
        # not wanted here: the manager shall not take it for a failure
        ("return 5", ["STOPPING=1", "READY=1", "STOPPING=1"]),
        ("raise type('X', (errors.PrereqError,), {'exit_status': 11})('wrong_state', 'no')",
         ["STATUS=no", "READY=1", "STOPPING=1"]),
    ],
)  # fmt: skip
def test_service_manager_is_told_what_comes_of_it(tmp_path, body, told):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        launch(tmp_path, body, foreground=True, NOTIFY_SOCKET=str(tmp_path / "notify"))
        manager.setblocking(False)
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(manager.recv(4096).decode().splitlines()[0])
    assert heard == told


def test_daemon_has_no_terminal_and_a_strict_umask(tmp_path):
    body = "import os; ready(); logging.getLogger().info('cwd %s umask %o', os.getcwd(), os.umask(0)); return 0"
    launch(tmp_path, body)
    assert "cwd / umask 27" in wait_for_end(tmp_path)


def test_fault_variable_kills_at_the_named_point_on_virtual_nodes(tmp_path):
    body = (
        "from ganeti.host import faults; p = faults.register('test.point'); faults.hit(p);"
        " logging.getLogger().info('once'); faults.hit(p); ready(); return 0"
    )
    done = launch(tmp_path, body, GANETI_FAULT="test.point:2")
    assert done.returncode == 1
    assert "once" in log_of(tmp_path)
