"""The classic configuration file: out of a cluster, and into a new one."""

import json
import os
import stat
import subprocess

from functional.kit import wait_until

from ganeti import paths
from ganeti.bootstrap import daemons
from ganeti.bootstrap.membership import remove_everything

TOOL = os.path.realpath(os.path.dirname(__file__) + "/../../tools/cfgupgrade")


def _export(shell, node, file):
    shell.ok("gnt-cluster", "export-config", file, node=node)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    with open(file) as opened:
        return json.load(opened)


def _comparable(document):
    """Without what a new cluster has to have anew: certificates, roles that hang on them, the serial of the store."""
    for node in document["nodes"].values():
        for key in ("master_candidate", "offline"):
            del node[key]
    del document["cluster"]["candidate_certs"], document["serial_no"]
    return document


def test_a_configuration_moves_into_a_new_cluster(own_cluster, tmp_path):
    shell = own_cluster
    first, second, third = shell.nodes
    shell.ok("gnt-cluster", "modify", "-B", "vcpus=2")
    shell.ok(
        "gnt-instance", "add", "-t", "file", "--disk", "0:size=1g", "--disk", "1:size=1g,name=spare",
        "-o", "busybox-linux", "-n", "node2", "--no-install", "--no-start", "--no-name-check", "--no-ip-check",
        "web1.example",
    )  # fmt: skip
    shell.ok("gnt-instance", "modify", "--disk", "spare:detach", "web1.example")
    shell.ok("gnt-instance", "startup", "web1.example")
    before = _export(shell, first, str(tmp_path / "config.data"))
    assert json.loads(shell.ok("gnt-cluster", "export-config"))["cluster"] == before["cluster"]
    assert before["cluster"]["cluster_name"] == "cluster.vc.example"
    assert len(before["nodes"]) == 3
    assert [disk["dev_type"] for disk in before["disks"].values()] == ["file", "file"]
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "serial").write_text("4711\n")
    (tmp_path / "rapi").mkdir()
    (tmp_path / "rapi" / "users").write_text("jack secret write\n")
    command = ("gnt-cluster", "import-config", str(tmp_path))
    done = shell.cluster.call(first, command)
    assert done.returncode == 1
    assert "runs on this host" in done.stderr

    for node in shell.nodes:
        remove_everything(node.paths)
    assert "master in the file is node1" in shell.cluster.call(third, command).stderr
    told = shell.ok(*command[:2], "--dry-run", command[2], node=first)
    assert "3 nodes" in told
    assert "marked offline until they are added again: node2.vc.example, node3.vc.example" in told
    assert "ERROR" not in told
    assert not os.path.exists(first.paths.local(paths.STATE_DB))
    shell.ok(*command, node=first)
    assert shell.cluster.call(first, command).returncode == 1
    for daemon in (daemons.NODED, daemons.MASTERD):
        shell.start_daemon(first, daemon)
    shell.wait_for_answers()
    after = _export(shell, first, str(tmp_path / "again"))
    assert _comparable(after) == _comparable(before)
    with open(first.paths.local(paths.RAPI_USERS)) as file:
        assert file.read() == "jack secret write\n"
    assert shell.submit("gnt-debug", "delay", "0") > 4711
    # the others come back, with their guests and disks
    for node in (second, third):
        shell.ok("gnt-node", "add", "--no-ssh-key-check", "--readd", "--force-join", node.name, node=first)
    assert {role for _, role in shell.rows("gnt-node", "name,role")} == {"M", "C"}
    wait_until("equal copies", lambda: len(set(shell.positions())) == 1)
    shell.ok("gnt-cluster", "verify")
    assert shell.field("gnt-instance", "web1.example", "status") == "running"
    assert "spare" in shell.ok("gnt-instance", "list-detached-disks")
    shell.ok("gnt-instance", "remove-detached-disk", "--force", "spare")


def test_the_tool_says_what_is_wrong_with_a_file(cluster, tmp_path):
    broken = tmp_path / "config.data"
    broken.write_text('{"version": 2000000, "cluster": {}, "nodes": {"a": 5}, "instances": {}}')
    environment = {
        **cluster.cluster.layout.environment(cluster.nodes[0]),
        "GANETI_VENV": os.environ.get("GANETI_VENV", ""),
    }
    if not environment["GANETI_VENV"]:
        environment["GANETI_VENV"] = os.path.dirname(cluster.cluster.layout.bin_dir)
    done = subprocess.run(
        [TOOL, "--dry-run", str(broken)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "$.nodes['a']: an object is wanted, not a number" in done.stderr
