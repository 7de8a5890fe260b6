"""Calls about the storage that a node has, whoever uses it."""

from __future__ import annotations

import enum

import msgspec

from ganeti.calls.base import Call, Reserve, call


class StorageKind(enum.Enum):
    """As users know it."""

    FILE = "file"
    SHAREDFILE = "sharedfile"
    LVM_PV = "lvm-pv"
    LVM_VG = "lvm-vg"


class StorageUnit(msgspec.Struct, frozen=True, kw_only=True):
    """A directory, physical volume or volume group."""

    name: str
    size: float  # MiB, as the following
    used: float
    free: float
    allocatable: bool = True


@call(reply=tuple[StorageUnit, ...], reserve=Reserve.STORAGE)
class StorageList(Call[tuple[StorageUnit, ...]], frozen=True, tag="storage_list"):
    """All units of a kind; `name`: only that one."""

    kind: StorageKind
    directories: tuple[str, ...] = ()  # logical; file storage
    name: str = ""


class LogicalVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a logical volume."""

    device: str  # physical volume it lies on
    vg: str
    name: str
    size: float  # MiB, of the whole volume


@call(reply=tuple[LogicalVolume, ...], reserve=Reserve.STORAGE)
class VolumeList(Call[tuple[LogicalVolume, ...]], frozen=True, tag="volume_list"):
    """All logical volumes, ordered by device; none on a node without LVM."""
