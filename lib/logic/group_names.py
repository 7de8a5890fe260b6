"""OP_GROUP_RENAME, OP_GROUP_REMOVE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.logic import group_settings
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, new_name
from ganeti.model.objects import Delete, Group, Node, Put
from ganeti.model.types import Uuid
from ganeti.ops.group import OpGroupRemove, OpGroupRename


def nodes_of(config: Config, group: Uuid) -> list[Node]:
    """By name."""
    return sorted((node for node in config.nodes.values() if node.group == group), key=lambda node: node.name)


class RenameFacts(msgspec.Struct, frozen=True, kw_only=True):
    old: Group
    new: Group


@implements(OpGroupRename)
class GroupRename(LogicalUnit[OpGroupRename, RenameFacts]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(groups=exclusive(config.group(self.op.group_name).uuid, new_name(self.op.new_name)))

    async def check(self, env: Env) -> RenameFacts:
        old = env.config.group(self.op.group_name)
        is_same = self.op.new_name.lower() == old.name.lower()  # only the case of letters changes
        name = self.op.new_name if is_same else group_settings.free_name(env.config, self.op.new_name)
        return RenameFacts(old=old, new=msgspec.structs.replace(old, name=name))

    def hooks(self, facts: RenameFacts, config: Config) -> HookPlan:
        members = (node.uuid for node in nodes_of(config, facts.old.uuid))
        nodes = tuple(dict.fromkeys((config.cluster.master_node, *members)))
        environment = {"OP_TARGET": facts.old.name, "OLD_NAME": facts.old.name, "NEW_NAME": facts.new.name}
        return HookPlan(environment=environment, pre=nodes, post=nodes)

    def plan(self, facts: RenameFacts, env: Env) -> Sequence[Step]:
        title = f"rename node group {facts.old.name} to {facts.new.name}"
        return (Commit(title=title, changes=(Put(facts.new),), is_final=True),)

    def result(self, facts: RenameFacts) -> str:
        return facts.new.name


@implements(OpGroupRemove)
class GroupRemove(LogicalUnit[OpGroupRemove, Group]):
    def locks(self, config: Config) -> LockPlan:
        # two removals at once could take the last two
        return LockPlan.of(groups=exclusive(*config.groups))

    async def check(self, env: Env) -> Group:
        config = env.config
        group = config.group(self.op.group_name)
        members = nodes_of(config, group.uuid)
        if members:
            names = ", ".join(node.name for node in members[:5])
            raise errors.PrereqError(
                "wrong_state",
                f"node group {group.name} has {len(members)} nodes: {names}",
                hint="put them into another group with gnt-group assign-nodes first",
            )
        if len(config.groups) == 1:
            raise errors.PrereqError("wrong_input", f"node group {group.name} is the last one")
        return group

    def hooks(self, facts: Group, config: Config) -> HookPlan:
        return group_settings.master_hooks(config, {"OP_TARGET": facts.name, "GROUP_NAME": facts.name})

    def plan(self, facts: Group, env: Env) -> Sequence[Step]:
        title = f"remove node group {facts.name}"
        return (Commit(title=title, changes=(Delete("group", facts.uuid),), is_final=True),)
