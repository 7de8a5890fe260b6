"""Logical volumes of virtual nodes: files of that name, with the marks of file volumes."""

from __future__ import annotations

import os

import msgspec

from ganeti import errors, paths
from ganeti.calls.adoption import LogicalId
from ganeti.calls.node import StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.host import files
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import MiB, Uuid
from ganeti.paths import Paths
from ganeti.storage.base import Watch
from ganeti.storage.file import places
from ganeti.storage.file.adoption import FileAdoption
from ganeti.storage.file.driver import FileStorage
from ganeti.storage.lvm import names

_HOME = paths.FAKE_LVM_DIR


class VirtualLvm:
    """Its volume groups are those that a file names, and have the room of the file system."""

    mirror = None

    def __init__(self, node_paths: Paths) -> None:
        self._files = FileStorage(node_paths, _HOME)
        self._home = node_paths.local(_HOME)
        self._groups = node_paths.local(paths.FAKE_LVM_GROUPS)
        self.adoption = FileAdoption(node_paths, _path)

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        vg, name = names.place(disk)
        if problem := self._why_not(vg):
            raise errors.StorageError(f"cannot create logical volume {vg}/{name}: {problem}")
        return self._files.create(_as_file(disk), owner)

    def remove(self, disk: Disk, owner: Uuid) -> None:
        self._files.remove(_as_file(disk), owner)

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply:
        return self._files.info(_as_file(disk), owner)

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        return self._files.open(_as_file(disk), owner)

    def close(self, disk: Disk, owner: Uuid) -> None:
        """It stays as it is."""

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        return self._files.rename(_as_file(disk), _as_file(new), owner)

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        self._files.give(_as_file(disk), owner, to=to, origin=origin)

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        return self._files.grow(_as_file(disk), owner, size=size)

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: Watch) -> VolumeReply:
        return self._files.snapshot(_as_file(disk), _as_file(snapshot), owner, watch)

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: Watch) -> None:
        self._files.wipe(_as_file(disk), owner, offset=offset, watch=watch)

    def _why_not(self, vg: str) -> str:
        """Why there is no such volume group, or nothing."""
        written = files.read_text(self._groups)
        if vg in ([names.USUAL_GROUP] if written is None else written.split()):
            return ""
        return f"volume group {vg} missing" if vg else "no volume group is set"

    def space(self, *, vg: str = "") -> StorageInfo:
        if problem := self._why_not(vg):
            raise errors.StorageError(problem)
        return self._files.space()

    def verify(self, *, vg: str = "") -> str:
        if problem := self._why_not(vg):
            return problem
        return "" if not os.path.lexists(self._home) or os.path.isdir(self._home) else f"{_HOME.path} is no directory"

    def origins(self) -> dict[str, str]:
        return {}

    def volumes(self) -> tuple[str, ...]:
        inside = f"{_HOME.path}/"
        return tuple("/dev/" + name.removeprefix(inside) for name in self._files.volumes() if name.startswith(inside))

    def strays(self, *, vg: str = "") -> tuple[str, ...]:
        inside = f"{_HOME.path}/{vg}/"
        found = (name for name in self._files.strays() if name.startswith(inside))
        return tuple(f"/dev/{vg}/{name.removeprefix(inside)}" for name in found)


def _as_file(disk: Disk) -> Disk:
    names.place(disk)
    return msgspec.structs.replace(disk, template=DiskTemplate.FILE, logical_id=("loop", _path(disk.logical_id)))


def _path(logical_id: LogicalId) -> str:
    vg, name = names.pair(logical_id)
    path = f"{_HOME.path}/{vg}/{name}"
    problem = places.why_not_volume(path, (_HOME.path,))
    if problem:
        raise errors.StorageError(f"volume {vg}/{name} {problem}")
    return path
