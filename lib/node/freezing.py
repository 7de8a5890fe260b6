"""Handlers of calls that keep the content of disks while their instance goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from ganeti import errors
from ganeti.calls.export import FreezeCheck, FreezeDisks, Freezing, ThawDisks
from ganeti.calls.instance import GuestSpec
from ganeti.host import faults, sparse
from ganeti.hypervisor.base import DiskCopy
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.node import guests, volumes
from ganeti.node.base import Context, NodeEnv, handles

#: storage that keeps a content at once
_WITH_SNAPSHOTS = (DiskTemplate.PLAIN, DiskTemplate.DRBD)

BEFORE_FREEZE = faults.register("snapshot.before_freeze")
MADE = faults.register("snapshot.made")  # the first one is there; one that the hypervisor fills is still empty
AFTER_FREEZE = faults.register("snapshot.after_freeze")
BEFORE_THAW = faults.register("snapshot.before_thaw")
DROPPED = faults.register("snapshot.dropped")  # nothing is copied any more
AFTER_THAW = faults.register("snapshot.after_thaw")


@handles(FreezeCheck)
def check(call: FreezeCheck, env: NodeEnv, context: Context) -> tuple[Freezing, ...]:
    instance = call.spec.instance
    can_copy = guests.hypervisor(instance.hypervisor, env).copying is not None
    room, ways = Room(env), []
    for disk in instance.disks:
        found = volumes.storage_of(disk, env).open(disk, instance.uuid)
        path = volumes.local_path(disk, found.path, env)
        way = _way(disk, path, can_copy=can_copy, prefers_copy=call.is_running)
        ways.append(way if disk.exportable is False or room.take(way, disk, path) else Freezing.NO_ROOM)
    return tuple(ways)


class Room:
    """Space on this node for what is kept; disks of one instance may share it."""

    def __init__(self, env: NodeEnv, *, free_at: Callable[[str], int] | None = None) -> None:
        """`free_at`: bytes free where a path lies."""
        self._env, self._free_at = env, free_at or _free_at
        self._free: dict[tuple[str, str], int] = {}  # kind and name of a place → bytes

    def take(self, way: Freezing, disk: Disk, path: str) -> bool:
        """Whether there is enough for it, beside those before it."""
        if way is Freezing.COPY:
            found = os.stat(path)
            key, wanted = ("device", str(found.st_dev)), found.st_blocks * 512
            free = self._free.setdefault(key, self._free_at(path))
        elif way is Freezing.AT_ONCE and not os.path.isfile(path):
            volume = disk.children[0] if disk.children else disk
            vg = str(volume.logical_id[0])
            key, wanted = ("vg", vg), volume.size << 20
            free = self._free.setdefault(key, int(volumes.storage_of(volume, self._env).space(vg=vg).free) << 20)
        else:
            return True
        self._free[key] = free - wanted
        return free >= wanted


def _free_at(path: str) -> int:
    found = os.statvfs(os.path.dirname(path))
    return found.f_bavail * found.f_frsize


def _way(disk: Disk, path: str, *, can_copy: bool, prefers_copy: bool) -> Freezing:
    if disk.template is DiskTemplate.BLOCKDEV:
        return Freezing.NONE  # there is no place beside it, also where a file stands for the device
    if not os.path.isfile(path):
        return Freezing.AT_ONCE if disk.template in _WITH_SNAPSHOTS else Freezing.NONE
    if can_copy and prefers_copy:
        return Freezing.COPY
    if sparse.can_clone(path):
        return Freezing.AT_ONCE
    return Freezing.COPY if can_copy else Freezing.NONE


@handles(FreezeDisks)
def freeze(call: FreezeDisks, env: NodeEnv, context: Context) -> None:
    faults.hit(BEFORE_FREEZE)
    if call.by_hypervisor:
        _copy(call, env, context)
    else:
        for index, snapshot in call.snapshots:
            disk = _disk(call.spec, index)
            volumes.storage_of(disk, env).snapshot(disk, snapshot, call.spec.instance.uuid, context)
            faults.hit(MADE)
    faults.hit(AFTER_FREEZE)


def _copy(call: FreezeDisks, env: NodeEnv, context: Context) -> None:
    instance = call.spec.instance
    copying = guests.hypervisor(instance.hypervisor, env).copying
    if copying is None:
        raise errors.NodeFailure(f"hypervisor {instance.hypervisor} cannot copy disks of running guests")
    for _, snapshot in call.snapshots:
        storage = volumes.storage_of(snapshot, env)
        storage.remove(snapshot, instance.uuid)  # of an earlier try
        storage.create(snapshot, instance.uuid)
        faults.hit(MADE)
    copies = _copies(call.spec, call.snapshots, env)
    copying.copy(instance.name, instance.uuid, copies, resume=call.resume, watch=context)


@handles(ThawDisks)
def thaw(call: ThawDisks, env: NodeEnv, context: Context) -> None:
    instance = call.spec.instance
    faults.hit(BEFORE_THAW)
    copying = guests.hypervisor(instance.hypervisor, env).copying
    if copying is not None:
        copies = _copies(call.spec, call.snapshots, env)
        copying.drop(instance.name, instance.uuid, copies, resume=call.resume)
    faults.hit(DROPPED)
    for _, snapshot in call.snapshots:
        volumes.storage_of(snapshot, env).remove(snapshot, instance.uuid)
    faults.hit(AFTER_THAW)


def _disk(spec: GuestSpec, index: int) -> Disk:
    if not 0 <= index < len(spec.instance.disks):
        raise errors.NodeFailure(f"instance {spec.instance.name} has no disk {index}")
    return spec.instance.disks[index]


def _copies(spec: GuestSpec, snapshots: Iterable[tuple[int, Disk]], env: NodeEnv) -> list[DiskCopy]:
    instance, made = spec.instance, []
    for index, snapshot in snapshots:
        disk = _disk(spec, index)
        source = volumes.storage_of(disk, env).info(disk, instance.uuid)
        target = volumes.storage_of(snapshot, env).info(snapshot, instance.uuid)
        made.append(
            DiskCopy(
                disk=disk.uuid,
                source=volumes.local_path(disk, source.path, env),
                target=volumes.local_path(snapshot, target.path, env),
            )
        )
    return made
