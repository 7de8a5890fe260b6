"""gnt-cluster copyfile and command; the cluster's own address."""

import pytest
from unit.cli.kit import Keyboard, Master, job_master, run

from ganeti.testing.script import Answer, Script

NODES = [
    ["node1", "198.51.100.1", False, True, "default", "g1"],
    ["node2", "198.51.100.2", False, False, "default", "g1"],
    ["node3", "198.51.100.3", True, False, "rack2", "g2"],
]


def cluster(**answers):
    return Master(QueryNodes=NODES, Query={"fields": [], "data": [[[0, "default"]]]}, **answers)


class Ssh(Script):
    """A script that also takes files."""

    def __init__(self, *steps, failing=()):
        super().__init__(*steps)
        self.failing = failing
        self.taken = {}

    def run_fed(self, argv, *, source, timeout_s):
        from ganeti import errors

        host = argv[-2]
        if host in self.failing:
            raise errors.CommandFailed(tuple(argv), 255, "No route to host")
        self.taken[host] = (source.read(), argv[-1])


def test_command_runs_everywhere_the_master_last():
    ssh = Ssh(
        ("ssh ... root@node2 'uptime -p'", "up\n"),
        ("ssh ... root@node1 'uptime -p'", Answer(stdout="down\n", status=3)),
    )
    ended = run("gnt-cluster", "command", "-M", "uptime", "-p", master=cluster(), runner=ssh)
    ssh.assert_finished()
    rule = "-" * 48
    assert ended.code == 0
    assert ended.out == (
        f"{rule}\nnode: node2\nnode2: up\nreturn code = 0\n{rule}\nnode: node1\nnode1: down\nreturn code = 3\n"
    )
    assert ended.err == "Skipping offline node(s): node3\n"


def test_command_shows_failures_only():
    ssh = Ssh(("ssh ... root@node2 true", ""), ("ssh ... root@node1 true", Answer(status=None, why="no ssh")))
    out = run("gnt-cluster", "command", "--failure-only", "true", master=cluster(), runner=ssh).out
    assert "node2" not in out
    assert "return code = 255" in out


def test_command_on_some_nodes():
    ssh = Ssh(("ssh ... root@node2 true", ""), ("ssh ... root@node1 true", ""))
    master = cluster()
    run("gnt-cluster", "command", "-n", "node1,node2", "-g", "default", "true", master=master, runner=ssh)
    assert master.sent("QueryNodes")[0][0] == ["node1", "node2"]
    master.answers["Query"] = {"fields": [], "data": []}
    assert run("gnt-cluster", "command", "-g", "nope", "true", master=master, runner=Ssh()).code == 1


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "etc/motd"
    path.parent.mkdir()
    path.write_bytes(b"\x00binary\n")
    path.chmod(0o640)
    return tmp_path


def test_copyfile_gives_the_others_the_file_and_its_mode(file):
    ssh = Ssh()
    ended = run("gnt-cluster", "copyfile", "/etc/motd", master=cluster(), runner=ssh, root=file)
    assert (ended.code, ended.out) == (0, "")
    ((host, (content, command)),) = ssh.taken.items()
    assert (host, content) == ("root@node2", b"\x00binary\n")
    assert command.endswith("sh /etc/motd 640")


def test_copyfile_by_the_other_network_tells_who_failed(file):
    ssh = Ssh(failing=("root@198.51.100.2",))
    ended = run(
        "gnt-cluster", "copyfile", "--use-replication-network", "/etc/motd", master=cluster(), runner=ssh, root=file
    )
    assert ended.code == 0
    assert "Copy of file /etc/motd to node node2 failed" in ended.err


def test_copyfile_of_nothing_is_refused(file):
    assert run("gnt-cluster", "copyfile", "/etc/none", master=cluster(), root=file).code == 1


def test_address_of_the_cluster():
    master = job_master()
    assert run("gnt-cluster", "activate-master-ip", master=master).code == 0
    assert run("gnt-cluster", "deactivate-master-ip", master=master, keyboard=Keyboard("n")).code == 1
    assert run("gnt-cluster", "deactivate-master-ip", "--yes", master=master).code == 0
    sent = [args[0][0]["OP_ID"] for args in master.sent("SubmitJob")]
    assert sent == ["OP_CLUSTER_ACTIVATE_MASTER_IP", "OP_CLUSTER_DEACTIVATE_MASTER_IP"]


def test_rename_asks_first():
    master = job_master("new.example.com")
    assert run("gnt-cluster", "rename", "new", master=master, keyboard=Keyboard("n")).code == 1
    assert run("gnt-cluster", "rename", "-f", "new", master=master).out == "Cluster renamed to 'new.example.com'\n"


def test_command_that_makes_the_same_policy():
    limits = {"minmax": [{"min": {"cpu-count": 1}, "max": {"cpu-count": 8}}], "std": {"cpu-count": 2}, "vcpu-ratio": 4}
    master = Master(QueryClusterInfo={"name": "c", "ipolicy": limits})
    assert run("gnt-cluster", "show-ispecs-cmd", master=master).out == (
        "gnt-cluster init --ipolicy-bounds-specs min:cpu-count=1/max:cpu-count=8 --ipolicy-vcpu-ratio 4 "
        "--ipolicy-std-specs cpu-count=2 c\n"
    )
