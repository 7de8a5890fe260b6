"""OP_INSTANCE_ACTIVATE_DISKS and OP_INSTANCE_DEACTIVATE_DISKS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.base import ChangingCall
from ganeti.calls.instance import InstanceInfo
from ganeti.calls.mirror import MirrorAssemble
from ganeti.calls.volume import VolumeClose, VolumeInfo, VolumeOpen
from ganeti.logic import checks, mirrors
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Commit, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import Disk, Instance, Put
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.disks import OpInstanceActivateDisks, OpInstanceDeactivateDisks


class DisksFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance


def _locks(config: Config, name: str) -> LockPlan:
    instance = config.instance(name)
    nodes = shared(*instance.nodes)
    return LockPlan.of(instances=exclusive(instance.uuid), nodes=nodes, node_res=nodes)


def opened(config: Config, env: Env, instance: Instance, disks: Sequence[Disk]) -> list[Step]:
    """Up on all nodes that are online, and to be written on the primary; what was down goes down again if it fails."""
    nodes = [uuid for uuid in instance.nodes if not config.nodes[uuid].offline]
    is_kept = instance.disks_active

    def open_one(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any] | None]:
        back = VolumeClose(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request)
        return VolumeOpen(disk=disk, owner=instance.uuid, request=request), None if is_kept else back

    def assemble_one(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any] | None]:
        back = VolumeClose(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request)
        return MirrorAssemble(disk=disk, owner=instance.uuid, request=request), None if is_kept else back

    mirrored = [disk for disk in disks if disk in mirrors.of(instance)]
    primary = [instance.primary_node]
    return [
        *mirrors.on_disks(config, env, instance, mirrored, nodes, title="assemble {disk} on {node}", make=assemble_one),
        *mirrors.on_disks(config, env, instance, disks, primary, title="open {disk} on {node}", make=open_one),
    ]


def closed(
    config: Config,
    env: Env,
    instance: Instance,
    disks: Sequence[Disk],
    nodes: Sequence[Uuid],
    *,
    on_failure: OnFailure,
) -> list[Step]:
    """One node after the other, in the order of `nodes`, the primary first: one that may still be written when its peer
    goes has newer data from then on, as DRBD sees it."""

    def close_one(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return VolumeClose(disk=disk, owner=instance.uuid, request=request), None

    online = [uuid for uuid in nodes if not config.nodes[uuid].offline]
    title = "close {disk} on {node}"
    steps: list[Step] = []
    for uuid in online:
        steps += mirrors.on_disks(
            config, env, instance, disks, [uuid], title=title, make=close_one, on_failure=on_failure
        )
    return steps


def _without_sizes(instance: Instance) -> Instance:
    """Any volume is large enough then."""

    def unset(disk: Disk) -> Disk:
        children = (msgspec.structs.replace(disk.children[0], size=0), *disk.children[1:]) if disk.children else ()
        return msgspec.structs.replace(disk, size=0, children=children)

    return msgspec.structs.replace(instance, disks=tuple(unset(disk) for disk in instance.disks))


@implements(OpInstanceActivateDisks)
class ActivateDisks(LogicalUnit[OpInstanceActivateDisks, DisksFacts]):
    def locks(self, config: Config) -> LockPlan:
        return _locks(config, self.op.instance_name)

    async def check(self, env: Env) -> DisksFacts:
        instance = env.config.instance(self.op.instance_name)
        checks.not_blocked(instance)
        checks.online(env.config.nodes[instance.primary_node])
        return DisksFacts(instance=instance)

    def plan(self, facts: DisksFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        told = _without_sizes(instance) if self.op.ignore_size else instance
        steps = opened(config, env, told, told.disks)
        active = msgspec.structs.replace(instance, disks_active=bool(instance.disks))
        if active != instance:
            steps.append(Commit(title=f"note that the disks of {instance.name} are active", changes=(Put(active),)))
        if self.op.wait_for_sync:
            steps += mirrors.wait(config, instance)
        return steps

    async def execute(self, facts: DisksFacts, env: Env) -> list[tuple[str, str, str]]:
        instance = facts.instance
        for uuid in instance.secondary_nodes:
            if env.config.nodes[uuid].offline:
                env.warn(f"node {env.config.nodes[uuid].name} is offline: its halves of the mirrors stay down")
        await env.run(self.plan(facts, env))
        await self._tell_lost(env, instance)
        name, found = env.config.nodes[instance.primary_node].name, []
        for index, disk in enumerate(instance.disks):
            try:
                reply = await env.rpc.one(instance.primary_node, VolumeInfo(disk=disk, owner=instance.uuid))
            except errors.RpcError as err:
                raise errors.ExecError(f"the disks are active, but where they are is not known: {err}") from err
            found.append((name, f"disk/{index}", reply.path))
        return found

    @staticmethod
    async def _tell_lost(env: Env, instance: Instance) -> None:
        """A half without its volumes goes on by the other one's, and nothing else of the job shows it."""
        for uuid in instance.nodes if mirrors.of(instance) else ():
            node = env.config.nodes[uuid]
            if node.offline:
                continue
            try:
                states = await mirrors.states(env, instance, uuid)
            except errors.RpcError as err:
                env.warn(f"cannot look at the mirrors on {node.name}: {err}")
                continue
            for index, state in enumerate(states):
                if state.has_lost_volume:
                    env.warn(
                        f"disk {index} on node {node.name} {state.problem}; "
                        f"gnt-instance replace-disks -a {instance.name} makes a new one"
                    )


@implements(OpInstanceDeactivateDisks)
class DeactivateDisks(LogicalUnit[OpInstanceDeactivateDisks, DisksFacts]):
    def locks(self, config: Config) -> LockPlan:
        return _locks(config, self.op.instance_name)

    async def check(self, env: Env) -> DisksFacts:
        instance = env.config.instance(self.op.instance_name)
        checks.not_blocked(instance)
        if not self.op.force:
            checks.online(env.config.nodes[instance.primary_node], hint="with --force the other nodes' disks go down")
            await self._check_stopped(env, instance)
        return DisksFacts(instance=instance)

    @staticmethod
    async def _check_stopped(env: Env, instance: Instance) -> None:
        question = InstanceInfo(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
        for uuid in instance.nodes:
            node = env.config.nodes[uuid]
            if node.offline:
                continue
            if await checks.ask(env, uuid, question, f"find out whether {instance.name} runs") is not None:
                raise errors.PrereqError(
                    "wrong_state", f"instance {instance.name} runs on node {node.name}", hint="stop it first"
                )

    def plan(self, facts: DisksFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        inactive = msgspec.structs.replace(instance, disks_active=False)
        # what a guest holds open there needs the other halves: a primary node that lives has to let go first
        is_dead = config.nodes[instance.primary_node].offline
        on_primary = OnFailure.WARN if self.op.force and is_dead else OnFailure.UNDO
        steps = closed(config, env, instance, instance.disks, [instance.primary_node], on_failure=on_primary)
        steps += closed(
            config, env, instance, mirrors.of(instance), instance.secondary_nodes, on_failure=OnFailure.WARN
        )
        if inactive != instance:
            title = f"note that the disks of {instance.name} are not active"
            steps.append(Commit(title=title, changes=(Put(inactive),), is_final=True))
        return steps
