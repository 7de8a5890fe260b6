"""The built-in allocator: which nodes instances go to. Pure decisions on a `Picture` of the cluster.

What a node must have: it is online, not drained and vm_capable; it has the memory and the disk space; no instance with
the same exclusion tag is there; its group's policy allows the instance. Among those the least loaded is taken: the sum
of the shares of memory, processors and disk that are in use. Groups whose policy is last_resort are looked at when the
preferred ones have no place; unallocable ones only when they are named. That a node keeps within its vcpu-ratio, and
that a secondary could start all that it may have to take over from one primary, is wished for, not demanded.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence

import msgspec

from ganeti import errors
from ganeti.logic import capacity, guests
from ganeti.logic.allocation import (
    Allocate,
    AllocateSecondary,
    Failed,
    MultiAllocate,
    MultiPlaced,
    NamedPlace,
    Placed,
    Relocate,
)
from ganeti.logic.base import Env
from ganeti.logic.capacity import Picture, Promise, Room
from ganeti.model import policy
from ganeti.model.config import Config
from ganeti.model.objects import AdminState, AllocPolicy, DiskTemplate, Instance, Node
from ganeti.model.types import MiB, Uuid

#: what -I takes for the built-in choice
BUILTIN = "builtin"
#: -I .
CLUSTER_DEFAULT = "."


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision is made on."""

    config: Config
    picture: Picture
    rng: random.Random  # decides among equals


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed of one node."""

    name: str
    hypervisor: str
    template: DiskTemplate
    memory: MiB  # free now; 0: it is not started
    disk: MiB
    vcpus: int
    tags: tuple[str, ...]
    sizes: policy.Sizes | None  # None: the policy does not count

    def promise(self, node: Uuid, *, is_primary: bool = True) -> Promise:
        return Promise(
            node=node,
            instance=self.name,
            memory=self.memory if is_primary else 0,
            vcpus=self.vcpus if is_primary else 0,
            template=self.template,
            disk=self.disk,
            tags=self.tags,
            is_primary=is_primary,
        )


def allocator(config: Config, pnode: str, iallocator: str) -> str:
    """The allocator to ask, or empty when the node is given. Raises PrereqError(wrong_input)."""
    if pnode and iallocator:
        raise errors.PrereqError("wrong_input", "both a node and an allocator were given", hint="give one of them")
    return "" if pnode else named(config, iallocator)


def named(config: Config, iallocator: str) -> str:
    """The allocator that is meant; empty and `.` are the cluster's default. Raises PrereqError(wrong_input)."""
    name = config.cluster.default_iallocator if iallocator in ("", CLUSTER_DEFAULT) else iallocator
    if not name:
        raise errors.PrereqError(
            "wrong_input",
            "neither a node nor an allocator was given, and the cluster has no default allocator",
            hint=f"add -n NODE or -I {BUILTIN}",
        )
    return name


# Single decisions


def allocate(
    scene: Scene,
    request: Allocate,
) -> Placed:
    """Raises PrereqError(insufficient_resources) that says why each node was not taken."""
    demand = demand_of(request)
    allowed = None if request.restrict_to is None else frozenset(request.restrict_to)
    reasons: dict[str, None] = {}
    for groups in _tiers(scene.config, request.group):
        found = _best(scene, demand, groups, allowed=allowed, reasons=reasons, count=request.node_count)
        if found is not None:
            return found
    raise _no_room(scene, request.name, reasons, _tiers(scene.config, request.group))


def demand_of(request: Allocate) -> Demand:
    sizes = policy.Sizes(
        template=request.template.value,
        memory=request.memory,
        vcpus=request.vcpus,
        disks=tuple(disk.size for disk in request.disks),
        nics=len(request.nics),
        spindle_use=request.spindle_use,
    )
    return Demand(
        name=request.name,
        hypervisor=request.hypervisor,
        template=request.template,
        memory=request.memory,
        disk=capacity.space(request.template, (disk.size for disk in request.disks)),
        vcpus=request.vcpus,
        tags=request.tags,
        sizes=None if request.ignore_ipolicy else sizes,
    )


def demand_of_instance(
    config: Config, instance: Instance, *, memory: MiB | None = None, ignore_ipolicy: bool = False
) -> Demand:
    """`memory` None: what is configured if it is up."""
    be = guests.beparams(config, instance)
    if memory is None:
        memory = be["maxmem"] if instance.admin_state is AdminState.UP else 0
    return Demand(
        name=instance.name,
        hypervisor=instance.hypervisor,
        template=instance.disks[0].template if instance.disks else DiskTemplate.DISKLESS,
        memory=memory,
        disk=capacity.instance_space(instance) if is_mirrored(instance) else 0,
        vcpus=be["vcpus"],
        tags=instance.tags,
        sizes=None if ignore_ipolicy else guests.sizes(config, instance),
    )


def is_mirrored(instance: Instance) -> bool:
    """Whether it has a secondary of its own, and not disks that every node sees."""
    return bool(instance.secondary_nodes)


def multi_allocate(
    scene: Scene,
    request: MultiAllocate,
) -> MultiPlaced:
    """One after another, the largest first; those that fit nowhere are told, the others keep their places."""
    placed: dict[str, tuple[Uuid, ...]] = {}
    failed: dict[str, str] = {}
    for each in sorted(request.instances, key=lambda one: (-one.memory, -capacity.space(one.template, _sizes(one)))):
        try:
            answer = allocate(scene, each)
        except errors.PrereqError as err:
            failed[each.name] = err.message
            continue
        placed[each.name] = answer.nodes
        for promise in promises_of(each, answer.nodes):
            scene.picture.take(promise)
    names = [each.name for each in request.instances]
    return MultiPlaced(
        placed=tuple(NamedPlace(name=name, nodes=placed[name]) for name in names if name in placed),
        failed=tuple(Failed(name=name, reason=failed[name]) for name in names if name in failed),
    )


def _sizes(request: Allocate) -> Iterable[MiB]:
    return (disk.size for disk in request.disks)


def promises_of(request: Allocate, nodes: Sequence[Uuid]) -> list[Promise]:
    demand = demand_of(request)
    return [demand.promise(node, is_primary=index == 0) for index, node in enumerate(nodes)]


def promise_of_move(config: Config, request: Relocate, node: Uuid) -> Promise:
    instance = config.instances[request.instance]
    demand = demand_of_instance(config, instance, memory=request.memory)
    return demand.promise(node, is_primary=not is_mirrored(instance))


def relocate(
    scene: Scene,
    request: Relocate,
) -> Placed:
    instance = scene.config.instances[request.instance]
    # the group stays, so what its policy says of the instance is no matter of the move
    demand = demand_of_instance(scene.config, instance, memory=request.memory, ignore_ipolicy=True)
    group = scene.config.nodes[instance.primary_node].group
    if is_mirrored(instance):
        return new_secondary(scene, instance, demand, [group], without=instance.nodes)
    return best(scene, instance.name, demand, [group], count=1, without=instance.nodes)


def secondary(
    scene: Scene,
    request: AllocateSecondary,
) -> Placed:
    instance = scene.config.instances[request.instance]
    demand = demand_of_instance(scene.config, instance)
    disk = capacity.space(DiskTemplate.DRBD, (disk.size for disk in instance.disks))
    demand = msgspec.structs.replace(demand, template=DiskTemplate.DRBD, disk=disk, sizes=None)
    group = scene.config.nodes[instance.primary_node].group
    return new_secondary(scene, instance, demand, [group], without=instance.nodes)


def best(
    scene: Scene,
    name: str,
    demand: Demand,
    groups: Collection[Uuid],
    *,
    count: int,
    without: Collection[Uuid],
) -> Placed:
    """Primary, and with `count` 2 secondary, in these groups. Raises PrereqError(insufficient_resources)."""
    allowed = frozenset(scene.config.nodes).difference(without)
    reasons: dict[str, None] = {}
    found = _best(scene, demand, groups, allowed=allowed, reasons=reasons, count=count)
    if found is None:
        raise _no_room(scene, name, reasons, [groups], without)
    return found


def new_secondary(
    scene: Scene,
    instance: Instance,
    demand: Demand,
    groups: Collection[Uuid],
    *,
    without: Collection[Uuid],
) -> Placed:
    """Another node for the mirrors of an instance that stays where it is."""
    reasons: dict[str, None] = {}
    rooms = [room for room in _rooms(scene.picture, groups) if room.node.uuid not in without]
    found = _best_secondary(scene, demand, rooms, instance.primary_node, reasons)
    if found is None:
        raise _no_room(scene, instance.name, reasons, [groups], without)
    return Placed(nodes=(found.node.uuid,))


# What one node can take


def takes(node: Node) -> bool:
    return not node.offline and not node.drained and node.vm_capable


def lacks(room: Room, demand: Demand, picture: Picture, *, is_primary: bool = True) -> str:
    """Why the node cannot take it, or empty."""
    name = room.node.name
    if not takes(room.node):
        return (
            f"node {name} takes no instances: it is {'offline' if room.node.offline else 'drained or not vm_capable'}"
        )
    if demand.template not in capacity.SPACELESS and demand.disk:
        free = room.disk_free.get(demand.template.value)
        if free is None:
            return f"node {name} has no {demand.template.value} storage"
        if free < demand.disk:
            return f"node {name} has {free} MiB of disk free, {demand.disk} MiB wanted"
    if not is_primary:
        return ""
    memory = room.memory_free.get(demand.hypervisor)
    if memory is None:
        return f"node {name} does not tell the memory of {demand.hypervisor}"
    if memory < demand.memory:
        return f"node {name} has {memory} MiB of memory free, {demand.memory} MiB wanted"
    common = room.exclusions & picture.exclusions(demand.tags)
    if common:
        return f"node {name} has an instance with the exclusion tag {min(common)}"
    return ""


def problem(picture: Picture, demand: Demand, nodes: Sequence[Uuid], *, is_primary: bool = True) -> str:
    """Why these nodes, the first as primary if `is_primary`, cannot take it, or empty."""
    for index, node in enumerate(nodes):
        room = picture.rooms.get(node)
        if room is None:
            return picture.silent.get(node, "the node takes no instances")
        why = lacks(room, demand, picture, is_primary=is_primary and index == 0)
        if why:
            return why
    return ""


def _load(room: Room, demand: Demand, ratio: float) -> float:
    """Of the node with the instance on it: sum of the shares that are in use."""
    machine = room.told.hypervisors.get(demand.hypervisor)
    shares = 0.0
    if machine is not None and machine.memory_total:
        used = machine.memory_total - room.memory_free[demand.hypervisor]
        # what is configured counts though it does not run now; so does what others use
        shares += (max(room.memory, used) + demand.memory) / machine.memory_total
    if machine is not None and machine.cpu_total:
        shares += (room.vcpus + demand.vcpus) / (machine.cpu_total * ratio)
    space = room.told.storage.get(demand.template.value)
    if space is not None and space.total:
        shares += 1 - (room.disk_free[demand.template.value] - demand.disk) / space.total
    return round(shares, 4)


def _excess(room: Room, demand: Demand, ratio: float) -> str:
    machine = room.told.hypervisors.get(demand.hypervisor)
    if machine is None or not machine.cpu_total:
        return ""
    wanted, most = room.vcpus + demand.vcpus, machine.cpu_total * ratio
    if wanted <= most:
        return ""
    return f"node {room.node.name} has {wanted} virtual processors then, more than the policy's {most:g}"


def _best(
    scene: Scene,
    demand: Demand,
    groups: Collection[Uuid],
    *,
    allowed: frozenset[Uuid] | None,
    reasons: dict[str, None],
    count: int,
) -> Placed | None:
    ranked: list[tuple[bool, float, int, float, str, Room]] = []
    rooms = []
    for group in groups:
        complete = policy.filled(scene.config, group)
        broken = policy.violations(complete, demand.sizes) if demand.sizes is not None else ()
        if broken:
            reasons[
                f"the policy of node group {scene.config.groups[group].name} does not allow it: {'; '.join(broken)}"
            ] = None
            continue
        ratio = float(complete["vcpu-ratio"])
        for room in _rooms(scene.picture, (group,)):
            if not takes(room.node) or (allowed is not None and room.node.uuid not in allowed):
                continue
            rooms.append(room)
            why = lacks(room, demand, scene.picture)
            if why:
                reasons[why] = None
                continue
            excess = _excess(room, demand, ratio)
            load = _load(room, demand, ratio)
            ranked.append((bool(excess), load, room.primaries, scene.rng.random(), excess, room))
    for _, _, _, _, excess, room in sorted(ranked, key=lambda entry: entry[:4]):
        warnings = (excess,) if excess else ()
        if count == 1:
            return Placed(nodes=(room.node.uuid,), warnings=warnings)
        others = [other for other in rooms if other is not room and other.node.group == room.node.group]
        mirror = _best_secondary(scene, demand, others, room.node.uuid, reasons)
        if mirror is not None:
            return Placed(nodes=(room.node.uuid, mirror.node.uuid), warnings=warnings)
        reasons[f"node {room.node.name} has no other node beside it for the mirrors"] = None
    return None


def _best_secondary(
    scene: Scene,
    demand: Demand,
    rooms: Iterable[Room],
    primary: Uuid,
    reasons: dict[str, None],
) -> Room | None:
    ranked: list[tuple[bool, float, int, float, Room]] = []
    for room in rooms:
        if room.node.uuid == primary or not takes(room.node):
            continue
        why = lacks(room, demand, scene.picture, is_primary=False)
        if why:
            reasons[why] = None
            continue
        after = _taken_over(scene.config, room.node.uuid, primary) + demand.memory
        free = room.memory_free.get(demand.hypervisor, 0)
        load = _load(room, msgspec.structs.replace(demand, memory=0, vcpus=0), 1.0)
        ranked.append((after > free, load, room.secondaries, scene.rng.random(), room))
    return min(ranked, key=lambda entry: entry[:4])[4] if ranked else None


def _taken_over(config: Config, node: Uuid, primary: Uuid) -> MiB:
    """Memory that the node needs should that primary die."""
    both = config.secondaries.get(node, frozenset()) & config.primaries.get(primary, frozenset())
    return sum(guests.beparams(config, config.instances[uuid])["maxmem"] for uuid in both)


def _rooms(picture: Picture, groups: Collection[Uuid]) -> list[Room]:
    return [room for room in picture.rooms.values() if room.node.group in groups]


def _tiers(config: Config, group: Uuid | None) -> list[list[Uuid]]:
    if group is not None:
        return [[group]]
    return [
        [uuid for uuid, found in config.groups.items() if found.alloc_policy is wanted]
        for wanted in (AllocPolicy.PREFERRED, AllocPolicy.LAST_RESORT)
    ]


def _no_room(
    scene: Scene,
    name: str,
    reasons: Iterable[str],
    tiers: Sequence[Collection[Uuid]],
    without: Collection[Uuid] = (),
) -> errors.PrereqError:
    groups = {group for tier in tiers for group in tier}
    silent = [
        why
        for uuid, why in scene.picture.silent.items()
        if scene.config.nodes[uuid].group in groups and takes(scene.config.nodes[uuid]) and uuid not in without
    ]
    why = "; ".join([*reasons, *silent])
    if not why:
        why = "none takes new instances: all are offline, drained, not vm_capable or not to be chosen from"
    return errors.PrereqError("insufficient_resources", f"no node has room for {name}: {why}")


def check_policy(env: Env, instance: Instance, target: Node, *, ignore: bool) -> None:
    """Raises PrereqError when it would break the policy there, or warns. What it breaks where it is does not count."""
    before = guests.policy_violations(env.config, instance)
    after = guests.policy_violations(env.config, msgspec.structs.replace(instance, primary_node=target.uuid))
    broken = [text for text in after if text not in before]
    if not broken:
        return
    text = f"on node {target.name} instance {instance.name} breaks the instance policy: " + "; ".join(broken)
    if not ignore:
        raise errors.PrereqError("wrong_input", text, hint="choose another node or add --ignore-ipolicy")
    env.warn(text)
