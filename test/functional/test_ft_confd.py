"""Questions to the confd daemons of a real cluster, with and without a master."""

import os

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import errors, paths
from ganeti.bootstrap import daemons
from ganeti.confd import client
from ganeti.confd.protocol import Kind


@pytest.fixture(scope="module")
def shell():
    made = make_cluster(3)
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


class Asker:
    """A program on the third node."""

    def __init__(self, shell):
        self.node = shell.nodes[2]
        self.shell = shell
        with open(self.node.paths.local(paths.CONFD_KEY), "rb") as file:
            self.key = file.read()

    def ask(self, kind, query=None, *, nodes=None, key=None, limit_s=20.0):
        asked = [node.address for node in nodes or self.shell.nodes]
        return client.ask(key or self.key, asked, kind, query, source=self.node.address, limit_s=limit_s)

    def says(self, kind, query, expected, nodes=None):
        try:
            return self.ask(kind, query, nodes=nodes, limit_s=1.0).answer == expected
        except errors.ExecError:
            return False


def test_candidates_answer_and_follow_the_configuration(shell):
    first, second, third = shell.nodes
    asker = Asker(shell)
    wait_until("all know the nodes", lambda: all(
        asker.says(Kind.CANDIDATE_IPS, None, [node.address for node in shell.nodes], [node]) for node in shell.nodes
    ))  # fmt: skip
    assert asker.ask(Kind.MASTER).answer == first.name
    shell.ok("gnt-instance", "add", "-t", "diskless", "-n", "node2", "-o", "busybox-linux", "x.example")
    wait_until("the instance is known", lambda: all(
        asker.says(Kind.CONFIG, f"/nodes/{_uuid(shell, second)}/name", second.name, [node])
        and _instances(asker, second, node) == ["x.example"]
        for node in shell.nodes
    ))  # fmt: skip
    shell.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", "x.example")
    with pytest.raises(errors.ExecError, match="none of"):
        asker.ask(Kind.PING, key=b"not the key\n", limit_s=1.0)
    # a node that is no candidate any more falls silent, and answers when it is one again
    shell.ok("gnt-node", "modify", "-f", "-C", "no", "node3")
    wait_until("it is silent", lambda: not os.path.exists(third.paths.local(paths.CONFD_DATA)))
    wait_until("it does not answer", lambda: not asker.says(Kind.PING, None, 3_000_000, [third]))
    assert asker.ask(Kind.NODE_ROLE, third.name).answer in (1, 4)
    shell.ok("gnt-node", "modify", "-f", "-C", "yes", "node3")
    wait_until("it answers", lambda: asker.says(Kind.NODE_ROLE, third.name, 1, [third]))


def _instances(asker, of, asked):
    return [row["name"] for row in asker.ask(Kind.NODE_INSTANCES, of.name, nodes=[asked]).answer[0]]


def _uuid(shell, node):
    return shell.field("gnt-node", node.short_name, "uuid")


def test_questions_are_answered_while_the_master_is_dead(shell):
    first, second, third = shell.nodes
    asker = Asker(shell)
    shell.cluster.kill("node1")
    try:
        assert asker.ask(Kind.MASTER).answer == first.name
        shell.ok("gnt-cluster", "master-failover", node=second)
        wait_until("the new master is known", lambda: asker.says(Kind.MASTER, None, second.name, [second, third]))
    finally:
        shell.cluster.boot("node1")
    wait_until("the old one knows it", lambda: asker.says(Kind.MASTER, None, second.name, [first]))
    assert daemons.is_running(first.paths, daemons.CONFD)
