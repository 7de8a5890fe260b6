"""OP_INSTANCE_FAILOVER."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.volume import VolumeInfo
from ganeti.logic import (
    checks,
    devices,
    disk_activation,
    freshness,
    guests,
    hooks,
    mirrors,
    networking,
    new_pairing,
    placement,
    stale,
    starting,
    stopping,
    whereabouts,
)
from ganeti.logic.allocation import Relocate
from ganeti.logic.base import RESOLVERS, Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, OnFailure, Record, Step
from ganeti.model.config import Config
from ganeti.model.disks import is_mirror
from ganeti.model.jobs import Resolve
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import AdminState, DiskTemplate, Instance, Node, Put
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.instance import OpInstanceFailover

PROCEDURE = "instance-failover"

#: how an RpcError says that nobody is there
_SILENT = ("unreachable", "timeout", "refused")


class FailoverFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    source: Node
    target: Node
    corrected: Instance | None = None  # clean-up: as it is to be recorded
    ignored: freshness.Doubts = freshness.Doubts()  # about the target's halves of its mirrors


@implements(OpInstanceFailover)
class InstanceFailover(LogicalUnit[OpInstanceFailover, FailoverFacts]):
    """Stop at the source, one commit that names the target, start there: at no moment two nodes may run it.

    A source that is marked offline is believed to be dead; what may still run there is ended when it is back. After
    the commit a start that fails is an error, but the instance belongs to the target: the watcher tries again.
    """

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        pairing = None if self.op.cleanup else new_pairing.locks(config, instance, self.op.target_node)
        if pairing is not None:
            return pairing
        if instance.secondary_nodes and not self.op.cleanup:
            nodes = shared(*instance.nodes)
            return LockPlan.of(instances=exclusive(instance.uuid), nodes=nodes, node_res=nodes)
        if self.op.cleanup or not self.op.target_node:
            return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(ALL), node_res=shared(ALL))
        nodes = shared(*{instance.primary_node, config.node(self.op.target_node).uuid})
        return LockPlan.of(instances=exclusive(instance.uuid), nodes=nodes, node_res=nodes)

    async def check(self, env: Env) -> FailoverFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        source = config.nodes[instance.primary_node]
        if op.cleanup:
            return await self._cleanup(env, instance)
        checks.not_blocked(instance)
        _check_template(instance, source)
        is_up = instance.admin_state is AdminState.UP
        target = new_pairing.destination(config, instance, op.target_node, op.iallocator)
        allocator = placement.allocator(config, op.target_node, op.iallocator) if target is None else ""
        if target is None and not allocator:
            target = config.node(op.target_node)
        if target is not None:
            _check_target(instance, source, target)
        await self._check_source(env, instance, source)
        memory = guests.beparams(config, instance)["maxmem"] if is_up else 0
        if target is None:
            answer = await env.allocate(Relocate(instance=instance.uuid, memory=memory), allocator)
            target = env.config.nodes[answer.nodes[0]]
            env.report(f"chose node {target.name}")
        elif is_up:
            free = await checks.free_memory(env, target.uuid, instance.hypervisor)
            env.reserve_memory(target.uuid, memory, free)
        placement.check_policy(env, instance, target, ignore=op.ignore_ipolicy)
        networking.check_move(env.config, instance, target)
        if new_pairing.is_needed(instance, target):
            await new_pairing.check(env, instance, target)
        else:
            await _check_disks(env, instance, target)
        if instance.disks_active and target.uuid in instance.nodes:
            ignore, is_connected = op.ignore_consistency, not source.offline
            await mirrors.check_good(env, instance, target.uuid, ignore=ignore, is_connected=is_connected)
        ignored = freshness.Doubts()
        if target.uuid in instance.nodes:
            ignored = await freshness.check_takes_over(env, instance, target, source, ignore=op.ignore_consistency)
        if is_up:
            complete = guests.hvparams(config, instance)
            await checks.hvparams_on_node(env, target.uuid, instance.hypervisor, complete)
        return FailoverFacts(instance=instance, source=source, target=target, ignored=ignored)

    async def _cleanup(self, env: Env, instance: Instance) -> FailoverFacts:
        if self.op.target_node or self.op.iallocator:
            raise errors.PrereqError("wrong_input", "a clean-up takes no target: it looks where the instance runs")
        # both ends of a migration may hold a part of it: that is for its own clean-up
        checks.not_moving(instance)
        right = await whereabouts.corrected(env, instance)
        source, target = env.config.nodes[instance.primary_node], env.config.nodes[right.primary_node]
        return FailoverFacts(instance=instance, source=source, target=target, corrected=right)

    async def _check_source(self, env: Env, instance: Instance, source: Node) -> None:
        command = f"gnt-instance failover --ignore-consistency -n {self.op.target_node or 'NODE'} {instance.name}"
        if source.offline:
            if not self.op.ignore_consistency:
                raise errors.PrereqError(
                    "wrong_state",
                    f"node {source.name} is marked offline, so it cannot be told to stop {instance.name}",
                    hint=f"if nothing runs there any more: {command}",
                )
            return
        try:
            await starting.runs(env, source.uuid, instance)
        except errors.RpcError as err:
            if err.kind not in _SILENT:
                raise errors.PrereqError(
                    "environment_error", f"cannot find out whether {instance.name} runs: {err}"
                ) from err
            raise errors.PrereqError(
                "environment_error",
                f"{err.message}; it may still run {instance.name}",
                hint=f"if the node is dead, mark it offline (gnt-node modify --offline=yes {source.name}),"
                f" then: {command}",
            ) from err

    def hooks(self, facts: FailoverFacts, config: Config) -> HookPlan:
        op = self.op
        extra = {
            "IGNORE_CONSISTENCY": hooks.text(op.ignore_consistency),
            "SHUTDOWN_TIMEOUT": hooks.text(op.shutdown_timeout),
            "FAILOVER_CLEANUP": hooks.text(op.cleanup),
            **hooks.move_environment(config, facts.instance, facts.source, facts.target),
        }
        pre = tuple(dict.fromkeys((config.cluster.master_node, facts.target.uuid)))
        post = pre if facts.source.offline else tuple(dict.fromkeys((*pre, facts.source.uuid)))
        environment = hooks.instance_environment(config, facts.instance) | extra
        return HookPlan(environment=environment, pre=pre, post=post, instance=facts.instance.uuid)

    def plan(self, facts: FailoverFacts, env: Env) -> Sequence[Step]:
        instance, source, target = facts.instance, facts.source, facts.target
        title = f"make {target.name} the primary node of {instance.name}"
        if facts.corrected is not None:
            if facts.corrected == instance:
                return ()
            return (Commit(title=title, changes=(Put(facts.corrected),), is_final=True),)
        if new_pairing.is_needed(instance, target):
            return self._by_pairing(facts, env)
        is_up = instance.admin_state is AdminState.UP
        steps: list[Step] = []
        if not source.offline:
            stop = stopping.stop(env, env.config, instance, self.op.shutdown_timeout, OnFailure.UNDO)
            if is_up:
                steps.append(Record(resolve=resolve_record(instance, stop.call.request)))
            steps.append(stop)
            if instance.disks_active and not facts.ignored.unknown:
                steps += freshness.still_whole(instance, target, source)
        debts = (stale.debt(env, instance, source),) if source.offline else ()
        moved = _moved(instance, target)
        config = env.config.apply([Put(moved)])
        # after the commit: before it the source would still be the one that counts, should it come back
        outdated = facts.ignored.outdated
        led = mirrors.lead_outdated(config, env, moved, outdated)
        if is_up:
            commit = Commit(title=title, changes=(), debts=debts)
            return steps + starting.steps(env.config, env, moved, commit=commit, before=led, ignore_secondaries=True)
        down = msgspec.structs.replace(moved, disks_active=False)
        if not led:
            return [*steps, Commit(title=title, changes=(Put(down),), debts=debts, is_final=True)]
        return [
            *steps,
            Commit(title=title, changes=(Put(down),), debts=debts),
            *led,
            *disk_activation.closed(config, env, down, outdated, [target.uuid], on_failure=OnFailure.WARN),
        ]

    def _by_pairing(self, facts: FailoverFacts, env: Env) -> list[Step]:
        """The guest goes on until the target has everything; or it starts there while that is being filled."""
        instance, source, target = facts.instance, facts.source, facts.target
        stop = stopping.stop(env, env.config, instance, self.op.shutdown_timeout, OnFailure.UNDO)
        title = f"make {target.name} the primary node of {instance.name}"
        if instance.admin_state is not AdminState.UP:
            pairing = new_pairing.make(env, instance, target)
            down = msgspec.structs.replace(_moved(pairing.after, target), disks_active=False)
            return [
                *(() if source.offline else (stop,)),
                *pairing.steps,
                *pairing.wait(),
                *pairing.removals,
                *new_pairing.shut(env, pairing, (pairing.lead, target)),
                Commit(title=title, changes=(Put(down),), is_final=True),
            ]
        pairing = new_pairing.make(env, instance, target)
        moved = _moved(pairing.after, target)
        waiting = [*pairing.wait(), *pairing.removals] if self.op.wait_for_sync else []
        later: list[Step] = []
        if not self.op.wait_for_sync:
            later = [*pairing.wait(moved, on_failure=OnFailure.WARN)]
            later += [pairing.given_up] if pairing.given_up.debts else []
        stopped: list[Step] = []
        if not source.offline:
            stopped = [Record(resolve=resolve_record(instance, stop.call.request)), stop]
            stopped += freshness.still_whole(pairing.after, target, source) if self.op.wait_for_sync else []
        commit = Commit(title=title, changes=(), recoveries=(pairing.record,) if later else ())
        start = starting.steps(pairing.config, env, moved, commit=commit, ignore_secondaries=True)
        turned = new_pairing.turned(env, pairing, target)
        return [*pairing.steps, *waiting, *stopped, *turned, *start, *later]

    async def execute(self, facts: FailoverFacts, env: Env) -> None:
        instance = facts.instance
        if facts.corrected is not None:
            _tell_cleanup(facts, env)
        else:
            if facts.source.offline:
                env.warn(
                    f"node {facts.source.name} is offline: {instance.name} is not stopped there",
                    hint="should the node come back, what still runs there is ended before anything else is done",
                )
            if instance.admin_state is not AdminState.UP:
                env.report(f"{instance.name} is not marked up, so it is not started on {facts.target.name}")
            await stale.check_settled(env, instance, facts.target.uuid)
        await super().execute(facts, env)
        if new_pairing.is_needed(instance, facts.target):
            await new_pairing.settle(env, instance)


def _moved(instance: Instance, target: Node) -> Instance:
    return msgspec.structs.replace(instance, primary_node=target.uuid)


def _tell_cleanup(facts: FailoverFacts, env: Env) -> None:
    if facts.corrected == facts.instance:
        env.report(f"there is nothing to clean up: {facts.instance.name} belongs to {facts.source.name}")
    elif facts.source.uuid != facts.target.uuid:
        env.report(f"{facts.instance.name} runs on {facts.target.name}, so that becomes its primary node")


def _check_template(instance: Instance, source: Node) -> None:
    if instance.disks and all(disk.template in (*devices.EXTERNAL, DiskTemplate.DRBD) for disk in instance.disks):
        return
    template = instance.disk_template
    why, hint = f"its disks lie on node {source.name} alone", f"bring node {source.name} back"
    if template == DiskTemplate.DISKLESS.value:
        why, hint = "it has no disks to take along", "remove it and add it again on another node"
    raise errors.PrereqError(
        "wrong_state",
        f"instance {instance.name} cannot fail over: with disk template {template} {why}",
        hint=f"{hint}; with disk template {DiskTemplate.SHAREDFILE.value} an instance can run on every node,"
        f" with {DiskTemplate.DRBD.value} on two",
    )


def _check_target(instance: Instance, source: Node, target: Node) -> None:
    if target.uuid == source.uuid:
        raise errors.PrereqError("wrong_input", f"node {target.name} is the primary node of {instance.name} already")
    checks.takes_instances(target)


async def _check_disks(env: Env, instance: Instance, target: Node) -> None:
    """Before anything is stopped: the other node sees the same disks."""
    for index, disk in enumerate(instance.disks):
        question = VolumeInfo(disk=disk, owner=instance.uuid)
        found = await checks.ask(env, target.uuid, question, f"look at disk {index} of {instance.name}")
        if not found.exists:
            raise errors.PrereqError(
                "environment_error",
                f"node {target.name} does not see disk {index} of {instance.name} ({found.path})",
                hint=f"its volumes there are lost; gnt-instance replace-disks -s {instance.name} makes new ones"
                if is_mirror(disk)
                else "is the shared storage mounted there?",
            )


def resolve_record(instance: Instance, request: RequestId) -> Resolve:
    return Resolve(
        procedure=PROCEDURE,
        arguments={"instance": instance.uuid, "request": request},
        title=f"failover of {instance.name}",
    )


async def resolve_failover(arguments: dict[str, Any], env: Env) -> Iterable[str]:
    """It was not moved: the record goes with the commit that does so. It shall run again where it was."""
    config = env.config
    instance = config.instances.get(Uuid(str(arguments["instance"])))
    if instance is None:
        return ["the instance is gone"]
    node = config.nodes[instance.primary_node]
    try:
        await starting.ended(env, node.uuid, RequestId(str(arguments["request"])))
        if await starting.runs(env, node.uuid, instance):
            return [f"{instance.name} was not moved, it still runs on {node.name}"]
        await starting.start_now(config, env, instance, {})
    except errors.RpcError as err:
        return [
            f"{instance.name} was not moved, and could not be started again: {err}; "
            "it stays marked up: start it with gnt-instance startup"
        ]
    return [f"{instance.name} was not moved and was started again on {node.name}"]


RESOLVERS[PROCEDURE] = resolve_failover
