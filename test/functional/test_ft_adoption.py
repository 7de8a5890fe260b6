"""Machines that are moved in, with real daemons: volumes and devices keep what is on them, whoever dies."""

import os
import shutil

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until, with_a_dying_master

ADD = ("gnt-instance", "add", "-H", "fake", "--ignore-ipolicy", "-n", "node2")
PLAIN = (*ADD, "-t", "plain")
NAME = "old.vc.example"


@pytest.fixture(scope="module")
def shell():
    made = make_cluster(3)
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


@pytest.fixture
def home(shell):
    """Where node2's volumes are; empty before and after."""
    path = shell.nodes[1].paths.local("/var/lib/ganeti/fake-lvm/xenvg")
    os.makedirs(path, exist_ok=True)
    os.chmod(os.path.dirname(path), 0o750)
    yield path
    for (name,) in shell.rows("gnt-instance", "name"):
        shell.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)
    left = sorted(os.listdir(path)) if os.path.isdir(path) else []
    shutil.rmtree(path, ignore_errors=True)
    assert left == []


def put(home, *names):
    os.makedirs(home, exist_ok=True)
    for name in names:
        with open(f"{home}/{name}", "wb") as file:
            file.write(f"what is on {name}".encode().ljust(1 << 20, b"."))
    return held(home)


def held(home):
    found = {}
    for name in os.listdir(home):
        with open(f"{home}/{name}", "rb") as file:
            found[name] = file.read()
    return found


def drop(home, *names):
    for name in names:
        os.unlink(f"{home}/{name}")


def test_a_machine_is_moved_in_and_out(shell, home):
    before = put(home, "root", "data")
    disks = ("--disk", "0:adopt=root", "--disk", "1:adopt=data,name=data")
    assert "size and adopt" in shell.fails(*PLAIN, "--disk", "0:size=1g,adopt=root", NAME, status=2)
    assert "some disks are adopted" in shell.fails(*PLAIN, "--disk", "0:adopt=root", "--disk", "1:size=1g", NAME)
    assert "add -n NODE" in shell.fails(*PLAIN[:-4], "-I", "builtin", "-t", "plain", *disks, NAME)
    assert "there is no such volume" in shell.fails(*PLAIN, "--disk", "0:adopt=none", NAME)
    assert "xenvg/root" in shell.ok("gnt-cluster", "verify")  # it lies among the volumes
    assert "adopt xenvg/root on node2" in shell.ok(*PLAIN, *disks, "--dry-run", NAME)
    assert held(home) == before
    assert "no operating system is installed" in shell.ok(*PLAIN, *disks, NAME)
    assert sorted(content for name, content in held(home).items() if not name.endswith(".owner")) == sorted(
        before.values()
    )
    assert shell.field("gnt-instance", NAME, "status") == "running"
    assert shell.field("gnt-instance", NAME, "disk.sizes") == "1,1"
    assert "xenvg/root" not in shell.ok("gnt-cluster", "verify")
    other = "other.vc.example"
    assert "there is no such volume" in shell.fails(*PLAIN, *disks, other)
    taken = next(name for name in held(home) if name.endswith("disk0"))
    assert f"belongs to instance {NAME}" in shell.fails(*PLAIN, "--disk", f"0:adopt={taken}", other)
    shell.ok("gnt-instance", "stop", NAME)
    shell.ok("gnt-instance", "modify", "-t", "drbd", "-n", "node3", NAME)
    shell.ok("gnt-instance", "failover", "-f", NAME)


def test_of_two_at_once_one_has_it(shell, home):
    before = put(home, "root", "data")
    disks = ("--disk", "0:adopt=root", "--disk", "1:adopt=data")
    jobs = [str(shell.submit(*PLAIN, *disks, name)) for name in (NAME, "other.vc.example")]

    def statuses():
        rows = dict(shell.rows("gnt-job", "id,status"))
        return sorted(rows[job] for job in jobs)

    wait_until("both end", lambda: set(statuses()) <= {"success", "error"})
    assert statuses() == ["error", "success"]
    assert set(before.values()) <= set(held(home).values())
    assert len(shell.rows("gnt-instance", "name")) == 1


@pytest.mark.parametrize("nth", [3, 5])
def test_the_master_is_killed_at_a_commit(shell, home, nth):
    before = put(home, "root", "data")
    disks = ("--disk", "0:adopt=root", "--disk", "1:adopt=data")
    assert with_a_dying_master(shell, (*PLAIN, *disks, "--no-start", NAME), nth)
    wait_until(
        "all jobs end",
        lambda: {row[0] for row in shell.rows("gnt-job", "status")} <= {"success", "error", "canceled"},
    )
    if shell.rows("gnt-instance", "name"):
        assert set(before.values()) <= set(held(home).values())
        assert not set(before) & set(held(home))
    else:
        assert held(home) == before
        drop(home, *before)


def test_devices_stay_when_their_instance_goes(shell, home):
    place = f"{shell.cluster.layout.devices}/disk/by-id"
    before = put(place, "wwn-1", "wwn-2")
    os.symlink("wwn-1", f"{place}/alias")
    shell.ok("gnt-cluster", "modify", "--enabled-disk-templates=file,sharedfile,diskless,plain,drbd,blockdev")
    add = (*ADD, "-t", "blockdev")
    try:
        assert "none can be made" in shell.fails(*add, "-o", "busybox-linux", "-s", "1g", NAME)
        shell.ok(*add, "--disk", "0:adopt=/dev/disk/by-id/wwn-1", "--disk", "1:adopt=/dev/disk/by-id/wwn-2", NAME)
        again = shell.fails(
            *add[:-3], "node3", "-t", "blockdev", "--disk", "0:adopt=/dev/disk/by-id/alias", "b.vc.example"
        )
        assert "the same device as /dev/disk/by-id/wwn-1" in again
        shell.ok("gnt-instance", "migrate", "-f", "-n", "node3", NAME)
        shell.ok("gnt-instance", "failover", "-f", "-n", "node1", NAME)
        assert shell.field("gnt-instance", NAME, "status") == "running"
        shell.ok("gnt-cluster", "verify")
        assert "wwn-1 stays as it is" in shell.ok("gnt-instance", "remove", "-f", NAME)
    finally:
        for (name,) in shell.rows("gnt-instance", "name"):
            shell.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)
        shell.ok("gnt-cluster", "modify", "--enabled-disk-templates=file,sharedfile,diskless,plain,drbd")
    os.unlink(f"{place}/alias")
    assert held(place) == before
