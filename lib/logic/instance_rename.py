"""OP_INSTANCE_RENAME."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors, settings
from ganeti.calls.os import OsDiagnose, OsRename
from ganeti.logic import checks, devices, guests, hooks, os_definitions, volumes
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, new_name, shared
from ganeti.model.objects import AdminState, Instance, Put
from ganeti.ops.instance import OpInstanceRename


class RenameFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    renamed: Instance
    has_script: bool


@implements(OpInstanceRename)
class InstanceRename(LogicalUnit[OpInstanceRename, RenameFacts]):
    """File disks move first, and move back if the new name cannot be recorded. The OS script only warns."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(
            instances=exclusive(instance.uuid, new_name(self.op.new_name)),
            nodes=shared(*instance.nodes),
            node_res=exclusive(*instance.nodes) if instance.disks else None,
        )

    async def check(self, env: Env) -> RenameFacts:
        instance = env.config.instance(self.op.instance_name)
        checks.not_blocked(instance)
        name = await self._new_name(env, instance)
        checks.online(env.config.nodes[instance.primary_node])
        if instance.admin_state is AdminState.UP:
            raise errors.PrereqError(
                "wrong_state", f"instance {instance.name} is marked up", hint="stop it before it is renamed"
            )
        if await checks.guest(env, instance) is not None:
            raise errors.PrereqError(
                "wrong_state", f"instance {instance.name} is running", hint="stop it before it is renamed"
            )
        disks = tuple(devices.renamed(disk, instance.name, name) for disk in instance.disks)
        renamed = msgspec.structs.replace(instance, name=name, disks=disks)
        return RenameFacts(instance=instance, renamed=renamed, has_script=await self._has_script(env, instance))

    async def _new_name(self, env: Env, instance: Instance) -> str:
        op = self.op
        name = checks.host_name(op.new_name)
        if op.name_check:
            full, address = await env.resolve(name)
            name = checks.host_name(full)
            if op.ip_check:
                await checks.address_is_free(env, name, address, settings.NODED_PORT)
        if name == instance.name:
            raise errors.PrereqError("wrong_input", f"the instance is called {name} already")
        if name in env.config.instance_names:
            raise errors.PrereqError("already_exists", f"there is already an instance called {name!r}")
        return name

    async def _has_script(self, env: Env, instance: Instance) -> bool:
        if not instance.disks or not instance.os:
            return False
        try:
            definitions = await env.rpc.one(instance.primary_node, OsDiagnose())
        except errors.RpcError as err:
            env.warn(f"cannot find out whether OS {instance.os} has a rename script: {err}")
            return False
        found = os_definitions.first_by_name(definitions, instance.os.partition("+")[0])
        return found is not None and found.valid and "rename" in found.scripts

    def hooks(self, facts: RenameFacts, config: Config) -> HookPlan:
        return hooks.instance_hooks(config, facts.instance, {"INSTANCE_NEW_NAME": facts.renamed.name})

    def plan(self, facts: RenameFacts, env: Env) -> Sequence[Step]:
        steps = self._renames(facts, env)
        if facts.has_script:
            config, renamed = env.config.apply([Put(facts.renamed)]), facts.renamed
            steps.append(self._script(facts, env))
            steps += volumes.close_all(config, env, renamed)
        return steps

    @staticmethod
    def _renames(facts: RenameFacts, env: Env) -> list[Step]:
        instance, renamed = facts.instance, facts.renamed
        steps = volumes.rename(env.config, env, instance, renamed)
        steps += volumes.relabel(env.config, env, instance, renamed.name)
        title = f"rename {instance.name} to {renamed.name}"
        steps.append(Commit(title=title, changes=(Put(renamed),), is_final=True))
        return steps

    def _script(self, facts: RenameFacts, env: Env) -> Effect:
        call = OsRename(
            spec=guests.script_spec(env.config, facts.renamed),
            old_name=facts.instance.name,
            debug=self.op.debug_level,
            request=env.new_request(),
        )
        return Effect(
            title=f"run the rename script of OS {facts.renamed.os}",
            node=facts.renamed.primary_node,
            call=call,
            on_failure=OnFailure.WARN,
            hint=f"the instance is called {facts.renamed.name} all the same",
        )

    def result(self, facts: RenameFacts) -> str:
        return facts.renamed.name
