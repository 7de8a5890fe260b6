"""OP_CLUSTER_VERIFY_DISKS, OP_GROUP_VERIFY_DISKS."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.power import StorageLost
from ganeti.logic import disk_looks, lost_storage, node_storage
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.locks import ALL, Level, LockPlan, shared
from ganeti.model.objects import Instance
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.power import OpRepairNodeStorage
from ganeti.ops.upkeep import OpClusterVerifyDisks, OpGroupVerifyDisks


@implements(OpClusterVerifyDisks)
class ClusterVerifyDisks(LogicalUnit[OpClusterVerifyDisks, tuple[str, ...]]):
    """The facts are the names of the groups."""

    async def check(self, env: Env) -> tuple[str, ...]:
        config = env.config
        if self.op.group_name:
            return (config.group(self.op.group_name).name,)
        return tuple(sorted((group.name for group in config.groups.values()), key=nice_key))

    async def execute(self, facts: tuple[str, ...], env: Env) -> dict[str, Any]:
        jobs = [[OpGroupVerifyDisks(group_name=name, is_strict=self.op.is_strict)] for name in facts]
        return {"jobs": [list(pair) for pair in await env.submit(jobs)]}


class DiskFacts(msgspec.Struct, frozen=True, kw_only=True):
    instances: tuple[Uuid, ...]


@implements(OpGroupVerifyDisks)
class GroupVerifyDisks(LogicalUnit[OpGroupVerifyDisks, DiskFacts]):
    """A node that does not answer makes nothing missing: what it holds is not known."""

    def locks(self, config: Config) -> LockPlan:
        wanted = _wanted(config, self.op.group_name)
        nodes = sorted({node for instance in wanted for node in instance.nodes})
        instances = sorted(instance.uuid for instance in wanted)
        levels = () if self.op.is_strict else (Level.INSTANCE, Level.NODE, Level.NODE_RES)
        return LockPlan.of(instances=shared(*instances), nodes=shared(*nodes), node_res=shared(*nodes), optional=levels)

    async def check(self, env: Env) -> DiskFacts:
        held = env.held(Level.INSTANCE)
        wanted = _wanted(env.config, self.op.group_name)
        return DiskFacts(instances=tuple(each.uuid for each in wanted if ALL in held or each.uuid in held))

    async def execute(self, facts: DiskFacts, env: Env) -> list[Any]:
        config = env.config
        instances = [config.instances[uuid] for uuid in facts.instances]
        looks, silent = await disk_looks.look(env, instances)
        problems = {config.nodes[node].name: _text(err) for node, err in silent.items() if err.kind != "offline"}
        inactive: list[str] = []
        missing: dict[str, list[list[str]]] = {}
        for instance in instances:
            places = [
                (node, index)
                for index, disk in enumerate(instance.disks)
                for node in disk_looks.nodes_of(instance, disk)
            ]
            for node, index in places:
                found = looks.get((instance.uuid, node, index))
                if found is None:
                    continue
                name = config.nodes[node].name
                if found.problem:
                    env.warn(f"disk {index} of {instance.name} on {name}: {found.problem}")
                elif not found.volume.exists:
                    volume = disk_looks.volume_name(instance.disks[index])
                    missing.setdefault(instance.name, []).append([name, volume])
                elif found.mirror is not None and not found.mirror.is_up and instance.name not in inactive:
                    inactive.append(instance.name)
        await self._repair_itself(env)
        return [problems, inactive, missing]

    async def _repair_itself(self, env: Env) -> None:
        """If the cluster may: one job for the first node that has lost something which is whole elsewhere."""
        config = env.config
        vg = config.cluster.volume_group_name
        if not (config.cluster.lvm_self_repair and vg):
            return
        group = config.group(self.op.group_name).uuid
        nodes = [each for each in config.nodes.values() if each.group == group and each.vm_capable and not each.offline]
        answers = await env.rpc.many([node.uuid for node in nodes], StorageLost(name=vg))
        for node in sorted(nodes, key=lambda each: nice_key(each.name)):
            loss = answers[node.uuid]
            if isinstance(loss, errors.RpcError):
                env.warn(f"node {node.name} does not tell what volume group {vg} has lost: {_text(loss)}")
                continue
            if not loss.missing:
                continue
            what = f"volume group {vg} on {node.name} has lost {loss.missing} physical volumes"
            if config.cluster.lvm_self_repaired:
                env.warn(f"{what}; {node_storage.used_up(config.cluster)}", hint=node_storage.AGAIN)
                return
            found = await lost_storage.judge(env, node, vg, loss)
            if found.objections:
                env.warn(f"{what} and is not repaired without an administrator: {'; '.join(found.objections)}")
                continue
            op = OpRepairNodeStorage(node_name=node.name, storage_type="lvm-vg", name=vg, unattended=True)
            for _, job in await env.submit([[op]]):
                env.warn(f"{what}: job {job} repairs it, without what is lost")
            return


def _wanted(config: Config, group_name: str) -> list[Instance]:
    """Instances of the group whose disks are to be active, by name."""
    group = config.group(group_name).uuid
    found = [
        config.instances[uuid]
        for node in config.nodes.values()
        if node.group == group
        for uuid in config.primaries.get(node.uuid, ())
    ]
    return sorted((each for each in found if each.disks_active and each.disks), key=lambda each: nice_key(each.name))


def _text(err: errors.RpcError) -> str:
    return str(err)[-400:]
