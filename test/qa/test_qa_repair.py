"""Disks vanish: the cluster goes on without them by itself, once, and never without the only copy of something."""

import re

from qa.conftest import wait_until
from qa.mirrored import check_content, check_mirror, home, is_gone, make
from qa.spare import Spare
from qa.test_qa_life import ADD, ADDRESS, NAME, OTHER


def missing(bed, node):
    """As LVM counts them."""
    return int(bed.ok(node, "vgs --noheadings -o vg_missing_pv_count xenvg 2>/dev/null"))


def look(bed):
    """What `verify-disks` says, when the job that it may have started is over."""
    done = bed.call(1, "gnt-cluster verify-disks 2>&1")
    text = done.stdout
    print(text)
    for job in re.findall(r"job (\d+) repairs it", text):
        bed.ok(1, "gnt-job", "watch", job)
    return text


def only_on(bed, node, device):
    """Volumes are made on that physical volume alone, as an administrator arranges it."""
    for each in bed.ok(node, "pvs --noheadings -o pv_name").split():
        words = "no" if each != device else "yes"
        bed.ok(1, "gnt-node", "modify-storage", f"--allocatable={words}", f"node{node}", "lvm-pv", each)


def on_all(bed, node):
    for each in bed.ok(node, "pvs --noheadings -o pv_name -S pv_missing=0").split():
        bed.ok(1, "gnt-node", "modify-storage", "--allocatable=yes", f"node{node}", "lvm-pv", each)


def test_a_volume_group_that_loses_disks(cluster):
    bed = cluster
    assert is_gone(bed), bed.is_empty()
    mirror, only, second = Spare(bed, 2, "mirror", 1024), Spare(bed, 1, "only", 1024), Spare(bed, 2, "second", 256)
    only_on(bed, 2, mirror.device)
    only_on(bed, 1, "/dev/vdb")
    make(bed, "node1:node2")
    only_on(bed, 1, only.device)
    bed.ok(
        1, *ADD, "-t", "plain", "--disk", "0:size=64m", "-n", "node1", "-B", "memory=128", "--no-start", "--no-nics",
        "-o", "kernel-only", OTHER,
    )  # fmt: skip
    node, other, minor = home(bed)
    assert (node, other) == (1, 2)
    bed.ok(1, "gnt-cluster", "modify", "--lvm-self-repair=yes")
    before = bed.uptime(ADDRESS)

    # both have lost one: the half of a mirror goes, the only copy stays (nodes are looked at by their names)
    mirror.pull()
    only.pull()
    assert (missing(bed, 1), missing(bed, 2)) == (1, 1)
    text = look(bed)
    assert re.search(r"node1.*is not repaired without an administrator.*no other copy", text)
    assert (missing(bed, 1), missing(bed, 2)) == (1, 0)
    assert bed.volumes(2) == []
    assert len(bed.volumes(1)) == 3
    assert "on node2.tb.example at" in bed.ok(1, "gnt-cluster info | grep 'self-repair was used up'")
    log = bed.ok(
        2, "grep 'taking 1 missing physical volumes out of volume group xenvg' /var/log/ganeti/node-daemon.log"
    )
    print(log)
    assert bed.uptime(ADDRESS) > before, "the guest ran on"
    check_content(bed, node, minor)

    # once
    second.pull()
    assert missing(bed, 2) == 1
    assert re.search("does so once", look(bed))
    assert missing(bed, 2) == 1
    bed.ok(1, "gnt-cluster", "modify", "--lvm-self-repair=yes")
    look(bed)
    assert (missing(bed, 1), missing(bed, 2)) == (1, 0)
    bed.ok(1, "gnt-cluster", "modify", "--lvm-self-repair=no")

    # the mirror gets its other half again
    on_all(bed, 2)
    bed.ok(1, "gnt-instance", "replace-disks", "-a", NAME)
    check_mirror(bed)
    assert bed.uptime(ADDRESS) > before, "the guest ran on"

    # an administrator gives up the only copy
    assert "no other copy" in bed.fails(1, "gnt-node", "repair-storage", "node1", "lvm-vg", "xenvg")
    bed.ok(1, "gnt-node", "repair-storage", "--ignore-consistency", "node1", "lvm-vg", "xenvg")
    assert missing(bed, 1) == 0
    on_all(bed, 1)
    bed.ok(1, "gnt-instance", "remove", "-f", "--ignore-failures", OTHER)
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", NAME)
    wait_until("nothing is left", lambda: is_gone(bed), timeout_s=120)
    bed.verify()
