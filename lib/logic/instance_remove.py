"""OP_INSTANCE_REMOVE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.volume import VolumeInfo, VolumeRemove
from ganeti.logic import checks, devices, hooks, starting, stopping, volumes
from ganeti.logic.base import RESOLVERS, Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, OnFailure, Record, Step
from ganeti.model.config import Config
from ganeti.model.jobs import Resolve
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Delete, Instance
from ganeti.model.types import Uuid
from ganeti.ops.instance import OpInstanceRemove

PROCEDURE = "instance-remove"


class RemoveFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance


@implements(OpInstanceRemove)
class InstanceRemove(LogicalUnit[OpInstanceRemove, RemoveFacts]):
    """One that was interrupted goes back while all volumes are there, else forward; it can always be repeated."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(
            instances=exclusive(instance.uuid),
            nodes=shared(*instance.nodes),
            node_res=exclusive(*instance.nodes) if instance.disks else None,
        )

    async def check(self, env: Env) -> RemoveFacts:
        instance = env.config.instance(self.op.instance_name)
        checks.not_moving(instance)
        for uuid in instance.nodes:
            if not self.op.ignore_failures:
                checks.online(
                    env.config.nodes[uuid],
                    hint="with --ignore-failures what lies on it is removed when it is back",
                )
        for disk in instance.disks:
            if disk.template in devices.EXISTING:
                env.report(f"device {disk.logical_id[1]} stays as it is")
        return RemoveFacts(instance=instance)

    def hooks(self, facts: RemoveFacts, config: Config) -> HookPlan:
        extra = {"SHUTDOWN_TIMEOUT": hooks.text(self.op.shutdown_timeout)}
        return hooks.instance_hooks(config, facts.instance, extra, pre=(config.cluster.master_node,))

    def plan(self, facts: RemoveFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        on_failure = OnFailure.OWE if self.op.ignore_failures else OnFailure.UNDO
        resolve = Resolve(
            procedure=PROCEDURE, arguments={"instance": instance.uuid}, title=f"removal of {instance.name}"
        )
        return (
            Record(resolve=resolve),
            stopping.stop(env, config, instance, self.op.shutdown_timeout, on_failure),
            *volumes.remove(config, env, instance, on_failure),
            Commit(
                title=f"remove instance {instance.name}", changes=(Delete("instance", instance.uuid),), is_final=True
            ),
        )


async def resolve_remove(arguments: dict[str, Any], env: Env) -> Iterable[str]:
    """Back while every volume is there (the guest runs again if it shall), forward when one is gone."""
    instance = env.config.instances.get(Uuid(str(arguments["instance"])))
    if instance is None:
        return ["the instance is gone already"]
    try:
        if all([await _is_there(env, instance, index) for index in range(len(instance.disks))]):
            lost = await _lost_halves(env, instance)
            if instance.admin_state is not AdminState.UP:
                return [f"{instance.name} was not removed", *lost]
            await starting.start_now(env.config, env, instance, {})
            return [f"{instance.name} was not removed and runs again", *lost]
        await env.rpc.one(instance.primary_node, stopping.stop_call(env, instance, 0))
        for node in instance.nodes:
            for disk in instance.disks:
                gone = VolumeRemove(disk=disk, owner=instance.uuid, request=env.new_request())
                await env.rpc.one(node, gone)
    except errors.RpcError as err:
        # nothing to guard: volumes that are gone refuse a start, and a repeated removal takes them as removed
        return [f"{instance.name} may be partly removed: {err}; remove it again when the node is back"]
    title = f"remove instance {instance.name}"
    # what was asked for is so now: whoever waits for the job is told
    await env.commit(Delete("instance", instance.uuid), title=title, result=None)
    return [f"{instance.name} had lost volumes already: its removal was finished"]


async def _is_there(env: Env, instance: Instance, index: int, node: Uuid | None = None) -> bool:
    question = VolumeInfo(disk=instance.disks[index], owner=instance.uuid)
    return (await env.rpc.one(node or instance.primary_node, question)).exists


async def _lost_halves(env: Env, instance: Instance) -> list[str]:
    """The primary node has all the data; what of the other halves went already has to be made anew."""
    lines = []
    for node in instance.secondary_nodes:
        name = env.config.nodes[node].name
        for index in range(len(instance.disks)):
            try:
                if await _is_there(env, instance, index, node):
                    continue
            except errors.RpcError as err:
                lines.append(f"whether {name} still has disk {index} is not known: {err}")
                continue
            lines.append(
                f"{instance.name} may be partly removed: {name} has lost disk {index}; "
                f"gnt-instance replace-disks -s {instance.name} makes it anew"
            )
    return lines


RESOLVERS[PROCEDURE] = resolve_remove
