"""OP_TEST_DELAY."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.node import TestDelay as DelayCall
from ganeti.logic import checks
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Effect, Parallel, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, shared
from ganeti.model.types import Uuid
from ganeti.ops.test import OpTestDelay


class DelayFacts(msgspec.Struct, frozen=True, kw_only=True):
    nodes: tuple[Uuid, ...]


@implements(OpTestDelay)
class Delay(LogicalUnit[OpTestDelay, DelayFacts]):
    """First on the master, then on the nodes; the whole again as often as `repeat` says."""

    def locks(self, config: Config) -> LockPlan:
        if self.op.no_locks:
            return LockPlan.of()
        nodes = [config.node(name).uuid for name in self.op.on_nodes]
        if self.op.on_master:
            nodes.append(config.cluster.master_node)
        return LockPlan.of(nodes=shared(*dict.fromkeys(nodes)))

    async def check(self, env: Env) -> DelayFacts:
        if not (self.op.on_master or self.op.on_nodes):
            raise errors.PrereqError(
                "wrong_input", "there is nowhere to wait", hint="name nodes, or leave the master in"
            )
        nodes = [env.config.node(name) for name in self.op.on_nodes]
        for node in nodes:
            checks.online(node)
        return DelayFacts(nodes=tuple(dict.fromkeys(node.uuid for node in nodes)))

    def plan(self, facts: DelayFacts, env: Env) -> Sequence[Step]:
        """One round on the nodes."""
        if not facts.nodes:
            return ()
        seconds = self.op.duration
        effects = tuple(
            Effect(
                title=f"wait {seconds:g} s on {env.config.nodes[node].name}",
                node=node,
                call=DelayCall(duration=seconds, request=env.new_request()),
            )
            for node in facts.nodes
        )
        return (Parallel(effects=effects),)

    async def execute(self, facts: DelayFacts, env: Env) -> None:
        rounds = self.op.repeat + 1
        for number in range(rounds):
            if rounds > 1:
                env.report(f"round {number + 1} of {rounds}")
            # also when it is no time at all: between two rounds the others have their turn, and a kill is seen
            if self.op.on_master and (self.op.duration > 0 or rounds > 1):
                await env.sleep(self.op.duration)
            await env.run(self.plan(facts, env))
