"""The example OS, installed on a file disk, booted by QEMU: down to the words of the guest itself."""

import glob
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

from ganeti import errors, settings
from ganeti.calls.devices import InstanceDevices, InstanceMemory, InstanceRunning
from ganeti.calls.instance import (
    GuestSpec,
    GuestState,
    InstanceConsoleLog,
    InstanceInfo,
    InstanceReboot,
    InstanceStart,
    InstanceStop,
)
from ganeti.calls.os import OsCreate, OsRename
from ganeti.calls.volume import VolumeCreate
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.hypervisor import parameters
from ganeti.hypervisor import registry as hypervisors
from ganeti.model.objects import Disk, DiskTemplate, Instance, Nic
from ganeti.node import devices, guests, volumes
from ganeti.node import os as node_os
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.paths import Paths
from ganeti.storage import registry as storage

EXAMPLE = Path(__file__).parents[2] / "doc/examples/os/busybox-linux"
KERNELS = sorted(path for path in glob.glob("/boot/vmlinuz-*") if os.access(path, os.R_OK))
UUID = "11111111-2222-4333-8444-555555555555"

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (os.path.exists(settings.KVM_PATH) and KERNELS and shutil.which("busybox") and shutil.which("mke2fs")),
        reason="needs QEMU, a kernel in /boot, busybox and mke2fs",
    ),
]


class Node:
    def __init__(self):
        assert devices and guests and volumes and node_os  # their handlers are registered by import
        self.root = tempfile.mkdtemp(prefix="node-")
        self.paths = Paths(self.root, "node1.example.com")
        os.makedirs(self.paths.local("/srv/ganeti/os"))
        os.symlink(EXAMPLE, self.paths.local("/srv/ganeti/os/busybox-linux"))
        subprocess.run([EXAMPLE / "make-initrd", KERNELS[-1], self.paths.local("/srv/ganeti/initrd.gz")], check=True)
        runner = HostRunner(self.paths)
        self.env = NodeEnv(
            paths=self.paths,
            runner=runner,
            clock=SystemClock(),
            hypervisors=hypervisors.drivers(self.paths, runner, SystemClock()),
            storage=storage.drivers(self.paths, runner),
        )

    def do(self, call):
        return HANDLERS[type(call)](call, self.env, Context())

    def console(self):
        return self.do(InstanceConsoleLog(name="web1", uuid=UUID, hypervisor="kvm", max_bytes=1 << 20))

    def wait_for(self, words, count=1, limit_s=60):
        limit = time.monotonic() + limit_s
        while self.console().count(words) < count:
            assert time.monotonic() < limit, f"no {words!r} on the console:\n{self.console()[-2000:]}"
            time.sleep(0.1)

    def state(self):
        found = self.do(InstanceInfo(name="web1", uuid=UUID, hypervisor="kvm"))
        return None if found is None else found.state


@pytest.fixture
def node():
    made = Node()
    yield made
    for guest in made.env.hypervisors["kvm"].list():
        made.env.hypervisors["kvm"].stop(guest.name, guest.uuid, force=True)
    shutil.rmtree(made.root)


def spec(root_path):
    # a comma in a path, to see that it reaches QEMU
    path = "/srv/ganeti/file-storage/web1/disk,0"
    disk = Disk(uuid="disk-1-2-3", template=DiskTemplate.FILE, size=64, logical_id=("loop", path))
    hv = {"kernel_path": KERNELS[-1], "initrd_path": "/srv/ganeti/initrd.gz", "root_path": root_path}
    return GuestSpec(
        instance=Instance(
            uuid=UUID, name="web1", primary_node="n1", os="busybox-linux", hypervisor="kvm", disks=(disk,)
        ),
        hvparams=parameters.fill("kvm", hv | {"kvm_flag": "disabled"}),
        beparams={"maxmem": 128, "vcpus": 1},
        osparams={"message": "Hello from the example."},
    )


@pytest.mark.parametrize("root_path", ["/dev/vda1", "/dev/vda"])
def test_the_example_boots_beats_reboots_and_shuts_down(node, root_path):
    guest = spec(root_path)
    node.do(VolumeCreate(request="r1", disk=guest.instance.disks[0], owner=UUID))
    node.do(OsCreate(request="r2", spec=guest))
    node.do(InstanceStart(request="r3", spec=guest))
    node.wait_for("instance web1 booted")
    node.wait_for("heartbeat web1 2")
    assert "Hello from the example." in node.console()
    node.do(InstanceReboot(request="r4", spec=guest, hard=False))
    node.wait_for("instance web1 booted", count=2)
    assert "instance web1 powers off" in node.console()
    node.do(InstanceStop(request="r5", name="web1", uuid=UUID, hypervisor="kvm", timeout=60))
    assert node.console().count("instance web1 powers off") == 2
    assert node.state() is None
    assert node.env.hypervisors["kvm"].leftovers() == ()


def test_a_renamed_instance_knows_its_new_name_and_its_own_end_is_seen(node):
    guest = spec("/dev/vda1")
    node.do(VolumeCreate(request="r1", disk=guest.instance.disks[0], owner=UUID))
    node.do(OsCreate(request="r2", spec=guest))
    renamed = msgspec.structs.replace(guest, instance=msgspec.structs.replace(guest.instance, name="shop1"))
    assert node.do(OsRename(request="r3", spec=renamed, old_name="web1")) == ""
    node.do(InstanceStart(request="r4", spec=guest))
    node.wait_for("instance shop1 booted")
    node.wait_for("heartbeat shop1 1")
    node.env.hypervisors["kvm"].stop("web1", UUID, force=False)
    limit = time.monotonic() + 30
    while node.state() is GuestState.RUNNING and time.monotonic() < limit:
        time.sleep(0.2)
    assert node.state() is GuestState.SHUTDOWN
    node.do(InstanceStart(request="r5", spec=guest))
    assert node.state() is GuestState.RUNNING
    node.wait_for("instance shop1 booted", count=2)


def extra_disk(index):
    path = f"/srv/ganeti/file-storage/web1/disk{index}"
    uuid = f"dddddddd-{index:04d}-4000-8000-000000000001"
    return Disk(uuid=uuid, template=DiskTemplate.FILE, size=64, logical_id=("loop", path))


def nic(index):
    return Nic(uuid=f"eeeeeeee-{index:04d}-4000-8000-000000000001", mac=f"aa:00:00:00:00:{index:02x}")


def with_devices(guest, disks, nics):
    instance = msgspec.structs.replace(guest.instance, disks=disks, nics=nics)
    nicparams = tuple({"mode": "bridged", "link": "br0", "vlan": ""} for _ in nics)
    return msgspec.structs.replace(guest, instance=instance, nicparams=nicparams)


def seen(node):
    """Ids of the devices that the guest sees, the emulator's own left out."""
    emulators = node.env.hypervisors["kvm"]._emulators
    runtime = emulators.find("web1", UUID)
    found = emulators.execute(runtime, "qom-list", {"path": "/machine/peripheral"})
    return {each["name"] for each in found if each["name"].startswith(("disk-", "nic-"))}


def test_a_guest_takes_devices_gives_them_back_and_keeps_them_over_a_reboot(node):
    guest = spec("/dev/vda1")
    (root,) = guest.instance.disks
    for number, disk in enumerate((root, extra_disk(1), extra_disk(2))):
        node.do(VolumeCreate(request=f"r{number}", disk=disk, owner=UUID))
    node.do(OsCreate(request="r5", spec=guest))
    node.do(InstanceStart(request="r6", spec=guest))
    node.wait_for("heartbeat web1 1")
    more = with_devices(guest, (root, extra_disk(1), extra_disk(2)), (nic(1), nic(2)))
    for again in range(2):
        node.do(InstanceDevices(request=f"r7{again}", spec=more))
        assert len(seen(node)) == 5
    less = with_devices(guest, (root, extra_disk(2)), (nic(2),))
    node.do(InstanceDevices(request="r8", spec=less))
    kept = {"disk-disk-1-2", "disk-dddddddd-0002-4000", "nic-eeeeeeee-0002-4000"}
    assert seen(node) == kept
    running = node.do(InstanceRunning(name="web1", uuid=UUID, hypervisor="kvm"))
    assert (running.spec.instance.disks, running.spec.instance.nics) == (less.instance.disks, less.instance.nics)
    node.do(InstanceReboot(request="r9", spec=guest, hard=False))
    node.wait_for("instance web1 booted", count=2)
    assert seen(node) == kept
    node.do(InstanceStop(request="r10", name="web1", uuid=UUID, hypervisor="kvm", timeout=0))


def test_memory_of_a_guest_is_made_smaller_and_larger(node):
    guest = spec("/dev/vda1")
    node.do(VolumeCreate(request="r1", disk=guest.instance.disks[0], owner=UUID))
    node.do(OsCreate(request="r2", spec=guest))
    node.do(InstanceStart(request="r3", spec=guest))
    node.wait_for("heartbeat web1 1")
    for size in (116, 128):
        node.do(InstanceMemory(request=f"r{size}", name="web1", uuid=UUID, hypervisor="kvm", memory=size))
        assert node.do(InstanceInfo(name="web1", uuid=UUID, hypervisor="kvm")).memory == size
    with pytest.raises(errors.HypervisorError, match="it cannot have 200 MiB"):
        node.do(InstanceMemory(request="r4", name="web1", uuid=UUID, hypervisor="kvm", memory=200))
