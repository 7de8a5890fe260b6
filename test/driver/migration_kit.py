"""A guest between two nodes, as the shared suite handles it: fake, real QEMU, and Xen between two of the testbed."""

import os
import shutil
import tempfile

from driver import far, testbed, xen_kit
from driver.xen_kit import UUID

from ganeti.calls.instance import GuestSpec, GuestState
from ganeti.calls.migration import Side, Tuning
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.hypervisor import parameters, registry
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.node.base import Context
from ganeti.paths import FAKE_DIR, Paths

DISK = "/srv/ganeti/shared-file-storage/web1/disk0"
NAME, ID = "web1", "migration-1"
TUNING = Tuning(bandwidth=32, downtime=30)


class Node:
    """In a root of its own; `shared` is what both see of each other's files."""

    def __init__(self, kind, shared=""):
        self._kind = kind
        self.root = tempfile.mkdtemp(prefix="node-")
        self.paths = Paths(self.root, "node.example.com")
        os.makedirs(self.paths.local(FAKE_DIR))
        if shared:
            os.makedirs(os.path.dirname(self.paths.local("/srv/ganeti/x")))
            os.symlink(shared, self.paths.local("/srv/ganeti/shared-file-storage"))
        made = registry.drivers(self.paths, HostRunner(self.paths), SystemClock())
        driver = made[xen_kit.REAL.get(kind, kind)]
        self.hypervisor, self.migration = driver, driver.migration

    def side(self):
        return self.migration.half(NAME, UUID).side

    def state(self):
        found = self.hypervisor.info(NAME, UUID)
        return None if found is None else found.state

    def end(self):
        for guest in self.hypervisor.list():
            self.hypervisor.stop(guest.name, guest.uuid, force=True)
        if self._kind in xen_kit.REAL:
            xen_kit.destroy_guests()
        shutil.rmtree(self.root)


class Pair:
    """A guest that runs at the source, with a disk that both nodes see."""

    address = "127.0.0.1"
    #: what the source keeps of a guest that has gone, until it is told that all is well
    gone, gone_state = Side.DEPARTED, GuestState.MIGRATING
    disk_paths: tuple[str, ...] = (DISK,)

    def __init__(self, hypervisor):
        self.name = hypervisor
        self.shared = tempfile.mkdtemp(prefix="shared-")
        os.makedirs(f"{self.shared}/web1")
        with open(f"{self.shared}/web1/disk0", "wb") as file:
            file.truncate(8 << 20)
        self.source, self.target = Node(hypervisor, self.shared), Node(hypervisor, self.shared)

    def spec(self, **hv):
        disk = Disk(uuid="disk-1-2-3", template=DiskTemplate.SHAREDFILE, size=8, logical_id=("loop", DISK))
        # a bare machine: its BIOS finds nothing to boot and waits
        overrides = {"kernel_path": "", "kvm_flag": "disabled"} | hv if self.name == "kvm" else {}
        return self._spec(overrides, 64, (disk,))

    def _spec(self, overrides, memory, disks):
        instance = Instance(uuid=UUID, name=NAME, primary_node="n1", os="noop", hypervisor=self.name, disks=disks)
        return GuestSpec(
            instance=instance,
            hvparams=parameters.fill(self.name, overrides),
            beparams={"maxmem": memory, "minmem": memory, "vcpus": 1},
        )

    def start(self, *, paused=False, **hv):
        self.source.hypervisor.start(self.spec(**hv), self.disk_paths, paused=paused)

    def prepare(self, migration=ID, tuning=TUNING):
        departure = self.source.migration.departure(NAME, UUID)
        return self.target.migration.prepare(migration, departure, self.disk_paths, address=self.address, tuning=tuning)

    def send(self, endpoint, migration=ID, tuning=TUNING, watch=None):
        watch = watch or Context()
        self.source.migration.send(migration, NAME, UUID, endpoint=endpoint, tuning=tuning, watch=watch)

    def sides(self):
        return self.source.side(), self.target.side()

    def leftovers(self):
        return self.source.hypervisor.leftovers() + self.target.hypervisor.leftovers()

    def swap(self):
        self.source, self.target = self.target, self.source

    def end(self):
        self.source.end()
        self.target.end()
        shutil.rmtree(self.shared)


class XenPair(Pair):
    """This node and the second one of the testbed. Its sender ends its own domain: nothing stays at the source.

    They have no file system in common, so the guest has no disk; what mirrors do meanwhile is for test_mirror_pairs.
    """

    gone, gone_state = Side.NONE, None
    disk_paths = ()

    def __init__(self, kind):
        self._kind, self.name = kind, xen_kit.REAL[kind]
        self._addresses = testbed.ADDRESSES
        self.source = Node(kind)
        self.target = far.node(testbed.PEER).make("driver.migration_kit:Node", kind)

    @property
    def address(self):
        return self._addresses[1]

    def swap(self):
        super().swap()
        self._addresses = self._addresses[::-1]

    def spec(self, **hv):
        return self._spec(xen_kit.parameters(self._kind) | hv, xen_kit.memory(self._kind), ())

    def end(self):
        self.source.end()
        self.target.end()


XEN = testbed.only_there(*xen_kit.REAL)


def make(kind):
    return XenPair(kind) if kind in xen_kit.REAL else Pair(kind)
