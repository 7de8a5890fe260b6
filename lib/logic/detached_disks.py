"""Disks that are taken off instances and kept: what is recorded of them, who may have them, and the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.calls.base import ChangingCall
from ganeti.calls.volume import VolumeGive
from ganeti.logic import device_changes, devices, owing
from ganeti.logic.base import Env
from ganeti.logic.steps import Effect, Parallel, Step
from ganeti.model.config import Config
from ganeti.model.disks import is_mirror
from ganeti.model.locks import new_name
from ganeti.model.objects import DetachedDisk, Disk, Instance
from ganeti.model.types import RequestId, Uuid


def record(instance: Instance, disk: Disk, now: float) -> DetachedDisk:
    return DetachedDisk(
        uuid=disk.uuid,
        name=disk.uuid,
        disk=disk,
        nodes=instance.nodes if is_mirror(disk) else instance.nodes[:1],
        owner=instance.uuid,
        instance_name=instance.name,
        ctime=now,
    )


def lock(wanted: DetachedDisk) -> str:
    """Held by whoever attaches or removes it; at the level of instances, as names of new ones are."""
    return new_name(f"disk {wanted.uuid}")


def wanted(config: Config, untrusted_changes: Sequence[Any]) -> list[DetachedDisk]:
    """Those that these changes attach. Raises PrereqError."""
    changes = device_changes.parse(untrusted_changes, "disk")
    return [config.detached_disk(device_changes.wanted_disk(change)) for change in changes if change.action == "attach"]


def check_complete(env: Env, instance: Instance) -> None:
    """No old volumes wait for the disks to be complete: nobody sees to that of a detached one. Raises PrereqError."""
    kept = owing.kept(env, instance)
    if kept:
        raise errors.PrereqError(
            "wrong_state",
            f"old volumes of {instance.name} are kept that may be the only good copy of its data: "
            + "; ".join(owing.where(env.config, undo) for undo in kept),
            hint=f"they go when its disks are complete: gnt-instance activate-disks --wait-for-sync {instance.name}",
        )


def check_fits(config: Config, instance: Instance, disk: DetachedDisk) -> None:
    """It lies where the instance has its disks, and is of their kind. Raises PrereqError."""
    name = disk.disk.name or disk.uuid
    templates = {each.template for each in instance.disks}
    if templates - {disk.disk.template}:
        raise errors.PrereqError(
            "wrong_input",
            f"disk {name} is of template {disk.disk.template.value}, those of {instance.name} are "
            f"{instance.disk_template}",
            hint="an instance has disks of one template",
        )
    if disk.disk.template in devices.EXTERNAL:
        return
    lies = ", ".join(config.nodes[node].name for node in disk.nodes)
    is_there = instance.primary_node in disk.nodes
    if is_mirror(disk.disk) and instance.secondary_nodes:
        is_there = set(instance.nodes) == set(disk.nodes)
    if not is_there:
        raise errors.PrereqError(
            "wrong_state", f"disk {name} lies on {lies}, where {instance.name} is not", hint="move the instance there"
        )


def give(config: Config, env: Env, instance: Instance, disks: Sequence[DetachedDisk]) -> list[Step]:
    """Their volumes are marked for the instance; taken back by marking them for the one before."""
    effects = []
    for disk in disks:
        for node in disk.nodes if is_mirror(disk.disk) else (instance.primary_node,):
            call, undo = _give(env, instance, disk)
            title = f"give disk {disk.disk.name or disk.uuid} on {config.nodes[node].name} to {instance.name}"
            effects.append(Effect(title=title, node=node, call=call, undo=undo))
    return [Parallel(effects=tuple(effects))] if effects else []


def _give(env: Env, instance: Instance, disk: DetachedDisk) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
    def call(owner: Uuid, to: Uuid, origin: str, undoes: RequestId | None, request: RequestId) -> VolumeGive:
        return VolumeGive(disk=disk.disk, owner=owner, to=to, origin=origin, request=request, undoes=undoes)

    request = env.new_request()
    return (
        call(disk.owner, instance.uuid, instance.name, None, request),
        call(instance.uuid, disk.owner, disk.instance_name, request, env.new_request()),
    )
