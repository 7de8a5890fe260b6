"""Die at every registered fault point, start again, and look whether everything is as it was promised."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from crash.points import ADOPTION, COMMANDS, EXPORTS, MASTER, RETURN, SNAPSHOTS
from functional.kit import Shell, wait_until
from functional.load_kit import FINAL

# importing the daemons registers their points
from ganeti.bootstrap import daemons
from ganeti.errors import GanetiError
from ganeti.host import faults
from ganeti.master import daemon as _master  # noqa: F401
from ganeti.node import daemon as _node  # noqa: F401
from ganeti.paths import STATE_DB, STATE_DIR
from ganeti.rpc import identity
from ganeti.store import db
from ganeti.testing.vcluster import VirtualCluster

pytestmark = pytest.mark.functional

ADD = ("gnt-instance", "add", "--no-install", "-o", "busybox-linux", "-t", "file", "--disk", "0:size=1g", "-n", "node2")
#: passed only when a whole state replaces what a candidate has
SNAPSHOT = {"store.before_stage", "store.after_stage", "store.before_replace", "store.after_replace"}


@pytest.fixture(scope="module")
def cluster():
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
    assert os.listdir(directory) == [], "nothing of it is left"
    shutil.rmtree(directory)


@pytest.fixture
def shell(cluster):
    """All daemons run, before and after the test, whatever it does."""
    _start_all(cluster)
    cluster.wait_for_answers()
    yield cluster
    _start_all(cluster)


def _start_all(cluster):
    for node in cluster.nodes:
        cluster.start_daemon(node)
    cluster.start_daemon(cluster.master, daemons.MASTERD)


class Victim:
    """A daemon that dies at a point and is started again, as its host's init would do."""

    def __init__(self, shell, node, daemon, fault):
        self._shell, self._node, self._daemon, self._fault = shell, node, daemon, fault
        self.died = False

    def live_through(self, work):
        """Run `work` while the daemon dies and comes back; its result."""
        self._shell.stop_daemon(self._node, self._daemon)
        try:
            self._shell.start_daemon(self._node, self._daemon, fault=self._fault)
        except subprocess.CalledProcessError:
            self._revive()
        results, failures = [], []

        def run():
            try:
                results.append(work())
            except (AssertionError, GanetiError) as err:
                failures.append(err)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            if not daemons.is_running(self._node.paths, self._daemon):
                self._revive()
            time.sleep(0.02)
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def _revive(self):
        self.died = True
        self._shell.start_daemon(self._node, self._daemon)


def _submit(shell, *command):
    """Id of the job if it was acknowledged. A client may be told nothing: then nothing was promised."""
    words = (command[0], command[1], "--submit", "--print-jobid", *command[2:])
    done = shell.cluster.call(shell.master, words, timeout_s=100)
    return int(done.stdout.split()[0]) if done.returncode == 0 else None


def _life(shell, name):
    """A whole life, each step when the instance has the name that it needs; ids of the jobs that were acknowledged."""
    commands = [
        (*ADD, name),
        ("gnt-instance", "modify", "-B", "memory=256", name),
        ("gnt-instance", "rename", "--no-name-check", "--no-ip-check", name, "re-" + name),
        ("gnt-instance", "remove", "-f", "re-" + name),
    ]
    return _one_by_one(shell, commands)


def _one_by_one(shell, commands):
    jobs = []
    for command in commands:
        job = _submit(shell, *command)
        if job is not None:
            wait_until(f"the end of job {job}", lambda job=job: _is_over(shell, job), timeout_s=100, every_s=0.02)
            jobs.append(job)
    return jobs


def _is_over(shell, job):
    """False while the master is dead, too."""
    try:
        answer = shell.luxi("QueryJobs", [job], ["status"])
    except (OSError, ValueError, AssertionError):  # it closed the connection
        return False
    return answer["success"] and answer["result"] != [None] and answer["result"][0][0] in FINAL


def _install_failing(shell):
    """An OS on every node whose export script fails."""
    for node in shell.nodes:
        directory = node.paths.local("/srv/ganeti/os/failing")
        os.makedirs(directory, exist_ok=True)
        for name, text in {
            "ganeti_api_version": "10\n",
            "create": "#!/bin/sh\n",
            "export": "#!/bin/sh\nexit 1\n",
        }.items():
            with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(f"{directory}/{name}", 0o755)


def _export_life(shell, name):
    """Exports to node2: whole, in place of an older one, one that fails; an import there; the end of the export."""
    add = (
        "gnt-instance",
        "add",
        "--no-install",
        "-o",
        "failing",
        "-t",
        "file",
        "--disk",
        "0:size=4",
        "--ignore-ipolicy",
    )
    export = ("gnt-backup", "export", "-n", "node2")
    again = (
        "gnt-backup",
        "import",
        "-n",
        "node2",
        "--src-node=node2",
        f"--src-dir={name}",
        "--ignore-ipolicy",
    )
    commands = [
        (*add, "-n", "node3", name),
        (*export, "--os-mode=raw", name),
        (*export, "--os-mode=raw", name),
        (*export, "--os-mode=script", name),
    ]
    jobs = _one_by_one(shell, commands)
    wait_until("the exports end", lambda: _ended(shell, jobs), timeout_s=100)
    jobs.append(_submit(shell, *again, "copy-" + name))
    wait_until("the import ends", lambda: _ended(shell, [job for job in jobs if job]), timeout_s=100)
    jobs.append(_submit(shell, "gnt-backup", "remove", name))
    wait_until("the removal ends", lambda: _ended(shell, [job for job in jobs if job]), timeout_s=100)
    return [job for job in jobs if job is not None]


def _exports(shell):
    """All that lies in the export directories."""
    places = [node.paths.local("/srv/ganeti/export") for node in shell.nodes]
    return [name for place in places if os.path.isdir(place) for name in os.listdir(place)]


def _ended(shell, jobs):
    rows = dict(shell.rows("gnt-job", "id,status"))
    assert all(str(job) in rows for job in jobs), "an acknowledged job is lost"
    return all(status in FINAL for status in rows.values())


def _files(shell):
    places = [node.root + "/srv/ganeti/file-storage" for node in shell.nodes]
    return [file for place in places for _, _, files in os.walk(place) for file in files]


def _put_another_state(shell, node):
    """A copy that no history leads on from: as of a disk that was restored from somewhere else."""
    shutil.rmtree(node.paths.local(STATE_DIR))
    os.mkdir(node.paths.local(STATE_DIR))
    master = identity.load(shell.master.paths)
    db.create(node.paths.local(STATE_DB), [], voters=[master.uuid], now=0.0)


def _check(shell, jobs):
    shell.wait_for_answers()
    wait_until("all jobs end", lambda: _ended(shell, jobs), timeout_s=60)
    for (name,) in shell.rows("gnt-instance", "name"):
        shell.ok("gnt-instance", "remove", "-f", name)
    # what could not be undone while the node was away is undone soon after it is back
    wait_until("no debris is left", lambda: _files(shell) == [])
    shell.ok("gnt-cluster", "verify")
    wait_until("equal copies", lambda: len(set(shell.positions())) == 1)


@pytest.mark.parametrize(("point", "nth"), [(point, nth) for point, hits in MASTER.items() for nth in hits])
def test_the_master_dies_there(shell, point, nth):
    victim = Victim(shell, shell.master, daemons.MASTERD, f"{point}:{nth}")

    def work():
        jobs = _life(shell, f"m{nth}.example")
        wait_until("all jobs end", lambda: _ended(shell, jobs), timeout_s=60)
        return jobs

    jobs = victim.live_through(work)
    assert victim.died, "the point was not passed: the test proves nothing"
    _check(shell, jobs)


@pytest.mark.parametrize(
    "point", [point for point in faults.POINTS if point not in (*EXPORTS, *SNAPSHOTS, *COMMANDS, *ADOPTION, *RETURN)]
)
def test_a_node_dies_there(shell, point):
    node = shell.nodes[1]
    victim = Victim(shell, node, daemons.NODED, point)

    def work():
        # a new term, with promises and a new trust file
        shell.stop_daemon(shell.master, daemons.MASTERD)
        if point in SNAPSHOT:
            _put_another_state(shell, node)
        shell.start_daemon(shell.master, daemons.MASTERD)
        shell.wait_for_answers()
        jobs = _life(shell, f"n{faults.POINTS.index(point)}.example")
        wait_until("all jobs end", lambda: _ended(shell, jobs), timeout_s=60)
        # gives up its copy of the state and gets it again
        demote = _submit(shell, "gnt-node", "modify", "-f", "-C", "no", "node2")
        wait_until("the demotion ends", lambda: _ended(shell, [demote]), timeout_s=60)
        return [*jobs, demote]

    jobs = victim.live_through(work)
    assert victim.died, "the point was not passed: the test proves nothing"
    if shell.field("gnt-node", "node2", "role") != "C":
        shell.ok("gnt-node", "modify", "-C", "yes", "node2")
    _check(shell, jobs)


@pytest.mark.parametrize("point", EXPORTS)
def test_a_node_dies_there_while_it_has_to_do_with_exports(shell, point):
    _install_failing(shell)
    victim = Victim(shell, shell.nodes[1], daemons.NODED, point)
    jobs = victim.live_through(lambda: _export_life(shell, f"x{EXPORTS.index(point)}.example"))
    told = shell.ok("gnt-job", "list", "--no-headers", "-o", "id,status,summary,opresult", *map(str, jobs))
    assert victim.died, f"the point was not passed: the test proves nothing\n{told}"
    shell.wait_for_answers()
    wait_until("all jobs end", lambda: _ended(shell, jobs), timeout_s=60)
    for name in {row[1] for row in shell.rows("gnt-backup", "node,export")}:
        shell.ok("gnt-backup", "info", name)
        shell.ok("gnt-backup", "remove", name)
    wait_until("nothing is left of exports", lambda: _exports(shell) == [], timeout_s=60)
    _check(shell, jobs)


@pytest.mark.parametrize("point", SNAPSHOTS)
def test_a_node_dies_there_while_disks_of_a_running_guest_are_kept(shell, point):
    name = f"s{SNAPSHOTS.index(point)}.example"
    shell.ok(*ADD[:-4], "--disk=0:size=4", "--disk=1:size=4", "--ignore-ipolicy", "-n", "node2", name)
    shell.ok("gnt-instance", "start", name)
    victim = Victim(shell, shell.nodes[1], daemons.NODED, point)
    export = ("gnt-backup", "export", "-n", "node3", "--os-mode=raw")

    def work():
        jobs = [_submit(shell, *export, "--noshutdown", name)]
        wait_until("the export ends", lambda: _ended(shell, jobs), timeout_s=100)
        return jobs

    jobs = victim.live_through(work)
    assert victim.died, "the point was not passed: the test proves nothing"
    shell.wait_for_answers()
    assert shell.field("gnt-instance", name, "status") == "running"
    # what the node owes comes first: a snapshot that stays would be in the way of the next one
    shell.ok(*export, "--shutdown-timeout=0", name)
    wait_until("no snapshot is left", lambda: not [file for file in _files(shell) if ".snap" in file], timeout_s=60)
    shell.ok("gnt-backup", "remove", name)
    _check(shell, jobs)


def _volumes(shell):
    """All that lies in node2's volume group, with its content."""
    home = shell.nodes[1].paths.local("/var/lib/ganeti/fake-lvm/vg1")
    found = {}
    for name in os.listdir(home):
        with open(f"{home}/{name}", "rb") as file:
            found[name] = file.read()
    return found


@pytest.mark.parametrize("point", [*ADOPTION, *RETURN])
def test_a_node_dies_there_while_it_adopts(shell, point):
    """Its volumes are as they were found, or they are the disks; on the way back because the second one is gone."""
    node, name = shell.nodes[1], f"a{(*ADOPTION, *RETURN).index(point)}.example"
    home = node.paths.local("/var/lib/ganeti/fake-lvm/vg1")
    os.makedirs(home, exist_ok=True)
    os.chmod(os.path.dirname(home), 0o750)
    for number in (1, 2):
        with open(f"{home}/old{number}", "wb") as file:
            file.write(f"content {number}".encode().ljust(1 << 20, b"."))
    before = _volumes(shell)
    hooks = node.paths.local("/etc/ganeti/hooks/instance-add-pre.d")
    if point in RETURN:
        os.makedirs(hooks, exist_ok=True)
        with open(f"{hooks}/take", "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nmv {home}/old2 {home}/old2.gone\n")
        os.chmod(f"{hooks}/take", 0o755)
        before["old2.gone"] = before.pop("old2")
    victim = Victim(shell, node, daemons.NODED, point)
    disks = ("--disk=0:adopt=old1,vg=vg1", "--disk=1:adopt=old2,vg=vg1")

    def work():
        job = _submit(shell, "gnt-instance", "add", "-t", "plain", *disks, "--ignore-ipolicy", "-n", "node2", name)
        wait_until("the adoption ends", lambda: _ended(shell, [job]), timeout_s=60)
        return job

    job = victim.live_through(work)
    shutil.rmtree(hooks, ignore_errors=True)
    assert victim.died, "the point was not passed: the test proves nothing"
    shell.wait_for_answers()
    if dict(shell.rows("gnt-job", "id,status"))[str(job)] == "success":
        assert set(before.values()) <= set(_volumes(shell).values())
        shell.ok("gnt-instance", "remove", "-f", name)
    else:
        shell.ok(*ADD, "next-" + name)  # what the node owes comes first
        wait_until("all is as it was", lambda: _volumes(shell) == before, timeout_s=60)
    shutil.rmtree(home)
    _check(shell, [job])
