"""A mirror between two nodes, as the shared suite handles it: virtual ones, or real DRBD of the testbed."""

import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
from driver import blocks, far, testbed
from driver.volume_kit import remove_logical_volumes, tool

from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.model.objects import Disk, DiskTemplate, Link
from ganeti.paths import FAKE_LVM_DIR, Paths
from ganeti.storage import registry
from ganeti.testing.clock import SteppedClock

OWNER = "i-1"
SHARED = "srv/ganeti/shared-file-storage"
#: far above those that a cluster takes, and below minor_count of the testbed
FIRST_MINOR, PORT = 120, 11990
_LIMIT_S = 120


def mirror(name="m", size=8, vg="xenvg"):
    lv = f"{testbed.PREFIX}{name}"
    return Disk(
        uuid=name,
        template=DiskTemplate.DRBD,
        size=size,
        logical_id=("a", "b", PORT, 0, 1, "s"),
        children=(
            Disk(uuid=f"{name}-d", template=DiskTemplate.PLAIN, size=size, logical_id=(vg, f"{lv}_data")),
            Disk(uuid=f"{name}-m", template=DiskTemplate.PLAIN, size=128, logical_id=(vg, f"{lv}_meta")),
        ),
    )


class Half:
    """What one node has: drivers, and a look at the volumes past them."""

    def __init__(self, paths, clock):
        self.paths = paths
        made = registry.drivers(paths, HostRunner(paths), clock)
        self.mirror, self.plain = made[DiskTemplate.DRBD], made[DiskTemplate.PLAIN]

    def volume(self, disk):
        """Local path of a logical volume."""
        vg, name = disk.logical_id
        return self.paths.local(f"{FAKE_LVM_DIR.path}/{vg}/{name}")

    def device(self, disk):
        """Local path of what a primary writes to."""
        return self.volume(disk.children[0])

    def read(self, disk, offset, length):
        return blocks.read(self.volume(disk), offset, length)

    def put(self, disk, data):
        """Into a volume that is not in use."""
        blocks.write(self.volume(disk), 0, data)

    def write(self, disk, data, offset):
        blocks.write(self.device(disk), offset, data)

    def size(self, disk):
        """Bytes that a primary has."""
        return blocks.size(self.device(disk))

    def volumes(self):
        return tuple(path for path in self.plain.volumes() if f"/{testbed.PREFIX}" in path)

    def minors(self):
        return tuple(minor for minor in self.mirror.minors() if minor >= FIRST_MINOR)

    def end(self):
        """Nothing is left."""


class RealHalf(Half):
    def __init__(self):
        super().__init__(Paths("", "node.example.com"), SystemClock())
        self.end()

    def volume(self, disk):
        vg, name = disk.logical_id
        return f"/dev/{vg}/{name}"

    def device(self, disk):
        return f"/dev/drbd{disk.link.minor}"

    def end(self):
        for minor in minors_of_suite():
            tool("drbdsetup", "secondary", str(minor))
            tool("drbdsetup", "down", f"resource{minor}")
        assert minors_of_suite() == []
        remove_logical_volumes()


def minors_of_suite():
    """Those of ours that are still something, as the kernel says."""
    with open("/proc/drbd", encoding="ascii") as file:
        rows = [line.strip().partition(":") for line in file]
    found = [int(number) for number, _, rest in rows if number.isdigit() and "cs:Unconfigured" not in rest]
    return [number for number in found if number >= FIRST_MINOR]


class Pair:
    """A disk between two nodes; there is a third place, where a half can be made anew."""

    vg = "xenvg"
    addresses = ("192.0.2.1", "192.0.2.2", "192.0.2.3")

    def __init__(self, halves, size=8):
        self.halves = halves
        self.mirrors = [half.mirror for half in halves]
        self.plains = [half.plain for half in halves]
        self.disk = mirror(size=size, vg=self.vg)

    def end(self, place, disk=None, peer=None):
        """The disk as that node is told."""
        other = peer if peer is not None else 1 - place
        link = Link(
            minor=FIRST_MINOR + place,
            peer_minor=FIRST_MINOR + other,
            port=PORT,
            secret="s",
            address=self.addresses[place],
            peer_address=self.addresses[other],
        )
        return msgspec.structs.replace(disk or self.disk, link=link)

    def third(self):
        """The disk at the third place, to be connected to the first."""
        return self.end(2, peer=0)

    def both(self, action):
        """Called with each of the two places."""
        for place in (0, 1):
            action(place)

    def assemble(self):
        self.both(lambda place: self.mirrors[place].assemble(self.end(place), OWNER))

    def make_halves(self):
        self.both(lambda place: self.mirrors[place].create(self.end(place), OWNER))

    def create(self):
        """In sync, primary at the first."""
        self.make_halves()
        self.assemble()
        self.mirrors[0].promote(self.end(0), OWNER, force=True)
        self.settle()

    def status(self, place):
        return self.mirrors[place].status(self.end(place), OWNER)

    def settle(self):
        """In sync, as both halves say."""
        self.until(lambda: not any(self.status(place).is_degraded for place in (0, 1)))

    def until(self, is_so):
        raise NotImplementedError

    def write(self, place, data, offset=0):
        """By the half that is primary."""
        self.halves[place].write(self.end(place), data, offset)

    def read(self, place, length=5, offset=0):
        """What lies in that half's own volume."""
        return self.halves[place].read(self.disk.children[0], offset, length)

    def has(self, place, data):
        return self.read(place, len(data)) == data

    def close(self):
        self.both(lambda place: self.halves[place].end())


class VirtualPair(Pair):
    def __init__(self, directory, size=8):
        self.clock = SteppedClock(1000.0)
        (directory / "shared").mkdir()
        self.paths = []
        for name in ("one", "two", "three"):
            (directory / name / "srv" / "ganeti").mkdir(parents=True)
            (directory / name / SHARED).symlink_to(directory / "shared")
            self.paths.append(Paths(str(directory / name), name))
        super().__init__([Half(paths, self.clock) for paths in self.paths], size)

    def until(self, is_so):
        self.clock.sleep(100)
        assert is_so()


class RealPair(Pair):
    """This node and the second one of the testbed, whose other minors and volumes are the third place."""

    vg = testbed.VG
    addresses = (*testbed.ADDRESSES, testbed.ADDRESSES[-1])

    def __init__(self):
        there = far.node(testbed.PEER).make("driver.mirror_kit:RealHalf")
        super().__init__([RealHalf(), there, there])

    def third(self):
        return self.end(2, mirror("third", self.disk.size, self.vg), peer=0)

    def until(self, is_so):
        limit = time.monotonic() + _LIMIT_S
        while not is_so():
            assert time.monotonic() < limit, [self.status(place) for place in (0, 1)]
            time.sleep(0.2)

    def both(self, action):
        # emulated nodes are slow, and wait for each other all the same
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(action, (0, 1)))


KINDS = ["virtual", *testbed.only_there("drbd")]


def make(kind, directory):
    return RealPair() if kind == "drbd" else VirtualPair(directory)
