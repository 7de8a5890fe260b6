"""Existing devices: which may be taken, what they are called, and that nothing is done to them."""

import errno
import os

import pytest

from ganeti import errors
from ganeti.calls.adoption import Candidate
from ganeti.host.run import HostRunner
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.paths import Paths
from ganeti.storage.base import NotOurs
from ganeti.storage.blockdev import names
from ganeti.storage.blockdev.devices import Device, FileDevices, KernelDevices
from ganeti.storage.blockdev.driver import BlockdevStorage
from ganeti.testing.script import Answer, Script

ROOT = "/dev/disk/by-id/root"
DISK = Disk(uuid="d-1", template=DiskTemplate.BLOCKDEV, size=3, logical_id=("manual", ROOT))
PVS = "pvs ..."


class Kernel:
    """A directory that looks like the kernel's."""

    def __init__(self, root, *steps, busy=()):
        self.dev, self.sys = str(root / "dev"), str(root / "sys")
        for place in (self.dev, self.sys):
            os.makedirs(place)
        self.tools = Script(*steps)
        self.busy = busy
        self.devices = KernelDevices(self.tools, base=self.dev, sysfs=self.sys, open_device=self._open)

    def _open(self, path, flags):
        assert flags & os.O_EXCL
        if os.path.basename(path) in self.busy:
            raise OSError(self.busy[os.path.basename(path)], "told to fail")
        return os.open(path, os.O_RDONLY)

    def put(self, name, *, kind=""):
        path = f"{self.dev}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
        if kind:
            os.makedirs(f"{self.sys}/{name}/dm")
            with open(f"{self.sys}/{name}/dm/uuid", "w", encoding="ascii") as file:
                file.write(kind)
        return path


def test_a_free_device_may_be_taken(tmp_path):
    kernel = Kernel(
        tmp_path, (PVS, "  /dev/vdb|xenvg|8188.00|8188.00|a--\n"), (PVS, Answer(status=None, is_missing=True))
    )
    for each in ("sdb", "dm-1"):
        assert kernel.devices.why_not(kernel.put(each, kind="mpath-1" if each == "dm-1" else "")) == ("", "")
    kernel.tools.assert_finished()


def test_what_serves_something_else_is_told(tmp_path):
    kernel = Kernel(tmp_path)
    assert "DRBD" in kernel.devices.why_not(kernel.put("drbd0"))[0]
    assert kernel.devices.why_not(kernel.put("dm-0", kind="LVM-abc\n")) == (
        "it is a logical volume",
        "adopt it as -t plain",
    )
    place = kernel.put("sdb")
    row = f"  {place}|guestvg|8188.00|8188.00|a--\n"
    other = Kernel(tmp_path / "2", (PVS, row), (PVS, Answer(status=5, stderr="  locked\n")))
    assert "physical volume" in other.devices.why_not(place)[0]
    with pytest.raises(errors.StorageError, match="belongs to LVM"):
        other.devices.why_not(place)


def test_what_the_kernel_uses_does_not_open_exclusively(tmp_path):
    kernel = Kernel(tmp_path, (PVS, ""), (PVS, ""), busy={"sdb": errno.EBUSY, "sdc": errno.EIO})
    assert "in use" in kernel.devices.why_not(kernel.put("sdb"))[0]
    with pytest.raises(errors.StorageError, match="told to fail"):
        kernel.devices.why_not(kernel.put("sdc"))


def test_a_partition_is_on_a_disk(tmp_path):
    kernel = Kernel(tmp_path)
    os.makedirs(f"{tmp_path}/pci/sda/sda1")
    with open(f"{tmp_path}/pci/sda/sda1/partition", "w", encoding="ascii") as file:
        file.write("1\n")
    for name, place in (("sda", "sda"), ("sda1", "sda/sda1")):
        os.symlink(f"{tmp_path}/pci/{place}", f"{kernel.sys}/{name}")
    assert kernel.devices.whole("/dev/sda1") == "/dev/sda"
    assert kernel.devices.whole("/dev/sda") == "/dev/sda"
    assert kernel.devices.whole("/dev/none") == "/dev/none"


def test_only_devices_below_dev_are_found(tmp_path):
    kernel = Kernel(tmp_path)
    kernel.put("sdb")
    os.makedirs(f"{kernel.dev}/disk/by-id")
    os.symlink("../../sdb", f"{kernel.dev}/disk/by-id/root")
    os.symlink("/etc/hostname", f"{kernel.dev}/disk/by-id/file")
    with pytest.raises(errors.StorageError, match="is not a block device"):
        kernel.devices.find(ROOT)
    with pytest.raises(errors.StorageError, match="is not below"):
        kernel.devices.find("/dev/disk/by-id/file")
    assert kernel.devices.find("/dev/disk/by-id/none") is None
    assert kernel.devices.path(ROOT) == ROOT


@pytest.mark.parametrize(
    "logical_id",
    [("manual", "/etc/passwd"), ("manual", "/dev/../etc/passwd"), ("manual", "/dev"), ("manual", "sdb"), ("loop", ROOT),
     ("manual", "/dev/a\0b"), ("xenvg", "lv", 1)],
)  # fmt: skip
def test_other_ids_are_refused(logical_id):
    with pytest.raises(errors.StorageError):
        names.path_of(logical_id)


class Rack:
    """Devices that are told."""

    def __init__(self, **found):
        self.found = found
        self.used = {}

    def path(self, path):
        return path

    def find(self, path):
        name = self.found.get(os.path.basename(path))
        if isinstance(name, Exception):
            raise name
        return None if name is None else Device(real=f"/dev/{name[0]}", size=name[1])

    def whole(self, real):
        return real.rstrip("0123456789")

    def why_not(self, real):
        return self.used.get(real, ("", ""))


def ids(*found):
    return tuple(("manual", f"/dev/disk/{name}") for name in found)


def test_names_of_one_device_and_parts_of_a_disk_overlap():
    rack = Rack(a=("sdb", 9), b=("sdb", 9), c=("sdb1", 5), d=("sdb2", 4), e=errors.StorageError("no"), f=("sdc", 9))
    storage = BlockdevStorage(rack)
    assert [bool(each.problem) for each in storage.look(ids("a", "b", "f"), ())] == [False, True, False]
    assert [bool(each.problem) for each in storage.look(ids("c", "d"), ())] == [False, False]
    assert [bool(each.problem) for each in storage.look(ids("c", "a"), ())] == [False, True]
    (told,) = storage.look(ids("d"), ids("e", "none", "b"))
    assert told.problem == "it is the same device as /dev/disk/b, or overlaps it"


def test_nothing_is_ever_done_to_a_device():
    rack = Rack(root=("sdb", (3 << 20) - 512))
    storage = BlockdevStorage(rack)
    assert storage.open(DISK, "i-1").size == 3
    storage.remove(DISK, "i-1")
    storage.close(DISK, "i-1")
    storage.give(DISK, "i-1", to="i-2", origin="web")
    storage.rename(DISK, DISK, "i-1")
    assert (storage.volumes(), storage.strays(), storage.verify(), storage.origins()) == ((), (), "", {})
    other = Disk(uuid="d-2", template=DiskTemplate.BLOCKDEV, size=3, logical_id=("manual", "/dev/disk/other"))
    for forbidden in (
        lambda: storage.create(DISK, "i-1"),
        lambda: storage.grow(DISK, "i-1", size=5),
        lambda: storage.wipe(DISK, "i-1", offset=0, watch=None),
        lambda: storage.snapshot(DISK, other, "i-1", None),
        lambda: storage.rename(DISK, other, "i-1"),
        lambda: storage.adopt(DISK, "i-1", found=Candidate(logical_id=other.logical_id), origin="web"),
    ):
        with pytest.raises(errors.StorageError, match="was there before: it cannot be"):
            forbidden()


def test_a_device_that_is_gone_or_too_small_does_not_open():
    assert not BlockdevStorage(Rack()).info(DISK, "i-1").exists
    with pytest.raises(errors.StorageError, match="is not there"):
        BlockdevStorage(Rack()).open(DISK, "i-1")
    with pytest.raises(errors.StorageError, match="2 MiB instead of 3"):
        BlockdevStorage(Rack(root=("sdb", 2 << 20))).open(DISK, "i-1")


def test_adoption_looks_again():
    rack = Rack(root=("sdb", 3 << 20))
    storage = BlockdevStorage(rack)
    (found,) = storage.look((DISK.logical_id,), ())
    storage.adopt(DISK, "i-1", found=found, origin="web")
    rack.used["/dev/sdb"] = ("it is in use", "stop it")
    with pytest.raises(NotOurs, match="it is in use"):
        storage.adopt(DISK, "i-1", found=found, origin="web")
    storage.give_back(DISK, "i-1", found=found, origin="web")


def test_files_stand_for_devices_on_virtual_nodes(tmp_path):
    devices = FileDevices(Paths(str(tmp_path), "node1.example.com"))
    place = tmp_path / "srv/ganeti/fake-devices/disk/by-id"
    place.mkdir(parents=True)
    (place / "root").write_bytes(bytes(1 << 20))
    found = devices.find(ROOT)
    assert found == Device(real=os.path.realpath(place / "root"), size=1 << 20)
    assert devices.path(ROOT) == "/srv/ganeti/fake-devices/disk/by-id/root"
    assert devices.why_not(found.real) == ("", "")


def test_real_nodes_look_at_the_kernels_devices():
    where = Paths("", "node1.example.com")
    assert KernelDevices(HostRunner(where)).find("/dev/disk/by-id/that-is-not-there") is None
    with pytest.raises(errors.StorageError, match="/dev/null is not a block device"):
        KernelDevices(HostRunner(where)).find("/dev/null")
