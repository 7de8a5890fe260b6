"""Disks with real daemons: mirrors on two nodes, a secondary replaced, a primary dead; plain ones moved."""

import glob
import os

import pytest
from functional.conftest import destroy, make_cluster

from ganeti.paths import FAKE_DIR

ADD = ("gnt-instance", "add", "--no-name-check", "--no-ip-check", "--no-install", "-H", "fake", "-t", "drbd")
NAME = "mirrored.vc.example"
NEEDS_HAIL = pytest.mark.skipif(
    not os.path.exists("/usr/lib/ganeti/iallocators/hail"), reason="needs the allocator hail, of ganeti-htools"
)
MOVED = "plain.vc.example"
#: moves to nodes that have no half of the mirrors, and who has them afterwards
ANYWHERE = (
    (("migrate", "-f", "-n", "node2"), ("node2", "node3")),
    (("failover", "-f", "--no-wait-for-sync", "-n", "node1"), ("node1", "node2")),
    (("failover", "-f", "-n", "node3"), ("node3", "node1")),
)


@pytest.fixture(scope="module")
def mirrors():
    shell = make_cluster(4)
    yield shell
    destroy(os.path.dirname(shell.cluster.layout.directory))


def _places(shell):
    """Short names of the nodes that have the guest."""
    return [node.short_name for node in shell.nodes if os.path.exists(f"{node.paths.local(FAKE_DIR)}/{NAME}.json")]


def test_the_life_of_a_mirrored_instance(mirrors):
    mirrors.ok(*ADD, "--disk", "0:size=1g", "--disk", "1:size=1g", "-n", "node2:node3", NAME)
    mirrors.ok("gnt-instance", "start", NAME)
    mirrors.ok("gnt-instance", "migrate", "-f", NAME)
    assert _places(mirrors) == ["node3"]
    mirrors.ok("gnt-instance", "grow-disk", NAME, "1", "1g")
    mirrors.ok("gnt-instance", "replace-disks", "-p", NAME)
    mirrors.ok("gnt-instance", "replace-disks", "-n", "node1", NAME)
    assert mirrors.rows("gnt-instance", "pnode,snodes,disk.sizes", NAME) == [
        ["node3.vc.example", "node1.vc.example", "1024,2048"]
    ]
    for move, places in ANYWHERE:
        mirrors.ok("gnt-instance", *move, NAME)
        assert mirrors.rows("gnt-instance", "pnode,snodes", NAME) == [[f"{name}.vc.example" for name in places]]
        assert _places(mirrors) == [places[0]]
    shown = mirrors.ok("gnt-instance", "activate-disks", NAME)
    assert "node3.vc.example:disk/0:" in shown
    mirrors.ok("gnt-cluster", "verify")


def test_its_primary_dies_and_comes_back(mirrors):
    mirrors.cluster.kill("node3")
    mirrors.ok("gnt-node", "modify", "-f", "--offline=yes", "node3")
    mirrors.ok("gnt-instance", "failover", "-f", "--ignore-consistency", NAME)
    assert _places(mirrors)[0] == "node1"
    mirrors.cluster.boot("node3")
    mirrors.ok("gnt-node", "modify", "-f", "--offline=no", "node3")
    mirrors.ok("gnt-instance", "activate-disks", "--wait-for-sync", NAME)
    mirrors.ok("gnt-cluster", "verify")
    mirrors.ok("gnt-instance", "remove", "-f", NAME)
    mirrors.ok("gnt-cluster", "verify")


def test_a_plain_instance_moves_with_its_data(mirrors):
    first, second = mirrors.nodes[0], mirrors.nodes[1]
    plain = ["plain" if word == "drbd" else word for word in ADD]
    mirrors.ok(*plain, "--disk", "0:size=1g", "-n", "node1", MOVED)
    mirrors.ok("gnt-instance", "start", MOVED)
    (volume,) = _volumes(first)
    with open(volume, "r+b") as file:
        file.write(b"what the guest wrote")
    told = mirrors.ok("gnt-instance", "move", "-f", "--dry-run", "-n", "node2", MOVED)
    assert "send disk 0" in told
    mirrors.ok("gnt-instance", "move", "-f", "--compress=gzip-fast", "-n", "node2", MOVED)
    assert mirrors.rows("gnt-instance", "pnode,status", MOVED) == [["node2.vc.example", "running"]]
    assert _volumes(first) == []
    (copy,) = _volumes(second)
    with open(copy, "rb") as file:
        assert file.read(20) == b"what the guest wrote"
    mirrors.ok("gnt-cluster", "verify")
    mirrors.ok("gnt-instance", "remove", "-f", MOVED)


def _volumes(node, kind=""):
    return glob.glob(node.paths.local(f"/var/lib/ganeti/fake-lvm/*/*.disk0{kind}"))


def _nodes(shell):
    """Primary and secondary."""
    ((primary, secondary),) = shell.rows("gnt-instance", "pnode,snodes", NAME)
    return primary.partition(".")[0], secondary.partition(".")[0]


def _has_gone_on(shell):
    """It runs on one node, its mirrors are in sync, and nobody else has anything of it."""
    primary, secondary = _nodes(shell)
    assert _places(shell) == [primary]
    holders = [node.short_name for node in shell.nodes if _volumes(node, "_data")]
    assert holders == sorted({primary, secondary})
    shell.ok("gnt-instance", "activate-disks", "--wait-for-sync", NAME)


@pytest.mark.parametrize("allocator", ["builtin", pytest.param("hail", marks=NEEDS_HAIL)])
def test_groups_and_nodes_are_emptied_of_mirrors(mirrors, allocator):
    mirrors.ok(*ADD, "--disk", "0:size=1g", "-n", "node2:node1", NAME)
    mirrors.ok("gnt-instance", "start", NAME)
    mirrors.ok("gnt-group", "add", "rack2")
    mirrors.ok("gnt-group", "assign-nodes", "rack2", "node3", "node4")
    mirrors.ok("gnt-instance", "change-group", "-I", allocator, "--to=rack2", NAME)
    assert set(_nodes(mirrors)) == {"node3", "node4"}
    _has_gone_on(mirrors)
    mirrors.ok("gnt-group", "evacuate", "-I", allocator, "rack2")
    assert set(_nodes(mirrors)) == {"node1", "node2"}
    _has_gone_on(mirrors)
    mirrors.ok("gnt-group", "assign-nodes", "default", "node3", "node4")
    mirrors.ok("gnt-group", "remove", "rack2")
    for mode, place in (("-s", 1), ("-p", 0)):
        left = _nodes(mirrors)[place]
        mirrors.ok("gnt-node", "evacuate", "-f", mode, "-I", allocator, left)
        assert _nodes(mirrors)[place] != left
        _has_gone_on(mirrors)
    primary, secondary = _nodes(mirrors)
    mirrors.ok("gnt-node", "migrate", "-f", primary)
    assert _nodes(mirrors) == (secondary, primary)
    _has_gone_on(mirrors)
    mirrors.ok("gnt-instance", "remove", "-f", NAME)
