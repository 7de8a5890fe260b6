"""OP_INSTANCE_CHANGE_GROUP, OP_GROUP_EVACUATE."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti.logic import checks, group_names, hooks, placement, relocating
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.group_settings import master_hooks
from ganeti.logic.relocating import Jobs
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, shared
from ganeti.model.objects import Group, Instance
from ganeti.model.types import Uuid
from ganeti.ops.moves import OpGroupEvacuate, OpInstanceChangeGroup


class ChangeFacts(msgspec.Struct, frozen=True, kw_only=True):
    targets: tuple[Uuid, ...]
    jobs: Jobs
    instance: Instance | None = None
    group: Group | None = None


def _names(config: Config, groups: tuple[Uuid, ...]) -> str:
    return " ".join(sorted(config.groups[uuid].name for uuid in groups))


@implements(OpInstanceChangeGroup)
class InstanceChangeGroup(LogicalUnit[OpInstanceChangeGroup, ChangeFacts]):
    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name).uuid
        return LockPlan.of(instances=shared(instance), groups=shared(ALL), nodes=shared(ALL))

    async def check(self, env: Env) -> ChangeFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        checks.not_blocked(instance)
        here = config.nodes[instance.primary_node].group
        targets = relocating.target_groups(config, op.target_groups, here, [instance])
        allocator = placement.named(config, op.iallocator)
        what = f"instance {instance.name} cannot change its node group"
        jobs = await relocating.change_group(env, [instance], targets, iallocator=allocator, what=what)
        jobs = relocating.released_early(jobs) if op.early_release else jobs
        return ChangeFacts(instance=instance, targets=targets, jobs=jobs)

    def hooks(self, facts: ChangeFacts, config: Config) -> HookPlan:
        assert facts.instance is not None, facts
        environment = hooks.instance_environment(config, facts.instance)
        return master_hooks(config, environment | {"TARGET_GROUPS": _names(config, facts.targets)})

    async def execute(self, facts: ChangeFacts, env: Env) -> dict[str, Any]:
        return await relocating.submit(env, facts.jobs)


@implements(OpGroupEvacuate)
class GroupEvacuate(LogicalUnit[OpGroupEvacuate, ChangeFacts]):
    def locks(self, config: Config) -> LockPlan:
        instances = sorted(instance.uuid for instance in _inside(config, config.group(self.op.group_name).uuid))
        return LockPlan.of(instances=shared(*instances), groups=shared(ALL), nodes=shared(ALL))

    async def check(self, env: Env) -> ChangeFacts:
        op, config = self.op, env.config
        group = config.group(op.group_name)
        instances = _inside(config, group.uuid)
        if not instances:
            return ChangeFacts(group=group, targets=(), jobs=())
        targets = relocating.target_groups(config, op.target_groups, group.uuid, instances)
        allocator = placement.named(config, op.iallocator)
        what = f"node group {group.name} cannot be evacuated"
        jobs = await relocating.change_group(env, instances, targets, iallocator=allocator, what=what)
        jobs = relocating.released_early(jobs) if op.early_release else jobs
        jobs = relocating.as_failovers(jobs) if op.force_failover else jobs
        return ChangeFacts(group=group, targets=targets, jobs=relocating.chained(jobs) if op.sequential else jobs)

    def hooks(self, facts: ChangeFacts, config: Config) -> HookPlan:
        group = facts.group
        assert group is not None, facts
        members = (node.uuid for node in group_names.nodes_of(config, group.uuid))
        nodes = tuple(dict.fromkeys((config.cluster.master_node, *members)))
        environment = {
            "OP_TARGET": group.name,
            "GROUP_NAME": group.name,
            "TARGET_GROUPS": _names(config, facts.targets),
        }
        return HookPlan(environment=environment, pre=nodes, post=nodes)

    async def execute(self, facts: ChangeFacts, env: Env) -> dict[str, Any]:
        return await relocating.submit(env, facts.jobs)


def _inside(config: Config, group: Uuid) -> list[Instance]:
    """Instances that have a node in the group, by name."""
    nodes = [node.uuid for node in config.nodes.values() if node.group == group]
    found = {uuid for node in nodes for index in (config.primaries, config.secondaries) for uuid in index.get(node, ())}
    return sorted((config.instances[uuid] for uuid in found), key=lambda instance: instance.name)
