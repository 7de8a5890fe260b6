"""OP_BACKUP_EXPORT."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.export import (
    Contents,
    ExportBegin,
    ExportDiscard,
    ExportFinish,
    ExportList,
    ExportRemove,
    FreezeCheck,
    FreezeDisks,
    Freezing,
    FromDisk,
    ThawDisks,
    ToDump,
)
from ganeti.calls.instance import InstanceStart
from ganeti.calls.os import OsDiagnose
from ganeti.hypervisor import parameters
from ganeti.logic import checks, guests, hooks, os_definitions, starting, stopping, streaming, volumes
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.instance_remove import InstanceRemove, RemoveFacts
from ganeti.logic.steps import Effect, OnFailure, Parallel, Record, Step
from ganeti.model import export_ini, params
from ganeti.model.config import Config
from ganeti.model.disks import snapshot_of
from ganeti.model.jobs import Resolve
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, Disk, Instance, Nic, Node
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.backup import OpBackupExport
from ganeti.ops.instance import OpInstanceRemove


class Way(enum.Enum):
    """How the disks stay as they are while they are read."""

    IDLE = "idle"  # the instance does not run
    STOPPED = "stopped"  # it is stopped, and started again at the end if it shall run
    KEPT_RUNNING = "kept running"  # their content is kept while it runs
    KEPT_STOPPED = "kept stopped"  # it is stopped, their content is kept, it is started again
    KEPT_STARTING = "kept starting"  # it is stopped, started paused, their content is kept, it goes on


class ExportFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    target: Node
    contents: Contents
    way: Way
    by_hypervisor: bool = False
    indices: tuple[int, ...] = ()  # of the disks that are exported
    older: tuple[Uuid, ...] = ()  # other nodes with an export of it
    removal: RemoveFacts | None = None

    @property
    def is_restarted(self) -> bool:
        return self.removal is None and self.instance.admin_state is AdminState.UP


@implements(OpBackupExport)
class BackupExport(LogicalUnit[OpBackupExport, ExportFacts]):
    """What is half-way is taken back: no snapshot and no half export stays, and the instance runs if it did."""

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        target = config.node(self.op.target_node)
        if self.op.remove_instance:
            return LockPlan.of(
                instances=exclusive(instance.uuid),
                nodes=shared(*instance.nodes, target.uuid),
                node_res=exclusive(*instance.nodes) if instance.disks else None,
            )
        return LockPlan.of(
            instances=exclusive(instance.uuid),
            nodes=shared(*instance.nodes, target.uuid),
            node_res=shared(*instance.nodes) if instance.disks else None,
        )

    def _removal(self) -> InstanceRemove:
        op = self.op
        return InstanceRemove(
            OpInstanceRemove(
                instance_name=op.instance_name,
                ignore_failures=op.ignore_remove_failures,
                shutdown_timeout=op.shutdown_timeout,
            )
        )

    async def check(self, env: Env) -> ExportFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        self._check_wishes(instance)
        checks.not_blocked(instance)
        primary, target = config.nodes[instance.primary_node], config.node(op.target_node)
        for node in (primary, target):
            checks.online(node)
        if target.drained:
            raise errors.PrereqError("wrong_state", f"node {target.name} is drained: it takes no exports")
        indices = tuple(index for index, disk in enumerate(instance.disks) if disk.exportable)
        skipped = [str(index) for index in range(len(instance.disks)) if index not in indices]
        if not indices:
            raise errors.PrereqError("wrong_state", f"instance {instance.name} has no disk that can be exported")
        if skipped:
            env.warn(f"not exported, because they are marked so: disk {', '.join(skipped)}")
        contents = await self._contents(env, instance)
        found = await streaming.check_compression(env, op.compress, primary, target)
        wanted = sum(instance.disks[index].size for index in indices)
        if found.export_free < wanted:
            env.warn(
                f"node {target.name} has {found.export_free} MiB for exports, the disks have {wanted} MiB:"
                " it may be too little"
            )
        facts = await self._way(env, instance, target, contents, indices)
        removal = await self._removal().check(env) if op.remove_instance else None
        return msgspec.structs.replace(facts, older=await self._older(env, instance, target), removal=removal)

    def _check_wishes(self, instance: Instance) -> None:
        op = self.op
        if op.mode != "local":
            raise errors.PrereqError("wrong_input", "exports to other clusters are not available in this version")
        if op.zero_free_space:
            raise errors.PrereqError(
                "wrong_input",
                "free space is not filled with zeros in this version",
                hint="use fstrim in the guest: what it gives back is not sent",
            )
        if op.ignore_remove_failures and not op.remove_instance:
            raise errors.PrereqError("wrong_input", "--ignore-remove-failures is for --remove-instance only")
        if op.remove_instance and not op.shutdown:
            raise errors.PrereqError(
                "wrong_input", "an instance that is removed after its export has to be shut down before it"
            )
        if instance.name.endswith(".new"):
            raise errors.PrereqError("wrong_input", "an instance whose name ends in .new cannot be exported")

    async def _contents(self, env: Env, instance: Instance) -> Contents:
        if self.op.os_mode == "raw" or not instance.os:
            return streaming.contents(None, instance.os, self.op.os_mode, "export")
        definitions = await checks.ask(env, instance.primary_node, OsDiagnose(), "ask for OS definitions")
        found = os_definitions.first_by_name(definitions, instance.os.partition("+")[0])
        contents = streaming.contents(found, instance.os, self.op.os_mode, "export")
        if contents is Contents.SCRIPT:
            node = env.config.nodes[instance.primary_node].name
            os_definitions.installable(definitions, instance.os, instance.hypervisor, node, force_variant=True)
        elif found is not None and self.op.os_mode == "auto":
            env.report(f"OS {found.name} has no scripts for exports: whole disks are exported")
        return contents

    async def _way(
        self, env: Env, instance: Instance, target: Node, contents: Contents, indices: tuple[int, ...]
    ) -> ExportFacts:
        facts = ExportFacts(instance=instance, target=target, contents=contents, way=Way.IDLE, indices=indices)
        if await checks.guest(env, instance) is None:
            return facts
        if self.op.remove_instance:
            return msgspec.structs.replace(facts, way=Way.STOPPED)
        if self.op.shutdown and instance.admin_state is not AdminState.UP:
            return msgspec.structs.replace(facts, way=Way.STOPPED)
        question = FreezeCheck(spec=guests.guest_spec(env.config, instance), is_running=not self.op.shutdown)
        ways = await checks.ask(env, instance.primary_node, question, "ask how its disks can be kept as they are")
        wanted = {ways[index] for index in indices}
        if wanted == {Freezing.AT_ONCE}:
            way = Way.KEPT_STOPPED if self.op.shutdown else Way.KEPT_RUNNING
            if way is Way.KEPT_RUNNING and len(indices) > 1:
                env.warn("the disks are kept one right after the other, not all at the same moment")
            return msgspec.structs.replace(facts, way=way)
        if not wanted & {Freezing.NONE, Freezing.NO_ROOM}:
            way = Way.KEPT_STARTING if self.op.shutdown else Way.KEPT_RUNNING
            return msgspec.structs.replace(facts, way=way, by_hypervisor=True)
        if self.op.shutdown and self.op.long_sleep:
            return msgspec.structs.replace(facts, way=Way.STOPPED)
        if Freezing.NO_ROOM in wanted:
            full = ", ".join(str(index) for index in indices if ways[index] is Freezing.NO_ROOM)
            raise errors.PrereqError(
                "insufficient_resources",
                f"there is no room beside disk {full} of {instance.name} to keep what it holds while the instance runs",
                hint="make room, stop it before, or let it be down for the whole export with --long-sleep",
            )
        raise errors.PrereqError(
            "wrong_state",
            f"the disks of {instance.name} cannot be kept as they are while it runs: neither its storage nor hypervisor"
            f" {instance.hypervisor} can do that",
            hint="stop it before, or let it be down for the whole export with --long-sleep",
        )

    async def _older(self, env: Env, instance: Instance, target: Node) -> tuple[Uuid, ...]:
        nodes = [node.uuid for node in env.config.online_nodes if node.uuid != target.uuid]
        answers = await env.rpc.many(nodes, ExportList())
        silent = [env.config.nodes[node].name for node, names in answers.items() if isinstance(names, errors.RpcError)]
        if silent:
            env.warn(f"an older export is not looked for on nodes that do not answer: {', '.join(sorted(silent))}")
        return tuple(
            node for node, names in answers.items() if not isinstance(names, errors.RpcError) and instance.name in names
        )

    def hooks(self, facts: ExportFacts, config: Config) -> HookPlan:
        op = self.op
        extra = {
            "EXPORT_MODE": op.mode,
            "EXPORT_NODE": facts.target.name,
            "EXPORT_DO_SHUTDOWN": hooks.text(op.shutdown),
            "REMOVE_INSTANCE": hooks.text(op.remove_instance),
            "SHUTDOWN_TIMEOUT": hooks.text(op.shutdown_timeout),
        }
        nodes = (config.cluster.master_node, facts.instance.primary_node, facts.target.uuid)
        unique = tuple(dict.fromkeys(nodes))
        return HookPlan(environment=hooks.instance_environment(config, facts.instance) | extra, pre=unique, post=unique)

    def plan(self, facts: ExportFacts, env: Env) -> Sequence[Step]:
        snapshots: dict[int, Disk] = {}
        if facts.way in (Way.KEPT_RUNNING, Way.KEPT_STOPPED, Way.KEPT_STARTING):
            snapshots = {index: snapshot_of(facts.instance.disks[index], env.new_uuid()) for index in facts.indices}
        export = self._export(facts, env, snapshots)
        stop = stopping.stop(env, env.config, facts.instance, self.op.shutdown_timeout, OnFailure.UNDO)
        steps: list[Step] = []
        match facts.way:
            case Way.IDLE:
                steps += export
            case Way.STOPPED if facts.is_restarted:
                steps += starting.steps(env.config, env, facts.instance, before=(stop, *export))
            case Way.STOPPED if facts.instance.admin_state is AdminState.UP:
                # it is going to be removed; until then it shall run if something fails
                steps += [Record(resolve=self._restart(facts.instance, env.new_request())), stop, *export]
            case Way.STOPPED:
                steps += [stop, *export]
            case Way.KEPT_RUNNING:
                steps += [self._freeze(facts, env, snapshots), *export]
            case Way.KEPT_STOPPED:
                before = (stop, self._freeze(facts, env, snapshots))
                steps += [*starting.steps(env.config, env, facts.instance, before=before), *export]
            case Way.KEPT_STARTING:
                steps += [*self._start_freezing(facts, env, stop, snapshots), *export]
        if snapshots:
            steps.append(self._thaw(facts, env, snapshots))
        if facts.way is Way.IDLE or (facts.way is Way.STOPPED and not facts.is_restarted):
            steps += volumes.close_all(env.config, env, facts.instance)
        steps += self._remove_older(facts, env)
        if facts.removal is not None:
            steps += self._removal().plan(facts.removal, env)
        return steps

    def _export(self, facts: ExportFacts, env: Env, snapshots: dict[int, Disk]) -> list[Step]:
        instance, target, name = facts.instance, facts.target, facts.instance.name
        begin = ExportBegin(export=name, token=env.new_request(), request=env.new_request())
        discard = ExportDiscard(export=name, token=begin.token, request=env.new_request(), undoes=begin.request)
        steps: list[Step] = [
            Effect(
                title=f"make a place for the export of {name} on {target.name}",
                node=target.uuid,
                call=begin,
                undo=discard,
            )
        ]
        spec = guests.script_spec(env.config, instance)
        for index in facts.indices:
            steps += streaming.steps(
                env,
                title=f"disk {index} of {name}",
                sender=env.config.nodes[instance.primary_node],
                receiver=target,
                source=FromDisk(
                    spec=spec,
                    index=index,
                    contents=facts.contents,
                    snapshot=snapshots.get(index),
                    debug=self.op.debug_level,
                ),
                into=ToDump(export=name, token=begin.token, file=_file(instance.disks[index]), index=index),
                compress=self.op.compress,
            )
        finish = ExportFinish(
            export=name,
            token=begin.token,
            text=export_ini.write(_described(env.config, facts, timestamp=int(env.now()))),
            files=tuple((index, _file(instance.disks[index])) for index in facts.indices),
            request=env.new_request(),
        )
        steps.append(Effect(title=f"put the export of {name} in its place", node=target.uuid, call=finish))
        return steps

    def _freeze(self, facts: ExportFacts, env: Env, snapshots: dict[int, Disk], *, resume: bool = False) -> Effect:
        freeze = FreezeDisks(
            spec=guests.guest_spec(env.config, facts.instance),
            snapshots=tuple(snapshots.items()),
            by_hypervisor=facts.by_hypervisor,
            resume=resume,
            request=env.new_request(),
        )
        undo = self._thaw_call(facts, env, snapshots, resume=resume, back=freeze.request)
        return Effect(
            title=f"keep the disks of {facts.instance.name} as they are now",
            node=facts.instance.primary_node,
            call=freeze,
            undo=undo,
        )

    @staticmethod
    def _thaw_call(
        facts: ExportFacts,
        env: Env,
        snapshots: dict[int, Disk],
        *,
        resume: bool = False,
        back: RequestId | None = None,
    ) -> ThawDisks:
        """`back`: the call that it takes back."""
        return ThawDisks(
            spec=guests.guest_spec(env.config, facts.instance),
            snapshots=tuple(snapshots.items()),
            resume=resume,
            request=env.new_request(),
            undoes=back,
        )

    def _thaw(self, facts: ExportFacts, env: Env, snapshots: dict[int, Disk]) -> Effect:
        return Effect(
            title=f"remove what was kept of the disks of {facts.instance.name}",
            node=facts.instance.primary_node,
            call=self._thaw_call(facts, env, snapshots),
            on_failure=OnFailure.OWE,
        )

    def _start_freezing(self, facts: ExportFacts, env: Env, stop: Effect, snapshots: dict[int, Disk]) -> list[Step]:
        """The moment that is kept is the first one of the guest's new life."""
        instance, node = facts.instance, facts.instance.primary_node
        spec = guests.guest_spec(env.config, instance)
        start = InstanceStart(spec=spec, paused=True, request=env.new_request())
        go_on = self._thaw_call(facts, env, {}, resume=True, back=start.request)
        return [
            Record(resolve=self._restart(instance, start.request)),
            stop,
            Effect(
                title=f"start {instance.name} on {env.config.nodes[node].name}, paused",
                node=node,
                call=start,
                undo=go_on,
            ),
            self._freeze(facts, env, snapshots, resume=True),
        ]

    @staticmethod
    def _restart(instance: Instance, request: RequestId) -> Resolve:
        return Resolve(
            procedure=starting.PROCEDURE,
            arguments={"instance": instance.uuid, "request": request, "hv": {}, "be": {}, "paused": False},
            title=f"start of {instance.name}",
        )

    @staticmethod
    def _remove_older(facts: ExportFacts, env: Env) -> list[Step]:
        name = facts.instance.name
        effects = tuple(
            Effect(
                title=f"remove the older export of {name} from {env.config.nodes[node].name}",
                node=node,
                call=ExportRemove(export=name, request=env.new_request()),
                on_failure=OnFailure.OWE,
            )
            for node in facts.older
        )
        return [Parallel(effects=effects)] if effects else []

    def result(self, facts: ExportFacts) -> list[object]:
        return [True, [index in facts.indices for index in range(len(facts.instance.disks))]]

    def dry_result(self, facts: ExportFacts) -> list[object]:
        return self.result(facts)


def _file(disk: Disk) -> str:
    return str(disk.uuid)


def _network(config: Config, nic: Nic) -> str:
    found = config.networks.get(nic.network) if nic.network is not None else None
    return found.name if found is not None else ""


def _described(config: Config, facts: ExportFacts, *, timestamp: int) -> export_ini.Exported:
    instance = facts.instance
    hv = guests.hvparams(config, instance)
    nics = zip(instance.nics, guests.nicparams(config, instance), strict=True)
    return export_ini.Exported(
        name=instance.name,
        timestamp=timestamp,
        source=config.nodes[instance.primary_node].name,
        os=instance.os,
        contents=facts.contents.value,
        hypervisor=instance.hypervisor,
        template=instance.disk_template,
        tags=instance.tags,
        nics=tuple(
            export_ini.ExportedNic(mac=nic.mac, ip=nic.ip, name=nic.name, network=_network(config, nic), params=filled)
            for nic, filled in nics
        ),
        disks=tuple(
            export_ini.ExportedDisk(
                size=disk.size,
                name=disk.name,
                mode=disk.mode.value,
                dump=_file(disk) if index in facts.indices else "",
            )
            for index, disk in enumerate(instance.disks)
        ),
        hvparams={name: value for name, value in hv.items() if name not in parameters.GLOBAL},
        beparams=guests.beparams(config, instance),
        osparams=guests.guest_spec(config, instance).osparams,
        osparams_private=params.filled_private_os(config, instance.os, instance.osparams_private),
    )
