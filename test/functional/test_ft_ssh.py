"""Nodes log in on each other through real SSH servers, with the keys that the cluster looks after and no others."""

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import LIMIT_S, wait_until, with_a_dying_master

from ganeti import paths
from ganeti.host import files, ssh
from ganeti.logic.ssh_keys import LOGINS_S
from ganeti.node import ssh_files

SSHD = "/usr/sbin/sshd"
MINE = b'# mine\ncommand="echo \xff" ssh-rsa AAAA me@home'
LOGIN_S = 60


def _why_not():
    if os.geteuid() != 0:
        pytest.skip("only root can let root log in")
    missing = [program for program in (SSHD, "ssh", "ssh-keygen") if shutil.which(program) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found: install openssh-server")


class Server:
    """The SSH server of a virtual node, on its address; the node's programs find the real client."""

    def __init__(self, cluster, node, port):
        self.cluster, self.node, self.port = cluster, node, port
        self.directory = node.paths.local("/etc/ssh")
        self.authorized_keys = node.paths.local(ssh_files.authorized_keys(node.paths))
        self.process = None
        os.makedirs(self.directory, exist_ok=True)
        own = node.paths.local("/usr/bin/ssh")
        os.unlink(own)
        os.symlink(shutil.which("ssh"), own)
        self.new_host_key()

    def new_host_key(self):
        key = f"{self.directory}/ssh_host_ed25519_key"
        for path in (key, f"{key}.pub"):
            if os.path.exists(path):
                os.unlink(path)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)

    def start(self):
        environment = self.cluster.layout.environment(self.node)
        named = " ".join(f'{name}="{environment[name]}"' for name in ("GANETI_ROOTDIR", "GANETI_HOSTNAME", "PATH"))
        with open(f"{self.directory}/sshd_config", "w", encoding="utf-8") as file:
            file.write(
                f"ListenAddress {self.node.address}:{self.port}\nHostKey {self.directory}/ssh_host_ed25519_key\n"
                f"PidFile none\nAuthorizedKeysFile {self.authorized_keys}\n"
                # /tmp can be written by all
                "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
                f"MaxStartups 100\nSetEnv {named}\n"
            )
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", f"{self.directory}/sshd_config"], stderr=log, env=environment
            )
        wait_until("the SSH server answers", self._answers)

    def _answers(self):
        assert self.process.poll() is None, files.read_text(f"{self.directory}/log")
        with suppress(OSError), socket.create_connection((self.node.address, self.port), timeout=1):
            return True
        return False

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def _free_port(addresses):
    """That is free on all of them."""
    for port in range(2222, 2322):
        with suppress(OSError):
            for address in addresses:
                with socket.socket() as tried:
                    tried.bind((address, port))
            return port
    raise AssertionError("no port is free")


def _authorized(node):
    return ssh_files.read(node.paths)


@pytest.fixture(scope="module")
def servers():
    _why_not()
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    shell = make_cluster(3, ssh_keys=True)
    made = []
    try:
        port = _free_port([node.address for node in shell.nodes])
        for node in shell.nodes:
            with open(node.paths.local(ssh_files.authorized_keys(node.paths)), "ab") as file:
                file.write(MINE)
            made.append(Server(shell.cluster, node, port))
            made[-1].start()
        shell.ok("gnt-cluster", "modify", "--node-parameters", f"ssh_port={port}")
        shell.ok("gnt-cluster", "redist-conf")  # the host keys were not there when the cluster was made
        shell.servers = made
        yield shell
    finally:
        for server in made:
            server.stop()
        destroy(os.path.dirname(shell.cluster.layout.directory))


def _login(shell, source, target):
    """How a login ends that is tried with what `source` has: status and what it says."""
    command = (*ssh.login(source.paths, target.name), "echo on $GANETI_HOSTNAME")
    done = subprocess.run(command, capture_output=True, text=True, timeout=LOGIN_S, check=False)
    return done.returncode, done.stdout.strip() or done.stderr.strip()


def _works(shell, source, target):
    return _login(shell, source, target) == (0, f"on {target.name}")


def test_commands_go_by_the_clusters_keys(servers):
    said = servers.ok("gnt-cluster", "command", "echo", "$GANETI_HOSTNAME")
    assert [line for line in said.splitlines() if line in {node.name for node in servers.nodes}] == [
        node.name for node in (*servers.nodes[1:], servers.nodes[0])
    ]
    motd = servers.master.paths.local("/etc/motd")
    files.write_atomic(motd, b"hello\n", mode=0o640)
    assert servers.ok("gnt-cluster", "copyfile", "/etc/motd") == ""
    for node in servers.nodes[1:]:
        assert files.read_text(node.paths.local("/etc/motd")) == "hello\n"
    assert all(_works(servers, source, target) for source in servers.nodes[:2] for target in servers.nodes)
    servers.ok("gnt-cluster", "verify")


def test_roles_decide_who_may_log_in(servers):
    first, _, third = servers.nodes
    servers.ok("gnt-node", "modify", "-C", "no", "--force", third.name)
    try:
        wait_until("the key is gone", lambda: third.name.encode() not in _authorized(first))
        status, said = _login(servers, third, first)
        assert status == 255
        assert "Permission denied" in said
        assert _works(servers, first, third)
        servers.ok("gnt-cluster", "verify")
    finally:
        servers.ok("gnt-node", "modify", "-C", "yes", third.name)
    wait_until("the key is back", lambda: _works(servers, third, first))


def test_a_server_with_another_key_is_not_believed(servers):
    second = servers.servers[1]
    second.stop()
    second.new_host_key()
    second.start()
    said = servers.ok("gnt-cluster", "command", "-n", second.node.name, "true")
    assert "Host key verification failed" in said
    done = servers.cluster.call(servers.master, ("gnt-cluster", "verify", "--error-codes"))
    assert done.returncode == 1
    assert f"ENODESSH:node:{second.node.name}" in done.stdout
    servers.ok("gnt-cluster", "redist-conf")
    servers.ok("gnt-cluster", "verify")
    assert "return code = 0" in servers.ok("gnt-cluster", "command", "-n", second.node.name, "true")


RENEW = ("gnt-cluster", "renew-crypto", "-f", "--new-ssh-keys")


def test_logins_work_all_the_time_while_keys_are_renewed_and_the_master_dies(servers):
    first, second, third = servers.nodes
    keys = (paths.SSH_KEY,)
    before = {files.read_text(node.paths.local(file)) for node in servers.nodes for file in keys}
    stop, failures, done = threading.Event(), [], []

    def work():
        while not stop.is_set():
            for source, target in ((first, third), (second, first)):
                begun = time.monotonic()
                status, said = _login(servers, source, target)
                is_slow = time.monotonic() - begun > LOGINS_S  # it may have begun with the old key and ended too late
                (failures if status and not is_slow else done).append(said)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        died = with_a_dying_master(servers, RENEW, 4)  # when the new keys are to be let in
        servers.ok(*RENEW, "--ssh-key-type=ecdsa", "--ssh-key-bits=384")
        count = len(done)
        wait_until("logins go on", lambda: len(done) > count + 2 or failures, timeout_s=LIMIT_S)
    finally:
        stop.set()
        worker.join()
    assert failures == []
    assert died
    after = {files.read_text(node.paths.local(file)) for node in servers.nodes for file in keys}
    assert len(after) == 3
    assert not before & after
    assert all(line.startswith(b"restrict,pty ecdsa-sha2-nistp384 ") for line in _authorized(third).splitlines()[:3])
    assert os.listdir(servers.master.paths.local(paths.RENEWAL_DIR)) == []
    servers.ok("gnt-cluster", "verify")
    assert servers.ok("gnt-cluster", "verify", "--verify-ssh-clutter").count("me@home") == 3


def test_who_leaves_takes_all_away_and_so_does_the_end_of_the_cluster(servers):
    """The last test here: there is no cluster afterwards."""
    first, second, third = servers.nodes
    servers.ok("gnt-node", "remove", third.name)
    wait_until("the key is gone", lambda: third.name.encode() not in _authorized(first) + _authorized(second))
    assert _authorized(third) == MINE
    servers.ok("gnt-node", "remove", second.name)
    servers.ok("gnt-cluster", "destroy", "--yes-do-it", node=first)
    for node in servers.nodes:
        assert _authorized(node) == MINE
        for file in (paths.SSH_DIR, paths.KNOWN_HOSTS):
            assert not os.path.exists(node.paths.local(file))
