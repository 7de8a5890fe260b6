"""A guest's whole life on DRBD under real Xen."""

import re
import subprocess
import threading

from qa.conftest import NETNS, wait_until

NAME, ADDRESS = "inst50.tb.example", "10.97.0.50"
OTHER, OTHER_ADDRESS = "inst51.tb.example", "10.97.0.51"
ADD = ("gnt-instance", "add", "--ignore-ipolicy")
ARGS = f"console=hvc0 quiet panic=-1 tb.ip={ADDRESS}/24 tb.tick"


class Pinger:
    """Counts what gets lost, five times a second."""

    def __enter__(self):
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", NETNS, "ping", "-i", "0.2", ADDRESS], stdout=subprocess.PIPE, text=True
        )
        self._lines = []
        self._thread = threading.Thread(target=lambda: self._lines.extend(self._process.stdout))
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._process.send_signal(2)
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()

    def told(self):
        sent, received = map(
            int, re.search(r"(\d+) packets transmitted, (\d+) received", "".join(self._lines)).groups()
        )
        return f"{sent - received} of {sent} packets lost"


def tick(bed, node, minor):
    """Seconds that the guest counted on its disk, as they stand on the device."""
    text = bed.ok(node, f"dd if=/dev/drbd{minor} bs=512 skip=2048 count=1 iflag=direct 2>/dev/null | tr -d '\\0'")
    found = re.search(r"tick (\d+)", text)
    return int(found[1]) if found else 0


def test_a_mirrored_guest_from_its_making_to_its_end(cluster):
    bed = cluster
    assert all(not any(rest) for rest in bed.is_empty().values()), bed.is_empty()
    bed.ok(
        1, *ADD, "-t", "drbd", "--disk", "0:size=128m", "-n", "node1:node2", "-B", "memory=128",
        "-H", f"xen-pvm:kernel_args={ARGS}", "--net", "0:mac=aa:00:00:97:00:50", "-o", "kernel-only", NAME,
    )  # fmt: skip
    ((minor, state),) = bed.minors(1).items()
    assert state == ("Connected", "Primary/Secondary", "UpToDate/UpToDate")
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    wait_until("it writes", lambda: tick(bed, 1, minor) > 2)

    # moves while it runs
    before = bed.uptime(ADDRESS)
    with Pinger() as pinger:
        bed.ok(1, "gnt-instance", "migrate", "-f", NAME)
        wait_until("it answers after the move", lambda: bed.answers(ADDRESS))
    print("migration:", pinger.told())
    assert bed.uptime(ADDRESS) > before, "the same guest, not a new one"
    assert (bed.domains(1), bed.domains(2)) == ([], [NAME])
    assert bed.minors(2)[minor][1] == "Primary/Secondary", "the source is secondary again"
    bed.ok(1, "gnt-instance", "migrate", "-f", "--non-live", NAME)
    wait_until("it answers at home", lambda: bed.answers(ADDRESS))
    assert bed.uptime(ADDRESS) > before, "the same guest, not a new one"

    # other mirrors
    bed.ok(1, "gnt-instance", "replace-disks", "-n", "node3", NAME)
    assert bed.ok(1, "gnt-instance", "list", "--no-headers", "-o", "snodes", NAME).strip() == "node3.tb.example"
    assert (bed.volumes(2), bed.minors(2)) == ([], {})
    wait_until("in sync", lambda: all(state[2] == "UpToDate/UpToDate" for state in bed.minors(1).values()))
    bed.ok(1, "gnt-instance", "replace-disks", "-s", NAME)

    # grows
    bed.ok(1, "gnt-instance", "grow-disk", NAME, "0", "64m")
    (device,) = bed.minors(1)
    assert int(bed.ok(1, f"blockdev --getsize64 /dev/drbd{device}")) >= 192 << 20

    # renamed, off
    bed.ok(1, "gnt-instance", "shutdown", "--timeout=60", NAME)
    assert bed.domains(1) == []
    bed.ok(1, "gnt-instance", "rename", "--no-ip-check", NAME, "inst55.tb.example")
    bed.ok(1, "gnt-instance", "rename", "--no-ip-check", "inst55.tb.example", NAME)
    bed.ok(1, "gnt-instance", "start", NAME)
    bed.verify()
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", NAME)
    assert all(not any(rest) for rest in bed.is_empty().values()), bed.is_empty()


def test_both_kinds_of_guests_side_by_side(cluster):
    bed = cluster
    bed.ok(
        1, *ADD, "-t", "plain", "--disk", "0:size=64m", "-n", "node1", "-B", "memory=128",
        "-H", f"xen-pvm:kernel_args={ARGS}", "--net", "0:mac=aa:00:00:97:00:50", "-o", "kernel-only", NAME,
    )  # fmt: skip
    bed.ok(
        1, *ADD, "-t", "plain", "--disk", "0:size=64m", "-n", "node1", "-B", "memory=160",
        "-H", "xen-hvm:cdrom_image_path=/boot/guest/guest.iso,boot_order=d,nic_type=e1000",
        "--net", "0:mac=aa:00:00:97:00:51", "-o", "kernel-only", OTHER,
    )  # fmt: skip
    assert bed.domains(1) == [NAME, OTHER]
    wait_until("both answer", lambda: bed.answers(ADDRESS) and bed.answers(OTHER_ADDRESS))
    bed.verify()
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", NAME)
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", OTHER)
    assert all(not any(rest) for rest in bed.is_empty().values()), bed.is_empty()


def test_its_primary_loses_power(cluster):
    bed = cluster
    bed.ok(
        1, *ADD, "-t", "drbd", "--disk", "0:size=128m", "-n", "node3:node2", "-B", "memory=128",
        "-H", f"xen-pvm:kernel_args={ARGS}", "--net", "0:mac=aa:00:00:97:00:50", "-o", "kernel-only", NAME,
    )  # fmt: skip
    ((minor, _),) = bed.minors(3).items()
    wait_until("it writes", lambda: tick(bed, 3, minor) > 2)
    bed.power_off(3)
    bed.ok(1, "gnt-node", "modify", "--offline=yes", "-f", "node3")
    bed.ok(1, "gnt-instance", "failover", "-f", "--ignore-consistency", NAME)
    assert bed.domains(2) == [NAME]
    wait_until("it answers on the other node", lambda: bed.answers(ADDRESS))
    bed.power_on(3)
    bed.ok(1, "gnt-node", "modify", "--offline=no", "-f", "node3")
    bed.ok(1, "gnt-instance", "activate-disks", NAME)
    wait_until(
        "in sync again",
        lambda: [state[2] for state in bed.minors(2).values()] == ["UpToDate/UpToDate"],
    )
    bed.verify()
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", NAME)
    assert all(not any(rest) for rest in bed.is_empty().values()), bed.is_empty()


def test_a_split_brain_is_told_and_nothing_is_discarded(cluster):
    bed = cluster
    bed.ok(
        1, *ADD, "-t", "drbd", "--disk", "0:size=64m", "-n", "node1:node2", "-B", "memory=128",
        "--no-start", "--no-nics", "-o", "kernel-only", NAME,
    )  # fmt: skip
    bed.ok(1, "gnt-instance", "activate-disks", NAME)
    ((minor, _),) = bed.minors(1).items()
    for node in (1, 2):
        connection = bed.ok(node, f"drbdsetup show {minor}")
        ends = re.findall(r"address\s+(ipv4 \S+);", connection)
        local, remote = (
            end.replace(" ", ":") for end in sorted(ends, key=lambda end: f"10.97.1.{10 + node}:" not in end)
        )
        bed.ok(node, f"drbdsetup disconnect --force {local} {remote}")
    for node, byte in ((1, "A"), (2, "B")):
        bed.ok(node, f"drbdsetup primary {minor} --force")
        bed.ok(node, f"printf {byte} | dd of=/dev/drbd{minor} bs=512 seek=9000 conv=notrunc,nocreat,fsync 2>/dev/null")
        bed.ok(node, f"drbdsetup secondary {minor}")
    done = bed.call(1, "gnt-instance activate-disks " + NAME)
    wait_until("both stand alone", lambda: bed.minors(1)[minor][0] in ("StandAlone", "WFConnection"))
    verify = bed.call(1, "gnt-cluster verify")
    assert verify.returncode != 0
    assert re.search(r"split.brain|StandAlone|not connected", verify.stdout + done.stderr, re.IGNORECASE), verify.stdout
    for node, byte in ((1, "A"), (2, "B")):
        volume = next(name for name in bed.volumes(node) if name.endswith("_data"))
        read = f"dd if=/dev/xenvg/{volume} bs=512 skip=9000 count=1 2>/dev/null | head -c 1"
        assert bed.ok(node, read) == byte
    bed.ok(1, "gnt-instance", "remove", "-f", NAME)
    assert all(not any(rest) for rest in bed.is_empty().values()), bed.is_empty()
