"""How one node's root reaches another node: with the cluster's keys if it has any."""

import os

from ganeti import paths
from ganeti.host import ssh
from ganeti.paths import Paths


def place(where, file, text="x"):
    os.makedirs(os.path.dirname(where.local(file)), exist_ok=True)
    with open(where.local(file), "w", encoding="ascii") as target:
        target.write(text)


def test_without_keys_of_the_cluster_roots_own_are_used(tmp_path):
    where = Paths(str(tmp_path))
    place(where, paths.KNOWN_HOSTS)
    assert ssh.login(where, "node2.example.com") == (
        "ssh", "-oBatchMode=yes", "-oEscapeChar=none", "-oLogLevel=ERROR", "-oStrictHostKeyChecking=yes",
        "root@node2.example.com",
    )  # fmt: skip
    assert ssh.login(where, "node2", address="192.0.2.7", with_terminal=True)[1::5] == ("-t", "root@192.0.2.7")


def test_with_keys_of_the_cluster_nothing_else_is_believed(tmp_path):
    where = Paths(str(tmp_path))
    place(where, paths.SSH_KEY)
    place(where, paths.KNOWN_HOSTS)
    command = ssh.login(where, "node2.example.com")
    assert command[-1] == "root@node2.example.com"
    assert f"-oIdentityFile={tmp_path}/var/lib/ganeti/ssh/identity" in command
    assert f"-oGlobalKnownHostsFile={tmp_path}/var/lib/ganeti/known_hosts" in command
    assert {"-oUserKnownHostsFile=/dev/null", "-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=yes"} < set(command)
    assert {"-oHostKeyAlias=node2.example.com", "-oPort=22"} < set(command)
    place(where, paths.ssconf("node_primary_ips"), "node1.example.com 192.0.2.1\nnode2.example.com 192.0.2.2\n")
    place(where, paths.ssconf("ssh_ports"), "node1.example.com=22\nnode2.example.com=2222\n")
    command = ssh.login(where, "node2.example.com")
    assert command[-1] == "root@192.0.2.2"
    assert {"-oHostKeyAlias=node2.example.com", "-oPort=2222"} < set(command)
    assert ssh.login(where, "node2.example.com", address="198.51.100.2")[-1] == "root@198.51.100.2"
