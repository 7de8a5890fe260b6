"""Volumes of one template on one node, as the shared suite handles them: files, virtual LVM, real LVM."""

import os
import subprocess
import threading

from driver import blocks, testbed

from ganeti import settings
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.paths import FAKE_LVM_DIR, Paths
from ganeti.storage import registry

OWNER = "instance-1"
MIB = 1 << 20


class Watch:
    def __init__(self):
        self.stop = threading.Event()
        self.progress = {}


class Node:
    """With the storage of one template. Sizes of disks are in MiB; whole extents of LVM are a multiple of 4."""

    template: DiskTemplate
    vg = ""
    #: how many disks at once, and how often, where that is tried
    at_once, rounds = 8, 20

    def __init__(self, paths):
        self.paths = paths
        self.storage = registry.drivers(paths, HostRunner(paths), SystemClock())[self.template]

    def disk(self, name="web1", uuid="disk-1", size=4):
        return Disk(uuid=uuid, template=self.template, size=size, logical_id=self.logical_id(name))

    def logical_id(self, name):
        raise NotImplementedError

    def path(self, disk):
        """Logical, as the driver tells it."""
        raise NotImplementedError

    def local(self, disk):
        return self.paths.local(self.path(disk))

    def read(self, disk, offset=0, length=8):
        return blocks.read(self.local(disk), offset, length)

    def write(self, disk, data, offset=0):
        blocks.write(self.local(disk), offset, data)

    def size(self, disk):
        """Bytes that are really there."""
        return blocks.size(self.local(disk))

    def make_unmarked(self, disk):
        """What somebody else made where the disk should lie."""
        os.makedirs(os.path.dirname(self.local(disk)), exist_ok=True)
        with open(self.local(disk), "wb") as file:
            file.truncate(disk.size * MIB)

    def volumes(self):
        return self.storage.volumes()

    def strays(self):
        return self.storage.strays(vg=self.vg)

    def end(self):
        """Nothing is left."""


class FileNode(Node):
    template, home = DiskTemplate.FILE, settings.FILE_STORAGE_DIR

    def logical_id(self, name):
        return ("loop", f"{self.home}/{name}/disk0")

    def path(self, disk):
        return disk.logical_id[1]


class SharedFileNode(FileNode):
    template, home = DiskTemplate.SHAREDFILE, settings.SHARED_FILE_STORAGE_DIR


class VirtualLvmNode(Node):
    template, vg = DiskTemplate.PLAIN, "xenvg"

    def logical_id(self, name):
        return (self.vg, f"{testbed.PREFIX}{name}")

    def path(self, disk):
        return f"{FAKE_LVM_DIR.path}/{self.vg}/{disk.logical_id[1]}"

    def volumes(self):
        return tuple(self._file(path) for path in self.storage.volumes())

    def strays(self):
        return tuple(self._file(path) for path in self.storage.strays(vg=self.vg))

    @staticmethod
    def _file(path):
        return FAKE_LVM_DIR.path + path.removeprefix("/dev")


class LvmNode(Node):
    """Volumes of others in the same group are none of the suite's business."""

    template, vg = DiskTemplate.PLAIN, testbed.VG
    at_once, rounds = 4, 1

    def __init__(self):
        super().__init__(Paths("", "node1.example.com"))
        self.end()

    def logical_id(self, name):
        return (self.vg, f"{testbed.PREFIX}{name}")

    def path(self, disk):
        return f"/dev/{self.vg}/{disk.logical_id[1]}"

    def make_unmarked(self, disk):
        tool("lvcreate", "-qq", "-y", "-Wn", "-Zn", "-L", f"{disk.size}m", "-n", disk.logical_id[1], self.vg)

    def volumes(self):
        return self._of_suite(self.storage.volumes())

    def strays(self):
        return self._of_suite(self.storage.strays(vg=self.vg))

    def _of_suite(self, paths):
        return tuple(path for path in paths if path.startswith(f"/dev/{self.vg}/{testbed.PREFIX}"))

    def end(self):
        remove_logical_volumes()


def tool(*words):
    """What a tool of the system says, called without any of our code."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout


def remove_logical_volumes():
    """Those of the suite."""
    found = tool("lvs", "--noheadings", "-o", "vg_name,lv_name", testbed.VG).split("\n")
    names = [line.split()[1] for line in found if line.strip()]
    gone = [f"{testbed.VG}/{name}" for name in names if name.startswith(testbed.PREFIX)]
    if gone:
        tool("lvremove", "-qq", "-f", "-y", *gone)


_KINDS = {"file": FileNode, "sharedfile": SharedFileNode, "virtual-lvm": VirtualLvmNode}
KINDS = [*_KINDS, *testbed.only_there("lvm")]


def make(kind, directory):
    return LvmNode() if kind == "lvm" else _KINDS[kind](Paths(str(directory), "node1.example.com"))
