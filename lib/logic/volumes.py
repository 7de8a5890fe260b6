"""Steps on the volumes of an instance's disks, each with its way back.

Starting a guest and running an OS script open the disks on the primary node; stopping a guest closes them there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ganeti.calls.base import ChangingCall
from ganeti.calls.volume import VolumeClose, VolumeCreate, VolumeRemove, VolumeRename
from ganeti.logic.base import Env
from ganeti.logic.steps import Effect, OnFailure, Parallel, Step
from ganeti.model.config import Config
from ganeti.model.objects import Disk, Instance
from ganeti.model.types import RequestId, Uuid

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
) -> list[Step]:
    """One group of effects for all disks on these nodes; nothing for a diskless instance."""
    effects = []
    for node in nodes:
        for index, disk in enumerate(instance.disks):
            call, undo = make(disk, env.new_request())
            title = f"{verb} disk {index} of {instance.name} on {config.nodes[node].name}"
            effects.append(Effect(title=title, node=node, call=call, undo=undo, on_failure=on_failure))
    return [Parallel(effects=tuple(effects))] if effects else []


def create(config: Config, env: Env, instance: Instance) -> list[Step]:
    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            VolumeCreate(disk=disk, owner=instance.uuid, request=request),
            VolumeRemove(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request),
        )

    return _on(config, env, instance, nodes=instance.nodes, verb="create", make=make)


def close_all(config: Config, env: Env, instance: Instance) -> list[Step]:
    """After a script: given up on all nodes of the instance; what cannot be closed is warned of."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return VolumeClose(disk=disk, owner=instance.uuid, request=request), None

    nodes = [node for node in instance.nodes if not config.nodes[node].offline]
    return _on(config, env, instance, nodes=nodes, verb="close", make=make, on_failure=OnFailure.WARN)


def remove(config: Config, env: Env, instance: Instance, on_failure: OnFailure) -> list[Step]:
    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return VolumeRemove(disk=disk, owner=instance.uuid, request=request), None

    return _on(config, env, instance, nodes=instance.nodes, verb="remove", make=make, on_failure=on_failure)


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
