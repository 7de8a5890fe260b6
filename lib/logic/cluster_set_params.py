"""OP_CLUSTER_SET_PARAMS."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors, paths
from ganeti.calls.instance import HypervisorValidate
from ganeti.calls.volume import VolumeInfo
from ganeti.hypervisor import parameters
from ganeti.logic import (
    candidates,
    cluster_hosts,
    cluster_values,
    devices,
    guests,
    helpers,
    hooks,
    master_ip,
    os_parameters,
    policies,
)
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model import params, policy, policy_input
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, shared
from ganeti.model.objects import Cluster, Disk, DiskTemplate, Params, Put
from ganeti.ops.cluster import OpClusterSetParams

#: NICs of a cluster whose default is routed bring their own
_ANY_ADDRESS = "0.0.0.0"


class ModifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    changed: Cluster


@implements(OpClusterSetParams)
class ClusterSetParams(LogicalUnit[OpClusterSetParams, ModifyFacts]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster_object=True, instances=shared(ALL), nodes=shared(ALL))

    async def check(self, env: Env) -> ModifyFacts:
        op, config = self.op, env.config
        old = config.cluster
        if cluster_values.is_empty(op):
            raise errors.PrereqError("wrong_input", "nothing to change was given")
        changed = msgspec.structs.replace(
            cluster_values.changed(config, op),
            enabled_hypervisors=self._hypervisors(config),
            enabled_disk_templates=self._templates(config),
        )
        new_config = config.apply([Put(changed)])
        params.check_be(params.filled_be(new_config, {}))
        params.check_nic(params.filled_nic(new_config, {}), _ANY_ADDRESS)
        policy_input.check(policy.filled_cluster(new_config))
        touched = [
            hypervisor
            for hypervisor in changed.enabled_hypervisors
            if hypervisor not in old.enabled_hypervisors or hypervisor in (op.hvparams or {})
        ]
        for hypervisor in dict.fromkeys([*touched, *(op.hvparams or {})]):
            parameters.check(hypervisor, guests.cluster_hvparams(new_config, hypervisor))
        self._check_os_hvp(new_config)
        self._check_instances(new_config)
        self._check_uid_pool(changed)
        if op.ipolicy is not None:
            every = new_config.instances.values()
            policies.warn_of(env, await policies.new_violations(config, new_config, every))
        for hypervisor in touched:
            await self._check_on_nodes(env, hypervisor, guests.cluster_hvparams(new_config, hypervisor))
        await self._check_os_parameters(env, new_config)
        await helpers.check_everywhere(env, new_config)
        for template in (DiskTemplate.FILE, DiskTemplate.SHAREDFILE):
            await self._check_directory(env, old, changed, template)
        await cluster_hosts.check(env, changed, force=op.force)
        return ModifyFacts(changed=changed)

    def _hypervisors(self, config: Config) -> tuple[str, ...]:
        wanted = self.op.enabled_hypervisors
        if wanted is None:
            return config.cluster.enabled_hypervisors
        if not wanted:
            raise errors.PrereqError("wrong_input", "at least one hypervisor must stay enabled")
        for name in wanted:
            parameters.declared(name)
        used = [(each.hypervisor, each.name) for each in config.instances.values() if each.hypervisor not in wanted]
        _refuse_used("hypervisor", used)
        return tuple(dict.fromkeys(wanted))

    def _templates(self, config: Config) -> tuple[DiskTemplate, ...]:
        wanted = self.op.enabled_disk_templates
        if wanted is None:
            return config.cluster.enabled_disk_templates
        if not wanted:
            raise errors.PrereqError("wrong_input", "at least one disk template must stay enabled")
        known = [template.value for template in devices.AVAILABLE]
        for name in wanted:
            if name not in known:
                raise errors.PrereqError(
                    "wrong_input", f"there is no disk template {name!r}", hint="available are " + ", ".join(known)
                )
        used = [
            (template, each.name)
            for each in config.instances.values()
            for template in ({disk.template.value for disk in each.disks} or {DiskTemplate.DISKLESS.value})
            if template not in wanted
        ]
        kept = [(each.disk.template.value, each.disk.name or each.uuid) for each in config.disks.values()]
        used += [(template, f"detached disk {name}") for template, name in kept if template not in wanted]
        _refuse_used("disk template", used)
        return tuple(DiskTemplate(name) for name in dict.fromkeys(wanted))

    def _check_os_hvp(self, new_config: Config) -> None:
        for os, sets in (self.op.os_hvp or {}).items():
            for hypervisor in sets or {}:
                defaults = parameters.defaults(hypervisor)
                filled = params.filled_hv(new_config, defaults, hypervisor=hypervisor, os=os, overrides={})
                parameters.check(hypervisor, filled)

    async def _check_os_parameters(self, env: Env, new_config: Config) -> None:
        op = self.op
        public, private = op.osparams or {}, op.osparams_private_cluster or {}
        for os in dict.fromkeys([*public, *private]):
            changes = [os_parameters.changes(each.get(os) or {}) for each in (public, private)]
            names = tuple(name for name, value in os_parameters.given(*changes).items() if value is not None)
            if not names:
                continue  # what is only taken away is the business of no OS
            complete = params.filled_os(new_config, os, params.filled_private_os(new_config, os, {}))
            await os_parameters.check_everywhere(env, os, names, complete)

    def _check_instances(self, new_config: Config) -> None:
        """Overrides of instances must still fit the new defaults."""
        op = self.op
        if not (op.hvparams or op.beparams or op.nicparams or op.os_hvp):
            return
        for instance in new_config.instances.values():
            try:
                params.check_be(guests.beparams(new_config, instance))
                if op.os_hvp or instance.hypervisor in (op.hvparams or {}):
                    parameters.check(instance.hypervisor, guests.hvparams(new_config, instance))
                if op.nicparams:
                    for nic in instance.nics:
                        params.check_nic(guests.nic_params(new_config, instance, nic), nic.ip)
            except errors.PrereqError as err:
                raise errors.PrereqError(
                    err.code, f"instance {instance.name} does not fit the new defaults: {err.message}", hint=err.hint
                ) from err

    @staticmethod
    def _check_uid_pool(changed: Cluster) -> None:
        if changed.uid_pool:
            return
        for hypervisor, values in changed.hvparams.items():
            if values.get("security_model") == "pool":
                raise errors.PrereqError(
                    "wrong_input",
                    f"security_model of {hypervisor} is pool, but there are no user ids",
                    hint="give --uid-pool",
                )

    @staticmethod
    async def _check_directory(env: Env, old: Cluster, changed: Cluster, template: DiskTemplate) -> None:
        """Nodes have lists of their own, of where file volumes may lie."""
        where = devices.file_directory(changed, template, "", "instance")
        if where == devices.file_directory(old, template, "", "instance"):
            return
        disk = Disk(
            uuid=env.new_uuid(), template=template, size=1, logical_id=(devices.FILE_DRIVERS[0], f"{where}/disk")
        )
        nodes = [node.uuid for node in env.config.online_nodes if node.vm_capable]
        answers = await env.rpc.many(nodes, VolumeInfo(disk=disk, owner=env.new_uuid()))
        for node, answer in answers.items():
            if isinstance(answer, errors.RpcError):
                raise errors.PrereqError(
                    "wrong_input",
                    f"node {env.config.nodes[node].name} does not take volumes there: {answer}",
                    hint=f"add the directory to {paths.FILE_STORAGE_PATHS.path} on every node",
                )

    @staticmethod
    async def _check_on_nodes(env: Env, hypervisor: str, complete: Params) -> None:
        nodes = [node.uuid for node in env.config.online_nodes if node.vm_capable]
        answers = await env.rpc.many(nodes, HypervisorValidate(hypervisor=hypervisor, hvparams=complete))
        for node, answer in answers.items():
            name = env.config.nodes[node].name
            if isinstance(answer, errors.RpcError):
                raise errors.PrereqError("environment_error", f"cannot check the parameters of {hypervisor}: {answer}")
            if answer:
                raise errors.PrereqError("wrong_input", f"hypervisor {hypervisor} on node {name}: {answer}")

    def hooks(self, facts: ModifyFacts, config: Config) -> HookPlan:
        master = (config.cluster.master_node,)
        environment = {"OP_TARGET": config.cluster.name, "NEW_VG_NAME": hooks.text(self.op.vg_name)}
        return HookPlan(environment=environment, pre=master, post=master)

    def plan(self, facts: ModifyFacts, env: Env) -> Sequence[Step]:
        commit = Commit(title="change the cluster", changes=(Put(facts.changed),))
        old = env.config.cluster
        if master_ip.address_of(old) == master_ip.address_of(facts.changed):
            return (commit,)
        down, up = master_ip.moved(env, old, facts.changed)
        return (down, commit, up)

    async def execute(self, facts: ModifyFacts, env: Env) -> None:
        await super().execute(facts, env)
        if self.op.modify_ssh_setup and not all(node.ssh_key for node in env.config.online_nodes):
            env.report("gnt-cluster redist-conf makes the SSH keys that are missing")
        if self.op.candidate_pool_size is not None:
            changed = await candidates.fill_pool(env) + await candidates.trim_pool(env)
            if changed:
                await env.membership.publish_trust()


def _refuse_used(what: str, used: Sequence[tuple[str, str]]) -> None:
    """(hypervisor or template, instance) that would be without it."""
    if not used:
        return
    first = min(used)[0]
    names = sorted(name for each, name in used if each == first)
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    raise errors.PrereqError(
        "wrong_state",
        f"{what} {first} is in use by instance {shown}" if len(names) == 1 else f"{what} {first} is in use by {shown}",
        hint="remove or convert them first",
    )
