"""What the tests with real daemons share: commands on a node, raw LUXI, waiting with a limit."""

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress

import simplejson

from ganeti import paths
from ganeti.bootstrap import daemons
from ganeti.store import db, reading
from ganeti.testing.vcluster import VirtualCluster
from ganeti.testing.vlayout import VirtualNode

LIMIT_S = 120.0  # for the slowest machine; nobody waits for it in vain


class Shell:
    """A virtual cluster as a person at the master's terminal sees it."""

    def __init__(self, cluster: VirtualCluster) -> None:
        self.cluster = cluster
        self.nodes = cluster.layout.nodes

    @property
    def master(self) -> VirtualNode:
        return self.cluster.master()

    def ok(self, *argv: str, node: VirtualNode | None = None) -> str:
        """Output of a command that has to succeed."""
        return self.cluster.run(node or self.master, argv)

    def fails(self, *argv: str, status: int = 1) -> str:
        """What a command that has to fail says on standard error."""
        done = self.cluster.call(self.master, argv)
        assert done.returncode == status, (argv, done.returncode, done.stdout, done.stderr)
        return done.stderr

    def rows(self, tool: str, fields: str, *names: str) -> list[list[str]]:
        text = self.ok(tool, "list", "--no-headers", "--separator=|", "-o", fields, *names)
        return [line.split("|") for line in text.splitlines()]

    def field(self, tool: str, name: str, field: str) -> str:
        return self.rows(tool, field, name)[0][0]

    def submit(self, *argv: str) -> int:
        """Id of the job that a command submits."""
        return int(self.ok(argv[0], argv[1], "--submit", "--print-jobid", *argv[2:]).split()[0])

    def luxi(self, method: str, *args: object) -> dict[str, object]:
        """The answer object to one request, errors too."""
        return self.luxi_raw(simplejson.dumps({"method": method, "args": list(args)}).encode())

    def luxi_raw(self, message: bytes) -> dict[str, object]:
        with self.luxi_connection() as connection:
            connection.sendall(message + b"\x03")
            return receive(connection)

    def luxi_connection(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(LIMIT_S)
        try:
            connection.connect(os.path.realpath(self.master.paths.local(paths.QUERY_SOCKET)))
        except OSError:
            connection.close()
            raise
        return connection

    def positions(self) -> list[db.Position]:
        """Where each node's copy of the state stands."""
        return [reading.look(node.paths.local(paths.STATE_DB))[0] for node in self.nodes]

    def stop_daemon(self, node: VirtualNode, daemon: str = daemons.NODED) -> None:
        assert daemons.stop(node.paths, daemon)

    def start_daemon(self, node: VirtualNode, daemon: str = daemons.NODED, *, fault: str = "") -> None:
        """With a `fault` (`host.faults.VARIABLE`) it dies there; CalledProcessError: while it starts."""
        if fault:
            environment = {**self.cluster.layout.environment(node), "GANETI_FAULT": fault}
            program = f"{self.cluster.layout.bin_dir}/{daemon}"
            subprocess.run([program], env=environment, check=True, capture_output=True, timeout=LIMIT_S)
        else:
            daemons.start(node.paths, daemon, bin_dir=self.cluster.layout.bin_dir)

    def wait_for_answers(self) -> None:
        self.cluster.wait_for_master()


def receive(connection: socket.socket) -> dict[str, object]:
    """One message, without its end byte."""
    raw = b""
    while not raw.endswith(b"\x03"):
        more = connection.recv(65536)
        assert more, f"the master closed the connection after {raw!r}"
        raw += more
    return dict(simplejson.loads(raw[:-1]))


def wait_until(what: str, is_so, *, timeout_s: float = LIMIT_S, every_s: float = 0.1) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(every_s)


def with_a_dying_master(shell, argv, nth):
    """Run a command; whether the master daemon died at its n-th commit. In any case it runs again."""
    shell.stop_daemon(shell.master, daemons.MASTERD)
    with suppress(subprocess.CalledProcessError):  # it died in its start
        shell.start_daemon(shell.master, daemons.MASTERD, fault=f"store.after_apply:{nth}")
    client = threading.Thread(target=lambda: shell.cluster.call(shell.master, argv))
    client.start()

    def has_died():
        return not daemons.is_running(shell.master.paths, daemons.MASTERD)

    wait_until("the master dies, or all is done", lambda: has_died() or not client.is_alive(), every_s=0.02)
    died = has_died()
    if not died:
        shell.stop_daemon(shell.master, daemons.MASTERD)
    shell.start_daemon(shell.master, daemons.MASTERD)
    client.join()
    shell.wait_for_answers()
    return died
