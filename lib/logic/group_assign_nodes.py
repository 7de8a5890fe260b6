"""OP_GROUP_ASSIGN_NODES."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from ganeti import errors
from ganeti.logic import policies
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import Group, Instance, Node, Put
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.group import OpGroupAssignNodes


class AssignFacts(msgspec.Struct, frozen=True, kw_only=True):
    group: Group
    nodes: tuple[Node, ...]  # as they shall be, those only that change


@implements(OpGroupAssignNodes)
class GroupAssignNodes(LogicalUnit[OpGroupAssignNodes, AssignFacts]):
    def locks(self, config: Config) -> LockPlan:
        nodes = [config.node(name) for name in self.op.nodes]
        groups = dict.fromkeys([config.group(self.op.group_name).uuid, *(node.group for node in nodes)])
        return LockPlan.of(
            instances=shared(ALL),
            groups=exclusive(*groups),
            nodes=exclusive(*dict.fromkeys(node.uuid for node in nodes)),
        )

    async def check(self, env: Env) -> AssignFacts:
        config = env.config
        group = config.group(self.op.group_name)
        if not self.op.nodes:
            raise errors.PrereqError("wrong_input", "no nodes were given")
        named = {config.node(name).uuid for name in self.op.nodes}
        moved = tuple(
            msgspec.structs.replace(config.nodes[uuid], group=group.uuid)
            for uuid in sorted(named)
            if config.nodes[uuid].group != group.uuid
        )
        after = config.apply([Put(node) for node in moved])
        self._check_split(env, config, after, moved)
        self._check_networks(env, after, group, moved)
        touched = [after.instances[uuid] for node in moved for uuid in after.primaries.get(node.uuid, ())]
        policies.warn_of(env, await policies.new_violations(config, after, touched))
        return AssignFacts(group=group, nodes=moved)

    def _check_split(self, env: Env, before: Config, after: Config, moved: Collection[Node]) -> None:
        """Mirrors whose nodes would be in different groups: allocation could not handle them."""
        fresh: list[str] = []
        old: list[str] = []
        held = {
            uuid
            for node in moved
            for index in (after.primaries, after.secondaries)
            for uuid in index.get(node.uuid, ())
        }
        for instance in (after.instances[uuid] for uuid in held):
            if _is_split(after, instance):
                (old if _is_split(before, instance) else fresh).append(instance.name)
        if old:
            env.warn(f"these instances are split over node groups already: {_listed(old)}")
        if not fresh:
            return
        text = f"these instances would be split over node groups: {_listed(fresh)}"
        if not self.op.force:
            raise errors.PrereqError(
                "wrong_state", text, hint="move both of their nodes at once, or add --force to do it all the same"
            )
        env.warn(text)

    def _check_networks(self, env: Env, after: Config, group: Group, moved: Collection[Node]) -> None:
        """NICs get mode and link of their network from the group."""
        missing = {
            f"{instance.name} ({after.networks[nic.network].name})"
            for node in moved
            for instance in (after.instances[uuid] for uuid in after.primaries.get(node.uuid, ()))
            for nic in instance.nics
            if nic.network is not None and nic.network in after.networks and nic.network not in group.networks
        }
        if not missing:
            return
        text = f"networks of these instances are not connected to node group {group.name}: {_listed(missing)}"
        if not self.op.force:
            raise errors.PrereqError(
                "wrong_state", text, hint="gnt-network connect does that; --force moves the nodes all the same"
            )
        env.warn(text)

    def plan(self, facts: AssignFacts, env: Env) -> Sequence[Step]:
        if not facts.nodes:
            return ()
        title = f"put {', '.join(node.name for node in facts.nodes)} into node group {facts.group.name}"
        return (Commit(title=title, changes=tuple(Put(node) for node in facts.nodes), is_final=True),)


def _is_split(config: Config, instance: Instance) -> bool:
    groups: set[Uuid] = {config.nodes[node].group for node in instance.nodes if node in config.nodes}
    return len(groups) > 1


def _listed(names: Collection[str]) -> str:
    shown = sorted(names, key=nice_key)
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
