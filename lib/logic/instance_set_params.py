"""OP_INSTANCE_SET_PARAMS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.devices import InstanceMemory
from ganeti.calls.instance import Guest, GuestSpec
from ganeti.calls.node import NodeInfo
from ganeti.calls.os import OsDiagnose
from ganeti.calls.volume import VolumeInfo
from ganeti.hypervisor import parameters
from ganeti.logic import (
    checks,
    detached_disks,
    device_changes,
    devices,
    disk_activation,
    freshness,
    guests,
    hooks,
    mirrors,
    networking,
    new_disks,
    os_definitions,
    os_parameters,
    plugging,
    volumes,
)
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, OnFailure, Step
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.disks import is_mirror, space
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Change, Delete, DetachedDisk, Disk, Instance, Node, Params, Put
from ganeti.model.types import MiB
from ganeti.ops.instance import OpInstanceSetParams


class Plugging(msgspec.Struct, frozen=True, kw_only=True):
    """What a running guest has, and what it gets now."""

    has: GuestSpec
    wanted: GuestSpec


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    has: MiB
    wanted: MiB


class ModifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    changed: Instance
    told: tuple[tuple[str, Any], ...]  # Any: JSON scalars, what the client is told
    plugging: Plugging | None = None
    memory: Memory | None = None
    attached: tuple[DetachedDisk, ...] = ()  # of the disks those that it gets with their data
    detached: tuple[Disk, ...] = ()  # those that are kept, of no instance

    @property
    def added(self) -> tuple[Disk, ...]:
        """New ones, to be made."""
        return _missing(self.changed.disks, (*self.instance.disks, *(each.disk for each in self.attached)))

    @property
    def removed(self) -> tuple[Disk, ...]:
        """With their data."""
        return _missing(self.instance.disks, (*self.changed.disks, *self.detached))


def _missing(those: Sequence[Disk], in_these: Sequence[Disk]) -> tuple[Disk, ...]:
    known = {disk.uuid for disk in in_these}
    return tuple(disk for disk in those if disk.uuid not in known)


@implements(OpInstanceSetParams)
class InstanceSetParams(LogicalUnit[OpInstanceSetParams, ModifyFacts]):
    """Parameters take effect at the next start of the instance; disks and NICs at once where the hypervisor can."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        nodes = dict.fromkeys(instance.nodes)
        attached = detached_disks.wanted(config, self.op.disks)
        nodes |= dict.fromkeys(node for disk in attached for node in disk.nodes)
        for name in (self.op.pnode, self.op.remote_node):
            if name:
                nodes[config.node(name).uuid] = None
        return LockPlan.of(
            instances=exclusive(instance.uuid, *map(detached_disks.lock, attached)),
            nodes=shared(*nodes),
            node_res=exclusive(*nodes) if self.op.disks or self.op.disk_template is not None else None,
            networks=shared(*networking.locked(config, self._untrusted_nics())),
        )

    def _untrusted_nics(self) -> list[dict[str, Any]]:
        return [change.values for change in device_changes.parse(self.op.nics, "NIC")]

    async def check(self, env: Env) -> ModifyFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        self._check_something_given()
        checks.not_moving(instance)
        be = params.parse_be(op.beparams)
        hv = guests.parse_hv(instance.hypervisor, op.hvparams)
        osp = os_parameters.Changes(op, instance)
        disks = device_changes.disks(
            instance.disks,
            device_changes.parse(op.disks, "disk"),
            new_disks.maker(env, instance),
            lambda wanted: config.detached_disk(wanted).disk,
        )
        attached = tuple(config.disks[uuid] for uuid in disks.attached)
        for each in attached:
            detached_disks.check_fits(config, instance, each)
        if disks.detached:
            detached_disks.check_complete(env, instance)
            await freshness.check_whole(env, instance, disks.detached)
        nics = device_changes.nics(
            config, instance.nics, device_changes.parse(op.nics, "NIC"), self._choices(env, instance)
        )
        changed = msgspec.structs.replace(
            instance,
            beparams=params.merged(instance.beparams, be),
            hvparams=params.merged(instance.hvparams, hv),
            osparams=osp.public,
            osparams_private=osp.private,
            os=op.os_name or instance.os,
            admin_state=self._state(instance),
            disks=disks.devices if op.disk_template is None else self._converted(env, instance),
            nics=nics.devices,
        )
        params.check_be(guests.beparams(config, changed))
        complete = guests.hvparams(config, changed)
        parameters.check(changed.hypervisor, complete)
        guest = await self._guest(env, instance)
        if (op.offline or op.disk_template is not None) and guest is not None:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} is running", hint="stop it first")
        if op.pnode:
            changed = await self._elsewhere(env, changed, guest)
        if not op.force:
            if hv:
                await self._check_hv(env, changed, complete)
            if op.os_name:
                await self._check_os(env, changed, osp.names)
            elif osp.names:
                complete_os = guests.osparams(config, changed)
                await os_parameters.check_changed(env, changed, osp.names, complete_os)
            await self._check_memory(env, instance, changed)
        self._check_policy(env, instance, changed)
        facts = ModifyFacts(
            instance=instance,
            changed=changed,
            told=(*self._told(be, hv, osp), *disks.told, *nics.told),
            attached=attached,
            detached=disks.detached,
        )
        await self._check_disks(env, facts)
        for each in attached:
            await freshness.check_attached(env, changed, each)
        return msgspec.structs.replace(
            facts,
            plugging=await self._plugging(env, facts) if guest is not None else None,
            memory=self._memory(config, instance, guest),
        )

    def _check_something_given(self) -> None:
        op = self.op
        given = (op.beparams, op.hvparams, op.osparams, op.osparams_private, op.os_name, op.disks, op.nics, op.pnode)
        if not any(given) and op.offline is None and op.runtime_mem is None and op.disk_template is None:
            raise errors.PrereqError("wrong_input", "nothing to change was given")

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

    async def _guest(self, env: Env, instance: Instance) -> Guest | None:
        """The running guest; asked for only if it matters."""
        op = self.op
        of_devices = op.disks or op.nics or op.disk_template is not None
        if not (op.offline or of_devices or op.pnode or op.runtime_mem is not None):
            return None
        if env.config.nodes[instance.primary_node].offline:
            return None
        return await checks.guest(env, instance)

    async def _elsewhere(self, env: Env, instance: Instance, guest: Guest | None) -> Instance:
        """The instance as it is when it lies on the node that is told."""
        node = env.config.node(self.op.pnode)
        if node.uuid == instance.primary_node:
            raise errors.PrereqError("wrong_input", f"{node.name} is the primary node of {instance.name} already")
        if guest is not None or instance.admin_state is AdminState.UP:
            raise errors.PrereqError(
                "wrong_state", f"instance {instance.name} is up", hint="stop it, or use migrate or failover"
            )
        checks.takes_instances(node)
        for index, disk in enumerate(instance.disks):
            found = await checks.ask(
                env, node.uuid, VolumeInfo(disk=disk, owner=instance.uuid), f"look for disk {index} on {node.name}"
            )
            if not found.exists:
                raise errors.PrereqError(
                    "wrong_state", f"disk {index} of {instance.name} is not on node {node.name}", hint="move it there"
                )
        return msgspec.structs.replace(instance, primary_node=node.uuid)

    @staticmethod
    async def _check_hv(env: Env, changed: Instance, complete: Params) -> None:
        for node in changed.nodes:
            if not env.config.nodes[node].offline:
                await checks.hvparams_on_node(env, node, changed.hypervisor, complete)

    async def _check_os(self, env: Env, changed: Instance, names: Sequence[str]) -> None:
        node = env.config.nodes[changed.primary_node]
        checks.online(node, hint="add --force to record the OS all the same")
        definitions = await checks.ask(env, node.uuid, OsDiagnose(), "ask for OS definitions")
        found = os_definitions.installable(
            definitions, changed.os, changed.hypervisor, node.name, force_variant=self.op.force_variant
        )
        complete = guests.osparams(env.config, changed)
        await os_parameters.check(env, node, found, changed.os, names=names, complete=complete)

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

    def _check_policy(self, env: Env, instance: Instance, changed: Instance) -> None:
        """What broke the policy before may go on doing so."""
        before = guests.policy_violations(env.config, instance)
        broken = [text for text in guests.policy_violations(env.config, changed) if text not in before]
        if not broken:
            return
        text = f"instance {instance.name} would break the instance policy: " + "; ".join(broken)
        if not self.op.ignore_ipolicy:
            raise errors.PrereqError("wrong_input", text, hint="choose other sizes or add --ignore-ipolicy")
        env.warn(text)

    # Devices

    def _converted(self, env: Env, instance: Instance) -> tuple[Disk, ...]:
        op = self.op
        if op.disks or op.pnode or op.disk_template is None:
            raise errors.PrereqError(
                "wrong_input",
                "disks are converted as they are",
                hint="change disks or the primary node in a second step",
            )
        if instance.admin_state is AdminState.UP:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} is marked up", hint="stop it first")
        secondary = env.config.node(op.remote_node) if op.remote_node else None
        if secondary is not None:
            checks.takes_instances(secondary)
        return new_disks.converted(
            env,
            instance,
            op.disk_template,
            driver=op.file_driver,
            directory=op.file_storage_dir,
            secondary=secondary,
        )

    @staticmethod
    async def _check_disks(env: Env, facts: ModifyFacts) -> None:
        """The nodes answer, and there is room."""
        if not (facts.added or facts.removed or facts.attached):
            return
        for uuid in dict.fromkeys((*facts.instance.nodes, *facts.changed.nodes)):
            checks.online(env.config.nodes[uuid], hint="its volumes have to be made or removed there")
        template, wanted = facts.added[0].template.value if facts.added else "", sum(space(d) for d in facts.added)
        for uuid in facts.changed.nodes if facts.added else ():
            name = env.config.nodes[uuid].name
            info = await checks.ask(env, uuid, NodeInfo(templates=(template,)), "ask for free space")
            storage = info.storage.get(template)
            if storage is None:
                why = "; ".join(info.errors) or "it does not say why"
                raise errors.PrereqError("environment_error", f"node {name} has no {template} storage: {why}")
            if storage.free < wanted:
                raise errors.PrereqError(
                    "insufficient_resources",
                    f"not enough {template} storage on node {name}: {wanted} MiB wanted, {storage.free} MiB free",
                )
            await checks.room_in_groups(env, env.config.nodes[uuid], facts.added)

    async def _plugging(self, env: Env, facts: ModifyFacts) -> Plugging | None:
        """None: the running guest stays as it is."""
        op, name = self.op, facts.instance.name
        if facts.instance.disks == facts.changed.disks and facts.instance.nics == facts.changed.nics:
            return None
        problem = ""
        if op.hotplug:
            found = await plugging.running(env, facts.instance)
            if found is None:
                problem = "it is not known which devices it was started with"
            else:
                wanted = plugging.plugged(env.config, found.spec, facts.instance, facts.changed)
                if not plugging.is_needed(found.spec, wanted):
                    return None
                if not found.why_fixed:
                    return Plugging(has=found.spec, wanted=wanted)
                problem = found.why_fixed
            if not op.hotplug_if_possible:
                raise errors.PrereqError(
                    "wrong_state",
                    f"instance {name} is running, and its devices cannot be changed: {problem}",
                    hint="stop it first, or add --no-hotplug: then it gets them with its next start",
                )
        if facts.removed or facts.detached:
            raise errors.PrereqError(
                "wrong_state",
                f"instance {name} is running: the disk to be taken away is in use"
                + (f"; {problem}" if problem else ""),
                hint="stop it first",
            )
        env.warn(f"instance {name} gets its changed devices with its next start" + (f": {problem}" if problem else ""))
        return None

    def _memory(self, config: Config, instance: Instance, guest: Guest | None) -> Memory | None:
        wanted = self.op.runtime_mem
        if wanted is None:
            return None
        if guest is None:
            raise errors.PrereqError(
                "wrong_state", f"instance {instance.name} is not running", hint="-B memory=... is for its next start"
            )
        be = guests.beparams(config, instance)
        if not be["minmem"] <= wanted <= be["maxmem"] and not self.op.force:
            raise errors.PrereqError(
                "wrong_input",
                f"{wanted} MiB are not in {be['minmem']} to {be['maxmem']} MiB, its minmem and maxmem",
                hint="-f sets it all the same",
            )
        return None if guest.memory == wanted else Memory(has=guest.memory, wanted=wanted)

    def _choices(self, env: Env, instance: Instance) -> device_changes.NicChoices:
        node, check = env.config.nodes[instance.primary_node], self.op.conflicts_check

        def new_mac(network: str) -> str:
            return env.new_mac(networking.mac_prefix(env.config, devices.NicSpec(network=network)))

        return device_changes.NicChoices(
            new_nic=lambda spec: networking.new_nic(env, spec, "", node, check=check),
            new_mac=new_mac,
            reserve_mac=env.reserve_mac,
            address=lambda spec: networking.address(env, spec, "", node, check=check),
        )

    # Outcome

    def _told(self, be: Params, hv: Params, osp: os_parameters.Changes) -> tuple[tuple[str, Any], ...]:
        told: list[tuple[str, Any]] = []
        for family, changes in (("hv", hv), ("be", be)):
            told += [(f"{family}/{name}", "default" if new is None else new) for name, new in sorted(changes.items())]
        told += osp.told
        if self.op.os_name:
            told.append(("os", self.op.os_name))
        if self.op.offline is not None:
            told.append(("admin_state", (AdminState.OFFLINE if self.op.offline else AdminState.DOWN).value))
        if self.op.pnode:
            told.append(("pnode", self.op.pnode))
        if self.op.disk_template is not None:
            told.append(("disk_template", self.op.disk_template.value))
        if self.op.runtime_mem is not None:
            told.append(("runtime_memory", self.op.runtime_mem))
        return tuple(told)

    def hooks(self, facts: ModifyFacts, config: Config) -> HookPlan:
        template = self.op.disk_template.value if self.op.disk_template is not None else ""
        memory = hooks.text(facts.memory.wanted) if facts.memory is not None else ""
        return hooks.instance_hooks(config, facts.changed, {"NEW_DISK_TEMPLATE": template, "RUNTIME_MEMORY": memory})

    def plan(self, facts: ModifyFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        node = config.nodes[instance.primary_node]
        steps: list[Step] = []
        if facts.added:
            steps += volumes.create(config, env, facts.changed, only=facts.added)
        if self.op.disk_template is not None:
            steps += mirrors.wait(config, facts.changed)
            steps += volumes.copy(config, env, instance, facts.added)
        steps += detached_disks.give(config, env, facts.changed, facts.attached)
        if instance.disks_active and facts.attached:
            # as if they were down: if it fails they are that again
            down = msgspec.structs.replace(facts.changed, disks_active=False)
            steps += disk_activation.opened(config, env, down, [each.disk for each in facts.attached])
        if not instance.disks_active:
            added = [disk for disk in facts.added if is_mirror(disk)]
            nodes, on_failure = facts.changed.nodes, OnFailure.WARN
            steps += disk_activation.closed(config, env, facts.changed, added, nodes, on_failure=on_failure)
        if facts.plugging is not None:
            steps.append(plugging.step(env, node, facts.plugging.has, facts.plugging.wanted))
        if facts.memory is not None:
            steps.append(_set_memory(env, instance, node, facts.memory))
        title = f"change {instance.name}"
        if facts.changed == instance:
            return steps
        changes: list[Change] = [Put(facts.changed)]
        changes += [Put(detached_disks.record(instance, disk, env.now())) for disk in facts.detached]
        changes += [Delete("disk", each.uuid) for each in facts.attached]
        closing = disk_activation.closed(
            config, env, instance, facts.detached, instance.nodes, on_failure=OnFailure.WARN
        )
        if not facts.removed:
            return [*steps, Commit(title=title, changes=tuple(changes), is_final=True), *closing]
        # From the commit on they belong to nobody: whatever interrupts us, they go.
        recoveries = tuple(volumes.removals(config, env, instance, facts.removed))
        steps.append(Commit(title=title, changes=tuple(changes), recoveries=recoveries))
        return steps + volumes.remove_some(config, env, instance, facts.removed) + closing

    def result(self, facts: ModifyFacts) -> list[list[Any]]:
        return [list(pair) for pair in facts.told]


def _set_memory(env: Env, instance: Instance, node: Node, memory: Memory) -> Effect:
    request = env.new_request()

    def call(size: MiB, undoes: bool) -> InstanceMemory:
        return InstanceMemory(
            name=instance.name,
            uuid=instance.uuid,
            hypervisor=instance.hypervisor,
            memory=size,
            request=env.new_request() if undoes else request,
            undoes=request if undoes else None,
        )

    return Effect(
        title=f"set the memory of {instance.name} to {memory.wanted} MiB",
        node=node.uuid,
        call=call(memory.wanted, False),
        undo=call(memory.has, True),
    )
