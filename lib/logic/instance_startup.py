"""OP_INSTANCE_STARTUP."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.hypervisor import parameters
from ganeti.logic import checks, guests, hooks, starting
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Instance, Params, Put
from ganeti.ops.instance import OpInstanceStartup


class StartFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    hv: Params  # for this start
    be: Params
    is_reachable: bool  # false: only the wish is recorded
    is_running: bool


@implements(OpInstanceStartup)
class InstanceStartup(LogicalUnit[OpInstanceStartup, StartFacts]):
    """A start that fails is an error, but the instance stays marked up: the watcher tries again."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(
            instances=exclusive(instance.uuid), nodes=shared(*instance.nodes), node_res=shared(instance.primary_node)
        )

    async def check(self, env: Env) -> StartFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        checks.not_blocked(instance)
        if instance.admin_state is AdminState.OFFLINE:
            raise errors.PrereqError(
                "wrong_state",
                f"instance {instance.name} is marked offline",
                hint=f"run gnt-instance modify --online {instance.name} first",
            )
        hv = params.merged({}, guests.parse_hv(instance.hypervisor, op.hvparams))
        be = params.merged({}, params.parse_be(op.beparams))
        complete = guests.hvparams(config, instance, hv)
        parameters.check(instance.hypervisor, complete)
        filled = guests.beparams(config, instance, be)
        params.check_be(filled)
        node = config.nodes[instance.primary_node]
        if node.offline and op.ignore_offline_nodes:
            if op.no_remember:
                raise errors.PrereqError(
                    "wrong_input", f"node {node.name} is offline and nothing shall be recorded: nothing to do"
                )
            if hv or be:
                env.warn("parameters for one start are not kept: they are ignored")
            return StartFacts(instance=instance, hv={}, be={}, is_reachable=False, is_running=False)
        checks.online(node, hint="with --ignore-offline only the wanted state is recorded")
        found = await checks.guest(env, instance)
        is_running = checks.runs(found)
        if not is_running:
            if hv:
                await checks.hvparams_on_node(env, node.uuid, instance.hypervisor, complete)
            free = await checks.memory_for_start(env, instance, found)
            env.reserve_memory(node.uuid, filled["maxmem"], free)
        return StartFacts(instance=instance, hv=hv, be=be, is_reachable=True, is_running=is_running)

    def hooks(self, facts: StartFacts, config: Config) -> HookPlan:
        return hooks.instance_hooks(config, facts.instance, {"FORCE": hooks.text(self.op.force)})

    def plan(self, facts: StartFacts, env: Env) -> Sequence[Step]:
        instance = facts.instance
        if facts.is_running or not facts.is_reachable:
            active = facts.is_running
            up = starting.marked(instance, AdminState.UP, disks_active=active or instance.disks_active)
            if self.op.no_remember or up == instance:
                return ()
            return (Commit(title=f"mark {instance.name} up", changes=(Put(up),), is_final=True),)
        return starting.steps(
            env.config,
            env,
            instance,
            hv=facts.hv,
            be=facts.be,
            paused=self.op.startup_paused,
            remember=not self.op.no_remember,
            ignore_secondaries=self.op.force,
        )

    async def execute(self, facts: StartFacts, env: Env) -> None:
        if facts.is_running:
            env.report(f"{facts.instance.name} runs already")
        elif not facts.is_reachable:
            env.warn("the primary node is offline: only the wanted state is recorded")
        await super().execute(facts, env)
