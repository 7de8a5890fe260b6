"""The command line of a helper machine, which runs what a node does not trust. Pure.

It has disks, a port to talk through and nothing else: no network, no monitor, no display, no directory of the host. It
stays in the foreground, ends when the guest switches off or resets, and gives up its privileges once its files are
open.
"""

from __future__ import annotations

import msgspec

from ganeti.hypervisor.kvm import extras
from ganeti.model.types import MiB

Argv = tuple[str, ...]

#: names that the guest sees (a serial number of a disk has up to 20 characters)
JOB_SERIAL = "ganeti-job"
IMAGE_SERIAL = "ganeti-image"
PORT = "org.ganeti.helper"
#: nobody's ids on Linux
NOBODY = "65534:65534"


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    is_device: bool


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What is booted: a kernel with its ramdisk, or a disk with a boot loader."""

    kernel: str = ""
    initrd: str = ""
    disk: str = ""
    form: str = ""  # of the disk: raw or qcow2


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Paths are local; those of open files of ours look like /proc/self/fd/7."""

    name: str  # of the instance, for whoever looks at processes
    emulator: str
    version: tuple[int, int, int]
    accelerator: str  # kvm | tcg
    memory: MiB
    vcpus: int
    image: Image
    job: str  # disk that tells it what to do
    disks: tuple[Disk, ...]
    port: str  # what it says through its port
    console: str  # what its kernel says
    account: str = ""  # uid:gid or a name that it gives itself; empty: it stays what it is
    jail: str = ""  # empty directory that it locks itself into; empty: none


def disk_serial(index: int) -> str:
    return f"ganeti-disk-{index}"


def qemu(machine: Machine) -> Argv:
    """The whole command. Form of QEMU 6.0 and later."""
    is_kvm = machine.accelerator == "kvm"
    return (
        machine.emulator,
        *("-name", f"ganeti-helper-{_quoted(machine.name)}", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-vga", "none", "-nic", "none"),
        *(
            "-machine",
            "pc,dump-guest-core=off",
            "-accel",
            "kvm" if is_kvm else "tcg,thread=multi",
            "-cpu",
            "host" if is_kvm else "max",
        ),
        *("-m", str(machine.memory), "-smp", str(machine.vcpus)),
        *("-chardev", f"file,id=console,path={_quoted(machine.console)}", "-serial", "chardev:console"),
        *("-chardev", f"file,id=port,path={_quoted(machine.port)}"),
        *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=port,name={PORT}"),
        *("-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"),
        *_boot(machine.image),
        *_disk("job", Disk(path=machine.job, is_device=False), JOB_SERIAL, is_fixed=True),
        *(word for index, disk in enumerate(machine.disks) for word in _disk(f"disk{index}", disk, disk_serial(index))),
        *_confinement(machine),
    )


def _quoted(value: str) -> str:
    """A comma ends a value in QEMU's option lists unless it is doubled."""
    return value.replace(",", ",,")


def _boot(image: Image) -> list[str]:
    if image.disk:
        # What the machine writes goes to a file that has no name any more: the image itself stays as it is.
        drive = f"file={_quoted(image.disk)},format={image.form},if=none,id=image,snapshot=on"
        return ["-drive", drive, "-device", f"virtio-blk-pci,drive=image,serial={IMAGE_SERIAL},bootindex=1"]
    return ["-kernel", image.kernel, "-initrd", image.initrd, "-append", "console=ttyS0 loglevel=4 panic=-1"]


def _disk(name: str, disk: Disk, serial: str, *, is_fixed: bool = False) -> list[str]:
    driver = "host_device" if disk.is_device else "file"
    form = f"driver=raw,node-name={name},file.driver={driver},file.filename={_quoted(disk.path)}"
    form += ",read-only=on" if is_fixed else ",discard=unmap"
    # the usual answer to a full disk is to let the guest wait until somebody makes room
    return ["-blockdev", form, "-device", f"virtio-blk-pci,drive={name},serial={serial},werror=report,rerror=report"]


def _confinement(machine: Machine) -> list[str]:
    # A filter that refuses new identities would refuse the one change that is wanted too; there is no way back from
    # it, and nothing in the jail that could be run.
    identity = "" if machine.account else ",elevateprivileges=deny"
    argv = ["-sandbox", f"on,obsolete=deny,spawn=deny,resourcecontrol=deny{identity}"]
    return argv + extras.confinement(machine.account, machine.jail, machine.version)
