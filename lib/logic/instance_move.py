"""OP_INSTANCE_MOVE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.export import Contents, FromDisk, ToDisk
from ganeti.logic import (
    checks,
    guests,
    hooks,
    instance_failover,
    networking,
    placement,
    stale,
    starting,
    stopping,
    streaming,
    volumes,
)
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, OnFailure, Record, Step
from ganeti.model.config import Config
from ganeti.model.disks import space
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, DiskTemplate, Instance, Node, Put
from ganeti.ops.moves import OpInstanceMove

#: whose disks lie on one node, under names that are free on every other
TEMPLATES = (DiskTemplate.PLAIN, DiskTemplate.FILE)


class MoveFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    source: Node
    target: Node

    @property
    def is_up(self) -> bool:
        return self.instance.admin_state is AdminState.UP

    @property
    def moved(self) -> Instance:
        down = msgspec.structs.replace(self.instance, primary_node=self.target.uuid)
        return down if self.is_up else msgspec.structs.replace(down, disks_active=False)


@implements(OpInstanceMove)
class InstanceMove(LogicalUnit[OpInstanceMove, MoveFacts]):
    """New disks on the target, the content of the old ones streamed into them, one commit that names the target.

    Before that commit all is taken back and the guest runs again where it was; after it the old disks go, whatever
    interrupts the rest.
    """

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        nodes = sorted({instance.primary_node, config.node(self.op.target_node).uuid})
        return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(*nodes), node_res=exclusive(*nodes))

    async def check(self, env: Env) -> MoveFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        checks.not_blocked(instance)
        source, target = config.nodes[instance.primary_node], config.node(op.target_node)
        _check_template(instance)
        if target.uuid == source.uuid:
            raise errors.PrereqError("wrong_input", f"instance {instance.name} is on node {target.name} already")
        checks.online(source, hint="its disks are there and nowhere else")
        checks.takes_instances(target)
        await checks.room(env, target, instance.disks[0].template, sum(space(disk) for disk in instance.disks))
        await streaming.check_compression(env, op.compress, source, target)
        facts = MoveFacts(instance=instance, source=source, target=target)
        if facts.is_up:
            memory = guests.beparams(config, instance)["maxmem"]
            free = await checks.free_memory(env, target.uuid, instance.hypervisor)
            env.reserve_memory(target.uuid, memory, free)
            complete = guests.hvparams(config, instance)
            await checks.hvparams_on_node(env, target.uuid, instance.hypervisor, complete)
        placement.check_policy(env, instance, target, ignore=op.ignore_ipolicy)
        networking.check_move(env.config, instance, target)
        return facts

    def hooks(self, facts: MoveFacts, config: Config) -> HookPlan:
        extra = {
            "TARGET_NODE": facts.target.name,
            "TARGET_NODE_UUID": facts.target.uuid,
            "SHUTDOWN_TIMEOUT": hooks.text(self.op.shutdown_timeout),
        }
        nodes = tuple(dict.fromkeys((config.cluster.master_node, facts.source.uuid, facts.target.uuid)))
        environment = hooks.instance_environment(config, facts.instance) | extra
        return HookPlan(environment=environment, pre=nodes, post=nodes, instance=facts.instance.uuid)

    def plan(self, facts: MoveFacts, env: Env) -> Sequence[Step]:
        config, instance, moved = env.config, facts.instance, facts.moved
        on_failure = OnFailure.WARN if self.op.ignore_consistency else OnFailure.UNDO
        stop = stopping.stop(env, config, instance, self.op.shutdown_timeout, on_failure)
        steps: list[Step] = []
        if facts.is_up:
            steps.append(Record(resolve=instance_failover.resolve_record(instance, stop.call.request)))
        steps += [stop, *volumes.create(config, env, moved), *self._copies(facts, env)]
        steps += volumes.close_all(config, env, instance)
        # whatever interrupts the rest, the old disks belong to nobody from the commit on; a guest that could not be
        # stopped must not go on beside the new one
        removals = tuple(volumes.removals(config, env, instance, instance.disks))
        debts = (stale.debt(env, instance, facts.source),) if self.op.ignore_consistency else ()
        commit = Commit(
            title=f"make {facts.target.name} the node of {instance.name}",
            changes=(),
            recoveries=removals,
            debts=debts,
        )
        if facts.is_up:
            steps += starting.steps(config, env, moved, commit=commit)
        else:
            steps += volumes.close_all(config, env, moved)
            steps.append(msgspec.structs.replace(commit, changes=(Put(moved),)))
        return [*steps, *volumes.remove(config, env, instance, OnFailure.OWE)]

    def _copies(self, facts: MoveFacts, env: Env) -> list[Step]:
        old, new = (guests.guest_spec(env.config, each) for each in (facts.instance, facts.moved))
        steps: list[Step] = []
        for index in range(len(facts.instance.disks)):
            steps += streaming.steps(
                env,
                title=f"disk {index} of {facts.instance.name}",
                sender=facts.source,
                receiver=facts.target,
                source=FromDisk(spec=old, index=index, contents=Contents.RAW),
                into=ToDisk(spec=new, index=index, contents=Contents.RAW),
                compress=self.op.compress,
            )
        return steps

    async def execute(self, facts: MoveFacts, env: Env) -> None:
        await stale.check_settled(env, facts.instance, facts.target.uuid)
        await super().execute(facts, env)


def _check_template(instance: Instance) -> None:
    if instance.disks and all(disk.template in TEMPLATES for disk in instance.disks):
        return
    way = "gnt-instance failover takes it to another node, with a restart" if instance.disks else ""
    raise errors.PrereqError(
        "wrong_state",
        f"instance {instance.name} has disk template {instance.disk_template}: only plain and file disks are copied",
        hint=way,
    )
