"""Failover with real daemons: a node that dies, a node that comes back with its guest; tags; the console command."""

import os

from ganeti.paths import FAKE_DIR

ADD = ("gnt-instance", "add", "--no-name-check", "--no-ip-check", "--no-install", "-H", "fake", "-t", "sharedfile")
FAILOVER = ("gnt-instance", "failover", "-f")
NAME = "moved.vc.example"


def _add(shell, node):
    shell.ok(*ADD, "--disk", "0:size=1g", "-n", node, NAME)
    shell.ok("gnt-instance", "start", NAME)


def _places(shell):
    """Short names of the nodes that have the guest."""
    return [node.short_name for node in shell.nodes if os.path.exists(f"{node.paths.local(FAKE_DIR)}/{NAME}.json")]


def test_failover_to_a_named_and_to_a_chosen_node(cluster):
    _add(cluster, "node3")
    try:
        cluster.ok(*FAILOVER, "-n", "node2", NAME)
        assert _places(cluster) == ["node2"]
        cluster.ok(*FAILOVER, "-I", "builtin", NAME)
        assert _places(cluster) in (["node1"], ["node3"])
        text = cluster.ok("gnt-instance", "console", NAME)
        assert "not available" in text
        cluster.ok("gnt-instance", "stop", NAME)
        cluster.ok("gnt-instance", "reinstall", "-f", "-o", "busybox-linux", NAME)
        assert cluster.field("gnt-instance", NAME, "os") == "busybox-linux"
        cluster.ok("gnt-cluster", "verify")
    finally:
        cluster.ok("gnt-instance", "remove", "-f", NAME)


def test_failover_from_a_node_that_is_cut_off_and_comes_back(own_cluster):
    shell = own_cluster
    _add(shell, "node3")
    shell.cluster.partition([["node1", "node2"], ["node3"]])
    refusal = shell.fails(*FAILOVER, "-n", "node2", NAME)
    assert "gnt-node modify --offline=yes node3.vc.example" in refusal
    shell.ok("gnt-node", "modify", "--offline=yes", "node3")
    assert "--ignore-consistency" in shell.fails(*FAILOVER, "-n", "node2", NAME)
    shell.ok(*FAILOVER, "--ignore-consistency", "-n", "node2", NAME)
    assert _places(shell) == ["node2", "node3"]  # out of reach, it cannot be ended
    assert f"end what may still run of {NAME}" in shell.ok("gnt-cluster", "verify")
    shell.cluster.heal()
    shell.ok("gnt-node", "modify", "-f", "--offline=no", "node3")
    assert _places(shell) == ["node2"]
    assert "end what may still run" not in shell.ok("gnt-cluster", "verify")


def test_tags_of_all_kinds(cluster):
    for target in (("gnt-cluster",), ("gnt-node", "node2")):
        tool, name = target[0], target[1:]
        cluster.ok(tool, "add-tags", *name, "role:a", "role:b")
        assert cluster.ok(tool, "list-tags", *name) == "role:a\nrole:b\n"
    assert cluster.ok("gnt-cluster", "search-tags", "a$") == "/cluster role:a\n/nodes/node2.vc.example role:a\n"
    assert cluster.fails("gnt-cluster", "search-tags", "nothing") == ""
    for target in (("gnt-cluster",), ("gnt-node", "node2")):
        cluster.ok(target[0], "remove-tags", *target[1:], "role:a", "role:b")
    assert "not found" in cluster.fails("gnt-node", "remove-tags", "node2", "role:a")
