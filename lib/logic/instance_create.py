"""OP_INSTANCE_CREATE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors, settings
from ganeti.calls.adoption import Candidate
from ganeti.calls.export import FromDump, ToDisk
from ganeti.calls.node import NodeInfo
from ganeti.calls.os import OsCreate, OsStop
from ganeti.hypervisor import parameters
from ganeti.logic import (
    adoption,
    capacity,
    checks,
    devices,
    guests,
    helpers,
    hooks,
    importing,
    mirrors,
    networking,
    new_volumes,
    os_parameters,
    placement,
    starting,
    streaming,
    volumes,
)
from ganeti.logic.allocation import Allocate, NewDisk, NewNic
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, Release, Step
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.locks import ALL, Level, LockPlan, exclusive, new_name, shared
from ganeti.model.objects import AdminState, Disk, DiskTemplate, Instance, Node, Params, Put
from ganeti.model.types import MiB, Uuid
from ganeti.ops.instance import OpInstanceCreate


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The request, typed and checked as far as the configuration alone can tell."""

    name: str
    template: DiskTemplate
    hypervisor: str
    hvparams: Params
    beparams: Params
    disks: tuple[devices.DiskSpec, ...]
    nics: tuple[devices.NicSpec, ...]
    tags: tuple[str, ...]
    file_driver: str


class CreateFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance  # as it is added when it is not started
    nodes: tuple[str, ...]  # names, primary first
    is_installed: bool  # the create script shall run
    is_started: bool
    source: importing.Source | None = None  # it is imported from there
    adopted: tuple[Candidate, ...] = ()  # what is there and becomes its disks, in their order


@implements(OpInstanceCreate)
class InstanceCreate(LogicalUnit[OpInstanceCreate, CreateFacts]):
    """Nothing of it stays when it fails before the instance is in the configuration.

    A start that fails is an error, but the instance stays, marked up: the watcher tries again.
    """

    def locks(self, config: Config) -> LockPlan:
        op = self.op
        one_by_one = (adoption.DEVICES_LOCK,) if self._template(config) in devices.EXISTING else ()
        name = exclusive(new_name(op.instance_name), *one_by_one)
        # an import may get its template from the export, and the networks of its NICs
        is_import = op.mode == "import"
        networks = shared(ALL) if is_import and op.nics is None else shared(*networking.locked(config, op.nics or ()))
        has_disks = (op.disk_template if is_import else self._template(config)) is not DiskTemplate.DISKLESS
        if not op.pnode:
            # only named locks can be taken one by one
            every = shared(*config.nodes) if op.opportunistic_locking else shared(ALL)
            optional = (Level.NODE, Level.NODE_RES) if op.opportunistic_locking else ()
            return LockPlan.of(
                instances=name,
                nodes=every,
                node_res=every if has_disks else None,
                networks=networks,
                optional=optional,
            )
        nodes = [config.node(each).uuid for each in (op.pnode, op.snode) if each]
        resources = exclusive(*nodes) if has_disks else None
        held = shared(*nodes)
        if is_import:
            held = shared(*nodes, config.node(op.src_node).uuid) if op.src_node else shared(ALL)
        return LockPlan.of(instances=name, nodes=held, node_res=resources, networks=networks)

    def _template(self, config: Config) -> DiskTemplate:
        enabled = config.cluster.enabled_disk_templates
        return self.op.disk_template or (enabled[0] if enabled else DiskTemplate.DISKLESS)

    async def check(self, env: Env) -> CreateFacts:
        op = self.op
        if op.mode != "import":
            return await self._check(env)
        if op.no_install or op.force_variant:
            raise errors.PrereqError("wrong_input", "an import has no installation that could be told to differ")
        if devices.adopts(op.disks):
            raise errors.PrereqError("wrong_input", "an import writes to its disks: it adopts none")
        source = await importing.find(env, op)
        importing.check(source)
        full = importing.filled(op, source.exported, env.config)
        facts = await InstanceCreate(full)._check(env)
        node = env.config.nodes[facts.instance.primary_node]
        contents = await importing.contents(env, node, full, source.exported)
        source = msgspec.structs.replace(source, contents=contents)
        importing.check_sizes(source, facts.instance.disks)
        await streaming.check_compression(env, op.compress, source.node, node)
        return msgspec.structs.replace(facts, is_installed=False, source=source)

    async def _check(self, env: Env) -> CreateFacts:
        op = self.op
        wanted = self._wanted(env.config)
        allocator = placement.allocator(env.config, op.pnode, op.iallocator)
        if op.opportunistic_locking and not allocator:
            raise errors.PrereqError("wrong_input", "opportunistic locking needs an allocator that chooses the node")
        wanted, address = await self._resolved(env, wanted)
        be = params.filled_be(env.config, wanted.beparams)
        params.check_be(be)
        adopted: tuple[Candidate, ...] = ()
        if devices.adopts(op.disks):
            adopted = await adoption.find(env, env.config.node(op.pnode), wanted.template, wanted.disks)
            wanted = msgspec.structs.replace(wanted, disks=adoption.measured(wanted.disks, adopted))
            env.report("what is adopted stays as it is: no operating system is installed")
        # what is adopted takes no more space than it does now
        space = 0 if adopted else capacity.space(wanted.template, (disk.size for disk in wanted.disks))
        if allocator:
            answer = await env.allocate(self.allocation(env, wanted), allocator)
            nodes = tuple(env.config.nodes[uuid] for uuid in answer.nodes)
            env.report("chose node " + " and ".join(node.name for node in nodes))
        else:
            nodes = self._nodes(env, wanted)
        node, secondary = nodes[0], nodes[1] if len(nodes) > 1 else None
        instance = self._instance(env, wanted, node, secondary, address)
        self._check_policy(env, instance)
        await self._check_node(env, instance, node, be["maxmem"] if not allocator else None, space)
        if secondary is not None:
            await self._check_room(env, instance, secondary, None, space)
        if not adopted:
            for each in nodes:
                await checks.room_in_groups(env, each, instance.disks)
        return CreateFacts(
            instance=instance,
            nodes=tuple(each.name for each in nodes),
            is_installed=bool(instance.disks) and not op.no_install and not adopted,
            is_started=self._starts,
            adopted=adopted,
        )

    def _nodes(self, env: Env, wanted: Wanted) -> tuple[Node, ...]:
        """As they were given: the primary, and of a mirrored instance the secondary."""
        op, config = self.op, env.config
        node = config.node(op.pnode)
        checks.takes_instances(node)
        if wanted.template is not DiskTemplate.DRBD:
            if op.snode:
                env.warn(f"the secondary node is not used: disk template {wanted.template.value} is not mirrored")
            return (node,)
        if not op.snode:
            raise errors.PrereqError(
                "wrong_input", "disk template drbd needs a secondary node too", hint="write -n PRIMARY:SECONDARY"
            )
        secondary = config.node(op.snode)
        if secondary.uuid == node.uuid:
            raise errors.PrereqError("wrong_input", f"node {node.name} cannot be the secondary of itself")
        checks.takes_instances(secondary)
        return (node, secondary)

    def asked(self, env: Env) -> Allocate:
        """As `allocation`, of a creation whose check comes later. Raises PrereqError."""
        return self.allocation(env, self._wanted(env.config))

    def allocation(self, env: Env, wanted: Wanted) -> Allocate:
        """What an allocator is asked."""
        op, config = self.op, env.config
        be = params.filled_be(config, wanted.beparams)
        nics = [(nic, params.filled_nic(config, nic.params)) for nic in wanted.nics]
        unusable = self._locked_by_others(env, wanted.template) | networking.without(config, wanted.nics)
        return Allocate(
            name=wanted.name,
            hypervisor=wanted.hypervisor,
            template=wanted.template,
            memory=be["maxmem"],
            vcpus=be["vcpus"],
            spindle_use=be["spindle_use"],
            disks=tuple(NewDisk(size=disk.size, mode=disk.mode) for disk in wanted.disks),
            nics=tuple(
                NewNic(
                    mac=nic.mac,
                    ip=None if nic.ip in ("auto", networking.FROM_POOL) else nic.ip,
                    mode=filled["mode"],
                    link=filled["link"],
                    network=Uuid(nic.network) if nic.network else None,
                )
                for nic, filled in nics
            ),
            tags=wanted.tags,
            os=op.os_type,
            group=config.group(op.group_name).uuid if op.group_name else None,
            restrict_to=tuple(node for node in config.nodes if node not in unusable) if unusable else None,
            ignore_ipolicy=op.ignore_ipolicy,
        )

    @staticmethod
    def _locked_by_others(env: Env, template: DiskTemplate) -> frozenset[Uuid]:
        """Nodes that are not to be chosen from; none unless locks were taken opportunistically."""
        levels = [Level.NODE] if template is DiskTemplate.DISKLESS else [Level.NODE, Level.NODE_RES]
        held = [env.held(level) for level in levels]
        taken = frozenset(uuid for uuid in env.config.nodes if not all(ALL in names or uuid in names for names in held))
        if len(taken) == len(env.config.nodes):
            raise errors.PrereqError(
                "temp_insufficient_resources",
                "other jobs have locked all nodes",
                hint="try again, or leave out --opportunistic-locking to wait for them",
            )
        return taken

    @property
    def _starts(self) -> bool:
        # there is nothing to boot on disks that nobody filled
        return self.op.start and (not self.op.no_install or devices.adopts(self.op.disks))

    def _wanted(self, config: Config) -> Wanted:
        op = self.op
        if op.mode == "remote-import":
            raise errors.PrereqError("wrong_input", "imports from other clusters are not available in this version")
        adopts = devices.adopts(op.disks)
        if adopts and not op.pnode:
            raise errors.PrereqError(
                "wrong_input", "the node that holds what shall be adopted was not given", hint="add -n NODE"
            )
        if not op.os_type and not op.no_install and not adopts and op.mode == "create":
            raise errors.PrereqError("wrong_input", "no operating system was given", hint="add -o OS or --no-install")
        name = checks.host_name(op.instance_name)
        self._is_free(config, name)
        template = self._template(config)
        devices.available(template, config.cluster)
        if op.file_storage_dir and template not in devices.FILE_TEMPLATES:
            raise errors.PrereqError(
                "wrong_input", f"disk template {template.value} does not lie in a file storage directory"
            )
        untrusted_nics = ({},) if op.nics is None else op.nics
        hypervisor = op.hypervisor or config.cluster.enabled_hypervisors[0]
        if hypervisor not in config.cluster.enabled_hypervisors:
            raise errors.PrereqError(
                "wrong_input",
                f"hypervisor {hypervisor!r} is not enabled on this cluster",
                hint="enabled are " + ", ".join(config.cluster.enabled_hypervisors),
            )
        return Wanted(
            name=name,
            template=template,
            hypervisor=hypervisor,
            hvparams=params.merged({}, guests.parse_hv(hypervisor, op.hvparams)),
            beparams=params.merged({}, params.parse_be(op.beparams)),
            disks=devices.disks(op.disks, template),
            nics=devices.nics(untrusted_nics, config),
            tags=checks.tags(op.tags),
            file_driver=devices.file_driver(op.file_driver),
        )

    @staticmethod
    def _is_free(config: Config, name: str) -> None:
        if name in config.instance_names:
            raise errors.PrereqError("already_exists", f"there is already an instance called {name!r}")

    async def _resolved(self, env: Env, wanted: Wanted) -> tuple[Wanted, str]:
        """With the full name that the resolver knows, and its address (empty unless the name is looked up)."""
        op = self.op
        wants_address = any(nic.ip == "auto" for nic in wanted.nics)
        if not op.name_check:
            if op.ip_check or wants_address:
                what = "an address check" if op.ip_check else "ip=auto"
                raise errors.PrereqError(
                    "wrong_input", f"{what} needs the name to be looked up", hint="add --name-check"
                )
            return wanted, ""
        full, address = await env.resolve(wanted.name)
        full = checks.host_name(full)
        self._is_free(env.config, full)
        if op.ip_check:
            await checks.address_is_free(env, full, address, settings.NODED_PORT)
        return msgspec.structs.replace(wanted, name=full), address

    def _instance(self, env: Env, wanted: Wanted, node: Node, secondary: Node | None, address: str) -> Instance:
        op, config = self.op, env.config
        instance = Instance(
            uuid=env.new_uuid(),
            ctime=env.now(),
            name=wanted.name,
            primary_node=node.uuid,
            os=op.os_type,
            hypervisor=wanted.hypervisor,
            admin_state=AdminState.DOWN,
            disks=self._disks(env, wanted, node, secondary),
            nics=tuple(networking.new_nic(env, spec, address, node, check=op.conflicts_check) for spec in wanted.nics),
            hvparams=wanted.hvparams,
            beparams=wanted.beparams,
            osparams=dict(op.osparams),
            osparams_private=dict(op.osparams_private),
            network_port=env.new_port() if parameters.declared(wanted.hypervisor).needs_port else None,
            tags=wanted.tags,
        )
        parameters.check(wanted.hypervisor, guests.hvparams(config, instance))
        return instance

    def _disks(self, env: Env, wanted: Wanted, node: Node, secondary: Node | None) -> tuple[Disk, ...]:
        if wanted.template is DiskTemplate.DISKLESS:
            return ()
        if wanted.template in new_volumes.TEMPLATES:
            return tuple(new_volumes.make(env, spec, index, node, secondary) for index, spec in enumerate(wanted.disks))
        if wanted.template in devices.EXISTING:
            return tuple(adoption.device(env, spec) for spec in wanted.disks)
        directory = devices.file_directory(env.config.cluster, wanted.template, self.op.file_storage_dir, wanted.name)
        return tuple(
            devices.file_disk(spec, env.new_uuid(), wanted.template, wanted.file_driver, f"{directory}/disk{index}")
            for index, spec in enumerate(wanted.disks)
        )

    def _check_policy(self, env: Env, instance: Instance) -> None:
        broken = guests.policy_violations(env.config, instance)
        if not broken:
            return
        text = f"instance {instance.name} breaks the instance policy: " + "; ".join(broken)
        if not self.op.ignore_ipolicy:
            raise errors.PrereqError("wrong_input", text, hint="change the sizes or add --ignore-ipolicy")
        env.warn(text)

    async def _check_node(self, env: Env, instance: Instance, node: Node, memory: MiB | None, space: MiB) -> None:
        """`memory`: still to be reserved if the instance is started."""
        complete = guests.hvparams(env.config, instance)
        await checks.both(
            checks.hvparams_on_node(env, node.uuid, instance.hypervisor, complete),
            checks.both(
                self._check_os(env, instance, node),
                self._check_room(env, instance, node, memory if self._starts else None, space),
            ),
        )

    async def _check_os(self, env: Env, instance: Instance, node: Node) -> None:
        op = self.op
        if not instance.os:
            return
        await os_parameters.check_installable(
            env,
            node,
            instance.os,
            instance.hypervisor,
            force_variant=op.force_variant,
            names=tuple(os_parameters.given(op.osparams, op.osparams_private, op.osparams_secret)),
            complete=guests.osparams(env.config, instance, once=op.osparams_secret),
            helper=helpers.of(env.config, op),
            is_created=op.mode == "create"
            and not op.no_install
            and not devices.adopts(op.disks)
            and bool(instance.disks),
        )

    async def _check_room(self, env: Env, instance: Instance, node: Node, memory: MiB | None, space: MiB) -> None:
        if memory is None and not instance.disks:
            return
        template = instance.disk_template
        question = NodeInfo(
            hypervisors=(instance.hypervisor,) if memory is not None else (),
            templates=(template,) if instance.disks else (),
        )
        info = await checks.ask(env, node.uuid, question, "ask for free memory and space")
        if memory is not None:
            found = info.hypervisors.get(instance.hypervisor)
            if found is None:
                why = "; ".join(info.errors) or "it does not say why"
                raise errors.PrereqError("environment_error", f"node {node.name} does not tell its memory: {why}")
            env.reserve_memory(node.uuid, memory, found.memory_free)
        if instance.disks:
            storage = info.storage.get(template)
            if storage is None:
                why = "; ".join(info.errors) or "it does not say why"
                raise errors.PrereqError("environment_error", f"node {node.name} has no {template} storage: {why}")
            if storage.free < space:
                raise errors.PrereqError(
                    "insufficient_resources",
                    f"not enough {template} storage on node {node.name}: {space} MiB wanted, {storage.free} MiB free",
                )

    def hooks(self, facts: CreateFacts, config: Config) -> HookPlan:
        state = AdminState.UP if facts.is_started else AdminState.DOWN
        shown = msgspec.structs.replace(facts.instance, admin_state=state)
        extra: dict[str, str] = {"ADD_MODE": self.op.mode}
        if facts.source is not None:
            text, disks = facts.source.text, facts.source.exported.disks
            extra |= {
                "SRC_NODE": facts.source.node.name,
                "SRC_PATH": text.directory,
                "SRC_IMAGES": " ".join(f"{text.directory}/{disk.dump}" if disk.dump else "False" for disk in disks),
            }
        return hooks.instance_hooks(config, shown, extra)

    def plan(self, facts: CreateFacts, env: Env) -> Sequence[Step]:
        config, instance = env.config, facts.instance
        title = f"add instance {instance.name}"
        steps: list[Step] = []
        if len(facts.nodes) < len(config.nodes) and not self.op.pnode:
            steps.append(
                Release(
                    title="let go of the nodes that were not chosen",
                    levels=(Level.NODE, Level.NODE_RES),
                    keep=(*instance.nodes, *((facts.source.node.uuid,) if facts.source else ())),
                )
            )
        if instance.disks:
            if facts.adopted:
                steps += adoption.steps(config, env, instance, facts.adopted)
            else:
                steps += volumes.create(config, env, instance)
            # The nodes themselves stay locked until the instance is in the configuration: they must not leave.
            steps.append(Release(title="let others work on the disks of the nodes", levels=(Level.NODE_RES,)))
            if self.op.wait_for_sync:
                steps += mirrors.wait(config, instance)
        if facts.is_installed:
            steps.append(self._install(env, instance))
        if facts.source is not None:
            steps += self._restore(env, instance, facts.source)
        if facts.is_started:
            return steps + starting.steps(config, env, instance, commit=Commit(title=title, changes=()))
        if facts.is_installed or facts.source is not None:
            steps += volumes.close_all(config, env, instance)
        steps.append(Commit(title=title, changes=(Put(instance),), is_final=True))
        return steps

    def _install(self, env: Env, instance: Instance) -> Effect:
        request = env.new_request()
        spec = guests.script_spec(env.config, instance, once=self.op.osparams_secret)
        return Effect(
            title=f"install {instance.os} on the disks of {instance.name}",
            node=instance.primary_node,
            call=OsCreate(
                spec=spec, debug=self.op.debug_level, helper=helpers.of(env.config, self.op), request=request
            ),
            # the script is stopped before the disks that it writes are removed
            undo=OsStop(request=env.new_request(), undoes=request),
        )

    def _restore(self, env: Env, instance: Instance, source: importing.Source) -> list[Step]:
        spec = guests.script_spec(env.config, instance, once=self.op.osparams_secret)
        steps: list[Step] = []
        for index, disk in enumerate(source.exported.disks):
            if not disk.dump:
                continue
            steps += streaming.steps(
                env,
                title=f"the content of disk {index}",
                sender=source.node,
                receiver=env.config.nodes[instance.primary_node],
                source=FromDump(
                    directory=source.text.directory,
                    file=disk.dump,
                    identity=source.text.identity,
                    index=index,
                    compression=source.exported.compression,
                    checksum=disk.checksum,
                    size=disk.size,
                ),
                into=ToDisk(spec=spec, index=index, contents=source.contents, debug=self.op.debug_level),
                compress=self.op.compress,
            )
        return steps

    def result(self, facts: CreateFacts) -> list[str]:
        return list(facts.nodes)

    def dry_result(self, facts: CreateFacts) -> list[str]:
        return self.result(facts)
