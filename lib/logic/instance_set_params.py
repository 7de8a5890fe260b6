"""OP_INSTANCE_SET_PARAMS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.os import OsDiagnose
from ganeti.hypervisor import parameters
from ganeti.logic import checks, guests, hooks, os_definitions
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Instance, Params, Put
from ganeti.ops.instance import OpInstanceSetParams


class ModifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    changed: Instance
    told: tuple[tuple[str, Any], ...]  # Any: JSON scalars, what the client is told


@implements(OpInstanceSetParams)
class InstanceSetParams(LogicalUnit[OpInstanceSetParams, ModifyFacts]):
    """Takes effect at the next start of the instance."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(*instance.nodes))

    async def check(self, env: Env) -> ModifyFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        if not (op.beparams or op.hvparams or op.osparams or op.os_name or op.offline is not None):
            raise errors.PrereqError("wrong_input", "nothing to change was given")
        be = params.parse_be(op.beparams)
        hv = guests.parse_hv(instance.hypervisor, op.hvparams)
        osp = {name: None if params.is_reset(value) else value for name, value in op.osparams.items()}
        changed = msgspec.structs.replace(
            instance,
            beparams=params.merged(instance.beparams, be),
            hvparams=params.merged(instance.hvparams, hv),
            osparams=params.merged(instance.osparams, osp),
            os=op.os_name or instance.os,
            admin_state=self._state(instance),
        )
        params.check_be(guests.beparams(config, changed))
        complete = guests.hvparams(config, changed)
        parameters.check(changed.hypervisor, complete)
        if op.offline:
            await self._check_not_running(env, instance)
        if not op.force:
            if hv:
                await self._check_hv(env, changed, complete)
            if op.os_name:
                await self._check_os(env, changed)
            await self._check_memory(env, instance, changed)
        broken = guests.policy_violations(config, changed)
        if broken and not guests.policy_violations(config, instance):
            env.warn(f"instance {instance.name} breaks the instance policy now: " + "; ".join(broken))
        return ModifyFacts(changed=changed, told=self._told(be, hv, osp))

    def _state(self, instance: Instance) -> AdminState:
        if self.op.offline is None:
            return instance.admin_state
        if self.op.offline:
            if instance.admin_state is AdminState.UP:
                raise errors.PrereqError(
                    "wrong_state", f"instance {instance.name} is marked up", hint="stop it before it is marked offline"
                )
            return AdminState.OFFLINE
        if instance.admin_state is not AdminState.OFFLINE:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} is not marked offline")
        return AdminState.DOWN

    @staticmethod
    async def _check_not_running(env: Env, instance: Instance) -> None:
        if env.config.nodes[instance.primary_node].offline:
            return
        if await checks.guest(env, instance) is not None:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} is running", hint="stop it first")

    @staticmethod
    async def _check_hv(env: Env, changed: Instance, complete: Params) -> None:
        for node in changed.nodes:
            if not env.config.nodes[node].offline:
                await checks.hvparams_on_node(env, node, changed.hypervisor, complete)

    @staticmethod
    async def _check_os(env: Env, changed: Instance) -> None:
        node = env.config.nodes[changed.primary_node]
        checks.online(node, hint="add --force to record the OS all the same")
        definitions = await checks.ask(env, node.uuid, OsDiagnose(), "ask for OS definitions")
        os_definitions.installable(definitions, changed.os, changed.hypervisor, node.name, force_variant=False)

    @staticmethod
    async def _check_memory(env: Env, before: Instance, changed: Instance) -> None:
        """A running instance must find its new memory at its next start."""
        wanted = guests.beparams(env.config, changed)["maxmem"]
        if wanted <= guests.beparams(env.config, before)["maxmem"]:
            return
        node = env.config.nodes[changed.primary_node]
        try:
            guest = await checks.guest(env, changed)
            free = await checks.free_memory(env, node.uuid, changed.hypervisor)
        except errors.PrereqError as err:
            env.warn(f"cannot tell whether the memory is there: {err}")
            return
        missing = wanted - (guest.memory if guest is not None else 0) - free
        if missing > 0:
            raise errors.PrereqError(
                "insufficient_resources",
                f"instance {changed.name} could not be started any more: {missing} MiB of memory are missing "
                f"on node {node.name}",
                hint="add --force to record it all the same",
            )

    def _told(self, be: Params, hv: Params, osp: Params) -> tuple[tuple[str, Any], ...]:
        told: list[tuple[str, Any]] = []
        for family, changes in (("hv", hv), ("be", be), ("os", osp)):
            told += [(f"{family}/{name}", "default" if new is None else new) for name, new in sorted(changes.items())]
        if self.op.os_name:
            told.append(("os", self.op.os_name))
        if self.op.offline is not None:
            told.append(("admin_state", (AdminState.OFFLINE if self.op.offline else AdminState.DOWN).value))
        return tuple(told)

    def hooks(self, facts: ModifyFacts, config: Config) -> HookPlan:
        return hooks.instance_hooks(config, facts.changed, {"NEW_DISK_TEMPLATE": "", "RUNTIME_MEMORY": ""})

    def plan(self, facts: ModifyFacts, env: Env) -> Sequence[Step]:
        return (Commit(title=f"change {facts.changed.name}", changes=(Put(facts.changed),), is_final=True),)

    def result(self, facts: ModifyFacts) -> list[list[Any]]:
        return [list(pair) for pair in facts.told]
