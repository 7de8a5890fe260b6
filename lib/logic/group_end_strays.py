"""OP_GROUP_END_STRAYS."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.instance import Guest, InstanceList, InstanceStop
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Effect, OnFailure, Parallel, Step
from ganeti.model.types import Uuid
from ganeti.ops.upkeep import OpGroupEndStrays

#: seconds a guest has to shut down by itself
_PATIENCE_S = 60


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    node: Uuid
    node_name: str
    guest: Guest


@implements(OpGroupEndStrays)
class GroupEndStrays(LogicalUnit[OpGroupEndStrays, tuple[Stray, ...]]):
    """It needs no locks, so it holds up nobody: an instance is in the configuration before its guest starts, and until
    its guest has ended. The configuration is read after the guests were listed, and uuids are never used again.

    A guest of an instance that belongs on another node is none of these: which one is the right one is not known here.
    """

    async def check(self, env: Env) -> tuple[Stray, ...]:
        group = env.config.group(self.op.group_name).uuid
        nodes = [node.uuid for node in env.config.online_nodes if node.group == group and node.vm_capable]
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

    def plan(self, facts: tuple[Stray, ...], env: Env) -> Sequence[Step]:
        effects = tuple(
            Effect(
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
            for stray in facts
        )
        return (Parallel(effects=effects),) if effects else ()

    def result(self, facts: tuple[Stray, ...]) -> list[list[str]]:
        return [[stray.node_name, stray.guest.name] for stray in facts]
