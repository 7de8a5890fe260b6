"""Live migration of real guests between real daemons; with GANETI_MIGRATIONS=N that many in a row."""

import os
import random
import shutil

import pytest
from functional import migration_kit as kit
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import settings
from ganeti.testing.vcluster import newest_kernel

ROUNDS = int(os.environ.get("GANETI_MIGRATIONS", "3"))
SEED = int(os.environ.get("GANETI_SEED", "1"))
MIGRATE = ("gnt-instance", "migrate", "-f", "-n")
#: of one that is not delayed on purpose, on a machine that has other things to do too
LONGEST_GAP_MS = 15000
FAKE = "moving.vc.example"

live = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (os.path.exists(settings.KVM_PATH) and newest_kernel() and shutil.which("busybox")),
        reason="needs QEMU, a kernel in /boot and busybox",
    ),
]


@pytest.fixture(scope="module")
def kvm_cluster():
    """Two nodes."""
    shell = make_cluster(2, hypervisors=("kvm", "fake"))
    yield shell
    destroy(os.path.dirname(shell.cluster.layout.directory))


@pytest.fixture
def guest(kvm_cluster):
    """A guest on node1 whose heart beats."""
    shell = kvm_cluster
    shell.ok(*kit.ADD, "-O", f"heartbeat={kit.PERIOD_S}", "-n", "node1", kit.INSTANCE)
    with kit.Heartbeat(shell) as heart:
        heart.wait_for_more()
        yield heart
    shell.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", kit.INSTANCE)
    assert kit.emulators(shell) == []
    assert kit.traces(shell) == []
    shell.ok("gnt-cluster", "verify")


def test_fake_guests_move_with_real_daemons(cluster):
    shell = cluster
    add = (
        "gnt-instance",
        "add",
        "--no-name-check",
        "--no-ip-check",
        "--no-install",
        "-H",
        "fake",
        "-o",
        "busybox-linux",
    )
    shell.ok(*add, "-t", "sharedfile", "--disk", "0:size=1g", "-n", "node2", FAKE)
    try:
        assert "is not running" in shell.fails(*MIGRATE, "node3", FAKE)
        shell.ok("gnt-instance", "start", FAKE)
        shell.ok(*MIGRATE, "node3", FAKE)
        assert shell.rows("gnt-instance", "pnode,status", FAKE) == [["node3.vc.example", "running"]]
        shell.ok("gnt-instance", "migrate", "-f", "--cleanup", FAKE)
        shell.ok("gnt-instance", "migrate", "-f", "-I", "builtin", FAKE)
        assert shell.field("gnt-instance", FAKE, "pnode") != "node3.vc.example"
        shell.ok("gnt-cluster", "verify")
    finally:
        shell.ok("gnt-instance", "remove", "-f", FAKE)


@pytest.mark.parametrize("_", [pytest.param(0, marks=live)], ids=[""])
def test_the_heart_beats_on_across_migrations(kvm_cluster, guest, _):
    shell, gaps = kvm_cluster, []
    for number in range(ROUNDS):
        target = ("node2", "node1")[number % 2]
        del guest.seen[:-1]
        shell.ok(*MIGRATE, target, kit.INSTANCE)
        guest.wait_for_more()
        guest.assert_unbroken()
        gaps.append(guest.longest_gap_ms())
        assert kit.emulators(shell) == [target]
    print(f"gaps in ms: {', '.join(f'{gap:.0f}' for gap in gaps)}; median {sorted(gaps)[len(gaps) // 2]:.0f}")
    assert max(gaps) < LONGEST_GAP_MS
    assert [trace for trace in kit.traces(shell) if "port" in trace or not trace.startswith(target)] == []


@pytest.mark.parametrize("_", [pytest.param(0, marks=live)], ids=[""])
def test_a_migration_that_is_cancelled_in_the_middle_leaves_the_guest_where_it_was(kvm_cluster, guest, _):
    shell = kvm_cluster
    shell.ok("gnt-cluster", "modify", "-H", "kvm:migration_bandwidth=4")
    job = shell.submit("gnt-instance", "migrate", "-f", "-n", "node2", kit.INSTANCE)
    wait_until("it is half sent", lambda: "MiB remain" in shell.ok("gnt-job", "info", str(job)), every_s=0.5)
    meanwhile = kit.emulators(shell)
    shell.ok("gnt-job", "cancel", "--kill", "--yes-do-it", str(job))
    status = kit.wait_for_end(shell, job)
    shell.ok("gnt-cluster", "modify", "-H", "kvm:migration_bandwidth=default")
    assert (meanwhile, status) == (["node1", "node2"], "canceled")
    assert kit.emulators(shell) == ["node1"]
    assert [trace for trace in kit.traces(shell) if "node2" in trace] == []
    guest.wait_for_more()
    guest.assert_unbroken()
    shell.ok(*MIGRATE, "node2", kit.INSTANCE)
    guest.wait_for_more()
    guest.assert_unbroken()


@pytest.mark.parametrize("_", [pytest.param(0, marks=live)], ids=[""])
def test_daemons_that_are_killed_at_any_moment_never_make_it_run_twice(kvm_cluster, guest, _):
    shell, rng, told = kvm_cluster, random.Random(SEED), []
    for number in range(ROUNDS):
        here = kit.emulators(shell)
        target = "node2" if here == ["node1"] else "node1"
        job = shell.submit("gnt-instance", "migrate", "-f", "-n", target, kit.INSTANCE)
        killed = kit.strike(shell, rng, within_s=4)
        shell.wait_for_answers()
        status = kit.wait_for_end(shell, job)
        primary = kit.settle(shell)
        told.append(f"{number}: {killed}, to {target}: {status}, on {primary}")
        guest.wait_for_more()
        guest.assert_unbroken()
        assert (primary == target) == (status == "success"), told[-1]
    print("\n".join(told))
