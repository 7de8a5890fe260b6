"""The watcher on real daemons: what stopped runs again, and nobody is started against his will."""

import os

from functional.kit import wait_until

from ganeti import paths
from ganeti.bootstrap import daemons
from ganeti.host import files


def lose_guest(node, name):
    """The guest ends as by a crash: nobody asked for it."""
    os.unlink(f"{node.paths.local(paths.FAKE_DIR)}/{name}.json")


def test_watcher_starts_what_shall_run_and_the_daemons(cluster):
    master, second = cluster.nodes[0], cluster.nodes[1]
    for name in ("web1", "web2"):
        cluster.ok("gnt-instance", "add", "-t", "diskless", "-o", "busybox-linux", "--no-install", "-n", "node2", name)
    try:
        cluster.ok("gnt-instance", "startup", "web1")
        lose_guest(second, "web1")
        assert cluster.field("gnt-instance", "web1", "status") == "ERROR_down"
        cluster.ok("gnt-cluster", "watcher", "pause", "1h")
        cluster.ok("ganeti-watcher")
        assert cluster.field("gnt-instance", "web1", "status") == "ERROR_down"
        cluster.ok("gnt-cluster", "watcher", "continue")
        cluster.ok("ganeti-watcher")
        assert cluster.field("gnt-instance", "web1", "status") == "running"
        assert cluster.field("gnt-instance", "web2", "status") == "ADMIN_down"
        seen = files.read_text(master.paths.local(paths.INSTANCE_STATUS)).split("\n")
        assert {line.split()[0].partition(".")[0] for line in seen if line} == {"web1", "web2"}
    finally:
        cluster.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", "web1")
        cluster.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", "web2")


def reboot(shell, name):
    """Its halves of mirrors are down afterwards."""
    shell.cluster.kill(name)
    shell.cluster.boot(name)
    shell.wait_for_answers()


def inactive(shell):
    """What verify says of disks that are down."""
    done = shell.cluster.call(shell.master, ("gnt-cluster", "verify"))
    return [line for line in done.stdout.splitlines() if "web1" in line and "not active" in line]


def test_mirrors_are_up_again_after_their_node_was_booted(own_cluster):
    shell = own_cluster
    add = ("gnt-instance", "add", "-t", "drbd", "-o", "busybox-linux", "--no-install", "--disk", "0:size=1g")
    shell.ok(*add, "-n", "node2:node3", "web1")
    shell.ok("gnt-instance", "startup", "web1")
    shell.ok("ganeti-watcher")
    shell.ok("gnt-cluster", "verify")
    reboot(shell, "node3")
    assert inactive(shell)
    shell.ok("ganeti-watcher", "--no-verify-disks")  # that the node was booted is reason enough
    assert inactive(shell) == []
    shell.ok("gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    shell.ok("gnt-cluster", "verify")
    reboot(shell, "node3")
    assert "web1" in shell.ok("gnt-cluster", "verify-disks")
    assert inactive(shell) == []
    shell.ok("gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    shell.ok("gnt-cluster", "verify")


def test_watcher_starts_daemons_that_ended(own_cluster):
    master, third = own_cluster.nodes[0], own_cluster.nodes[2]
    own_cluster.stop_daemon(third)
    own_cluster.ok("ganeti-watcher", node=third)
    assert daemons.is_running(third.paths, daemons.NODED)
    own_cluster.stop_daemon(master, daemons.MASTERD)
    # it may not yet have won its mastership again when the watcher wants to archive jobs: the next run does the rest
    wait_until(
        "a good run of the watcher",
        lambda: own_cluster.cluster.call(master, ("ganeti-watcher",)).returncode == 0,
        timeout_s=60,
    )
    own_cluster.wait_for_answers()
    told = own_cluster.ok("ganeti-daemons", "status", node=master)
    assert "ganeti-noded runs" in told
    assert "ganeti-masterd runs" in told
    own_cluster.ok("ganeti-daemons", "stop", node=third)
    assert not daemons.is_running(third.paths, daemons.NODED)
    own_cluster.ok("ganeti-daemons", "start", node=third)
    own_cluster.ok("ganeti-cleaner", node=master)
