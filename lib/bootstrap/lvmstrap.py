"""Makes a volume group of the unused disks of this host: `tools/lvmstrap`.

A disk is taken only when nothing is known to be on it: no mount, no swap, no partition, no physical volume, no holder
(RAID, device mapper), no file system. What is on it otherwise is told and has to be wiped by whoever knows it.
"""

from __future__ import annotations

import optparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import msgspec

from ganeti import errors
from ganeti.host.run import Argv, HostRunner, Runner
from ganeti.paths import Paths
from ganeti.storage.lvm import names
from ganeti.wire import codec

DEFAULT_GROUP = "xenvg"
#: large extents: their number is what LVM's tools have to carry about
EXTENT = "64m"
_LIMIT_S = 120.0
_MIB = 1 << 20
#: lsblk(8), column TYPE
_WHOLE = "disk"
#: memory or other disks behind the same interface
_NOT_DISKS = ("zram", "ram", "loop", "nbd", "drbd", "fd", "sr")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A disk or a part of one, as lsblk tells it."""

    name: str
    path: str
    type: str
    size: int = 0  # bytes
    rm: bool = False
    ro: bool = False
    fstype: str | None = None
    mountpoint: str | None = None
    pttype: str | None = None
    children: tuple[Device, ...] = ()

    def all(self) -> Iterator[Device]:
        yield self
        for child in self.children:
            yield from child.all()

    @property
    def partitions(self) -> tuple[Device, ...]:
        return tuple(child for child in self.children if child.type == "part")

    @property
    def use(self) -> str:
        """What it is in use for; empty: nothing is known to be on it."""
        every = tuple(self.all())
        for each in every:
            if each.mountpoint == "[SWAP]" or each.fstype == "swap":
                return f"swap on {each.path}"
            if each.mountpoint:
                return f"{each.path} is mounted on {each.mountpoint}"
        if any(each.fstype == "LVM2_member" for each in every):
            return "physical volume of LVM"
        if self.partitions:
            return "partitions: " + ", ".join(part.name for part in self.partitions)
        if self.children:
            return "used by " + ", ".join(child.name for child in self.children)
        if self.fstype or self.pttype:
            return f"holds {self.fstype or f'a partition table ({self.pttype})'}"
        return ""


class _Report(msgspec.Struct, frozen=True):
    blockdevices: tuple[Device, ...]


# Pure: commands, and what they tell


def lsblk() -> Argv:
    columns = "NAME,PATH,TYPE,SIZE,RM,RO,FSTYPE,MOUNTPOINT,PTTYPE"
    return ("lsblk", "--json", "--bytes", "--output", columns)


def parse(report: str) -> tuple[Device, ...]:
    """Whole disks with some room. Raises StorageError."""
    try:
        found = codec.decode(report, _Report).blockdevices
    except codec.CodecError as err:
        raise errors.StorageError(f"what lsblk tells is not understood: {err}") from err
    return tuple(
        device
        for device in found
        if device.type == _WHOLE and device.size >= _MIB and not device.name.startswith(_NOT_DISKS)
    )


def partitioning(disk: str) -> tuple[tuple[Argv, str], ...]:
    """(command, its input): one partition over the whole disk, of the type for LVM."""
    return (
        (("dd", "if=/dev/zero", f"of={disk}", "bs=512", "count=1", "conv=fsync"), ""),
        (("sfdisk", "--label", "dos", disk), "type=8e\n"),
        (("udevadm", "settle", "--timeout=30"), ""),
    )


def make_volume(partition: str) -> Argv:
    return ("pvcreate", "-yff", partition)


def make_group(group: str, partitions: Sequence[str]) -> Argv:
    return ("vgcreate", "-s", EXTENT, group, *partitions)


def choose(disks: Sequence[Device], *, wanted: Sequence[str], everything: bool, removable: bool) -> list[Device]:
    """The disks to take. Raises PrereqError: one that was named is not there or in use, or there is none."""
    if bool(wanted) == everything:
        raise errors.PrereqError("wrong_input", "say which disks: either --alldisks or -d DISK,...")
    if everything:
        found = [disk for disk in disks if not disk.use and not disk.ro and (removable or not disk.rm)]
        if not found:
            raise errors.PrereqError(
                "insufficient_resources", "there is no unused disk", hint="diskinfo shows what they are used for"
            )
        return found
    by_name = {name: disk for disk in disks for name in (disk.name, disk.path)}
    for name in wanted:
        disk = by_name.get(name)
        if disk is None:
            known = ", ".join(disk.name for disk in disks) or "none"
            raise errors.PrereqError("unknown_entity", f"there is no disk {name!r}", hint=f"there are: {known}")
        if disk.ro:
            raise errors.PrereqError("wrong_state", f"disk {disk.name} cannot be written")
        if disk.rm and not removable:
            raise errors.PrereqError("wrong_state", f"disk {disk.name} is removable", hint="-r takes it all the same")
        if disk.use:
            raise errors.PrereqError(
                "wrong_state",
                f"disk {disk.name} is in use: {disk.use}",
                hint=f"if nothing of it is needed any more: wipefs --all {disk.path}, after its parts",
            )
    return list({by_name[name].path: by_name[name] for name in wanted}.values())


def table(disks: Sequence[Device]) -> list[str]:
    rows = [("Name", "Size[MiB]", "Removable", "Use")]
    rows += [(disk.name, str(disk.size // _MIB), "yes" if disk.rm else "no", disk.use or "unused") for disk in disks]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [" ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])) for row in rows]


# Effects


class Strap:
    def __init__(self, runner: Runner, out: TextIO) -> None:
        self._runner, self._out = runner, out

    def disks(self) -> tuple[Device, ...]:
        """Raises CommandFailed, StorageError."""
        return parse(self._run(lsblk()))

    def create(self, group: str, *, wanted: Sequence[str], everything: bool, removable: bool) -> None:
        """Raises PrereqError before anything is changed; CommandFailed, StorageError."""
        problem = names.why_not(group)
        if problem:
            raise errors.PrereqError("wrong_input", f"{group!r} cannot be the name of a volume group: {problem}")
        if group in self._run(("vgs", "--noheadings", "-o", "vg_name")).split():
            raise errors.PrereqError("already_exists", f"volume group {group} exists", hint="vgextend adds disks to it")
        chosen = choose(self.disks(), wanted=wanted, everything=everything, removable=removable)
        for disk in chosen:
            self._say(f"partitioning {disk.path}")
            for argv, text in partitioning(disk.path):
                self._run(argv, text)
        parts = [self._partition(disk) for disk in chosen]
        for part in parts:
            self._run(make_volume(part))
        self._run(make_group(group, parts))
        self._say(f"volume group {group} is made of {', '.join(parts)}")

    def _partition(self, disk: Device) -> str:
        found = next((each for each in self.disks() if each.path == disk.path), None)
        if found is None or len(found.partitions) != 1:
            raise errors.StorageError(f"the new partition of {disk.path} is not seen", hint="is the disk in use?")
        return found.partitions[0].path

    def _run(self, argv: Argv, text: str = "") -> str:
        return self._runner.run(argv, timeout_s=_LIMIT_S, stdin=text).stdout

    def _say(self, text: str) -> None:
        self._out.write(text + "\n")


def _parser() -> optparse.OptionParser:
    parser = optparse.OptionParser(
        prog="lvmstrap",
        usage="%prog diskinfo | create [options]",
        description="Shows the disks of this host, or makes a volume group of unused ones: what is on them is lost.",
    )
    parser.add_option("--alldisks", action="store_true", default=False, help="take all unused disks")
    parser.add_option("-d", "--disks", default="", metavar="DISK,...", help="take these disks, such as sdb,sdc")
    parser.add_option("-r", "--removable", action="store_true", default=False, help="removable disks too")
    parser.add_option("-g", "--vg-name", default=DEFAULT_GROUP, metavar="VG", help=f"its name ({DEFAULT_GROUP})")
    parser.add_option("-v", "--verbose", action="store_true", default=False, help="show the commands that are run")
    return parser


class _Verbose:
    """Tells what it runs."""

    def __init__(self, runner: Runner, out: TextIO) -> None:
        self._runner, self._out = runner, out

    def run(self, argv: Sequence[str], **how: Any) -> Any:  # Any: as `Runner.run`
        self._out.write("+ " + " ".join(argv) + "\n")
        return self._runner.run(argv, **how)


def main(arguments: Sequence[str], runner: Runner, out: TextIO, err: TextIO) -> int:
    """Exit status: 1 for a failure, 2 for words that are not understood."""
    parser = _parser()
    options, words = parser.parse_args(list(arguments))
    if words not in (["diskinfo"], ["create"]):
        parser.error("give one command: diskinfo or create")
    strap = Strap(_Verbose(runner, err) if options.verbose else runner, out)
    try:
        if words == ["diskinfo"]:
            for line in table(strap.disks()):
                out.write(line + "\n")
        else:
            wanted = [name.strip() for name in options.disks.split(",") if name.strip()]
            strap.create(options.vg_name, wanted=wanted, everything=options.alldisks, removable=options.removable)
    except errors.GanetiError as failure:
        err.write(f"{failure.message}\n")
        if failure.hint:
            err.write(f"Hint: {failure.hint}\n")
        return 1
    return 0


def on_this_host(arguments: Sequence[str]) -> int:
    return main(arguments, HostRunner(Paths.from_environment()), sys.stdout, sys.stderr)
