"""Command lines of LVM. Pure: values in, argv out."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.host.run import Argv
from ganeti.model.types import MiB

SEPARATOR = "|"
#: `lvextend --alloc`, best first: what is together is fast, and lost with one disk only
POLICIES = ("contiguous", "cling", "normal")

LV_FIELDS = ("vg_name", "lv_name", "lv_size", "lv_attr", "lv_tags", "vg_extent_size", "stripes", "devices")
PV_FIELDS = ("pv_name", "vg_name", "pv_size", "pv_free", "pv_attr")
VG_FIELDS = ("vg_name", "vg_size", "vg_free", "vg_attr", "vg_extent_size", "pv_count", "vg_missing_pv_count")


def _report(tool: str, fields: Sequence[str], *more: str) -> Argv:
    how = ("--noheadings", "--nosuffix", "--units", "m", "--separator", SEPARATOR)
    return (tool, *how, "-o", ",".join(fields), *more)


def lvs(vg: str = "") -> Argv:
    """All volumes of a group, or of all groups; a volume with several segments has several lines."""
    return _report("lvs", LV_FIELDS, *((vg,) if vg else ()))


def pvs() -> Argv:
    return _report("pvs", PV_FIELDS)


def vgs() -> Argv:
    return _report("vgs", VG_FIELDS)


def lvcreate(vg: str, name: str, *, size: MiB, stripes: int, tags: Sequence[str], pvs: Sequence[str]) -> Argv:
    # old signatures on the disk are not asked about: nobody is there to answer
    how = ("--yes", "--wipesignatures", "n", "--size", f"{size}m", "--stripes", str(stripes))
    return ("lvcreate", *how, "--name", name, *_each("--addtag", tags), vg, *pvs)


def _each(option: str, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for value in values for word in (option, value))


def snapshot_room(size: MiB) -> MiB:
    """So much that all of the source may be written anew.

    A snapshot keeps each piece of 4 KiB that is overwritten, a head, and the places of 256 pieces in one more; LVM cuts
    off what is beyond all use. With the size of the source alone it is lost when a busy guest has written all of it.
    """
    return size + size // 256 + 4


def lvcreate_snapshot(vg: str, name: str, *, of: str, size: MiB, tag: str) -> Argv:
    how = ("--yes", "--snapshot", "--size", f"{size}m", "--name", name, "--addtag", tag)
    return ("lvcreate", *how, f"{vg}/{of}")


def lvremove(vg: str, name: str) -> Argv:
    return ("lvremove", "--force", "--yes", f"{vg}/{name}")


def lvrename(vg: str, old: str, new: str) -> Argv:
    return ("lvrename", "--yes", vg, old, new)


def retag(vg: str, name: str, *, old: Sequence[str], new: Sequence[str]) -> Argv:
    return ("lvchange", *_each("--deltag", old), *_each("--addtag", new), f"{vg}/{name}")


def activate(vg: str, name: str) -> Argv:
    return ("lvchange", "--yes", "--activate", "y", f"{vg}/{name}")


def lvextend(vg: str, name: str, *, size: MiB, policy: str) -> Argv:
    return ("lvextend", "--yes", "--alloc", policy, "--size", f"{size}m", f"{vg}/{name}")


def settle(device: str) -> Argv:
    """udev makes the device nodes after LVM's tools have ended."""
    return ("udevadm", "settle", "--timeout=10", f"--exit-if-exists={device}")


def reduce_missing(vg: str, *, force: bool) -> Argv:
    # vgreduce(8): by force also volumes that lie partly there are removed, with what is left of them
    return ("vgreduce", "--yes", "--removemissing", *(("--force",) if force else ()), vg)
