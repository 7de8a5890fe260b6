"""Handlers of calls that keep the content of disks while their instance goes on."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ganeti import errors
from ganeti.calls.export import FreezeCheck, FreezeDisks, Freezing, ThawDisks
from ganeti.calls.instance import GuestSpec
from ganeti.host import faults, sparse
from ganeti.hypervisor.base import DiskCopy
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import Uuid
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
    return tuple(
        _way(disk, instance.uuid, env, can_copy=can_copy, prefers_copy=call.is_running) for disk in instance.disks
    )


def _way(disk: Disk, owner: Uuid, env: NodeEnv, *, can_copy: bool, prefers_copy: bool) -> Freezing:
    found = volumes.storage_of(disk, env).open(disk, owner)
    path = volumes.local_path(disk, found.path, env)
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
