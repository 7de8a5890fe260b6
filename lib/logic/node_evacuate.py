"""OP_NODE_EVACUATE, OP_NODE_MIGRATE."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.logic import checks, placement, relocating
from ganeti.logic.allocation import Evacuate, NodeEvacuate
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.relocating import Jobs
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, shared
from ganeti.model.objects import Instance, Node
from ganeti.model.types import Uuid
from ganeti.ops import base as ops
from ganeti.ops.base import OpCode
from ganeti.ops.instance import OpInstanceMigrate
from ganeti.ops.moves import OpNodeEvacuate, OpNodeMigrate


class EvacuateFacts(msgspec.Struct, frozen=True, kw_only=True):
    node: Node
    jobs: Jobs


def _by_name(config: Config, uuids: frozenset[Uuid]) -> list[Instance]:
    return sorted((config.instances[uuid] for uuid in uuids), key=lambda instance: instance.name)


@implements(OpNodeEvacuate)
class NodeEvacuation(LogicalUnit[OpNodeEvacuate, EvacuateFacts]):
    """Plans under shared locks; each of the jobs checks again when it runs."""

    def locks(self, config: Config) -> LockPlan:
        node = config.node(self.op.node_name)
        affected = shared(*sorted(self._affected(config, node)))
        if self.op.remote_node:
            nodes = shared(*dict.fromkeys((node.uuid, config.node(self.op.remote_node).uuid)))
            return LockPlan.of(instances=affected, nodes=nodes)
        members = shared(*sorted(each.uuid for each in config.nodes.values() if each.group == node.group))
        return LockPlan.of(instances=affected, groups=shared(node.group), nodes=members)

    def _affected(self, config: Config, node: Node) -> frozenset[Uuid]:
        nobody: frozenset[Uuid] = frozenset()
        primary = config.primaries.get(node.uuid, nobody) if self.op.mode != "secondary-only" else nobody
        secondary = config.secondaries.get(node.uuid, nobody) if self.op.mode != "primary-only" else nobody
        return primary | secondary

    async def check(self, env: Env) -> EvacuateFacts:
        op, config = self.op, env.config
        node = config.node(op.node_name)
        instances = _by_name(config, self._affected(config, node))
        if op.remote_node:
            return EvacuateFacts(node=node, jobs=self._to_remote(config, node, instances))
        if not instances:
            return EvacuateFacts(node=node, jobs=())
        request = NodeEvacuate(
            instances=tuple(instance.uuid for instance in instances),
            mode=Evacuate(op.mode),
            node=node.uuid,
            ignore_soft_errors=bool(op.ignore_soft_errors),
        )
        plan = await env.allocate(request, placement.named(config, op.iallocator))
        jobs = relocating.checked(plan, f"node {node.name} cannot be evacuated")
        return EvacuateFacts(node=node, jobs=relocating.released_early(jobs) if op.early_release else jobs)

    def _to_remote(self, config: Config, node: Node, instances: list[Instance]) -> Jobs:
        op = self.op
        if op.iallocator:
            raise errors.PrereqError(
                "wrong_input", "both a new secondary node and an allocator were given", hint="give one of them"
            )
        if op.mode != "secondary-only":
            raise errors.PrereqError(
                "wrong_input",
                "a new secondary node was given, but not only secondary instances are to be moved",
                hint="leave the node out, or evacuate with mode secondary-only",
            )
        remote = config.node(op.remote_node)
        if remote.uuid == node.uuid:
            raise errors.PrereqError("wrong_input", f"{node.name} is both the node to leave and the new secondary node")
        checks.takes_instances(remote)
        clash = [instance.name for instance in instances if instance.primary_node == remote.uuid]
        if clash:
            raise errors.PrereqError(
                "wrong_state",
                f"node {remote.name} is the primary node of {', '.join(clash)}",
                hint="choose another node, or let an allocator choose",
            )
        return tuple((self._replacement(instance, remote),) for instance in instances)

    def _replacement(self, instance: Instance, remote: Node) -> OpCode:
        return ops.decode(
            {
                "OP_ID": "OP_INSTANCE_REPLACE_DISKS",
                "instance_name": instance.name,
                "mode": "replace_new_secondary",
                "disks": [],
                "remote_node": remote.name,
                "early_release": self.op.early_release,
            }
        )

    async def execute(self, facts: EvacuateFacts, env: Env) -> dict[str, Any]:
        return await relocating.submit(env, facts.jobs)


@implements(OpNodeMigrate)
class NodeMigrate(LogicalUnit[OpNodeMigrate, EvacuateFacts]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(nodes=shared(config.node(self.op.node_name).uuid))

    async def check(self, env: Env) -> EvacuateFacts:
        op, config = self.op, env.config
        node = config.node(op.node_name)
        if op.live is not None and op.mode is not None:
            raise errors.PrereqError("wrong_input", "both live and a migration mode were given")
        if op.target_node and op.iallocator:
            raise errors.PrereqError("wrong_input", "both a target node and an allocator were given")
        checks.online(node, hint=f"gnt-node failover {node.name} moves what was on a dead node")
        if op.target_node:
            target = config.node(op.target_node)
            if target.uuid == node.uuid:
                raise errors.PrereqError("wrong_input", f"{node.name} is both the node to leave and the target")
            checks.takes_instances(target)
        instances = _by_name(config, config.primaries.get(node.uuid, frozenset()))
        return EvacuateFacts(node=node, jobs=tuple((self._migration(instance),) for instance in instances))

    def _migration(self, instance: Instance) -> OpCode:
        op = self.op
        is_mirrored = bool(instance.secondary_nodes)
        return OpInstanceMigrate(
            instance_name=instance.name,
            live=op.live,
            mode=op.mode,
            # a mirrored one changes places with its secondary
            target_node="" if is_mirrored else op.target_node,
            iallocator="" if is_mirrored else op.iallocator,
            ignore_ipolicy=op.ignore_ipolicy,
            allow_runtime_changes=op.allow_runtime_changes,
            allow_failover=True,
        )

    def hooks(self, facts: EvacuateFacts, config: Config) -> HookPlan:
        name = facts.node.name
        environment = {
            "OP_TARGET": name,
            "NODE_NAME": name,
            "ALLOW_RUNTIME_CHANGES": str(self.op.allow_runtime_changes),
        }
        master = (config.cluster.master_node,)
        return HookPlan(environment=environment, pre=master, post=master)

    async def execute(self, facts: EvacuateFacts, env: Env) -> dict[str, Any]:
        return await relocating.submit(env, facts.jobs)
