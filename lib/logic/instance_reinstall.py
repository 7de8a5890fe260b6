"""OP_INSTANCE_REINSTALL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.os import OsCreate, OsStop
from ganeti.calls.volume import VolumeClose
from ganeti.logic import checks, guests, helpers, hooks, mirrors, os_parameters, volumes
from ganeti.logic.base import RESOLVERS, Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, OnFailure, Record, Step
from ganeti.model.config import Config
from ganeti.model.jobs import Resolve
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Instance, Params, Put
from ganeti.model.types import Uuid
from ganeti.ops.instance import OpInstanceReinstall

PROCEDURE = "instance-reinstall"


class ReinstallFacts(msgspec.Struct, frozen=True, kw_only=True):
    old: Instance
    new: Instance  # with the OS that is installed


@implements(OpInstanceReinstall)
class InstanceReinstall(LogicalUnit[OpInstanceReinstall, ReinstallFacts]):
    """A script that has begun cannot be taken back: one that fails leaves disks that must be installed again."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(
            instances=exclusive(instance.uuid),
            nodes=shared(*instance.nodes),
            node_res=exclusive(*instance.nodes) if instance.disks else None,
        )

    async def check(self, env: Env) -> ReinstallFacts:
        op, config = self.op, env.config
        old = config.instance(op.instance_name)
        checks.not_blocked(old)
        if not old.disks:
            raise errors.PrereqError("wrong_input", f"instance {old.name} has no disks to install anything on")
        if not op.os_type and not old.os:
            raise errors.PrereqError(
                "wrong_input", f"instance {old.name} has no operating system yet", hint="say which one with -o OS"
            )
        node = config.nodes[old.primary_node]
        checks.online(node)
        stop_first = f"gnt-instance stop {old.name}"
        if old.admin_state is AdminState.UP:
            raise errors.PrereqError("wrong_state", f"instance {old.name} is marked up", hint=f"first {stop_first}")
        if await checks.guest(env, old) is not None:
            raise errors.PrereqError("wrong_state", f"instance {old.name} is running", hint=f"first {stop_first}")
        new = msgspec.structs.replace(old, os=op.os_type or old.os)
        await os_parameters.check_installable(
            env,
            node,
            new.os,
            new.hypervisor,
            force_variant=op.force_variant,
            names=tuple(self._once),
            complete=guests.osparams(config, new, once=self._once),
            helper=helpers.of(config, op),
        )
        return ReinstallFacts(old=old, new=new)

    @property
    def _once(self) -> Params:
        op = self.op
        return os_parameters.given(op.osparams, op.osparams_private, op.osparams_secret)

    def hooks(self, facts: ReinstallFacts, config: Config) -> HookPlan:
        return hooks.instance_hooks(config, facts.new, {})

    def plan(self, facts: ReinstallFacts, env: Env) -> Sequence[Step]:
        config, new = env.config, facts.new
        steps: list[Step] = []
        if new != facts.old:
            steps.append(Commit(title=f"record OS {new.os} for {new.name}", changes=(Put(new),)))
        resolve = Resolve(procedure=PROCEDURE, arguments={"instance": new.uuid}, title=f"installation of {new.name}")
        request = env.new_request()
        spec = guests.script_spec(config, new, once=self._once)
        install = Effect(
            title=f"install {new.os} on the disks of {new.name}",
            node=new.primary_node,
            call=OsCreate(
                spec=spec,
                reinstall=True,
                debug=self.op.debug_level,
                helper=helpers.of(config, self.op),
                request=request,
            ),
            undo=OsStop(request=env.new_request(), undoes=request),
        )
        # the other halves of mirrors get what is written, if they can
        others = [uuid for uuid in new.secondary_nodes if not config.nodes[uuid].offline]
        steps += mirrors.assemble(config, env, new, others, on_failure=OnFailure.WARN)
        return (*steps, Record(resolve=resolve), install, *volumes.close_all(config, env, new))


async def resolve_reinstall(arguments: dict[str, Any], env: Env) -> Iterable[str]:
    """The script was stopped before; its disks are closed."""
    instance = env.config.instances.get(Uuid(str(arguments["instance"])))
    if instance is None:
        return ["the instance is gone"]
    told = [f"{instance.name} is not installed, its disks may be half written: reinstall it before it is started"]
    for node in instance.nodes:
        for index, disk in enumerate(instance.disks):
            close = VolumeClose(disk=disk, owner=instance.uuid, request=env.new_request())
            try:
                await env.rpc.one(node, close)
            except errors.RpcError as err:
                told.append(f"disk {index} of {instance.name} could not be closed: {err}")
    return told


RESOLVERS[PROCEDURE] = resolve_reinstall
