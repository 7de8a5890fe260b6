"""OP_NETWORK_RENAME, OP_NETWORK_REMOVE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.logic import network_settings
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.group_settings import master_hooks
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, new_name, shared
from ganeti.model.objects import Delete, Network, Put
from ganeti.ops.network import OpNetworkRemove, OpNetworkRename


class RenameFacts(msgspec.Struct, frozen=True, kw_only=True):
    old: Network
    new: Network


@implements(OpNetworkRename)
class NetworkRename(LogicalUnit[OpNetworkRename, RenameFacts]):
    def locks(self, config: Config) -> LockPlan:
        network = config.network(self.op.network_name).uuid
        return LockPlan.of(networks=exclusive(network, new_name(self.op.new_name)))

    async def check(self, env: Env) -> RenameFacts:
        old = env.config.network(self.op.network_name)
        is_same = self.op.new_name.lower() == old.name.lower()  # only the case of letters changes
        name = self.op.new_name if is_same else network_settings.free_name(env.config, self.op.new_name)
        return RenameFacts(old=old, new=msgspec.structs.replace(old, name=name))

    def hooks(self, facts: RenameFacts, config: Config) -> HookPlan:
        groups = {group.uuid for group in config.groups.values() if facts.old.uuid in group.networks}
        members = sorted(node.uuid for node in config.nodes.values() if node.group in groups)
        nodes = tuple(dict.fromkeys((config.cluster.master_node, *members)))
        environment = {"OP_TARGET": facts.old.name, "OLD_NAME": facts.old.name, "NEW_NAME": facts.new.name}
        return HookPlan(environment=environment, pre=nodes, post=nodes)

    def plan(self, facts: RenameFacts, env: Env) -> Sequence[Step]:
        title = f"rename network {facts.old.name} to {facts.new.name}"
        return (Commit(title=title, changes=(Put(facts.new),), is_final=True),)

    def result(self, facts: RenameFacts) -> str:
        return facts.new.name


@implements(OpNetworkRemove)
class NetworkRemove(LogicalUnit[OpNetworkRemove, Network]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(groups=shared(ALL), networks=exclusive(config.network(self.op.network_name).uuid))

    async def check(self, env: Env) -> Network:
        network = env.config.network(self.op.network_name)
        groups = sorted(group.name for group in env.config.groups.values() if network.uuid in group.networks)
        if groups:
            raise errors.PrereqError(
                "wrong_state",
                f"network {network.name} is connected to node group {', '.join(groups)}",
                hint="end that with gnt-network disconnect first",
            )
        return network

    def hooks(self, facts: Network, config: Config) -> HookPlan:
        environment = {"OP_TARGET": facts.name, "NETWORK_NAME": facts.name}
        return master_hooks(config, environment)

    def plan(self, facts: Network, env: Env) -> Sequence[Step]:
        title = f"remove network {facts.name}"
        return (Commit(title=title, changes=(Delete("network", facts.uuid),), is_final=True),)
