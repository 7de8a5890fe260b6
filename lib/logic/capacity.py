"""How much room each node has: what it tells, less what is configured or promised and not used yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import msgspec

from ganeti.calls.node import HypervisorInfo, StorageInfo
from ganeti.logic import guests
from ganeti.model.config import Config
from ganeti.model.objects import AdminState, DiskTemplate, Instance, Node
from ganeti.model.types import MiB, Uuid

#: templates whose disks take no space that a node could tell
SPACELESS = (DiskTemplate.DISKLESS, DiskTemplate.BLOCKDEV)
#: a mirrored disk has its metadata beside it
MIRROR_OVERHEAD: MiB = 128
#: of a cluster tag: instances whose tags begin with the rest of it and a colon, and are equal, keep apart
EXCLUSION_PREFIX = "htools:iextags:"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one node said of itself."""

    hypervisors: dict[str, HypervisorInfo]
    storage: dict[str, StorageInfo]
    guests: dict[str, MiB]  # memory of those that run, by instance uuid


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a running job will take on a node for an instance."""

    node: Uuid
    instance: str  # its name; empty: unknown
    memory: MiB = 0
    vcpus: int = 0
    template: DiskTemplate = DiskTemplate.DISKLESS
    disk: MiB = 0
    tags: tuple[str, ...] = ()
    is_primary: bool = True


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """One node that answers."""

    node: Node
    told: Told
    memory_free: dict[str, MiB]  # by hypervisor
    disk_free: dict[str, MiB]  # by template
    memory: MiB = 0  # of all instances that have it as primary, running or not
    vcpus: int = 0
    primaries: int = 0
    secondaries: int = 0
    exclusions: frozenset[str] = frozenset()

    def take(self, promise: Promise, exclusions: frozenset[str] = frozenset()) -> Self:
        disk = dict(self.disk_free)
        if promise.template.value in disk:
            disk[promise.template.value] -= promise.disk
        return msgspec.structs.replace(
            self,
            memory_free={name: free - promise.memory for name, free in self.memory_free.items()},
            disk_free=disk,
            memory=self.memory + promise.memory,
            vcpus=self.vcpus + promise.vcpus,
            primaries=self.primaries + promise.is_primary,
            secondaries=self.secondaries + (not promise.is_primary),
            exclusions=self.exclusions | exclusions,
        )


class Picture:
    """All nodes that may be chosen, at one moment. `take` is how a series of decisions sees its earlier ones."""

    def __init__(self, rooms: Mapping[Uuid, Room], silent: Mapping[Uuid, str], prefixes: tuple[str, ...] = ()) -> None:
        self.rooms = dict(rooms)
        self.silent = dict(silent)  # nodes that did not tell, and why
        self._prefixes = prefixes

    def exclusions(self, tags: Iterable[str]) -> frozenset[str]:
        return frozenset(tag for tag in tags if tag.startswith(self._prefixes)) if self._prefixes else frozenset()

    def take(self, promise: Promise) -> None:
        room = self.rooms.get(promise.node)
        if room is not None:
            tags = self.exclusions(promise.tags) if promise.is_primary else frozenset()
            self.rooms[promise.node] = room.take(promise, tags)


def draw(config: Config, told: Mapping[Uuid, Told | str], promises: Iterable[Promise], *, asked_at: Config) -> Picture:
    """`told`: by node, or why it did not; `promises`: of all other jobs, from the same moment as `config`.

    `asked_at` is the configuration of when the nodes were asked: what has come since, they did not see.
    """
    prefixes = tuple(
        tag.removeprefix(EXCLUSION_PREFIX) + ":"
        for tag in config.cluster.tags
        if tag.startswith(EXCLUSION_PREFIX) and tag != EXCLUSION_PREFIX
    )
    rooms, silent = {}, {}
    for uuid, answer in told.items():
        node = config.nodes.get(uuid)
        if node is None:
            continue
        if isinstance(answer, str):
            silent[uuid] = answer
        else:
            rooms[uuid] = _room(config, node, answer)
    picture = Picture(rooms, silent, prefixes)
    if prefixes:
        for uuid, room in rooms.items():
            tags = [tag for each in config.primaries.get(uuid, ()) for tag in config.instances[each].tags]
            picture.rooms[uuid] = msgspec.structs.replace(room, exclusions=picture.exclusions(tags))
    for promise in promises:
        _promised(config, picture, promise)
    if config.instances is not asked_at.instances:
        for uuid, instance in config.instances.items():
            if uuid not in asked_at.instances:
                _came_since(picture, instance)
    return picture


def _promised(config: Config, picture: Picture, promise: Promise) -> None:
    """Nothing counts twice: what a job has started, or brought to the configuration, is seen there."""
    room = picture.rooms.get(promise.node)
    uuid = config.instance_names.get(promise.instance.lower())
    if room is None or uuid is None or config.instances[uuid].primary_node != promise.node:
        picture.take(promise)
        return
    instance = config.instances[uuid]
    if uuid not in room.told.guests and instance.admin_state is not AdminState.UP:
        free = {name: free - promise.memory for name, free in room.memory_free.items()}
        picture.rooms[promise.node] = msgspec.structs.replace(room, memory_free=free)


def _came_since(picture: Picture, instance: Instance) -> None:
    for node in instance.nodes:
        room = picture.rooms.get(node)
        if room is None:
            continue
        free = dict(room.disk_free)
        for disk in instance.disks:
            if disk.template.value in free:
                free[disk.template.value] -= space(disk.template, (disk.size,))
        picture.rooms[node] = msgspec.structs.replace(room, disk_free=free)


def _room(config: Config, node: Node, told: Told) -> Room:
    held = [config.instances[uuid] for uuid in config.primaries.get(node.uuid, ())]
    be = {instance.uuid: guests.beparams(config, instance) for instance in held}
    missing = sum(
        max(0, be[instance.uuid]["maxmem"] - told.guests.get(instance.uuid, 0))
        for instance in held
        if instance.admin_state is AdminState.UP
    )
    return Room(
        node=node,
        told=told,
        memory_free={name: info.memory_free - missing for name, info in told.hypervisors.items()},
        disk_free={name: info.free for name, info in told.storage.items()},
        memory=sum(each["maxmem"] for each in be.values()),
        vcpus=sum(each["vcpus"] for each in be.values()),
        primaries=len(held),
        secondaries=len(config.secondaries.get(node.uuid, ())),
    )


def space(template: DiskTemplate, sizes: Iterable[MiB]) -> MiB:
    """What disks of these sizes take on each of their nodes."""
    if template in SPACELESS:
        return 0
    overhead = MIRROR_OVERHEAD if template is DiskTemplate.DRBD else 0
    return sum(size + overhead for size in sizes)


def instance_space(instance: Instance) -> MiB:
    return sum(space(disk.template, (disk.size,)) for disk in instance.disks)
