"""Steps that give mirrors new volumes: on a node that they have already, or on another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti.calls.base import ChangingCall
from ganeti.calls.mirror import MirrorAssemble
from ganeti.calls.volume import VolumeClose, VolumeCreate, VolumeRemove, VolumeRename
from ganeti.logic import mirrors, owing
from ganeti.logic.base import Env
from ganeti.logic.steps import Commit, Effect, OnFailure, Parallel, Step
from ganeti.model.disks import Mirror, node_volumes
from ganeti.model.jobs import Resolve, Undo
from ganeti.model.objects import Disk, Instance, Node, Put
from ganeti.model.types import RequestId, Uuid
from ganeti.wire import codec

PROCEDURE = "replace-disks"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    steps: list[Step]  # with the commit from which on it goes forward, and what connects the halves then
    after: Instance
    disks: tuple[Disk, ...]  # that are synchronised then
    removals: list[Step]  # of the old volumes
    given_up: Commit  # in their place: they go by themselves when the instance's primary node has everything
    record: Resolve  # of what becomes of them; in the commit


def _record(instance: Instance, node: Uuid, old: Sequence[Disk]) -> Resolve:
    arguments = {"instance": instance.uuid, "node": node, "old": codec.to_builtins(tuple(old))}
    return Resolve(procedure=PROCEDURE, arguments=arguments, title=f"replacement of the disks of {instance.name}")


def _remove(env: Env, instance: Instance, node: Node, old: Sequence[Disk]) -> list[Step]:
    """What cannot be removed now is owed by the node."""
    effects = tuple(
        Effect(
            title=f"remove the old volume {'/'.join(str(part) for part in disk.logical_id[:2])} on {node.name}"
            if not disk.children
            else f"remove the old half of disk {disk.uuid} of {instance.name} on {node.name}",
            node=node.uuid,
            call=VolumeRemove(disk=disk, owner=instance.uuid, request=env.new_request()),
            on_failure=OnFailure.OWE,
        )
        for disk in old
    )
    return [Parallel(effects=effects)] if effects else []


def _give_up(env: Env, instance: Instance, node: Node, old: Sequence[Disk]) -> Commit:
    debts = tuple(kept(env, instance, node.uuid, disk) for disk in old)
    return Commit(title=f"give up the old volumes of {instance.name} on {node.name}", changes=(), debts=debts)


# On the same node


def in_place(
    env: Env, instance: Instance, disks: Sequence[Disk], node: Node, _old: Node, present: Sequence[Uuid]
) -> Change:
    """New volumes take the names of the old ones, which are kept aside until the new ones are in sync."""
    config, stamp = env.config, int(env.now())
    steps: list[Step] = []
    aside: list[Disk] = []
    fresh: dict[Uuid, Disk] = {}
    for disk in disks:
        stem = f"{env.new_uuid()}.disk{instance.disks.index(disk)}"
        for child, what in zip(disk.children, ("data", "meta"), strict=True):
            name = (child.logical_id[0], f"{stem}_{what}")
            fresh[child.uuid] = msgspec.structs.replace(child, uuid=env.new_uuid(), logical_id=name)
    together = sum(volume.size for volume in fresh.values())
    pairs = [(fresh[one.uuid], fresh[two.uuid]) for disk in disks for one, two in (disk.children, disk.children[::-1])]
    steps.append(Parallel(effects=tuple(_create(env, instance, node, pair, together) for pair in pairs)))
    for disk in disks:
        steps += mirrors.detach(config, env, instance, [disk], node.uuid)
        for child in disk.children:
            if child.uuid in present:
                kept_name = (child.logical_id[0], f"{child.logical_id[1]}_replaced-{stamp}")
                kept = msgspec.structs.replace(child, uuid=env.new_uuid(), logical_id=kept_name)
                aside.append(kept)
                steps.append(_rename(env, instance, node, child, kept))
            steps.append(_rename(env, instance, node, fresh[child.uuid], child))
        steps += mirrors.attach(config, env, instance, [disk], node.uuid)
    record = _record(instance, node.uuid, aside)
    title = f"the new volumes of {instance.name} on {node.name} are in use"
    steps.append(Commit(title=title, changes=(), recoveries=(record,)))
    # halves that stood alone, or never came up, meet again
    steps += mirrors.assemble(config, env, instance, instance.nodes, disks=disks)
    return Change(
        steps=steps,
        after=instance,
        disks=tuple(disks),
        removals=_remove(env, instance, node, aside),
        given_up=_give_up(env, instance, node, aside),
        record=record,
    )


def _create(env: Env, instance: Instance, node: Node, pair: tuple[Disk, Disk], together: int) -> Effect:
    """The first volume of the pair; the second one is made for the same mirror."""
    volume, mate = pair
    request = env.new_request()
    return Effect(
        title=f"create {'/'.join(str(part) for part in volume.logical_id)} on {node.name}",
        node=node.uuid,
        call=VolumeCreate(
            disk=volume, owner=instance.uuid, together=together, origin=instance.name, mate=mate, request=request
        ),
        undo=VolumeRemove(disk=volume, owner=instance.uuid, request=env.new_request(), undoes=request),
    )


def _rename(env: Env, instance: Instance, node: Node, old: Disk, new: Disk) -> Effect:
    request = env.new_request()
    return Effect(
        title=f"rename {old.logical_id[1]} to {new.logical_id[1]} on {node.name}",
        node=node.uuid,
        call=VolumeRename(disk=old, new=new, owner=instance.uuid, request=request),
        undo=VolumeRename(disk=new, new=old, owner=instance.uuid, request=env.new_request(), undoes=request),
    )


# On another node


def elsewhere(
    env: Env, instance: Instance, disks: Sequence[Disk], node: Node, old: Node, _present: Sequence[Uuid]
) -> Change:
    """The other node gets a half, the old one loses its peer; the commit names the new secondary."""
    config, primary = env.config, env.config.nodes[instance.primary_node]
    moved = tuple(_moved(env, disk, old.uuid, node.uuid) for disk in instance.disks)
    after = msgspec.structs.replace(instance, disks=moved)

    def create(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            VolumeCreate(disk=disk, owner=instance.uuid, origin=instance.name, request=request),
            VolumeRemove(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request),
        )

    def close(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            VolumeClose(disk=disk, owner=instance.uuid, request=request),
            MirrorAssemble(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request),
        )

    steps = mirrors.on_disks(config, env, after, moved, [node.uuid], title="create {disk} on {node}", make=create)
    if not old.offline:
        steps += mirrors.on_disks(
            config,
            env,
            instance,
            instance.disks,
            [old.uuid],
            title="close {disk} on {node}",
            make=close,
            on_failure=OnFailure.WARN,
        )
    steps += mirrors.disconnect(config, env, instance, primary.uuid, back=instance)
    debts = tuple(kept(env, instance, old.uuid, disk) for disk in instance.disks) if old.offline else ()
    record = _record(instance, old.uuid, () if old.offline else instance.disks)
    title = f"make {node.name} the secondary node of {instance.name}"
    steps.append(Commit(title=title, changes=(Put(after),), recoveries=(record,), debts=debts))
    steps += mirrors.assemble(config.apply([Put(after)]), env, after, [node.uuid, primary.uuid])
    left = () if old.offline else instance.disks  # else it is in the debts
    return Change(
        steps=steps,
        after=after,
        disks=after.disks,
        removals=_remove(env, instance, old, left),
        given_up=_give_up(env, instance, old, left),
        record=record,
    )


def _moved(env: Env, disk: Disk, old: Uuid, new: Uuid) -> Disk:
    return msgspec.structs.replace(disk, logical_id=Mirror.of(disk).moved(old, new, env.new_minor(new)).logical_id)


def kept(env: Env, instance: Instance, node: Uuid, disk: Disk) -> Undo:
    """The removal of an old half, or of an old volume of one, which may be the only good copy for a while."""
    call = VolumeRemove(disk=disk, owner=instance.uuid, request=env.new_request())
    names = " and ".join("/".join(map(str, volume.logical_id)) for volume in node_volumes(disk))
    return owing.owed(env, node, call, f"remove the old volumes {names} of {instance.name}", until_good=instance.uuid)
