"""The built-in allocator's plans to free a node or a node group. Pure: the answer is opcodes to submit.

A mirrored instance changes places with its secondary, and gets another one where that is wanted. An instance whose
disks every node sees is migrated. The disks of the others lie on one node alone: those have to be moved or exported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from ganeti import errors
from ganeti.logic import devices, placement
from ganeti.logic.allocation import ChangeGroup, Evacuate, Evacuation, Failed, Moved, NodeEvacuate
from ganeti.logic.capacity import Promise
from ganeti.logic.placement import Demand, Scene
from ganeti.model.config import Config
from ganeti.model.objects import AllocPolicy, Instance
from ganeti.model.types import Uuid
from ganeti.ops import base as ops
from ganeti.ops.base import OpCode
from ganeti.ops.instance import OpInstanceMigrate


class _Way(msgspec.Struct, frozen=True, kw_only=True):
    """How one instance leaves."""

    nodes: tuple[Uuid, ...]  # that it is on then, primary first
    job: tuple[OpCode, ...]
    promises: tuple[Promise, ...]


def node_evacuate(
    scene: Scene,
    request: NodeEvacuate,
) -> Evacuation:
    return _all(scene, request.instances, lambda instance: _leave_node(scene, instance, request))


def change_group(
    scene: Scene,
    request: ChangeGroup,
) -> Evacuation:
    return _all(scene, request.instances, lambda instance: _leave_group(scene, instance, request))


def _all(scene: Scene, instances: Iterable[Uuid], way: Callable[[Instance], _Way]) -> Evacuation:
    moved, failed, jobs = [], [], []
    for instance in sorted((scene.config.instances[uuid] for uuid in instances), key=lambda each: each.name):
        try:
            found = way(instance)
        except errors.GanetiError as err:
            failed.append(Failed(name=instance.name, reason=err.message))
            continue
        for promise in found.promises:
            scene.picture.take(promise)
        group = scene.config.groups[scene.config.nodes[found.nodes[0]].group].name
        moved.append(Moved(name=instance.name, group=group, nodes=found.nodes))
        jobs.append(found.job)
    return Evacuation(moved=tuple(moved), failed=tuple(failed), jobs=tuple(jobs))


def _leave_node(
    scene: Scene,
    instance: Instance,
    request: NodeEvacuate,
) -> _Way:
    demand = placement.demand_of_instance(scene.config, instance, ignore_ipolicy=True)
    group = [scene.config.nodes[instance.primary_node].group]
    node = request.node or (
        instance.secondary_nodes[0]
        if request.mode is Evacuate.SECONDARY and placement.is_mirrored(instance)
        else instance.primary_node
    )
    is_primary = instance.primary_node == node
    if not placement.is_mirrored(instance):
        _can_move(instance)
        if request.mode is Evacuate.SECONDARY or not is_primary:
            raise _impossible(f"it has no secondary on node {scene.config.nodes[node].name}")
        return _migrated_to(scene, instance, demand, group, without=(node,))
    if node not in instance.nodes or request.mode is (Evacuate.SECONDARY if is_primary else Evacuate.PRIMARY):
        role = "secondary" if request.mode is Evacuate.SECONDARY else "primary"
        raise _impossible(f"node {scene.config.nodes[node].name} is not its {role} node")
    (old_secondary,) = instance.secondary_nodes
    if is_primary:
        why = placement.problem(scene.picture, msgspec.structs.replace(demand, disk=0), (old_secondary,))
        if why:
            raise _impossible(f"it cannot run on its secondary: {why}")
        swap = demand.promise(old_secondary)
        promises = (msgspec.structs.replace(swap, disk=0),)
        if request.mode is Evacuate.PRIMARY:
            return _Way(nodes=(old_secondary, node), job=(_migrate(instance),), promises=promises)
        now = msgspec.structs.replace(instance, primary_node=old_secondary)
        (new,) = placement.new_secondary(scene, now, demand, group, without=instance.nodes).nodes
        both = (_migrate(instance), _mirror_to(scene.config, instance, new))
        return _Way(nodes=(old_secondary, new), job=both, promises=(*promises, demand.promise(new, is_primary=False)))
    (new,) = placement.new_secondary(scene, instance, demand, group, without=instance.nodes).nodes
    job = (_mirror_to(scene.config, instance, new),)
    return _Way(nodes=(instance.primary_node, new), job=job, promises=(demand.promise(new, is_primary=False),))


def _leave_group(
    scene: Scene,
    instance: Instance,
    request: ChangeGroup,
) -> _Way:
    here = {scene.config.nodes[node].group for node in instance.nodes}
    groups = request.groups or tuple(
        uuid for uuid, group in scene.config.groups.items() if group.alloc_policy is not AllocPolicy.UNALLOCABLE
    )
    targets = [uuid for uuid in groups if uuid not in here]
    if not targets:
        name = scene.config.groups[scene.config.nodes[instance.primary_node].group].name
        raise _impossible(f"it is in node group {name}, and there is no other for it to go to")
    demand = placement.demand_of_instance(scene.config, instance)
    if not placement.is_mirrored(instance):
        _can_move(instance)
        return _migrated_to(scene, instance, demand, targets, without=instance.nodes)
    found = placement.best(scene, instance.name, demand, targets, count=2, without=instance.nodes)
    primary, secondary = found.nodes
    # the new primary first becomes a mirror of the old one
    job = (
        _mirror_to(scene.config, instance, primary),
        _migrate(instance),
        _mirror_to(scene.config, instance, secondary),
    )
    promises = (demand.promise(primary), demand.promise(secondary, is_primary=False))
    return _Way(nodes=found.nodes, job=job, promises=promises)


def _migrated_to(
    scene: Scene,
    instance: Instance,
    demand: Demand,
    groups: Collection[Uuid],
    *,
    without: Collection[Uuid],
) -> _Way:
    found = placement.best(scene, instance.name, demand, groups, count=1, without=without)
    target = scene.config.nodes[found.nodes[0]]
    return _Way(nodes=found.nodes, job=(_migrate(instance, target.name),), promises=(demand.promise(target.uuid),))


def _can_move(instance: Instance) -> None:
    if instance.disks and all(disk.template in devices.EXTERNAL for disk in instance.disks):
        return
    if not instance.disks:
        raise _impossible("it has no disks to take along: remove it and add it again elsewhere")
    raise _impossible(f"its disks ({instance.disk_template}) lie on one node alone: use gnt-instance move or an export")


def _impossible(why: str) -> errors.PrereqError:
    return errors.PrereqError("wrong_state", why)


def _migrate(instance: Instance, target: str = "") -> OpCode:
    # one that does not run is failed over
    return OpInstanceMigrate(instance_name=instance.name, target_node=target, allow_failover=True)


def _mirror_to(config: Config, instance: Instance, node: Uuid) -> OpCode:
    return ops.decode(
        {
            "OP_ID": "OP_INSTANCE_REPLACE_DISKS",
            "instance_name": instance.name,
            "mode": "replace_new_secondary",
            "disks": [],
            "remote_node": config.nodes[node].name,
        }
    )
