"""OP_INSTANCE_CONSOLE."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.instance import InstanceConsole as ConsoleCall
from ganeti.logic import checks, guests, starting
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, shared
from ganeti.model.objects import Instance
from ganeti.ops.instance import OpInstanceConsole


class ConsoleFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance


@implements(OpInstanceConsole)
class InstanceConsole(LogicalUnit[OpInstanceConsole, ConsoleFacts]):
    """Result: how to reach it, in the form of the list field `console`."""

    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(instances=shared(config.instance(self.op.instance_name).uuid))

    async def check(self, env: Env) -> ConsoleFacts:
        instance = env.config.instance(self.op.instance_name)
        checks.online(env.config.nodes[instance.primary_node])
        return ConsoleFacts(instance=instance)

    async def execute(self, facts: ConsoleFacts, env: Env) -> dict[str, Any]:
        config, instance = env.config, facts.instance
        if not await starting.runs(env, instance.primary_node, instance):
            raise errors.ExecError(
                f"instance {instance.name} is not running (it is marked {instance.admin_state.value})",
                hint=f"gnt-instance start {instance.name} starts it",
            )
        found = await env.rpc.one(instance.primary_node, ConsoleCall(spec=guests.guest_spec(config, instance)))
        return found.told(instance.name)
