"""Handlers of calls about volumes."""

from __future__ import annotations

import logging

from ganeti import errors
from ganeti.calls.volume import (
    Look,
    VolumeClose,
    VolumeCreate,
    VolumeGive,
    VolumeGrow,
    VolumeInfo,
    VolumeOpen,
    VolumeRemove,
    VolumeRename,
    VolumeReply,
    VolumesLook,
    VolumeSnapshot,
    VolumeWipe,
)
from ganeti.model.objects import Disk, Instance
from ganeti.model.types import Uuid
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.storage.base import NotOurs, Storage, VolumeLost

log = logging.getLogger(__name__)


def storage_of(disk: Disk, env: NodeEnv) -> Storage:
    """Raises NodeFailure for a template that this node cannot serve."""
    found = env.storage.get(disk.template)
    if found is None:
        raise errors.NodeFailure(f"disk {disk.uuid}: this node has no storage for template {disk.template.value}")
    return found


def open_all(instance: Instance, env: NodeEnv) -> tuple[str, ...]:
    """Open every disk; logical paths by disk. On failure those that were opened are closed."""
    opened: list[str] = []
    try:
        for disk in instance.disks:
            opened.append(storage_of(disk, env).open(disk, instance.uuid).path)
    except errors.GanetiError:
        close_all(instance.disks[: len(opened)], instance.uuid, env)
        raise
    return tuple(opened)


def close_all(disks: tuple[Disk, ...], owner: Uuid, env: NodeEnv) -> None:
    """Close every disk; all are tried, the failures raise together."""
    problems = []
    for disk in disks:
        try:
            storage_of(disk, env).close(disk, owner)
        except errors.GanetiError as err:
            problems.append(str(err))
    if problems:
        raise errors.StorageError("; ".join(problems))


def release_all(disks: tuple[Disk, ...], owner: Uuid, env: NodeEnv) -> None:
    """A guest has left for the other node: mirrors stay up, but nobody writes here any more; others are closed."""
    problems = []
    for disk in disks:
        try:
            storage = storage_of(disk, env)
            if storage.mirror is None:
                storage.close(disk, owner)
            else:
                storage.mirror.demote(disk, owner)
        except errors.GanetiError as err:
            problems.append(str(err))
    if problems:
        raise errors.StorageError("; ".join(problems))


def local_path(disk: Disk, logical: str, env: NodeEnv) -> str:
    """What a program of this node opens: files lie below a virtual node's root, devices are the kernel's."""
    return logical if logical.startswith("/dev/") else env.paths.local(logical)


@handles(VolumeCreate)
def create(call: VolumeCreate, env: NodeEnv, context: Context) -> VolumeReply:
    return storage_of(call.disk, env).create(
        call.disk, call.owner, together=call.together, origin=call.origin, mate=call.mate
    )


@handles(VolumeRemove)
def remove(call: VolumeRemove, env: NodeEnv, context: Context) -> None:
    try:
        storage_of(call.disk, env).remove(call.disk, call.owner)
    except NotOurs as err:
        # The creation that this takes back was refused because of it: there is nothing of ours to remove.
        if call.undoes is None:
            raise
        log.info("nothing to take back: %s", err)


@handles(VolumeInfo)
def info(call: VolumeInfo, env: NodeEnv, context: Context) -> VolumeReply:
    return storage_of(call.disk, env).info(call.disk, call.owner)


@handles(VolumesLook)
def look(call: VolumesLook, env: NodeEnv, context: Context) -> tuple[Look, ...]:
    return tuple(_look(disk, owner, env) for disk, owner in zip(call.disks, call.owners, strict=True))


def _look(disk: Disk, owner: Uuid, env: NodeEnv) -> Look:
    try:
        storage = storage_of(disk, env)
        mirror = storage.mirror
        return Look(volume=storage.info(disk, owner), mirror=None if mirror is None else mirror.status(disk, owner))
    except errors.GanetiError as err:
        return Look(volume=VolumeReply(path="", size=0, exists=False), problem=str(err))


@handles(VolumeOpen)
def open_volume(call: VolumeOpen, env: NodeEnv, context: Context) -> VolumeReply:
    return storage_of(call.disk, env).open(call.disk, call.owner)


@handles(VolumeClose)
def close(call: VolumeClose, env: NodeEnv, context: Context) -> None:
    storage_of(call.disk, env).close(call.disk, call.owner)


@handles(VolumeRename)
def rename(call: VolumeRename, env: NodeEnv, context: Context) -> VolumeReply:
    return storage_of(call.disk, env).rename(call.disk, call.new, call.owner)


@handles(VolumeGive)
def give(call: VolumeGive, env: NodeEnv, context: Context) -> None:
    storage = storage_of(call.disk, env)
    if call.undoes is not None and not _is_there(storage, call):
        return
    storage.give(call.disk, call.owner, to=call.to, origin=call.origin)


def _is_there(storage: Storage, call: VolumeGive) -> bool:
    """Whether a volume of one of the two is there: what is not cannot be given back either."""
    for owner in (call.owner, call.to):
        try:
            return storage.info(call.disk, owner).exists
        except NotOurs as err:
            log.info("not of %s: %s", owner, err)
        except VolumeLost:
            return True
    return False


@handles(VolumeGrow)
def grow(call: VolumeGrow, env: NodeEnv, context: Context) -> VolumeReply:
    return storage_of(call.disk, env).grow(call.disk, call.owner, size=call.size)


@handles(VolumeSnapshot)
def snapshot(call: VolumeSnapshot, env: NodeEnv, context: Context) -> VolumeReply:
    return storage_of(call.disk, env).snapshot(call.disk, call.snapshot, call.owner, context)


@handles(VolumeWipe)
def wipe(call: VolumeWipe, env: NodeEnv, context: Context) -> None:
    storage_of(call.disk, env).wipe(call.disk, call.owner, offset=call.offset, watch=context)
