"""The life of a KVM guest on DRBD and on LVM: nodes without Xen, their own emulated SVM (TB_XEN=0 tools/testbed up)."""

import pytest
from qa.conftest import wait_until
from qa.mirrored import check_content, check_mirror, home, is_gone, make, remove
from qa.test_qa_life import ADD, ADDRESS, NAME, Pinger

pytestmark = pytest.mark.kvm
ARGS = f"console=ttyS0 quiet panic=-1 tb.ip={ADDRESS}/24 tb.tick"


def test_a_mirrored_guest_of_kvm(cluster):
    bed = cluster
    make(bed, "node1:node2", f"kvm:kernel_args={ARGS}")
    print("accelerator:", bed.ok(1, "cat /run/ganeti/kvm-hypervisor/accelerator"))
    before = bed.uptime(ADDRESS)
    with Pinger() as pinger:
        bed.ok(1, "gnt-instance", "migrate", "-f", NAME)
        wait_until("it answers after the move", lambda: bed.answers(ADDRESS))
    print("migration:", pinger.told())
    assert bed.uptime(ADDRESS) > before, "the same guest, not a new one"
    assert (bed.domains(1), bed.domains(2)) == ([], [NAME])
    node, _, minor = home(bed)
    assert (node, bed.minors(2)[minor][1]) == (2, "Primary/Secondary"), "the source is secondary again"
    check_content(bed, node, minor)
    bed.ok(1, "gnt-instance", "replace-disks", "-n", "node3", NAME)
    bed.ok(1, "gnt-instance", "failover", "-f", "--shutdown-timeout=5", NAME)
    node, _, minor = home(bed)
    assert (node, bed.domains(3)) == (3, [NAME])
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    check_content(bed, node, minor)
    check_mirror(bed)
    bed.verify()
    remove(bed)


def test_a_guest_of_kvm_on_a_volume_gets_a_disk_while_it_runs(cluster):
    bed = cluster
    bed.ok(
        1, *ADD, "-t", "plain", "--disk", "0:size=64m", "-n", "node1", "-B", "memory=128",
        "-H", f"kvm:kernel_args={ARGS}", "--net", "0:mac=aa:00:00:97:00:50", "-o", "kernel-only", NAME,
    )  # fmt: skip
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    bed.ok(1, "gnt-instance", "modify", "--ignore-ipolicy", "--hotplug", "--disk", "add:size=64m", NAME)
    assert len(bed.volumes(1)) == 2
    bed.ok(1, "gnt-instance", "modify", "--ignore-ipolicy", "--hotplug", "--disk", "-1:remove", NAME)
    bed.ok(1, "gnt-instance", "shutdown", "--timeout=5", NAME)
    bed.ok(1, "gnt-instance", "start", NAME)
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", NAME)
    assert is_gone(bed), bed.is_empty()
