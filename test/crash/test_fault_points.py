"""Die at every registered fault point, start again, and look whether everything is as it was promised."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from functional.kit import Shell, wait_until

from ganeti.bootstrap import daemons
from ganeti.host import faults
from ganeti.testing.vcluster import VirtualCluster

pytestmark = pytest.mark.functional

# importing the daemons registers their points
from ganeti.master import daemon as _master  # noqa: E402, F401
from ganeti.node import daemon as _node  # noqa: E402, F401

ADD = ("gnt-instance", "add", "--no-install", "-o", "busybox-linux", "-t", "file", "--disk", "0:size=1g", "-n", "node2")
#: hits of a point before the one that kills
NTH = 2


@pytest.fixture(scope="module")
def shell():
    directory = tempfile.mkdtemp(prefix="gnt-ct-")
    made = VirtualCluster.create(
        directory + "/vc",
        count=3,
        bin_dir=os.path.dirname(sys.executable),
        report=lambda line: None,
        hypervisors=("fake",),
        os_definitions=os.path.realpath(os.path.dirname(__file__) + "/../../doc/examples/os"),
    )
    yield Shell(made)
    made.destroy()
    shutil.rmtree(directory)


@pytest.fixture
def restored(shell):
    """All daemons run, whatever the test before did."""
    for node in shell.nodes:
        shell.start_daemon(node)
    shell.start_daemon(shell.master, daemons.MASTERD)
    shell.wait_for_answers()
    yield shell
    for node in shell.nodes:
        shell.start_daemon(node)
    shell.start_daemon(shell.master, daemons.MASTERD)


def _work(shell, name):
    """Jobs that pass as many points as possible; whether each was acknowledged."""
    commands = [
        (*ADD, name),
        ("gnt-instance", "modify", "-B", "memory=256", name),
        ("gnt-instance", "shutdown", name),
        ("gnt-instance", "remove", "-f", name),
    ]
    jobs = []
    for command in commands:
        if not daemons.is_running(shell.master.paths, daemons.MASTERD):
            break  # commands would wait for it
        done = shell.cluster.call(
            shell.master, (command[0], command[1], "--submit", "--print-jobid", *command[2:]), timeout_s=60
        )
        if done.returncode == 0:
            jobs.append(int(done.stdout.split()[0]))
    return jobs


def _files(shell):
    places = [node.root + "/srv/ganeti/file-storage" for node in shell.nodes]
    return [file for place in places for _, _, files in os.walk(place) for file in files]


def _check(shell, jobs, name):
    final = ("success", "error", "canceled")

    def ended():
        rows = dict(shell.rows("gnt-job", "id,status"))
        assert all(str(job) in rows for job in jobs), "an acknowledged job is lost"
        return all(status in final for status in rows.values())

    wait_until("all jobs end", ended, timeout_s=60)
    if [name] in shell.rows("gnt-instance", "name"):
        shell.ok("gnt-instance", "remove", "-f", name)
    # what could not be undone while the node was away is undone soon after it is back
    wait_until("no debris is left", lambda: _files(shell) == [])
    shell.ok("gnt-cluster", "verify")
    wait_until("equal copies", lambda: len(set(shell.positions())) == 1)


@pytest.mark.parametrize("point", faults.POINTS)
def test_the_master_dies_there(restored, point):
    shell, name = restored, f"m{faults.POINTS.index(point)}.example"
    shell.stop_daemon(shell.master, daemons.MASTERD)
    try:
        shell.start_daemon(shell.master, daemons.MASTERD, fault=f"{point}:{NTH}")
    except subprocess.CalledProcessError:
        jobs = []  # it passed the point while it started
    else:
        jobs = _work(shell, name)
    if daemons.is_running(shell.master.paths, daemons.MASTERD):
        shell.stop_daemon(shell.master, daemons.MASTERD)  # this point is not passed by a master
    shell.start_daemon(shell.master, daemons.MASTERD)
    shell.wait_for_answers()
    _check(shell, jobs, name)


@pytest.mark.parametrize("point", faults.POINTS)
def test_a_node_dies_there(restored, point):
    shell, name = restored, f"n{faults.POINTS.index(point)}.example"
    node = shell.nodes[1]
    shell.stop_daemon(node)
    try:
        shell.start_daemon(node, fault=f"{point}:{NTH}")
    except subprocess.CalledProcessError:
        jobs = []
    else:
        jobs = _work(shell, name)
    if daemons.is_running(node.paths, daemons.NODED):
        shell.stop_daemon(node)
    shell.start_daemon(node)
    _check(shell, jobs, name)
