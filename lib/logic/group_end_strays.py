"""OP_GROUP_END_STRAYS."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.instance import Guest, InstanceList, InstanceStop
from ganeti.calls.mirror import MirrorEnd, MirrorMinors
from ganeti.logic import owing, verify_host
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Effect, OnFailure, Parallel, Release, Step
from ganeti.model.config import Config
from ganeti.model.disks import used_minors
from ganeti.model.locks import ALL, Level, LockPlan, exclusive
from ganeti.model.objects import Node
from ganeti.model.types import Uuid
from ganeti.ops.upkeep import OpGroupEndStrays

#: seconds a guest has to shut down by itself
_PATIENCE_S = 60


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    node: Uuid
    node_name: str
    guest: Guest


class StrayMinor(msgspec.Struct, frozen=True, kw_only=True):
    node: Uuid
    node_name: str
    minor: int


class StrayFacts(msgspec.Struct, frozen=True, kw_only=True):
    guests: tuple[Stray, ...]
    minors: tuple[StrayMinor, ...]


@implements(OpGroupEndStrays)
class GroupEndStrays(LogicalUnit[OpGroupEndStrays, StrayFacts]):
    """For guests it needs no locks: an instance is in the configuration before its guest starts, and until its guest
    has ended. The configuration is read after the guests were listed, and uuids are never used again.

    Minors are there before their disk is in the configuration. Nobody makes one on a node whose resources are locked:
    where they are not free now, or the node has still to undo something, its minors are left for another time. Old
    halves that are kept until an instance's disks are complete keep their own minors only: that may take long.

    A guest of an instance that belongs on another node is none of these: which one is the right one is not known here.
    """

    def locks(self, config: Config) -> LockPlan:
        if not verify_host.uses_mirrors(config):
            return LockPlan.of()
        nodes = sorted(node.uuid for node in self._nodes(config))
        return LockPlan.of(node_res=exclusive(*nodes), optional=(Level.NODE_RES,))

    def _nodes(self, config: Config) -> list[Node]:
        group = config.group(self.op.group_name).uuid
        return [node for node in config.online_nodes if node.group == group and node.vm_capable]

    async def check(self, env: Env) -> StrayFacts:
        return StrayFacts(guests=await self._guests(env), minors=await self._minors(env))

    async def _guests(self, env: Env) -> tuple[Stray, ...]:
        nodes = [node.uuid for node in self._nodes(env.config)]
        answers = await env.rpc.many(nodes, InstanceList(hypervisors=env.config.cluster.enabled_hypervisors))
        known = env.config
        found = []
        for node, answer in answers.items():
            name = known.nodes[node].name
            if isinstance(answer, errors.RpcError):
                env.warn(f"the guests of {name} are not known: {answer}")
                continue
            found += [
                Stray(node=node, node_name=name, guest=guest)
                for guest in answer.guests
                if guest.uuid not in known.instances
            ]
        return tuple(sorted(found, key=lambda stray: (stray.node_name, stray.guest.name)))

    async def _minors(self, env: Env) -> tuple[StrayMinor, ...]:
        config = env.config
        if not verify_host.uses_mirrors(config):
            return ()
        held = env.held(Level.NODE_RES)
        kept = [undo for undo in env.debts if undo.until_good in config.instances]
        indebted = {undo.node for undo in env.debts if undo not in kept}
        nodes = [
            node.uuid
            for node in self._nodes(config)
            if (ALL in held or node.uuid in held) and node.uuid not in indebted
        ]
        answers = await env.rpc.many(nodes, MirrorMinors())
        found = []
        for node, answer in answers.items():
            name = config.nodes[node].name
            if isinstance(answer, errors.RpcError):
                env.warn(f"the minors of {name} are not known: {answer}")
                continue
            strays = sorted(set(answer) - used_minors(config, node, owing.removed(kept)))
            found += [StrayMinor(node=node, node_name=name, minor=minor) for minor in strays]
        return tuple(sorted(found, key=lambda stray: (stray.node_name, stray.minor)))

    def plan(self, facts: StrayFacts, env: Env) -> Sequence[Step]:
        steps: list[Step] = []
        if facts.minors:
            steps.append(Parallel(effects=tuple(self._end_minor(stray, env) for stray in facts.minors)))
        if facts.guests:
            # guests may take their time
            steps.append(Release(title="let others use the nodes' resources", levels=(Level.NODE_RES,)))
            steps.append(Parallel(effects=tuple(self._end_guest(stray, env) for stray in facts.guests)))
        return steps

    @staticmethod
    def _end_minor(stray: StrayMinor, env: Env) -> Effect:
        return Effect(
            title=f"take minor {stray.minor} on {stray.node_name} down",
            node=stray.node,
            call=MirrorEnd(minor=stray.minor, request=env.new_request()),
            on_failure=OnFailure.WARN,
            hint=f"it is on {stray.node_name} and belongs to no instance; whoever uses it has to end that first",
        )

    @staticmethod
    def _end_guest(stray: Stray, env: Env) -> Effect:
        return Effect(
            title=f"end the guest {stray.guest.name} on {stray.node_name}",
            node=stray.node,
            call=InstanceStop(
                name=stray.guest.name,
                uuid=Uuid(stray.guest.uuid),
                hypervisor=stray.guest.hypervisor,
                timeout=_PATIENCE_S,
                request=env.new_request(),
            ),
            on_failure=OnFailure.WARN,
        )

    def result(self, facts: StrayFacts) -> list[list[list[str | int]]]:
        guests: list[list[str | int]] = [[stray.node_name, stray.guest.name] for stray in facts.guests]
        return [guests, [[stray.node_name, stray.minor] for stray in facts.minors]]
