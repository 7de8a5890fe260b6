"""The cluster as a whole: facts, verify, settings, refusals of init and join."""

import os

from functional.kit import wait_until

from ganeti import paths


def test_three_nodes_are_candidates_and_know_the_master(cluster):
    rows = cluster.rows("gnt-node", "name,role,master_candidate")
    assert [(name, role) for name, role, _ in rows] == [
        ("node1.vc.example", "M"),
        ("node2.vc.example", "C"),
        ("node3.vc.example", "C"),
    ]
    for node in cluster.nodes:
        assert cluster.ok("gnt-cluster", "getmaster", node=node) == "node1.vc.example\n"


def test_verify_is_clean(cluster):
    cluster.ok("gnt-cluster", "verify")


def test_info_and_version_tell_who_we_are(cluster):
    assert "cluster.vc.example" in cluster.ok("gnt-cluster", "info")
    assert "Software version:" in cluster.ok("gnt-cluster", "version")


def test_all_candidates_hold_the_same_state(cluster):
    cluster.ok("gnt-debug", "delay", "0")
    wait_until("equal copies", lambda: len(set(cluster.positions())) == 1)


def test_commands_elsewhere_name_the_master(cluster):
    done = cluster.cluster.call(cluster.nodes[1], ("gnt-instance", "list"))
    assert done.returncode == 1
    assert "node1.vc.example" in done.stderr


def test_init_on_a_member_is_refused(cluster):
    text = cluster.fails("gnt-cluster", "init", "other.vc.example")
    assert "already part of the cluster 'cluster.vc.example'" in text


def test_add_of_a_member_is_refused_with_a_hint(cluster):
    assert "--readd" in cluster.fails("gnt-node", "add", "--no-ssh-key-check", "node2")


def test_add_of_an_unknown_host_is_refused(cluster):
    assert "node77.vc.invalid" in cluster.fails("gnt-node", "add", "--no-ssh-key-check", "node77.vc.invalid")


def test_modify_changes_settings_and_the_nodes_files(cluster):
    cluster.ok("gnt-cluster", "modify", "-B", "vcpus=2")
    try:
        assert "vcpus: 2" in cluster.ok("gnt-cluster", "info")
    finally:
        cluster.ok("gnt-cluster", "modify", "-B", "vcpus=1")
    assert "wrong_input" in cluster.fails("gnt-cluster", "modify", "-B", "vcpu=2")


def test_every_node_has_the_same_ssconf_files(cluster):
    def lists():
        found = set()
        for node in cluster.nodes:
            with open(node.paths.local(paths.ssconf("node_list"))) as file:
                found.add(file.read())
        return found

    assert lists() == {"node1.vc.example\nnode2.vc.example\nnode3.vc.example\n"}
    for node in cluster.nodes:
        assert os.stat(node.paths.local(paths.ssconf("node_list"))).st_mode & 0o777 == 0o444


def test_keys_are_readable_by_nobody_else(cluster):
    for node in cluster.nodes:
        for file in (paths.CA_KEY, paths.NODE_CERT):
            assert os.stat(node.paths.local(file)).st_mode & 0o077 & ~0o040 == 0, file.path
