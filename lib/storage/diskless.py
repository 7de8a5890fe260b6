"""The template without volumes: nothing to make, nothing to open."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.volume import VolumeReply
from ganeti.model.objects import Disk
from ganeti.model.types import MiB, Uuid
from ganeti.storage.base import Watch
from ganeti.storage.nothing import NothingMade


class DisklessStorage(NothingMade):
    """An instance without disks never asks; a disk of this template is a mistake of the caller."""

    adoption = None

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        raise _has_none(disk)

    def remove(self, disk: Disk, owner: Uuid) -> None:
        """Nothing was ever there: fine."""

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply:
        return VolumeReply(path="", size=0, exists=False)

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        raise _has_none(disk)

    def close(self, disk: Disk, owner: Uuid) -> None:
        """Nothing was ever open: fine."""

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        raise _has_none(disk)

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        raise _has_none(disk)

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        raise _has_none(disk)

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: Watch) -> VolumeReply:
        raise _has_none(disk)

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: Watch) -> None:
        raise _has_none(disk)


def _has_none(disk: Disk) -> errors.StorageError:
    return errors.StorageError(f"disk {disk.uuid}: the template diskless has no volumes")
