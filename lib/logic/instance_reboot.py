"""OP_INSTANCE_REBOOT."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.instance import InstanceReboot as RebootCall
from ganeti.logic import checks, guests, hooks, starting, stopping
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Instance, Put
from ganeti.ops.instance import OpInstanceReboot


class RebootFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    is_running: bool


@implements(OpInstanceReboot)
class InstanceReboot(LogicalUnit[OpInstanceReboot, RebootFacts]):
    """One that does not run is started. At the end it is marked up."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(
            instances=exclusive(instance.uuid), nodes=shared(*instance.nodes), node_res=shared(instance.primary_node)
        )

    async def check(self, env: Env) -> RebootFacts:
        instance = env.config.instance(self.op.instance_name)
        checks.not_blocked(instance)
        if instance.admin_state is AdminState.OFFLINE:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} is marked offline")
        node = env.config.nodes[instance.primary_node]
        checks.online(node)
        found = await checks.guest(env, instance)
        is_running = checks.runs(found)
        if not is_running:
            free = await checks.memory_for_start(env, instance, found)
            env.reserve_memory(node.uuid, guests.beparams(env.config, instance)["maxmem"], free)
        return RebootFacts(instance=instance, is_running=is_running)

    def hooks(self, facts: RebootFacts, config: Config) -> HookPlan:
        extra = {
            "IGNORE_SECONDARIES": hooks.text(self.op.ignore_secondaries),
            "REBOOT_TYPE": self.op.reboot_type,
            "SHUTDOWN_TIMEOUT": hooks.text(self.op.shutdown_timeout),
        }
        return hooks.instance_hooks(config, facts.instance, extra)

    def plan(self, facts: RebootFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        if not facts.is_running:
            return starting.steps(config, env, instance, ignore_secondaries=self.op.ignore_secondaries)
        if self.op.reboot_type == "full":
            stop = stopping.stop(env, config, instance, self.op.shutdown_timeout, OnFailure.UNDO)
            return starting.steps(config, env, instance, before=(stop,), ignore_secondaries=self.op.ignore_secondaries)
        return self._in_place(config, env, instance)

    def _in_place(self, config: Config, env: Env, instance: Instance) -> list[Step]:
        """The guest stays on its hypervisor; whatever happens to the call, there is nothing to take back."""
        kind = self.op.reboot_type
        spec = guests.guest_spec(config, instance)
        steps: list[Step] = [
            Effect(
                title=f"{kind} reboot of {instance.name} on {config.nodes[instance.primary_node].name}",
                node=instance.primary_node,
                call=RebootCall(
                    spec=spec, hard=kind == "hard", timeout=self.op.shutdown_timeout, request=env.new_request()
                ),
            )
        ]
        up = starting.marked(instance, AdminState.UP, disks_active=True)
        if up != instance:
            steps.append(Commit(title=f"mark {instance.name} up", changes=(Put(up),), is_final=True))
        return steps
