"""Existing block devices as disks. Nothing is ever made, changed or removed: whose they are, the configuration says."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.adoption import Candidate, LogicalId
from ganeti.calls.volume import VolumeReply
from ganeti.model.objects import Disk
from ganeti.model.types import MiB, Uuid
from ganeti.storage.base import NotOurs, Watch
from ganeti.storage.blockdev import names
from ganeti.storage.blockdev.devices import Device, Devices
from ganeti.storage.nothing import NothingMade

_MIB = 1 << 20


class BlockdevStorage(NothingMade):
    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    @property
    def adoption(self) -> BlockdevStorage:
        return self

    # Storage

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        raise _untouched(disk, "made")

    def remove(self, disk: Disk, owner: Uuid) -> None:
        """The device stays, with what is on it."""
        names.path_of(disk.logical_id)

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply:
        path = names.path_of(disk.logical_id)
        found = self._devices.find(path)
        if found is None:
            return VolumeReply(path=self._devices.path(path), size=0, exists=False)
        return VolumeReply(path=self._devices.path(path), size=_size(found))

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        found = self.info(disk, owner)
        path = names.path_of(disk.logical_id)
        if not found.exists:
            raise errors.StorageError(
                f"device {path} of disk {disk.uuid} is not there", hint="every node of the group has to see it"
            )
        if found.size < disk.size:
            raise errors.StorageError(f"device {path} has {found.size} MiB instead of {disk.size} MiB")
        return found

    def close(self, disk: Disk, owner: Uuid) -> None:
        """It needs no closing."""

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        if names.path_of(disk.logical_id) != names.path_of(new.logical_id):
            raise _untouched(disk, "renamed")
        return self.open(new, owner)

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        """It carries no mark."""

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        raise _untouched(disk, "made larger")

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: Watch) -> VolumeReply:
        raise _untouched(disk, "copied")

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: Watch) -> None:
        raise _untouched(disk, "wiped")

    # Adoption

    def look(self, logical_ids: Sequence[LogicalId], known: Sequence[LogicalId]) -> tuple[Candidate, ...]:
        """Two names of one device, or a disk and its partition, are the same."""
        seen = [place for place in map(self._place, map(names.path_of, known)) if place is not None]
        found = []
        for logical_id in logical_ids:
            candidate = self._candidate(logical_id)
            place = self._place(names.path_of(logical_id))
            if place is not None:
                other = next((each.path for each in seen if each.overlaps(place)), None)
                if other is not None and not candidate.problem:
                    problem = f"it is the same device as {other}, or overlaps it"
                    candidate = Candidate(logical_id=logical_id, problem=problem)
                seen.append(place)
            found.append(candidate)
        return tuple(found)

    def adopt(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        if disk.logical_id != found.logical_id:
            raise _untouched(disk, "renamed")
        now = self._candidate(found.logical_id)
        if now.problem:
            path = names.path_of(disk.logical_id)
            raise NotOurs(f"cannot adopt {path}: {now.problem}", hint=now.hint)

    def give_back(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        """Nothing was done to it."""

    def _candidate(self, logical_id: LogicalId) -> Candidate:
        path = names.path_of(logical_id)
        found = self._devices.find(path)
        if found is None:
            return Candidate(logical_id=logical_id, problem="there is no such device")
        if not found.size:
            return Candidate(logical_id=logical_id, problem="it has no size: no medium is in it, or it is not ready")
        problem, hint = self._devices.why_not(found.real)
        return Candidate(logical_id=logical_id, size=_size(found), device=found.real, problem=problem, hint=hint)

    def _place(self, path: str) -> _Place | None:
        """None: nothing that could be told apart is there."""
        try:
            found = self._devices.find(path)
        except errors.StorageError:
            return None
        return None if found is None else _Place(path=path, real=found.real, whole=self._devices.whole(found.real))


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    real: str
    whole: str

    def overlaps(self, other: _Place) -> bool:
        return self.real == other.real or self.real == other.whole or self.whole == other.real


def _size(found: Device) -> MiB:
    """The last MiB need not be whole: what copies the disk has to have room for all of it."""
    return math.ceil(found.size / _MIB)


def _untouched(disk: Disk, what: str) -> errors.StorageError:
    return errors.StorageError(f"disk {disk.uuid} is a device that was there before: it cannot be {what} from here")
