"""OP_INSTANCE_REPLACE_DISKS."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.mirror import MirrorStatus
from ganeti.calls.volume import VolumeInfo
from ganeti.logic import checks, disk_activation, freshness, hooks, mirrors, new_mirror_ends, placement, stale
from ganeti.logic.allocation import Relocate
from ganeti.logic.base import RESOLVERS, Env, HookPlan, LogicalUnit, implements
from ganeti.logic.instance_grow_disk import pick
from ganeti.logic.steps import OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.disks import is_mirror
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import Disk, Instance, Node
from ganeti.model.types import Uuid
from ganeti.ops.disks import OpInstanceReplaceDisks
from ganeti.wire import codec

_LOST = ("Diskless", "Failed", "Detaching")


class Place(enum.Enum):
    PRIMARY = "replace_on_primary"
    SECONDARY = "replace_on_secondary"
    ELSEWHERE = "replace_new_secondary"
    AUTO = "replace_auto"


class ReplaceFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    disks: tuple[Disk, ...]  # those that are replaced; none: there is nothing to do
    node: Node  # where the new volumes are made
    old: Node  # the secondary of now
    present: tuple[Uuid, ...] = ()  # old volumes that are still there

    @property
    def waits_first(self) -> bool:
        """Of disks that are not active: the other halves, which are to be all there is for a while, may lack what was
        written last."""
        return self.node.uuid == self.instance.primary_node and len(self.present) == 2 * len(self.disks)


@implements(OpInstanceReplaceDisks)
class ReplaceDisks(LogicalUnit[OpInstanceReplaceDisks, ReplaceFacts]):
    """The new volumes are filled from the half that stays; until they are in use everything can go back."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        if self._place() is Place.ELSEWHERE and not self.op.remote_node:
            return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(ALL), node_res=shared(ALL))
        more = [config.node(self.op.remote_node).uuid] if self.op.remote_node else []
        nodes = (*instance.nodes, *more)
        return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(*nodes), node_res=exclusive(*nodes))

    def _place(self) -> Place:
        op = self.op
        is_elsewhere = bool(op.remote_node or op.iallocator)
        place = Place(op.mode) if op.mode else Place.ELSEWHERE if is_elsewhere else None
        if place is None or (is_elsewhere and place is not Place.ELSEWHERE):
            raise errors.PrereqError("wrong_input", "say where: exactly one of -p, -s, -a, -n NODE and -I NAME")
        return place

    async def check(self, env: Env) -> ReplaceFacts:
        op, config = self.op, env.config
        place = self._place()
        instance = config.instance(op.instance_name)
        checks.not_blocked(instance)
        if not instance.disks or not all(is_mirror(disk) for disk in instance.disks):
            raise errors.PrereqError(
                "wrong_state",
                f"instance {instance.name} has disk template {instance.disk_template}: only drbd disks are replaced",
            )
        chosen = {pick(instance, each).uuid for each in op.disks}
        disks = tuple(disk for disk in instance.disks if not chosen or disk.uuid in chosen)
        primary, old = (config.nodes[uuid] for uuid in instance.nodes)
        checks.online(primary)
        if op.disks and place in (Place.ELSEWHERE, Place.AUTO):
            raise errors.PrereqError("wrong_input", "with a new secondary, or -a, disks are not chosen one by one")
        if place is Place.ELSEWHERE:
            return await self._elsewhere(env, instance, primary, old)
        checks.online(old, hint="give the instance another secondary: -n NODE")
        if place is Place.AUTO:
            place, disks = await self._broken(env, instance)
        node, other = (primary, old) if place is Place.PRIMARY else (old, primary)
        if not disks:
            return ReplaceFacts(instance=instance, disks=(), node=node, old=old)
        if instance.disks_active:
            await self._check_other(env, instance, disks, other)
        present = await self._present(env, instance, disks, node)
        facts = ReplaceFacts(instance=instance, disks=disks, node=node, old=old, present=present)
        if not instance.disks_active and not facts.waits_first:
            await freshness.check_leads(env, instance, other, node, disks)
        return facts

    async def _elsewhere(self, env: Env, instance: Instance, primary: Node, old: Node) -> ReplaceFacts:
        op, config = self.op, env.config
        if op.remote_node and op.iallocator:
            raise errors.PrereqError("wrong_input", "both a node and an allocator were given", hint="give one of them")
        if op.remote_node:
            node = config.node(op.remote_node)
            if node.uuid in instance.nodes:
                role = "primary" if node.uuid == primary.uuid else "secondary"
                hint = "-s makes new volumes on it" if role == "secondary" else ""
                raise errors.PrereqError(
                    "wrong_input", f"node {node.name} is the {role} node of {instance.name} already", hint=hint
                )
        else:
            allocator = placement.named(config, op.iallocator)
            answer = await env.allocate(Relocate(instance=instance.uuid, memory=0), allocator)
            node = env.config.nodes[answer.nodes[0]]
            env.report(f"chose node {node.name}")
        checks.takes_instances(node)
        if instance.disks_active:
            await mirrors.check_good(env, instance, primary.uuid)
        else:
            await freshness.check_leads(env, instance, primary, old, instance.disks)
        return ReplaceFacts(instance=instance, disks=instance.disks, node=node, old=old)

    async def _states(self, env: Env, instance: Instance, node: Node) -> tuple[MirrorStatus, ...]:
        try:
            return await mirrors.states(env, instance, node.uuid)
        except errors.RpcError as err:
            raise errors.PrereqError("environment_error", f"cannot look at {instance.name}'s disks: {err}") from err

    async def _broken(self, env: Env, instance: Instance) -> tuple[Place, tuple[Disk, ...]]:
        """On which side volumes are lost."""
        if not instance.disks_active:
            raise errors.PrereqError(
                "wrong_state",
                f"the disks of {instance.name} are not active, so it is not seen what is broken",
                hint=f"gnt-instance activate-disks {instance.name}",
            )
        found = await self._states(env, instance, env.config.nodes[instance.primary_node])
        here = [disk for disk, state in zip(instance.disks, found, strict=True) if state.disk in _LOST]
        there = [disk for disk, state in zip(instance.disks, found, strict=True) if state.peer_disk in _LOST]
        if here and there:
            raise errors.PrereqError(
                "wrong_state",
                f"instance {instance.name} has lost volumes on both nodes",
                hint="replace them with -p or -s",
            )
        if not here and not there:
            self._check_seen(instance, found)
        return (Place.PRIMARY, tuple(here)) if here else (Place.SECONDARY, tuple(there))

    @staticmethod
    def _check_seen(instance: Instance, found: Sequence[MirrorStatus]) -> None:
        """A half without a connection tells nothing of the other one's volumes."""
        for index, state in enumerate(found):
            if not state.is_connected:
                raise errors.PrereqError(
                    "wrong_state",
                    f"disk {index} of {instance.name} on the primary node {state.problem}, "
                    "so it is not seen what is broken",
                    hint=f"gnt-instance activate-disks {instance.name}",
                )

    async def _check_other(self, env: Env, instance: Instance, disks: Sequence[Disk], other: Node) -> None:
        """It will have the only good copy for a while.

        What is on the primary node is what counts, connected or not: a secondary may be replaced because the two do
        not go together any more. A secondary has to have heard of every write.
        """
        is_primary = other.uuid == instance.primary_node
        found = await self._states(env, instance, other)
        for disk, state in zip(instance.disks, found, strict=True):
            if disk in disks and not (state.is_local_good and (is_primary or state.is_connected)):
                raise errors.PrereqError(
                    "wrong_state",
                    f"disk {instance.disks.index(disk)} of {instance.name} on node {other.name} {state.problem}: "
                    "the last good copy would be lost",
                )

    async def _present(self, env: Env, instance: Instance, disks: Sequence[Disk], node: Node) -> tuple[Uuid, ...]:
        found = []
        for child in (child for disk in disks for child in disk.children):
            question = VolumeInfo(disk=child, owner=instance.uuid)
            try:
                if (await env.rpc.one(node.uuid, question)).exists:
                    found.append(child.uuid)
            except errors.RpcError as err:
                if err.kind != "failed":
                    raise errors.PrereqError("environment_error", f"cannot look at old volumes: {err}") from err
                env.warn(f"an old volume on {node.name} cannot be used any more: {err}")
        return tuple(found)

    def hooks(self, facts: ReplaceFacts, config: Config) -> HookPlan:
        is_new = facts.node.uuid not in facts.instance.nodes
        extra = {
            "MODE": self._place().value,
            "NEW_SECONDARY": facts.node.name if is_new else "",
            "OLD_SECONDARY": facts.old.name,
        }
        ends = [facts.instance.primary_node, *([facts.node.uuid] if is_new else [])]
        nodes = tuple(dict.fromkeys((config.cluster.master_node, *ends)))
        environment = hooks.instance_environment(config, facts.instance) | extra
        return HookPlan(environment=environment, pre=nodes, post=nodes, instance=facts.instance.uuid)

    def plan(self, facts: ReplaceFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        if not facts.disks:
            return ()
        steps: list[Step] = []
        is_opened = not instance.disks_active
        if is_opened:
            steps += disk_activation.opened(config, env, instance, instance.disks)
            if facts.waits_first:
                steps += mirrors.wait(config, instance, disks=facts.disks)
        is_new = facts.node.uuid not in instance.nodes
        made = new_mirror_ends.elsewhere if is_new else new_mirror_ends.in_place
        change = made(env, instance, facts.disks, facts.node, facts.old, facts.present)
        steps += change.steps
        waiting = mirrors.wait(config, change.after, disks=change.disks)
        steps += (*change.removals, *waiting) if self.op.early_release else (*waiting, *change.removals)
        if is_opened:
            after = change.after
            steps += disk_activation.closed(config, env, after, after.disks, after.nodes, on_failure=OnFailure.WARN)
        return steps

    async def execute(self, facts: ReplaceFacts, env: Env) -> None:
        if not facts.disks:
            env.report(f"no disk of {facts.instance.name} is broken: there is nothing to replace")
        if facts.node.uuid not in facts.instance.nodes:
            await stale.check_settled(env, facts.instance, facts.node.uuid)
        await super().execute(facts, env)


async def resolve_replace(arguments: dict[str, Any], env: Env) -> Iterable[str]:
    """The new volumes are in use: go on; the old ones go as soon as the primary node has all of the data."""
    instance = env.config.instances.get(Uuid(str(arguments["instance"])))
    if instance is None:
        return ["the instance is gone"]
    node = Uuid(str(arguments["node"]))
    old = codec.convert(arguments["old"], tuple[Disk, ...])
    lines = []
    for step in mirrors.assemble(env.config, env, instance, instance.nodes):
        for effect in getattr(step, "effects", ()):
            try:
                await env.rpc.one(effect.node, effect.call)
            except errors.RpcError as err:
                lines.append(f"could not {effect.title}: {err}")
    if not lines:
        lines.append(f"the disks of {instance.name} were replaced")
    if old:
        # they may be the only good ones that can be reached
        await env.commit(debts=[new_mirror_ends.kept(env, instance, node, disk) for disk in old])
        lines += await stale.settled(env, instance, node)
    return lines


RESOLVERS[new_mirror_ends.PROCEDURE] = resolve_replace
