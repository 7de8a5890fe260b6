"""OP_CLUSTER_REPAIR_DISK_SIZES."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti.logic import disk_looks
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import Disk, Instance, Put
from ganeti.model.types import MiB, nice_key
from ganeti.ops.upkeep import OpClusterRepairDiskSizes


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    sizes: dict[int, MiB]  # what disks really have, by index; only those that are wrong


@implements(OpClusterRepairDiskSizes)
class ClusterRepairDiskSizes(LogicalUnit[OpClusterRepairDiskSizes, tuple[Repair, ...]]):
    """What the primary node says counts; disks that nobody can tell about stay as they are."""

    def _chosen(self, config: Config) -> list[Instance]:
        names = self.op.instances
        chosen = [config.instance(name) for name in names] if names else list(config.instances.values())
        unique = {instance.uuid: instance for instance in chosen}
        return sorted(unique.values(), key=lambda instance: nice_key(instance.name))

    def locks(self, config: Config) -> LockPlan:
        chosen = self._chosen(config)
        nodes = sorted({instance.primary_node for instance in chosen})
        uuids = sorted(instance.uuid for instance in chosen)
        return LockPlan.of(instances=exclusive(*uuids), nodes=shared(*nodes), node_res=shared(*nodes))

    async def check(self, env: Env) -> tuple[Repair, ...]:
        chosen = [instance for instance in self._chosen(env.config) if instance.disks]
        looks, silent = await disk_looks.look(env, chosen)
        for node, err in silent.items():
            env.warn(f"sizes of disks on {env.config.nodes[node].name} are not known: {err.message}")
        repairs = []
        for instance in chosen:
            wrong: dict[int, MiB] = {}
            for index, disk in enumerate(instance.disks):
                found = looks.get((instance.uuid, instance.primary_node, index))
                if found is None:
                    continue
                if found.problem or not found.volume.exists:
                    env.warn(f"disk {index} of {instance.name} cannot be measured: {found.problem or 'it is missing'}")
                elif found.volume.size != disk.size:
                    wrong[index] = found.volume.size
            if wrong:
                repairs.append(Repair(instance=instance, sizes=wrong))
        return tuple(repairs)

    def plan(self, facts: tuple[Repair, ...], env: Env) -> Sequence[Step]:
        return [
            Commit(
                title=f"record the sizes of the disks of {repair.instance.name}",
                changes=(Put(_repaired(repair)),),
                is_final=repair is facts[-1],
            )
            for repair in facts
        ]

    async def execute(self, facts: tuple[Repair, ...], env: Env) -> list[tuple[str, int, str, int]]:
        for repair in facts:
            for index, size in repair.sizes.items():
                old = repair.instance.disks[index].size
                env.report(f"disk {index} of {repair.instance.name} has {size} MiB, not {old}")
        await env.run(self.plan(facts, env), result=self.result(facts))
        return self.result(facts)

    def result(self, facts: tuple[Repair, ...]) -> list[tuple[str, int, str, int]]:
        return [(repair.instance.name, index, "size", size) for repair in facts for index, size in repair.sizes.items()]


def _repaired(repair: Repair) -> Instance:
    disks = tuple(
        _resized(disk, repair.sizes[index]) if index in repair.sizes else disk
        for index, disk in enumerate(repair.instance.disks)
    )
    return msgspec.structs.replace(repair.instance, disks=disks)


def _resized(disk: Disk, size: MiB) -> Disk:
    """The volume below a mirror's data is never smaller than the mirror."""
    children = disk.children
    if children and children[0].size < size:
        children = (_resized(children[0], size), *children[1:])
    return msgspec.structs.replace(disk, size=size, children=children)
