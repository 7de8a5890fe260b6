"""OP_NODE_QUERYVOLS and OP_NODE_QUERY_STORAGE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ganeti import errors
from ganeti.calls.base import Call, R
from ganeti.calls.inventory import LogicalVolume, StorageKind, StorageList, StorageUnit, VolumeList
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, shared
from ganeti.model.objects import Cluster, Disk, DiskTemplate, Node
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.node import OpNodeQueryStorage, OpNodeQueryVols

Rows = list[list[Any]]  # Any: JSON values of the wanted fields

#: user of a volume: (node, volume group, volume) → instance
Users = dict[tuple[Uuid, str, str], str]

_VOLUME: dict[str, Callable[[Node, LogicalVolume, Users], str]] = {
    "node": lambda node, volume, users: node.name,
    "phys": lambda node, volume, users: volume.device,
    "vg": lambda node, volume, users: volume.vg,
    "name": lambda node, volume, users: volume.name,
    "size": lambda node, volume, users: str(round(volume.size)),
    "instance": lambda node, volume, users: users.get((node.uuid, volume.vg, volume.name), "-"),
}
_UNIT: dict[str, Callable[[Node, StorageKind, StorageUnit], Any]] = {
    "node": lambda node, kind, unit: node.name,
    "type": lambda node, kind, unit: kind.value,
    "name": lambda node, kind, unit: unit.name,
    "size": lambda node, kind, unit: round(unit.size),
    "used": lambda node, kind, unit: round(unit.used),
    "free": lambda node, kind, unit: round(unit.free),
    "allocatable": lambda node, kind, unit: unit.allocatable,
}
_KINDS = {
    DiskTemplate.FILE: StorageKind.FILE,
    DiskTemplate.SHAREDFILE: StorageKind.SHAREDFILE,
    DiskTemplate.PLAIN: StorageKind.LVM_VG,
    DiskTemplate.DRBD: StorageKind.LVM_VG,
}


def _check_fields(wanted: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise errors.PrereqError(
            "wrong_input", f"there is no field {unknown[0]!r}", hint="there are " + ", ".join(known)
        )


def _nodes(config: Config, names: Sequence[str]) -> list[Node]:
    """In natural order. Raises PrereqError."""
    found = {node.uuid: node for node in map(config.node, names)} if names else config.nodes
    return sorted(found.values(), key=lambda node: nice_key(node.name))


async def _ask(env: Env, nodes: Sequence[Node], call: Call[R]) -> list[tuple[Node, R]]:
    """Answers of those that gave one; the others are warned of, but for offline ones."""
    answers = await env.rpc.many([node.uuid for node in nodes if node.vm_capable and not node.offline], call)
    told = []
    for node in nodes:
        answer = answers.get(node.uuid)
        if isinstance(answer, errors.RpcError):
            env.warn(f"node {node.name} does not tell of its storage: {answer}")
        elif answer is not None:
            told.append((node, answer))
    return told


@implements(OpNodeQueryVols)
class NodeQueryVols(LogicalUnit[OpNodeQueryVols, Rows]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(nodes=shared(*(node.uuid for node in _nodes(config, self.op.nodes))))

    async def check(self, env: Env) -> Rows:
        _check_fields(self.op.output_fields, tuple(_VOLUME))
        told = await _ask(env, _nodes(env.config, self.op.nodes), VolumeList())
        by_place = users(env.config)
        return [
            [_VOLUME[field](node, volume, by_place) for field in self.op.output_fields]
            for node, found in told
            for volume in found
        ]

    def result(self, facts: Rows) -> Rows:
        return facts


def users(config: Config) -> Users:
    """Which instance has which logical volume; of a mirror, the volumes below it on both of its nodes."""
    found: Users = {}
    for instance in config.instances.values():
        for disk in instance.disks:
            for volume in _volumes(disk):
                vg, name = (str(part) for part in volume.logical_id[:2])
                found.update({(node, vg, name): instance.name for node in instance.nodes})
    return found


def _volumes(disk: Disk) -> Iterator[Disk]:
    if disk.template is DiskTemplate.PLAIN:
        yield disk
    for child in disk.children:
        yield from _volumes(child)


@implements(OpNodeQueryStorage)
class NodeQueryStorage(LogicalUnit[OpNodeQueryStorage, Rows]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(nodes=shared(*(node.uuid for node in _nodes(config, self.op.nodes))))

    async def check(self, env: Env) -> Rows:
        _check_fields(self.op.output_fields, tuple(_UNIT))
        cluster = env.config.cluster
        kind = storage_kind(self.op.storage_type, cluster)
        call = StorageList(kind=kind, directories=_directories(kind, cluster), name=self.op.name)
        told = await _ask(env, _nodes(env.config, self.op.nodes), call)
        return [
            [_UNIT[field](node, kind, unit) for field in self.op.output_fields]
            for node, found in told
            for unit in sorted(found, key=lambda unit: nice_key(unit.name))
        ]

    def result(self, facts: Rows) -> Rows:
        return facts


def storage_kind(wanted: str, cluster: Cluster) -> StorageKind:
    """What was asked for, or what the first enabled disk template lies on. Raises PrereqError."""
    known = [kind.value for kind in StorageKind]
    if wanted in known:
        return StorageKind(wanted)
    if wanted:
        raise errors.PrereqError(
            "wrong_input", f"there is no kind of storage called {wanted!r}", hint="there are " + ", ".join(known)
        )
    found = next((_KINDS[template] for template in cluster.enabled_disk_templates if template in _KINDS), None)
    if found is None:
        raise errors.PrereqError(
            "wrong_input", "no enabled disk template lies on storage that can be listed", hint="name a kind of storage"
        )
    return found


def _directories(kind: StorageKind, cluster: Cluster) -> tuple[str, ...]:
    directory = {
        StorageKind.FILE: cluster.file_storage_dir,
        StorageKind.SHAREDFILE: cluster.shared_file_storage_dir,
    }.get(kind, "")
    return (directory,) if directory else ()
