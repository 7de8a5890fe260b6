"""OP_NODE_REMOVE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.node import NodeLeave
from ganeti.logic import candidates, hosts, node_hooks, owing
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import BIG, LockPlan, exclusive
from ganeti.model.objects import Delete, Node
from ganeti.ops.node import OpNodeRemove

_BY_HAND = (
    "its data directory still holds certificates and must be emptied by hand; in root's authorized_keys there, remove "
    "the lines that end with ganeti-cluster-node:NAME"
)


class RemoveFacts(msgspec.Struct, frozen=True, kw_only=True):
    node: Node


@implements(OpNodeRemove)
class NodeRemove(LogicalUnit[OpNodeRemove, RemoveFacts]):
    """First its vote ends, then it leaves the configuration, then it is told to forget the cluster."""

    def locks(self, config: Config) -> LockPlan:
        config.node(self.op.node_name)
        return LockPlan.of(cluster=exclusive(BIG))

    async def check(self, env: Env) -> RemoveFacts:
        config = env.config
        node = config.node(self.op.node_name)
        if node.uuid == config.cluster.master_node:
            raise errors.PrereqError(
                "wrong_state",
                f"node {node.name} is the master",
                hint="run gnt-cluster master-failover on another candidate first",
            )
        for role, index in (("primary", config.primaries), ("secondary", config.secondaries)):
            held = sorted(config.instances[uuid].name for uuid in index.get(node.uuid, ()))
            if held:
                raise errors.PrereqError(
                    "wrong_state",
                    f"node {node.name} is {role} node of {len(held)} instances: " + ", ".join(held[:5]),
                    hint="move or remove them first",
                )
        kept = [each.disk.name or each.uuid for each in config.disks.values() if node.uuid in each.nodes]
        if kept:
            raise errors.PrereqError(
                "wrong_state",
                f"node {node.name} holds {len(kept)} detached disks: " + ", ".join(sorted(kept)[:5]),
                hint="gnt-instance modify --disk attach:... or remove-detached-disk",
            )
        debts = [owing.told(config, undo) for undo in env.debts if undo.node == node.uuid]
        if debts:
            env.warn(f"node {node.name} was still to undo: " + "; ".join(debts))
        return RemoveFacts(node=node)

    def hooks(self, facts: RemoveFacts, config: Config) -> HookPlan:
        others = [each.uuid for each in config.online_nodes if each.uuid != facts.node.uuid]
        node = facts.node
        return node_hooks.plan(node, {"NODE_NAME": node.name}, pre=others, post=others, leaving=(node.uuid,))

    def plan(self, facts: RemoveFacts, env: Env) -> Sequence[Step]:
        return (Commit(title=f"remove node {facts.node.name}", changes=(Delete("node", facts.node.uuid),)),)

    async def execute(self, facts: RemoveFacts, env: Env) -> None:
        node = facts.node
        if node.master_candidate:
            await candidates.demote(env, node)
        await super().execute(facts, env)
        if not node.offline:
            try:
                await env.rpc.at(node, NodeLeave(request=env.new_request()))
            except errors.RpcError as err:
                env.warn(
                    f"node {node.name} was removed but did not clean up after itself: {err}",
                    hint=_BY_HAND,
                )
        else:
            env.warn(
                f"node {node.name} is offline and was not told that it is removed",
                hint=_BY_HAND,
            )
        await hosts.share(env)
        await candidates.fill_pool(env)
        # whoever left or came, its certificate is trusted no more or from now on
        await env.membership.publish_trust()
