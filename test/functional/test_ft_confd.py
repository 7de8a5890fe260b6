"""Questions to the confd daemons of a real cluster, with and without a master."""

import os
import signal

import pytest
from functional.confd_kit import Asker
from functional.kit import wait_until

from ganeti import errors, paths
from ganeti.bootstrap import daemons
from ganeti.confd.protocol import Kind


def test_candidates_answer_and_follow_the_configuration(cluster):
    _, second, third = cluster.nodes
    asker = Asker(cluster)
    wait_until("all know the nodes", lambda: all(
        asker.says(Kind.CANDIDATE_IPS, None, [node.address for node in cluster.nodes], [node]) for node in cluster.nodes
    ))  # fmt: skip
    assert asker.ask(Kind.MASTER).answer == cluster.master.name
    cluster.ok("gnt-instance", "add", "-t", "diskless", "-n", "node2", "-o", "busybox-linux", "x.example")
    wait_until("the instance is known", lambda: all(
        asker.says(Kind.CONFIG, f"/nodes/{_uuid(cluster, second)}/name", second.name, [node])
        and _instances(asker, second, node) == ["x.example"]
        for node in cluster.nodes
    ))  # fmt: skip
    cluster.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", "x.example")
    with pytest.raises(errors.ExecError, match="none of"):
        asker.ask(Kind.PING, key=b"not the key\n", limit_s=1.0)
    # a node that is no candidate any more falls silent, and answers when it is one again
    cluster.ok("gnt-node", "modify", "-f", "-C", "no", "node3")
    wait_until("it is silent", lambda: not os.path.exists(third.paths.local(paths.CONFD_DATA)))
    wait_until("it does not answer", lambda: not asker.says(Kind.PING, None, 3_000_000, [third]))
    assert asker.ask(Kind.NODE_ROLE, third.name).answer in (1, 4)
    cluster.ok("gnt-node", "modify", "-f", "-C", "yes", "node3")
    wait_until("it answers", lambda: asker.says(Kind.NODE_ROLE, third.name, 1, [third]))


def _instances(asker, of, asked):
    return [row["name"] for row in asker.ask(Kind.NODE_INSTANCES, of.name, nodes=[asked]).answer[0]]


def _uuid(cluster, node):
    return cluster.field("gnt-node", node.short_name, "uuid")


def test_questions_are_answered_while_the_master_is_dead(cluster):
    asker, master = Asker(cluster), cluster.master
    pid = daemons.pid_of(master.paths, daemons.MASTERD)
    os.kill(pid, signal.SIGKILL)
    try:
        wait_until("it is gone", lambda: not daemons.is_running(master.paths, daemons.MASTERD))
        assert asker.ask(Kind.MASTER).answer == master.name
    finally:
        cluster.start_daemon(master, daemons.MASTERD)
        cluster.wait_for_answers()
