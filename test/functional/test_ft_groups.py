"""Node groups, networks, instance policies and emptying nodes, by commands on a cluster of three nodes."""

import os

import pytest
from functional.conftest import destroy, make_cluster

SHARED = ("gnt-instance", "add", "--no-name-check", "--no-install", "-H", "fake", "-t", "sharedfile")
DISKLESS = ("gnt-instance", "add", "--no-name-check", "--no-install", "-H", "fake", "-t", "diskless")


@pytest.fixture(scope="module")
def shell():
    made = make_cluster(3)
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


def nic(shell, name):
    return shell.rows("gnt-instance", "nic.ip/0,nic.network.name/0,nic.link/0", name)[0]


def test_groups_and_their_policies(shell):
    shell.ok("gnt-group", "add", "--alloc-policy=last_resort", "--node-parameters", "spindle_count=4", "rack2")
    assert "already" in shell.fails("gnt-group", "add", "rack2")
    shell.ok("gnt-group", "assign-nodes", "rack2", "node3")
    assert shell.field("gnt-node", "node3", "group") == "rack2"
    assert shell.field("gnt-node", "node3", "ndp/spindle_count") == "4"
    spec = "cpu-count={0},disk-count={0},disk-size={0}g,memory-size={0}g,nic-count={0},spindle-use={0}"
    bounds = f"min:{spec.format(1)}/max:{spec.format(2)}"
    assert "standard" in shell.fails("gnt-group", "modify", "--ipolicy-bounds-specs", bounds, "rack2")
    text = shell.ok(
        "gnt-group", "modify", "--ipolicy-vcpu-ratio=1.5", "--ipolicy-disk-templates", "sharedfile", "rack2"
    )
    assert " - ipolicy/vcpu-ratio -> 1.5" in text
    assert "vcpu-ratio: 1.5" in shell.ok("gnt-group", "info", "rack2")
    assert shell.ok("gnt-group", "show-ispecs-cmd", "rack2") == (
        "gnt-group add --ipolicy-disk-templates sharedfile --ipolicy-vcpu-ratio 1.5 rack2\n"
    )
    refused = shell.fails("gnt-instance", "add", "--no-install", "--no-name-check", "-H", "fake", "-t", "file",
                          "--disk", "0:size=1g", "-n", "node3", "big.vc.example")  # fmt: skip
    assert "--ignore-ipolicy" in refused
    shell.ok("gnt-group", "add-tags", "rack2", "dark")
    assert shell.ok("gnt-group", "list-tags", "rack2") == "dark\n"
    shell.ok("gnt-group", "rename", "rack2", "rack3")
    assert "has 1 nodes" in shell.fails("gnt-group", "remove", "rack3")
    shell.ok("gnt-cluster", "verify")


def test_addresses_of_a_network_are_given_out_once(shell):
    options = ("--gateway", "198.51.100.1", "--mac-prefix", "aa:bb:cc", "--add-reserved-ips", "198.51.100.2")
    shell.ok("gnt-network", "add", "--network", "198.51.100.0/28", *options, "lan")
    shell.ok("gnt-network", "connect", "-N", "mode=bridged,link=br7", "lan", "default")
    jobs = [
        shell.submit(
            *DISKLESS, "--net", "0:network=lan,ip=pool", "-n", f"node{number % 2 + 1}", f"n{number}.vc.example"
        )
        for number in range(4)
    ]
    for job in jobs:
        shell.ok("gnt-job", "wait", str(job))
    names = [f"n{number}.vc.example" for number in range(4)]
    found = [nic(shell, name) for name in names]
    assert sorted(row[0] for row in found) == [f"198.51.100.{last}" for last in (3, 4, 5, 6)]
    assert {tuple(row[1:]) for row in found} == {("lan", "br7")}
    assert shell.field("gnt-instance", names[0], "nic.mac/0").startswith("aa:bb:cc")
    assert "reserved" in shell.fails(*DISKLESS, "--net", "0:network=lan,ip=198.51.100.2", "-n", "node1", "x.vc.example")
    assert "address of network lan" in shell.fails(
        *DISKLESS, "--net", "0:ip=198.51.100.9", "-n", "node1", "x.vc.example"
    )
    assert "not connected" in shell.fails(*DISKLESS, "--net", "0:network=lan", "-n", "node3", "x.vc.example")
    assert "used" in shell.fails("gnt-network", "disconnect", "lan", "default")
    shell.ok("gnt-instance", "remove", "-f", names[0])
    shell.ok(*DISKLESS, "--net", "0:network=lan,ip=pool", "-n", "node1", names[0])
    assert nic(shell, names[0]) == found[0]
    text = shell.ok("gnt-network", "info", "lan")
    assert "XXXXXXX........X" in text
    assert "n1.vc.example: 0:198.51.100." in text
    shell.ok("gnt-cluster", "verify")
    for name in names:
        shell.ok("gnt-instance", "remove", "-f", name)
    shell.ok("gnt-network", "disconnect", "lan", "default")
    shell.ok("gnt-network", "remove", "lan")


def test_nodes_and_groups_are_emptied(shell):
    names = ["a.vc.example", "b.vc.example"]
    for name in names:
        shell.ok(*SHARED, "--disk", "0:size=1g", "-n", "node2", name)
    for name in names:
        shell.ok("gnt-instance", "start", name)
    shell.ok("gnt-node", "modify", "-D", "yes", "-f", "node2")
    assert "evacuated successfully" in shell.ok("gnt-node", "evacuate", "-f", "-p", "-I", "builtin", "node2")
    assert {row[0] for row in shell.rows("gnt-instance", "pnode")} == {"node1.vc.example"}
    assert "nothing to do" in shell.cluster.call(shell.master, ("gnt-node", "evacuate", "-f", "node2")).stderr
    shell.ok("gnt-node", "modify", "-D", "no", "-f", "node2")
    assert "migrated successfully" in shell.ok("gnt-node", "migrate", "-f", "-n", "node2", "node1")
    assert "All 2 instance(s)" in shell.ok("gnt-node", "failover", "-f", "-I", "builtin", "node2")
    shell.ok("gnt-group", "modify", "--alloc-policy=preferred", "rack3")
    shell.ok("gnt-instance", "change-group", "--to", "rack3", "-I", "builtin", names[0])
    assert shell.field("gnt-instance", names[0], "pnode") == "node3.vc.example"
    shell.ok("gnt-group", "evacuate", "-I", "builtin", "--force-failover", "--sequential", "default")
    assert {row[0] for row in shell.rows("gnt-instance", "pnode")} == {"node3.vc.example"}
    assert {row[0] for row in shell.rows("gnt-instance", "status")} == {"running"}
    for name in names:
        shell.ok("gnt-instance", "remove", "-f", name)
    shell.ok("gnt-group", "assign-nodes", "default", "node3")
    shell.ok("gnt-group", "remove", "rack3")
    shell.ok("gnt-cluster", "verify")


def test_the_candidate_pool_follows_its_size(shell):
    def roles():
        return sorted(row[0] for row in shell.rows("gnt-node", "role"))

    shell.ok("gnt-cluster", "modify", "-C", "2")
    assert roles() == ["C", "M", "R"]
    shell.ok("gnt-cluster", "modify", "-C", "10")
    assert roles() == ["C", "C", "M"]
    shell.ok("gnt-node", "modify", "--node-parameters", "spindle_count=7", "--hypervisor-state", "fake:mem_total=4g",
             "node2")  # fmt: skip
    assert shell.field("gnt-node", "node2", "ndp/spindle_count") == "7"
    assert "reaches nobody" in shell.fails("gnt-node", "modify", "-s", "192.0.2.77", "-f", "node1")
    shell.ok("gnt-cluster", "verify")
