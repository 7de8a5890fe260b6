"""OP_INSTANCE_RECREATE_DISKS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.base import decode as decode_call
from ganeti.calls.volume import VolumeInfo, VolumeRemove
from ganeti.logic import checks, devices, freshness, hooks, mirrors, new_volumes, owing, placement, volumes
from ganeti.logic.allocation import Allocate, NewDisk
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, Step
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.disks import Mirror, grown, is_mirror
from ganeti.model.jobs import Undo
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Disk, Instance, Node, Put
from ganeti.ops.disks import OpInstanceRecreateDisks

_KEYS = ("size", "mode")


class RecreateFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    changed: Instance  # as it is to be recorded
    disks: tuple[Disk, ...]  # of `changed`, that are made
    kept: tuple[Undo, ...] = ()  # removals of old volumes, where the new ones are made


@implements(OpInstanceRecreateDisks)
class RecreateDisks(LogicalUnit[OpInstanceRecreateDisks, RecreateFacts]):
    """Only what is gone is made: a disk that is still there on a node of the instance is refused, and so are other
    nodes while a half of a mirror is good, or cannot be asked."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        if self.op.iallocator:
            return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(ALL), node_res=shared(ALL))
        nodes = (*instance.nodes, *(config.node(name).uuid for name in self.op.nodes))
        return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(*nodes), node_res=exclusive(*nodes))

    async def check(self, env: Env) -> RecreateFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        checks.not_blocked(instance)
        if not instance.disks:
            raise errors.PrereqError("wrong_input", f"instance {instance.name} has no disks")
        if instance.admin_state is AdminState.UP:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} is marked up", hint="stop it first")
        wanted = self._wanted(instance)
        kept = owing.kept(env, instance)
        if kept and not op.drop_old_volumes:
            raise errors.PrereqError(
                "wrong_state",
                f"old volumes of {instance.name} are kept that may be the only good copy of its data: "
                + "; ".join(owing.where(config, undo) for undo in kept),
                hint="copy from them what is needed; add --drop-old-volumes to give them up",
            )
        if op.nodes and op.iallocator:
            raise errors.PrereqError("wrong_input", "both nodes and an allocator were given", hint="give one of them")
        if op.nodes or op.iallocator:
            if len(wanted) != len(instance.disks):
                raise errors.PrereqError("wrong_input", "on other nodes all disks are made anew, none is chosen")
            nodes = await self._nodes(env, instance)
        else:
            nodes = tuple(config.nodes[uuid] for uuid in instance.nodes)
            for node in nodes:
                checks.online(node, hint="say where else they shall be made: -n NODE")
        if instance.primary_node in (node.uuid for node in nodes) and await checks.guest(env, instance) is not None:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} is running", hint="stop it first")
        is_external = instance.disks[0].template in devices.EXTERNAL
        known = [node for node in nodes if is_external or node.uuid in instance.nodes]
        await self._check_gone(env, instance, [instance.disks[index] for index in wanted], known)
        left = [config.nodes[uuid] for uuid in instance.nodes if uuid not in {node.uuid for node in nodes}]
        await self._check_left(env, instance, left)
        changed = self._changed(env, instance, wanted, nodes)
        return RecreateFacts(
            instance=instance,
            changed=changed,
            disks=tuple(changed.disks[index] for index in wanted),
            kept=tuple(undo for undo in kept if undo.node in changed.nodes),
        )

    def _wanted(self, instance: Instance) -> dict[int, Mapping[str, Any]]:
        """By index; all disks when none is named. Any: JSON."""
        found: dict[int, Mapping[str, Any]] = {}
        for untrusted in self.op.disks:
            index, values = (
                untrusted if isinstance(untrusted, list | tuple) and len(untrusted) == 2 else (untrusted, {})
            )
            if isinstance(index, bool) or not isinstance(index, int) or not isinstance(values, Mapping):
                raise errors.PrereqError(
                    "wrong_input", f"{untrusted!r} is no disk to be made anew", hint="write N or [N, {key: value}]"
                )
            unknown = sorted(set(values) - set(_KEYS))
            if unknown:
                raise errors.PrereqError(
                    "wrong_input", f"disk {index}: {unknown[0]!r} cannot be changed", hint="only " + ", ".join(_KEYS)
                )
            if not 0 <= index < len(instance.disks):
                raise errors.PrereqError(
                    "wrong_input", f"there is no disk {index}", hint=f"it has disks 0 to {len(instance.disks) - 1}"
                )
            if index in found:
                raise errors.PrereqError("wrong_input", f"disk {index} is given twice")
            found[index] = values
        return found or {index: {} for index in range(len(instance.disks))}

    async def _nodes(self, env: Env, instance: Instance) -> tuple[Node, ...]:
        op, config = self.op, env.config
        count = len(instance.nodes)
        if op.nodes:
            if len(op.nodes) != count:
                raise errors.PrereqError(
                    "wrong_input", f"{len(op.nodes)} nodes were given, instance {instance.name} needs {count}"
                )
            nodes = tuple(config.node(name) for name in op.nodes)
        else:
            be = params.filled_be(config, instance.beparams)
            request = Allocate(
                name=instance.name,
                hypervisor=instance.hypervisor,
                template=instance.disks[0].template,
                memory=be["maxmem"],
                vcpus=be["vcpus"],
                spindle_use=be["spindle_use"],
                disks=tuple(NewDisk(size=disk.size, mode=disk.mode) for disk in instance.disks),
                tags=instance.tags,
                os=instance.os,
            )
            answer = await env.allocate(request, placement.named(config, op.iallocator))
            nodes = tuple(env.config.nodes[uuid] for uuid in answer.nodes)
            env.report("chose node " + " and ".join(node.name for node in nodes))
        if len({node.uuid for node in nodes}) != count:
            raise errors.PrereqError("wrong_input", "the two halves of a mirror need two nodes")
        for node in nodes:
            checks.takes_instances(node)
        return nodes

    @staticmethod
    async def _check_gone(env: Env, instance: Instance, disks: Sequence[Disk], nodes: Sequence[Node]) -> None:
        """What is there would be taken for new: kept, overwritten from the other node, or removed with the rest when
        something fails."""
        for disk in disks:
            index = instance.disks.index(disk)
            # data without their metadata may be the last copy
            asked = disk.children[0] if is_mirror(disk) else disk
            for node in nodes:
                question = VolumeInfo(disk=asked, owner=instance.uuid)
                try:
                    found = await env.rpc.one(node.uuid, question)
                except errors.RpcError as err:
                    raise errors.PrereqError(
                        "environment_error", f"cannot look at disk {index} of {instance.name}: {err}"
                    ) from err
                if found.exists:
                    mends = f"; gnt-instance replace-disks -s {instance.name} mends a mirror" if is_mirror(disk) else ""
                    hint = f"to give it up name nodes that have none of it with -n{mends}"
                    raise errors.PrereqError(
                        "wrong_state", f"disk {index} of {instance.name} is there on node {node.name}", hint=hint
                    )

    async def _check_left(self, env: Env, instance: Instance, nodes: Sequence[Node]) -> None:
        """Halves on nodes that it leaves are removed: one that is good, or may be, is all that there is."""
        found = []
        for node in nodes:
            disks = mirrors.of(instance)
            for disk, half in zip(disks, await freshness.halves(env, disks, instance.uuid, node), strict=True):
                name = f"the half of disk {instance.disks.index(disk)} on {node.name}"
                if half.generation is not None:
                    found += [(node, f"{name} is good")] if half.generation.is_consistent else []
                elif await self._may_be_there(env, instance, disk, node):
                    found.append((node, f"whether {name} is good is not known: {half.problem}"))
        if not found:
            return
        text = "; ".join(why for _, why in found)
        if self.op.drop_old_volumes:
            env.warn(f"given up: {text}")
            return
        name = instance.name
        leads = any(node.uuid == instance.primary_node for node, _ in found)
        first = "" if leads else f"gnt-instance failover --ignore-consistency {name} lets it lead, then "
        raise errors.PrereqError(
            "wrong_state",
            f"on other nodes {name} would get new, empty disks, and lose what it has: {text}",
            hint=f"{first}gnt-instance replace-disks -n NODE {name} makes another half from it;"
            " --drop-old-volumes gives it up",
        )

    @staticmethod
    async def _may_be_there(env: Env, instance: Instance, disk: Disk, node: Node) -> bool:
        """The data, of which the metadata cannot be read."""
        try:
            return (await env.rpc.one(node.uuid, VolumeInfo(disk=disk.children[0], owner=instance.uuid))).exists
        except errors.RpcError:
            return True

    @staticmethod
    def _changed(
        env: Env, instance: Instance, wanted: Mapping[int, Mapping[str, Any]], nodes: Sequence[Node]
    ) -> Instance:
        places = tuple(node.uuid for node in nodes)
        made = []
        for index, disk in enumerate(instance.disks):
            values = wanted.get(index, {})
            new = disk
            if "size" in values:
                new = grown(new, devices.size(values["size"], f"disk {index}"))
                if is_mirror(new):
                    new_volumes.check_size(new.size)
            if "mode" in values:
                new = msgspec.structs.replace(new, mode=devices.disk_mode(values["mode"], f"disk {index}"))
            if is_mirror(disk) and places != instance.nodes:
                old = Mirror.of(disk)
                ends = (places[0], places[1])
                minors = (env.new_minor(ends[0]), env.new_minor(ends[1]))
                moved = msgspec.structs.replace(old, nodes=ends, minors=minors)
                new = msgspec.structs.replace(new, logical_id=moved.logical_id)
            made.append(new)
        return msgspec.structs.replace(instance, primary_node=places[0], disks=tuple(made), disks_active=False)

    def hooks(self, facts: RecreateFacts, config: Config) -> HookPlan:
        return hooks.instance_hooks(config, facts.instance, {})

    @staticmethod
    def _dropped(env: Env, undo: Undo) -> Effect:
        """Other volumes are called so from now on; as a debt it is dropped once the configuration says that."""
        call = decode_call(undo.call)
        assert isinstance(call, VolumeRemove)
        now = VolumeRemove(disk=call.disk, owner=call.owner, request=env.new_request())
        return Effect(title=owing.where(env.config, undo), node=undo.node, call=now)

    def plan(self, facts: RecreateFacts, env: Env) -> Sequence[Step]:
        config, instance, changed = env.config, facts.instance, facts.changed
        gone = [uuid for uuid in instance.nodes if uuid not in changed.nodes]
        debts = (
            [undo for undo in volumes.removals(config, env, instance, instance.disks) if undo.node in gone]
            if instance.disks[0].template not in devices.EXTERNAL
            else []
        )
        return [
            *(self._dropped(env, undo) for undo in facts.kept),
            *volumes.create(config, env, changed, only=facts.disks),
            *mirrors.wait(config, changed, disks=facts.disks),
            *volumes.close_all(config, env, changed),
            Commit(
                title=f"record the new disks of {instance.name}",
                changes=(Put(changed),),
                debts=tuple(debts),
                is_final=True,
            ),
        ]
