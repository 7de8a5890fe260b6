"""OP_CLUSTER_SET_PARAMS."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.instance import HypervisorValidate
from ganeti.hypervisor import parameters
from ganeti.logic import candidates, devices, guests
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, shared
from ganeti.model.objects import Cluster, DiskTemplate, Params, Put
from ganeti.ops.cluster import OpClusterSetParams


class ModifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    changed: Cluster


@implements(OpClusterSetParams)
class ClusterSetParams(LogicalUnit[OpClusterSetParams, ModifyFacts]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster_object=True, instances=shared(ALL), nodes=shared(ALL))

    async def check(self, env: Env) -> ModifyFacts:
        op, config = self.op, env.config
        old = config.cluster
        given = (op.enabled_hypervisors, op.enabled_disk_templates, op.hvparams, op.beparams)
        numbers = (op.candidate_pool_size, op.max_running_jobs, op.max_tracked_jobs)
        if all(value is None for value in (*given, *numbers)):
            raise errors.PrereqError("wrong_input", "nothing to change was given")
        hypervisors = self._hypervisors(config)
        hvparams = {**old.hvparams, **self._hvparams(old)}
        changed = msgspec.structs.replace(
            old,
            enabled_hypervisors=hypervisors,
            enabled_disk_templates=self._templates(config),
            hvparams=hvparams,
            beparams=params.merged(old.beparams, params.parse_be(op.beparams or {})),
            candidate_pool_size=_positive(op.candidate_pool_size, "candidate pool size", old.candidate_pool_size),
            max_running_jobs=_positive(op.max_running_jobs, "number of running jobs", old.max_running_jobs),
            max_tracked_jobs=_positive(op.max_tracked_jobs, "number of tracked jobs", old.max_tracked_jobs),
        )
        new_config = config.apply([Put(changed)])
        params.check_be(params.filled_be(new_config, {}))
        touched = [
            hypervisor
            for hypervisor in hypervisors
            if hypervisor not in old.enabled_hypervisors or hypervisor in (op.hvparams or {})
        ]
        for hypervisor in dict.fromkeys([*touched, *(op.hvparams or {})]):
            parameters.check(hypervisor, guests.cluster_hvparams(new_config, hypervisor))
        self._check_instances(new_config)
        for hypervisor in touched:
            await self._check_on_nodes(env, hypervisor, guests.cluster_hvparams(new_config, hypervisor))
        return ModifyFacts(changed=changed)

    def _hypervisors(self, config: Config) -> tuple[str, ...]:
        wanted = self.op.enabled_hypervisors
        if wanted is None:
            return config.cluster.enabled_hypervisors
        if not wanted:
            raise errors.PrereqError("wrong_input", "at least one hypervisor must stay enabled")
        for name in wanted:
            parameters.declared(name)
        for instance in config.instances.values():
            if instance.hypervisor not in wanted:
                raise errors.PrereqError(
                    "wrong_state", f"hypervisor {instance.hypervisor} is in use by instance {instance.name}"
                )
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
        for instance in config.instances.values():
            for disk in instance.disks:
                if disk.template.value not in wanted:
                    raise errors.PrereqError(
                        "wrong_state", f"disk template {disk.template.value} is in use by instance {instance.name}"
                    )
        return tuple(DiskTemplate(name) for name in dict.fromkeys(wanted))

    def _hvparams(self, old: Cluster) -> dict[str, Params]:
        merged = {}
        for hypervisor, untrusted in (self.op.hvparams or {}).items():
            parameters.declared(hypervisor)
            parsed = guests.parse_hv(hypervisor, untrusted, for_cluster=True)
            merged[hypervisor] = params.merged(old.hvparams.get(hypervisor, {}), parsed)
        return merged

    def _check_instances(self, new_config: Config) -> None:
        """Overrides of instances must still fit the new defaults."""
        if not (self.op.hvparams or self.op.beparams):
            return
        for instance in new_config.instances.values():
            if not (instance.hvparams or instance.beparams):
                continue
            try:
                params.check_be(guests.beparams(new_config, instance))
                if instance.hypervisor in (self.op.hvparams or {}):
                    parameters.check(instance.hypervisor, guests.hvparams(new_config, instance))
            except errors.PrereqError as err:
                raise errors.PrereqError(
                    err.code, f"instance {instance.name} does not fit the new defaults: {err.message}", hint=err.hint
                ) from err

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
        environment = {"OP_TARGET": config.cluster.name, "NEW_VG_NAME": "None"}
        return HookPlan(environment=environment, pre=master, post=master)

    def plan(self, facts: ModifyFacts, env: Env) -> Sequence[Step]:
        return (Commit(title="change the cluster", changes=(Put(facts.changed),)),)

    async def execute(self, facts: ModifyFacts, env: Env) -> None:
        await super().execute(facts, env)
        if self.op.candidate_pool_size is not None and await candidates.fill_pool(env):
            await env.membership.publish_trust()


def _positive(wanted: int | None, what: str, old: int) -> int:
    if wanted is not None and wanted < 1:
        raise errors.PrereqError("wrong_input", f"the {what} is at least 1, not {wanted}")
    return old if wanted is None else wanted
