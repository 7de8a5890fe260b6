"""OP_INSTANCE_GROW_DISK."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.node import NodeInfo
from ganeti.logic import checks, devices, disk_activation, guests, hooks, mirrors, new_volumes, volumes
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.disks import grown, is_mirror
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import Disk, DiskTemplate, Instance, Put
from ganeti.model.types import MiB, Uuid
from ganeti.ops.disks import OpInstanceGrowDisk

_GROWABLE = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.PLAIN, DiskTemplate.DRBD)


class GrowFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    disk: Disk
    size: MiB  # as it shall be
    grown: Instance


@implements(OpInstanceGrowDisk)
class GrowDisk(LogicalUnit[OpInstanceGrowDisk, GrowFacts]):
    """First what lies below on every node, then the mirror, then the record. Nothing is made smaller again: a growth
    that was interrupted is repeated."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        return LockPlan.of(
            instances=exclusive(instance.uuid), nodes=shared(*instance.nodes), node_res=exclusive(*instance.nodes)
        )

    async def check(self, env: Env) -> GrowFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        checks.not_blocked(instance)
        disk = pick(instance, op.disk)
        if disk.template not in _GROWABLE:
            raise errors.PrereqError("wrong_input", f"disks of template {disk.template.value} cannot grow")
        amount = devices.size(op.amount, "amount")
        size = amount if op.absolute else disk.size + amount
        if size <= disk.size:
            raise errors.PrereqError("wrong_input", f"the disk has {disk.size} MiB already, {size} MiB are not more")
        if is_mirror(disk):
            new_volumes.check_size(size)
        nodes = instance.nodes if is_mirror(disk) else instance.nodes[:1]
        for uuid in nodes:
            checks.online(config.nodes[uuid], hint="a disk grows on all its nodes at once")
            await self._check_room(env, uuid, disk, size - disk.size)
        index = instance.disks.index(disk)
        disks = (*instance.disks[:index], grown(disk, size), *instance.disks[index + 1 :])
        after = msgspec.structs.replace(instance, disks=disks)
        self._check_policy(env, instance, after)
        return GrowFacts(instance=instance, disk=disk, size=size, grown=after)

    @staticmethod
    async def _check_room(env: Env, uuid: Uuid, disk: Disk, wanted: MiB) -> None:
        template = disk.template.value
        info = await checks.ask(env, uuid, NodeInfo(templates=(template,)), "ask for free space")
        free = info.storage.get(template)
        name = env.config.nodes[uuid].name
        if free is None:
            why = "; ".join(info.errors) or "it does not say why"
            raise errors.PrereqError("environment_error", f"node {name} has no {template} storage: {why}")
        if free.free < wanted:
            raise errors.PrereqError(
                "insufficient_resources",
                f"not enough {template} storage on node {name}: {wanted} MiB wanted, {free.free} MiB free",
            )

    def _check_policy(self, env: Env, before: Instance, after: Instance) -> None:
        """What broke the policy before may go on doing so."""
        broken = guests.policy_violations(env.config, after)
        if not broken or guests.policy_violations(env.config, before):
            return
        text = f"instance {after.name} would break the instance policy: " + "; ".join(broken)
        if not self.op.ignore_ipolicy:
            raise errors.PrereqError("wrong_input", text, hint="choose another size or add --ignore-ipolicy")
        env.warn(text)

    def hooks(self, facts: GrowFacts, config: Config) -> HookPlan:
        extra = {
            "DISK": hooks.text(facts.instance.disks.index(facts.disk)),
            "AMOUNT": hooks.text(facts.size if self.op.absolute else facts.size - facts.disk.size),
            "ABSOLUTE": hooks.text(self.op.absolute),
        }
        return hooks.instance_hooks(config, facts.instance, extra)

    def plan(self, facts: GrowFacts, env: Env) -> Sequence[Step]:
        config, instance, disk = env.config, facts.instance, facts.disk
        is_opened = is_mirror(disk) and not instance.disks_active
        steps: list[Step] = disk_activation.opened(config, env, instance, [disk]) if is_opened else []
        steps += volumes.grow(config, env, instance, disk, facts.size)
        if is_mirror(disk):
            steps += mirrors.room(config, instance, disk, facts.size)
            steps += mirrors.resize(config, env, instance, disk, facts.size, on_failure=OnFailure.UNDO)
        index = instance.disks.index(disk)
        title = f"record that disk {index} of {instance.name} has {facts.size} MiB"
        steps.append(Commit(title=title, changes=(Put(facts.grown),)))
        if self.op.wait_for_sync:
            steps += mirrors.wait(config, facts.grown, disks=[facts.grown.disks[index]], on_failure=OnFailure.WARN)
        if is_opened:
            after = facts.grown
            steps += disk_activation.closed(
                config, env, after, [after.disks[index]], after.nodes, on_failure=OnFailure.WARN
            )
        return steps


def pick(instance: Instance, wanted: int | str) -> Disk:
    """By number, name or uuid. Raises PrereqError."""
    if isinstance(wanted, str) and not wanted.isdigit():
        found = [disk for disk in instance.disks if wanted in (disk.name, disk.uuid)]
    else:
        found = list(instance.disks[int(wanted) : int(wanted) + 1]) if int(wanted) >= 0 else []
    if not found:
        have = f"it has disks 0 to {len(instance.disks) - 1}" if instance.disks else "it has no disks"
        raise errors.PrereqError("unknown_entity", f"instance {instance.name} has no disk {wanted!r}", hint=have)
    return found[0]
