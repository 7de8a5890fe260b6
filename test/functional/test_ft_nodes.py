"""Roles of nodes, and what the cluster does when some are away."""

from functional.kit import wait_until

from ganeti.bootstrap import daemons


def _roles(shell):
    return dict(shell.rows("gnt-node", "name,role"))


def test_drain_and_back(own_cluster):
    own_cluster.ok("gnt-node", "modify", "-D", "yes", "node3")
    assert _roles(own_cluster)["node3.vc.example"] == "D"
    text = own_cluster.fails(
        "gnt-instance", "add", "-t", "diskless", "-n", "node3", "-o", "busybox-linux", "x.vc.example"
    )
    assert "drained" in text
    own_cluster.ok("gnt-node", "modify", "-D", "no", "--auto-promote", "node3")
    own_cluster.ok("gnt-cluster", "verify")
    # a demoted candidate that comes back holds the state again
    own_cluster.ok("gnt-node", "modify", "-f", "-C", "no", "node2")
    assert _roles(own_cluster)["node2.vc.example"] == "R"
    own_cluster.ok("gnt-node", "modify", "-C", "yes", "node2")
    assert _roles(own_cluster)["node2.vc.example"] == "C"
    own_cluster.ok("gnt-debug", "delay", "0")
    wait_until("equal copies", lambda: len(set(own_cluster.positions())) == 1)


def test_the_masters_flags_are_not_changed(cluster):
    for option in ("-O", "-D"):
        assert "master" in cluster.fails("gnt-node", "modify", option, "yes", "node1")


def test_remove_and_add_a_node(own_cluster):
    own_cluster.ok("gnt-node", "remove", "node3")
    assert len(own_cluster.rows("gnt-node", "name")) == 2
    wait_until("its daemon ends", lambda: not daemons.is_running(own_cluster.nodes[2].paths, daemons.NODED))
    own_cluster.ok("gnt-node", "add", "--no-ssh-key-check", "node3")
    assert len(own_cluster.rows("gnt-node", "name")) == 3
    own_cluster.ok("gnt-cluster", "verify")
    # repaired: its disk is new
    own_cluster.cluster.kill("node3")
    own_cluster.ok("gnt-node", "modify", "-O", "yes", "node3")
    own_cluster.cluster.boot("node3")
    own_cluster.ok("gnt-node", "add", "--no-ssh-key-check", "--readd", "node3")
    assert _roles(own_cluster)["node3.vc.example"] == "C"
    own_cluster.ok("gnt-cluster", "verify")


def test_quorum(own_cluster):
    """Three candidates: one away, all goes on; two away, nothing new is taken, questions are answered."""
    shell = own_cluster
    second, third = shell.nodes[1:]
    shell.stop_daemon(second)
    shell.ok("gnt-debug", "delay", "0")
    shell.stop_daemon(third)
    text = shell.fails("gnt-debug", "delay", "--submit", "0")
    assert second.name in text
    assert third.name in text
    assert len(shell.rows("gnt-node", "name")) == 3
    assert shell.rows("gnt-job", "id")
    shell.start_daemon(second)
    shell.start_daemon(third)

    def accepted():
        return shell.cluster.call(shell.master, ("gnt-debug", "delay", "0")).returncode == 0

    wait_until("submission works again", accepted)
    wait_until("all copies are equal", lambda: len(set(shell.positions())) == 1)
    shell.ok("gnt-cluster", "verify")


def test_a_partition_cuts_and_heals(own_cluster):
    shell = own_cluster
    shell.cluster.partition([["node1", "node2"], ["node3"]])
    shell.ok("gnt-debug", "delay", "0")
    assert shell.cluster.call(shell.master, ("gnt-cluster", "verify")).returncode == 1
    shell.cluster.heal()
    shell.ok("gnt-debug", "delay", "0")
    wait_until("all copies are equal", lambda: len(set(shell.positions())) == 1)
    wait_until("verify is clean", lambda: shell.cluster.call(shell.master, ("gnt-cluster", "verify")).returncode == 0)


def test_power_off_and_on(own_cluster):
    shell = own_cluster
    shell.ok("gnt-instance", "add", "-t", "diskless", "-n", "node2", "-o", "busybox-linux", "x.example")
    shell.cluster.kill("node2")
    assert shell.field("gnt-instance", "x.example", "status") == "ERROR_nodedown"
    shell.cluster.boot("node2")
    wait_until("it is seen as down", lambda: shell.field("gnt-instance", "x.example", "status") == "ERROR_down")
    shell.ok("gnt-instance", "startup", "x.example")
    assert shell.field("gnt-instance", "x.example", "status") == "running"


def test_the_whole_cluster_stops_and_starts(own_cluster):
    shell = own_cluster
    before = shell.rows("gnt-job", "id,status")
    shell.cluster.stop()
    shell.cluster.start()
    shell.wait_for_answers()
    assert shell.rows("gnt-job", "id,status") == before
    shell.ok("gnt-cluster", "verify")
