"""OP_INSTANCE_SHUTDOWN."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.logic import checks, hooks, starting, stopping
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, OnFailure, Record, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Instance, Put
from ganeti.ops.instance import OpInstanceShutdown


class StopFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    is_reachable: bool  # false: only the wish is recorded


@implements(OpInstanceShutdown)
class InstanceShutdown(LogicalUnit[OpInstanceShutdown, StopFacts]):
    """Marked down first, so that nobody starts it again meanwhile; a guest that does not stop is warned of."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(
            instances=exclusive(instance.uuid), nodes=shared(*instance.nodes), node_res=shared(instance.primary_node)
        )

    async def check(self, env: Env) -> StopFacts:
        op = self.op
        instance = env.config.instance(op.instance_name)
        checks.not_blocked(instance)
        if instance.admin_state is AdminState.OFFLINE and not op.force:
            raise errors.PrereqError(
                "wrong_state", f"instance {instance.name} is marked offline", hint="add --force to stop it all the same"
            )
        node = env.config.nodes[instance.primary_node]
        if node.offline and op.ignore_offline_nodes:
            if op.no_remember:
                raise errors.PrereqError(
                    "wrong_input", f"node {node.name} is offline and nothing shall be recorded: nothing to do"
                )
            return StopFacts(instance=instance, is_reachable=False)
        checks.online(node, hint="with --ignore-offline only the wanted state is recorded")
        if op.admin_state_source == "user" and checks.runs(await checks.guest(env, instance)):
            raise errors.PrereqError(
                "wrong_state", f"instance {instance.name} runs: it was started again since it was shut down from inside"
            )
        return StopFacts(instance=instance, is_reachable=True)

    def hooks(self, facts: StopFacts, config: Config) -> HookPlan:
        return hooks.instance_hooks(config, facts.instance, {"TIMEOUT": hooks.text(self.op.timeout)})

    def plan(self, facts: StopFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        down = self._down(instance, is_reachable=facts.is_reachable)
        title = f"mark {instance.name} down"
        if not facts.is_reachable:
            return (Commit(title=title, changes=(Put(down),), is_final=True),) if down != instance else ()
        steps: list[Step] = []
        if not self.op.no_remember:
            resolve = stopping.resolve_record(instance, self.op.timeout)
            if down != instance:
                steps.append(Commit(title=title, changes=(Put(down),), recoveries=(resolve,)))
            else:
                steps.append(Record(resolve=resolve))
        steps.append(stopping.stop(env, config, instance, self.op.timeout, OnFailure.WARN))
        return steps + stopping.close_secondaries(config, env, instance)

    def _down(self, instance: Instance, *, is_reachable: bool) -> Instance:
        # an instance that is marked offline stays so
        state = AdminState.OFFLINE if instance.admin_state is AdminState.OFFLINE else AdminState.DOWN
        active = instance.disks_active and not is_reachable
        return starting.marked(instance, state, disks_active=active, source=self.op.admin_state_source)

    async def execute(self, facts: StopFacts, env: Env) -> None:
        if not facts.is_reachable:
            env.warn("the primary node is offline: only the wanted state is recorded")
        await super().execute(facts, env)
