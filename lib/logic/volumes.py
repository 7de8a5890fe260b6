"""Steps on the volumes of an instance's disks, each with its way back.

Starting a guest and running an OS script open the disks on the primary node; stopping a guest closes them there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ganeti.calls.base import ChangingCall
from ganeti.calls.volume import (
    VolumeClose,
    VolumeCopy,
    VolumeCreate,
    VolumeGive,
    VolumeGrow,
    VolumeRemove,
    VolumeRename,
    VolumeSnapshot,
    VolumeWipe,
)
from ganeti.logic import mirrors, owing
from ganeti.logic.base import Env
from ganeti.logic.steps import Effect, OnFailure, Parallel, Step
from ganeti.model.config import Config
from ganeti.model.disks import is_mirror, snapshot_of, space
from ganeti.model.jobs import Undo
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.model.types import MiB, RequestId, Uuid

#: templates whose volumes have a place for the name of their instance
_LABELLED = (DiskTemplate.PLAIN, DiskTemplate.DRBD)

Make = Callable[[Disk, RequestId], tuple[ChangingCall[Any], ChangingCall[Any] | None]]


def _on(
    config: Config,
    env: Env,
    instance: Instance,
    *,
    nodes: Sequence[Uuid],
    verb: str,
    make: Make,
    on_failure: OnFailure = OnFailure.UNDO,
    only: Sequence[Disk] | None = None,
) -> list[Step]:
    """One group of effects for all disks (or `only` some) on these nodes; nothing for a diskless instance."""
    effects = []
    for node in nodes:
        for index, disk in enumerate(instance.disks):
            if only is not None and disk not in only:
                continue
            call, undo = make(disk, env.new_request())
            title = f"{verb} disk {index} of {instance.name} on {config.nodes[node].name}"
            effects.append(Effect(title=title, node=node, call=call, undo=undo, on_failure=on_failure))
    return [Parallel(effects=tuple(effects))] if effects else []


def create(config: Config, env: Env, instance: Instance, *, only: Sequence[Disk] | None = None) -> list[Step]:
    """Mirrors are up when they are made, and filled from the primary node. Wiped if the cluster says so."""
    wanted = instance.disks if only is None else tuple(only)
    together = sum(space(disk) for disk in wanted)

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            VolumeCreate(disk=disk, owner=instance.uuid, together=together, origin=instance.name, request=request),
            VolumeRemove(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request),
        )

    mirrored = [disk for disk in wanted if is_mirror(disk)]
    wiped: list[Step] = []
    if config.cluster.prealloc_wipe_disks:
        wiped += mirrors.pause(config, env, instance, mirrored, paused=True)
        wiped += wipe(env, instance, [(disk, 0) for disk in wanted])
        wiped += mirrors.pause(config, env, instance, mirrored, paused=False)
    return [
        *_on(config, env, instance, nodes=instance.nodes, verb="create", make=make, only=only),
        *mirrors.assemble(config, env, instance, instance.nodes, disks=mirrored),
        *mirrors.promote_new(config, env, instance, mirrored),
        *wiped,
    ]


def close_all(config: Config, env: Env, instance: Instance) -> list[Step]:
    """After a script: given up on all nodes of the instance, the primary first (see `disk_activation.closed`); what
    cannot be closed is warned of."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return VolumeClose(disk=disk, owner=instance.uuid, request=request), None

    steps: list[Step] = []
    for node in instance.nodes:
        if not config.nodes[node].offline:
            steps += _on(config, env, instance, nodes=[node], verb="close", make=make, on_failure=OnFailure.WARN)
    return steps


def remove(config: Config, env: Env, instance: Instance, on_failure: OnFailure) -> list[Step]:
    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return VolumeRemove(disk=disk, owner=instance.uuid, request=request), None

    only = _ours(instance.disks)
    return _on(config, env, instance, nodes=instance.nodes, verb="remove", make=make, on_failure=on_failure, only=only)


def _ours(disks: Sequence[Disk]) -> list[Disk]:
    """Those that go when nobody has them any more: devices that were there before stay."""
    return [disk for disk in disks if disk.template is not DiskTemplate.BLOCKDEV]


def copy(config: Config, env: Env, instance: Instance, new: Sequence[Disk]) -> list[Step]:
    """The data of each disk to the new one in its place, on the primary node; nothing runs meanwhile."""
    node = config.nodes[instance.primary_node]
    return [
        Effect(
            title=f"copy disk {index} of {instance.name} to {target.template.value} on {node.name}",
            node=node.uuid,
            call=VolumeCopy(disk=disk, new=target, owner=instance.uuid, request=env.new_request()),
        )
        for index, (disk, target) in enumerate(zip(instance.disks, new, strict=True))
    ]


def remove_some(config: Config, env: Env, instance: Instance, disks: Sequence[Disk]) -> list[Step]:
    """Of disks that are out of the configuration already: what stays is owed by its node."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return VolumeRemove(disk=disk, owner=instance.uuid, request=request), None

    return _on(
        config,
        env,
        instance,
        nodes=instance.nodes,
        verb="remove",
        make=make,
        on_failure=OnFailure.OWE,
        only=_ours(disks),
    )


def removals(config: Config, env: Env, instance: Instance, disks: Sequence[Disk]) -> list[Undo]:
    """The same as what an interrupted operation still has to do."""
    found = []
    for node in instance.nodes:
        for disk in _ours(disks):
            call = VolumeRemove(disk=disk, owner=instance.uuid, request=env.new_request())
            title = f"remove disk {disk.uuid} of {instance.name} on {config.nodes[node].name}"
            found.append(owing.owed(env, node, call, title))
    return found


def rename(config: Config, env: Env, instance: Instance, renamed: Instance) -> list[Step]:
    """From the disks of `instance` to those of `renamed`, one for one."""
    pairs = {old.uuid: new for old, new in zip(instance.disks, renamed.disks, strict=True)}

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        new, owner = pairs[disk.uuid], instance.uuid
        return (
            VolumeRename(disk=disk, new=new, owner=owner, request=request),
            VolumeRename(disk=new, new=disk, owner=owner, request=env.new_request(), undoes=request),
        )

    if instance.disks == renamed.disks:
        return []
    return _on(config, env, instance, nodes=instance.nodes, verb="rename", make=make)


def relabel(config: Config, env: Env, instance: Instance, name: str) -> list[Step]:
    """Volumes that tell the name of their instance get a new one. People read it, so it is warned of where it fails."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        def given(origin: str, undoes: RequestId | None, own: RequestId) -> VolumeGive:
            owner = instance.uuid
            return VolumeGive(disk=disk, owner=owner, to=owner, origin=origin, request=own, undoes=undoes)

        return given(name, None, request), given(instance.name, request, env.new_request())

    labelled = [disk for disk in instance.disks if disk.template in _LABELLED]
    nodes = [node for node in instance.nodes if not config.nodes[node].offline]
    if not labelled:
        return []
    return _on(config, env, instance, nodes=nodes, verb="label", make=make, only=labelled, on_failure=OnFailure.WARN)


def grow(config: Config, env: Env, instance: Instance, disk: Disk, size: MiB) -> list[Step]:
    """On all its nodes. What has grown stays so: nothing is lost by it, and a repeat uses it."""
    index = instance.disks.index(disk)
    return [
        Effect(
            title=f"grow disk {index} of {instance.name} on {config.nodes[node].name} to {size} MiB",
            node=node,
            call=VolumeGrow(disk=disk, owner=instance.uuid, size=size, request=env.new_request()),
        )
        for node in (instance.nodes if is_mirror(disk) else instance.nodes[:1])
    ]


def snapshot(config: Config, env: Env, instance: Instance, disk: Disk) -> tuple[Effect, Disk]:
    """On the primary node, and the volume that it makes; taken back by removing it. Raises StorageError."""
    made = snapshot_of(disk, env.new_uuid())
    request = env.new_request()
    index = instance.disks.index(disk)
    effect = Effect(
        title=f"take a snapshot of disk {index} of {instance.name} on {config.nodes[instance.primary_node].name}",
        node=instance.primary_node,
        call=VolumeSnapshot(disk=disk, snapshot=made, owner=instance.uuid, request=request),
        undo=VolumeRemove(disk=made, owner=instance.uuid, request=env.new_request(), undoes=request),
    )
    return effect, made


def wipe(env: Env, instance: Instance, disks: Sequence[tuple[Disk, MiB]]) -> list[Step]:
    """Zeroes over each disk, from its offset in MiB on; the disks are open."""
    return [
        Effect(
            title=f"wipe disk {instance.disks.index(disk)} of {instance.name}",
            node=instance.primary_node,
            call=VolumeWipe(disk=disk, owner=instance.uuid, offset=offset, request=env.new_request()),
        )
        for disk, offset in disks
    ]
