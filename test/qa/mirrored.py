"""A mirrored guest whose content is known: it wrote it, and the checksum beside it."""

import shlex
import subprocess

from qa.conftest import BED, wait_until
from qa.test_qa_life import ADD, ADDRESS, ARGS, NAME, tick

#: what the guest is told on its console; the checksum stands in a sector before the data
FILL = (
    "d=/dev/$(ls /sys/block | grep -E '^(xvd|vd)' | head -n1); dd if=/dev/urandom of=/tmp/p bs=64k count=16;"
    " dd if=/tmp/p of=$d bs=64k seek=64 conv=notrunc,fsync;"
    " md5sum </tmp/p | dd of=$d bs=512 seek=6144 conv=sync,notrunc,fsync"
)
PVM = f"xen-pvm:kernel_args={ARGS}"
DATA, SUM = "bs=65536 count=16 skip=64", "bs=512 count=1 skip=6144"


class Running:
    """A command of ours on node 1 that goes on while something else happens."""

    def __init__(self, bed, *words):
        self._bed, self.words = bed, words
        self._process = subprocess.Popen(
            [f"{BED}/ssh", "1", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def is_over(self):
        return self._process.poll() is not None

    def end(self):
        """(exit status, output)."""
        text, _ = self._process.communicate()
        print("node1#", *self.words, f"  [exit {self._process.returncode}]\n{text}")
        return self._process.returncode, text


def is_gone(bed):
    return all(not any(rest) for rest in bed.is_empty().values())


def make(bed, nodes, hypervisor=PVM):
    """Running, answering, with its content written."""
    bed.ok(
        1, *ADD, "-t", "drbd", "--disk", "0:size=128m", "-n", nodes, "-B", "memory=128",
        "-H", hypervisor, "--net", "0:mac=aa:00:00:97:00:50", "-o", "kernel-only", NAME,
    )  # fmt: skip
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    node, _, minor = home(bed)
    wait_until("it writes", lambda: tick(bed, node, minor) > 2)
    tell(bed, node, FILL)
    wait_until("it has written its content", lambda: content(bed, node, f"/dev/drbd{minor}"), timeout_s=120)


def tell(bed, node, command):
    """A line for the guest's shell."""
    if bed.has_xen:
        console = bed.ok(node, f"xenstore-read /local/domain/$(xl domid {NAME})/console/tty").strip()
        into = f">{console}"
    else:
        into = f"| socat -t2 - UNIX-CONNECT:/run/ganeti/kvm-hypervisor/ctrl/{NAME}.serial"
    bed.ok(node, f"printf '%s\\n' {shlex.quote(command)} {into}")


def remove(bed):
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", NAME)
    wait_until("nothing is left", lambda: is_gone(bed), timeout_s=120)


def place(bed):
    """Node of the guest, other node, as the cluster has it."""
    first, second = bed.ok(1, "gnt-instance", "list", "--no-headers", "-o", "pnode,snodes", NAME).split()
    return int(first[4]), int(second[4])


def home(bed):
    """Node of the guest, other node, minor on the first."""
    node, other = place(bed)
    ((minor, _),) = bed.minors(node).items()
    return node, other, minor


def is_arriving(bed, node):
    """A guest is being received there; one that has left may still be ending."""
    return f"{NAME}--incoming" in bed.domains(node)


def content(bed, node, device):
    """The checksum that the guest wrote, empty unless it is that of the data."""
    read = "dd if={} {} iflag=direct 2>/dev/null"
    wanted = bed.ok(node, read.format(device, SUM) + " | head -c 32").strip("\0")
    found = bed.ok(node, read.format(device, DATA) + " | md5sum").split()[0]
    return wanted if wanted == found else ""


def check_content(bed, node, minor):
    assert content(bed, node, f"/dev/drbd{minor}"), "the content is another one than the guest wrote"
    before = tick(bed, node, minor)
    wait_until("it goes on writing", lambda: tick(bed, node, minor) > before)


def check_mirror(bed):
    """In sync, and both halves have what the guest wrote, as the volumes below tell."""
    node, other, minor = home(bed)
    wait_until("in sync", lambda: bed.minors(node).get(minor, ("", "", ""))[::2] == ("Connected", "UpToDate/UpToDate"))
    sums = set()
    for each in (node, other):
        volume = next(name for name in bed.volumes(each) if name.endswith("_data"))
        sums.add(content(bed, each, f"/dev/xenvg/{volume}"))
    assert len(sums) == 1, sums
    assert "" not in sums, sums
    return node, other
