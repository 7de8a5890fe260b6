"""Volumes that were there before become an instance's, with what is on them; what fails leaves them as they were."""

import re
import shlex

from qa.conftest import wait_until
from qa.mirrored import PVM, Running, check_content, check_mirror, content, home, is_gone, remove
from qa.test_qa_life import ADD, ADDRESS, NAME, tick

NODE, OLD = 2, "old-root"
#: the first of two is not what it was
TAKEN = f"while [ $(lvs --noheadings -o lv_name,lv_tags xenvg | grep -cE '({OLD}|old-data) +earlier') = 2 ]; do :; done"
ADOPT = (
    *ADD, "-t", "plain", "--disk", f"0:adopt={OLD}", "-n", f"node{NODE}", "-B", "memory=128",
    "--net", "0:mac=aa:00:00:97:00:50", "-o", "kernel-only",
)  # fmt: skip


def told(bed):
    """All that LVM says of the volumes of the node."""
    return bed.ok(NODE, "lvs --noheadings -o lv_name,lv_size,lv_tags,lv_uuid xenvg").split()


def test_a_guest_comes_with_its_volume(cluster):
    bed = cluster
    assert is_gone(bed), bed.is_empty()
    device = f"/dev/xenvg/{OLD}"
    for name, size in ((OLD, 128), ("old-data", 64)):
        bed.ok(NODE, f"lvcreate -q -y -n {name} -L {size}m --addtag earlier xenvg")
    bed.ok(
        NODE,
        f"(dd if=/dev/urandom of=/tmp/p bs=64k count=16; dd if=/tmp/p of={device} bs=64k seek=64;"
        f" md5sum </tmp/p | dd of={device} bs=512 seek=6144 conv=sync,fsync) 2>/dev/null",
    )
    assert content(bed, NODE, device)
    before = told(bed)

    # nothing of this takes it
    bed.ok(1, *ADOPT, "-H", PVM, "--dry-run", NAME)
    assert "old-rot" in bed.fails(1, *[word.replace(OLD, "old-rot") for word in ADOPT], "-H", PVM, NAME)
    bed.ok(NODE, f"(exec 3<{device}; exec sleep 600) >/dev/null 2>&1 </dev/null & echo $! >/tmp/holder")
    assert "in use" in bed.fails(1, *ADOPT, "-H", PVM, NAME)
    bed.ok(NODE, "kill $(cat /tmp/holder)")

    # the node daemon dies when it has it
    adding = Running(bed, shlex.join((*ADOPT, "--disk", "1:adopt=old-data", "-H", PVM, NAME)))
    bed.ok(NODE, f"timeout 300 sh -c {shlex.quote(TAKEN)} && kill -9 $(cat /run/ganeti/ganeti-noded.pid)")
    bed.ok(NODE, "ganeti-daemons start ganeti-noded")
    status, _ = adding.end()
    assert status != 0, "it was killed too late"
    wait_until("it is given back", lambda: told(bed) == before, timeout_s=180)
    assert content(bed, NODE, device)

    bed.ok(NODE, "lvremove -q -y xenvg/old-data")
    bed.ok(1, *ADOPT, "-H", PVM, NAME)
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    (volume,) = bed.volumes(NODE)
    assert volume != OLD
    device = f"/dev/xenvg/{volume}"
    assert content(bed, NODE, device), "the content is another one"
    assert re.search(r"ganeti\+", bed.ok(NODE, "lvs --noheadings -o lv_tags xenvg"))
    bed.verify()

    # it can have a mirror from now on
    bed.ok(1, "gnt-instance", "shutdown", "--timeout=60", NAME)
    bed.ok(1, "gnt-instance", "modify", "-t", "drbd", "-n", "node3", NAME)
    bed.ok(1, "gnt-instance", "start", NAME)
    node, other, minor = home(bed)
    assert (node, other) == (NODE, 3)
    wait_until("it writes", lambda: tick(bed, node, minor) > 2)
    check_content(bed, node, minor)
    check_mirror(bed)
    bed.ok(1, "gnt-instance", "migrate", "-f", NAME)
    check_content(bed, 3, minor)
    remove(bed)
