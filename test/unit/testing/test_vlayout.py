import os
import subprocess

import pytest

from ganeti import errors
from ganeti.host import partition
from ganeti.testing import vcommands, vlayout, vroot
from ganeti.testing.vlayout import Layout


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    made = vlayout.plan(str(tmp_path / "vc"), 3, bin_dir="/opt/bin", hypervisors=("fake",))
    os.makedirs(made.directory)
    made.save()
    yield made
    subprocess.run(["rm", "-rf", made.run_base], check=True)


def test_owner_may_work_on_it_and_others_are_told_whose_it_is(layout):
    owner = os.stat(layout.directory).st_uid
    vlayout.check_owner(layout.directory, owner)
    vlayout.check_owner(layout.directory, 0)
    vlayout.check_owner(layout.directory + "/nothing-here", owner + 12345)
    with pytest.raises(errors.PrereqError, match="belongs to user"):
        vlayout.check_owner(layout.directory, owner + 12345)


def test_plan_gives_each_node_its_own_loopback_address(layout):
    assert len({node.address for node in layout.nodes}) == 3
    assert all(node.address.startswith("127.") for node in layout.nodes)


def test_two_clusters_never_share_a_network(layout, tmp_path):
    other = vlayout.plan(str(tmp_path / "other"), 3, bin_dir="/opt/bin", hypervisors=("fake",))
    try:
        assert other.network != layout.network
    finally:
        subprocess.run(["rm", "-rf", other.run_base], check=True)


def test_sockets_fit_into_an_address_however_deep_the_directory(layout):
    # a Unix socket path has 107 bytes
    assert len(layout.nodes[0].run_dir + "/kvm-hypervisor/ctrl/" + "u" * 36 + ".monitor") <= 107


def test_load_reads_what_save_wrote(layout):
    assert Layout.load(layout.directory) == layout


def test_a_moved_cluster_is_refused(layout, tmp_path):
    os.rename(layout.directory, tmp_path / "elsewhere")
    with pytest.raises(errors.PrereqError, match="move it back"):
        Layout.load(str(tmp_path / "elsewhere"))


def test_a_directory_without_cluster_is_refused(tmp_path):
    with pytest.raises(errors.PrereqError, match="tools/vcluster create"):
        Layout.load(str(tmp_path))


def test_node_is_found_by_short_and_full_name(layout):
    assert layout.node("node2") is layout.node("NODE2.vc.example")
    with pytest.raises(errors.PrereqError, match="node1, node2, node3"):
        layout.node("node4")


def test_make_root_twice_is_the_same_as_once(layout):
    for _ in range(2):
        vroot.make(layout, layout.nodes[0], os_definitions="")
    assert os.path.realpath(layout.nodes[0].root + "/var/run/ganeti") == os.path.realpath(layout.nodes[0].run_dir)


def _ssh(layout, *words):
    own = layout.nodes[0].root + "/usr/bin/ssh"
    return subprocess.run([own, *words], capture_output=True, text=True, check=False)


def test_ssh_runs_in_the_other_nodes_environment(layout):
    for node in layout.nodes:
        vroot.make(layout, node, os_definitions="")
    done = _ssh(layout, "-oBatchMode=no", "-p", "22", "root@node2", "echo", "$GANETI_HOSTNAME;", "exit 7")
    assert (done.stdout, done.returncode) == ("node2.vc.example\n", 7)


def test_ssh_does_not_reach_unknown_dead_and_cut_off_nodes(layout):
    for node in layout.nodes:
        vroot.make(layout, node, os_definitions="")
    assert "Could not resolve" in _ssh(layout, "node9", "true").stderr
    vroot.cut_off(layout.nodes[0], [layout.nodes[1]])
    assert _ssh(layout, "node2", "true").returncode == 255
    vroot.cut_off(layout.nodes[0], [])
    assert _ssh(layout, "node2", "true").returncode == 0
    with open(layout.node("node2").off_mark, "w"):
        pass
    assert _ssh(layout, "node2", "true").returncode == 255


def test_partition_writes_who_is_cut_off_and_heal_takes_it_back(layout, capsys):
    for node in layout.nodes:
        vroot.make(layout, node, os_definitions="")
    assert vcommands.main(["partition", layout.directory, "node1,node2|node3"], bin_dir="", os_definitions="") == 0
    cut = {node.short_name: partition.cut_off(node.paths) for node in layout.nodes}
    third = {layout.node("node3").address}
    assert cut == {"node1": third, "node2": third, "node3": {n.address for n in layout.nodes[:2]}}
    assert vcommands.main(["heal", layout.directory], bin_dir="", os_definitions="") == 0
    assert not os.path.exists(layout.nodes[0].root + "/etc/ganeti/partition")


@pytest.mark.parametrize("groups", ["node1|node1", "node1", "node1|node9"])
def test_partition_refuses_nonsense(layout, groups, capsys):
    assert vcommands.main(["partition", layout.directory, groups], bin_dir="", os_definitions="") == 1
    assert "tools/vcluster: " in capsys.readouterr().err


def test_env_prints_what_a_shell_takes(layout, capsys):
    assert vcommands.main(["env", layout.directory, "node2"], bin_dir="", os_definitions="") == 0
    script = capsys.readouterr().out + 'echo "$GANETI_HOSTNAME ${PATH%%:*}"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "node2.vc.example /opt/bin\n"
