"""Reports of LVM, with `|` between the fields and sizes in MiB. Pure: text in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from ganeti import errors
from ganeti.storage.lvm import commands
from ganeti.storage.lvm.names import Mark, mark_of

_DEVICE = re.compile(r"(.+)\((\d+)\)\Z")


class Lv(msgspec.Struct, frozen=True, kw_only=True):
    vg: str
    name: str
    size: float  # MiB
    attr: str
    mark: Mark | None = None
    tags: tuple[str, ...] = ()
    extent: float = 4.0  # MiB
    stripes: int = 1
    pvs: tuple[str, ...] = ()

    @property
    def is_virtual(self) -> bool:
        """Its data are on no disk any more: what `vgreduce --removemissing` leaves."""
        return self.attr[:1] == "v"

    @property
    def is_active(self) -> bool:
        return self.attr[4:5] == "a"

    @property
    def is_open(self) -> bool:
        return self.attr[5:6] == "o"

    @property
    def is_snapshot(self) -> bool:
        return self.attr[:1] in ("s", "S")

    @property
    def is_overflown(self) -> bool:
        """A snapshot that had no room for what was written to its source: its content is lost."""
        return self.is_snapshot and self.attr[4:5] in ("I", "S")

    @property
    def is_partial(self) -> bool:
        """Lies on a disk that is missing."""
        return self.attr[8:9] == "p"

    @property
    def is_lost(self) -> bool:
        return self.is_virtual or self.is_partial


class Pv(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    vg: str
    size: float  # MiB
    free: float
    attr: str

    @property
    def is_allocatable(self) -> bool:
        return self.attr[:1] == "a"

    @property
    def is_missing(self) -> bool:
        return "m" in self.attr


class Vg(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: float  # MiB
    free: float
    attr: str
    extent: float
    pvs: int
    missing: int  # physical volumes


def lvs(report: str) -> tuple[Lv, ...]:
    """One value per volume, in the order of the report. Raises StorageError."""
    found: dict[tuple[str, str], Lv] = {}
    for vg, name, size, attr, tags, extent, stripes, devices in _rows(report, "lvs", commands.LV_FIELDS):
        if len(attr) < 6:
            raise _unreadable("lvs", attr)
        made = Lv(
            vg=vg,
            name=name.strip("[]"),  # hidden ones
            size=_number("lvs", size),
            attr=attr,
            mark=mark_of(tags),
            tags=tuple(tag for tag in tags.split(",") if tag),
            extent=_number("lvs", extent),
            stripes=int(_number("lvs", stripes)),
            pvs=_pvs(devices),
        )
        old = found.get((vg, made.name))
        if old is not None:
            pvs_of_both = tuple(dict.fromkeys((*old.pvs, *made.pvs)))
            made = msgspec.structs.replace(old, pvs=pvs_of_both, stripes=max(old.stripes, made.stripes))
        found[vg, made.name] = made
    return tuple(found.values())


def _pvs(devices: str) -> tuple[str, ...]:
    """`/dev/sda(0),/dev/sdb(12)`; of a snapshot or thin volume other volumes' names, which are no physical ones."""
    matches = (_DEVICE.match(part) for part in devices.split(","))
    return tuple(dict.fromkeys(match[1] for match in matches if match and match[1].startswith("/")))


def pvs(report: str) -> tuple[Pv, ...]:
    return tuple(
        Pv(name=name, vg=vg, size=_number("pvs", size), free=_number("pvs", free), attr=attr)
        for name, vg, size, free, attr in _rows(report, "pvs", commands.PV_FIELDS)
    )


def vgs(report: str) -> tuple[Vg, ...]:
    return tuple(
        Vg(
            name=name,
            size=_number("vgs", size),
            free=_number("vgs", free),
            attr=attr,
            extent=_number("vgs", extent),
            pvs=int(_number("vgs", count)),
            missing=int(_number("vgs", missing)),
        )
        for name, size, free, attr, extent, count, missing in _rows(report, "vgs", commands.VG_FIELDS)
    )


def _rows(report: str, tool: str, fields: Sequence[str]) -> Iterator[list[str]]:
    for line in report.splitlines():
        if not line.strip():
            continue
        row = [part.strip() for part in line.split(commands.SEPARATOR)]
        if len(row) != len(fields):
            raise _unreadable(tool, line)
        yield row


def _number(tool: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as err:
        raise _unreadable(tool, text) from err


def _unreadable(tool: str, text: str) -> errors.StorageError:
    return errors.StorageError(f"{tool} reported {text.strip()[:120]!r}, which cannot be understood")
