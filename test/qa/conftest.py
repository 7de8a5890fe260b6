"""Real Xen, LVM and DRBD on the nodes of tools/testbed. Results are read with the tools' own commands, not ours."""

import os
import re
import shlex
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BED = f"{ROOT}/test/qa/testbed"
#: as test/qa/testbed/env.sh has them
WORK, NETNS = os.environ.get("TB_WORK", "/tmp/testbed"), os.environ.get("TB_NETNS", "tb")
#: two are enough for some tests: TB_NODES=2 tools/testbed run test/qa/test_qa_drivers.py
NODES = tuple(range(1, int(os.environ.get("TB_NODES", "3")) + 1))
CLUSTER = "cluster.tb.example"
#: emulated machines are slow, and other work may be going on beside them
LIMIT_S = 900
#: of `gnt-cluster verify`, where something took too long
_LATE = ("no connection to", "no end within", "timed out", "no answer to")
XEN = (
    "--enabled-hypervisors=xen-pvm,xen-hvm",
    "-H", "xen-pvm:kernel_path=/boot/guest/vmlinux,initrd_path=/boot/guest/initrd.gz,blockdev_prefix=xvd",
)  # fmt: skip
KVM = (
    "--enabled-hypervisors=kvm",
    "-H", "kvm:kernel_path=/boot/guest/vmlinuz,initrd_path=/boot/guest/initrd.gz,root_path=/dev/vda",
)  # fmt: skip


class Bed:
    """The nodes and the host's end of their network."""

    def __init__(self):
        self.times = []
        self.has_xen = self.call(1, "test -d /proc/xen/ && xl info").returncode == 0

    def call(self, node, command, *, stdin=None):
        for _ in range(3):
            done = subprocess.run(
                [f"{BED}/ssh", str(node), command],
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
                input=stdin,
            )
            if done.returncode != 255:
                return done
            time.sleep(2)  # the connection that all commands share has just expired
        return done

    def ok(self, node, *words):
        """Output of a command that has to succeed; one text is a shell line, more are words."""
        command = words[0] if len(words) == 1 else shlex.join(words)
        begun = time.monotonic()
        done = self.call(node, command)
        if done.returncode:
            print(f"node{node}# {command}   [exit {done.returncode}]\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, (node, command, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        took = time.monotonic() - begun
        if command.startswith("gnt-"):
            self.times.append((took, command))
            print(f"node{node}# {command}   [{took:.1f} s]")
        return done.stdout

    def verify(self):
        """Nothing is wrong; what did not answer in time, on a machine with other work, is asked again."""
        for _ in range(5):
            begun = time.monotonic()
            done = self.call(1, "gnt-cluster verify")
            print(f"node1# gnt-cluster verify   [{time.monotonic() - begun:.1f} s, exit {done.returncode}]")
            wrong = [line for line in done.stdout.splitlines() if " - ERROR: " in line]
            if done.returncode == 0:
                return
            print("\n".join(wrong))
            assert all(any(word in line for word in _LATE) for line in wrong), wrong
        raise AssertionError(wrong)

    def fails(self, node, *words):
        done = self.call(node, shlex.join(words))
        assert done.returncode not in (0, 255), (words, done.stdout)
        return done.stderr

    def host(self, *words):
        """On this machine, inside the nodes' network."""
        return subprocess.run(
            ["ip", "netns", "exec", NETNS, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )

    def answers(self, address):
        return self.host("ping", "-c1", "-W1", address).returncode == 0

    def uptime(self, address):
        """Of a guest, in seconds. Its server has one processor that is emulated twice, and may be late."""
        for _ in range(10):
            told = self.host("curl", "-s", "-m", "20", f"http://{address}/uptime").stdout
            if told:
                break
        return float(told)

    def power_off(self, node):
        """As when somebody pulls the cable."""
        with open(f"{WORK}/run/node{node}/pid", encoding="ascii") as file:
            pid = int(file.read())
        os.kill(pid, 9)

    def power_on(self, node):
        subprocess.run([f"{BED}/up", str(max(NODES))], check=True, capture_output=True, timeout=LIMIT_S)
        self.call(node, "ganeti-daemons start")

    # Independent views

    def volumes(self, node):
        return sorted(self.ok(node, "lvs --noheadings -o lv_name xenvg").split())

    def domains(self, node):
        if not self.has_xen:
            running = self.call(node, "pgrep -a qemu-system").stdout
            return sorted(re.findall(r" -name (\S+) -uuid", running))
        rows = self.ok(node, "xl list").splitlines()[1:]
        return sorted(row.split()[0] for row in rows if not row.startswith("Domain-0"))

    def minors(self, node):
        """Number → (connection state, roles, disk states)."""
        text = self.call(node, "cat /proc/drbd").stdout
        rows = re.findall(r"^ *(\d+): cs:(\S+)(?: ro:(\S+) ds:(\S+))?", text, re.MULTILINE)
        return {int(number): tuple(rest) for number, *rest in rows if rest[0] != "Unconfigured"}

    def is_empty(self):
        return {node: (self.volumes(node), self.domains(node), self.minors(node)) for node in NODES}


def wait_until(what, is_so, timeout_s=LIMIT_S, every_s=1.0):
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(every_s)


def prepare_disks(bed, node):
    bed.ok(node, "vgs xenvg >/dev/null 2>&1 || { pvcreate -q /dev/vdb && vgcreate -q xenvg /dev/vdb; }")
    bed.ok(node, "modprobe drbd")


@pytest.fixture(scope="session")
def bed():
    made = Bed()
    for node in NODES:
        assert made.call(node, "test -x /usr/sbin/gnt-cluster").returncode == 0, (
            "run tools/testbed build, up 3 and install first"
        )
    yield made
    print("\nslowest commands:")
    for took, command in sorted(made.times, reverse=True)[:15]:
        print(f"{took:7.1f} s  {command}")


@pytest.fixture(scope="session")
def cluster(bed):
    """The nodes under our own cluster; made anew when they have none yet."""
    for node in NODES:
        command = ["tar", "-C", f"{ROOT}/test/qa/os", "--owner=0", "--group=0", "-cz", "."]
        archive = subprocess.run(command, capture_output=True, check=True)
        done = subprocess.run(
            [f"{BED}/ssh", str(node), "mkdir -p /srv/ganeti/os && tar -xz -C /srv/ganeti/os && sync"],
            input=archive.stdout,
            check=False,
        )
        assert done.returncode == 0
        prepare_disks(bed, node)
    if bed.call(1, "test -e /var/lib/ganeti/identity.json").returncode != 0:
        bed.ok(
            1, "gnt-cluster", "init", "--enabled-disk-templates=drbd,plain,diskless", "--vg-name=xenvg",
            "--master-netdev=xen-br0", "-s", "10.97.1.11", "-N", "mode=bridged,link=xen-br0",
            *(XEN if bed.has_xen else KVM), CLUSTER,
        )  # fmt: skip
        for node in NODES[1:]:
            bed.ok(1, "gnt-node", "add", "-s", f"10.97.1.{10 + node}", "--no-ssh-key-check", f"node{node}.tb.example")
    bed.verify()
    return bed


@pytest.fixture(autouse=True)
def right_nodes(request, bed):
    """`@pytest.mark.kvm`: on nodes without Xen (TB_XEN=0 tools/testbed up); all others need it."""
    if bed.has_xen == (request.node.get_closest_marker("kvm") is not None):
        pytest.skip("the nodes run Xen" if bed.has_xen else "the nodes do not run Xen")


@pytest.fixture(autouse=True, scope="module")
def nothing_of_before(bed):
    """What a test that failed has left does not make those of other files fail."""
    if bed.call(1, "test -e /var/lib/ganeti/identity.json").returncode != 0:
        return
    for name in bed.call(1, "gnt-instance list --no-headers -o name").stdout.split():
        print(f"left by an earlier test: {name}")
        bed.call(1, f"gnt-instance remove -f --ignore-failures --shutdown-timeout=5 {name}")
