"""OP_INSTANCE_MIGRATE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.migration import (
    Departure,
    Endpoint,
    MigrationCheck,
    MigrationPreflight,
    MigrationPrepare,
    MigrationRun,
    Tuning,
)
from ganeti.logic import checks, guests, hooks, mirrors, moving, networking, new_pairing, placement, stale, whereabouts
from ganeti.logic.allocation import Relocate
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.instance_failover import FailoverFacts, InstanceFailover
from ganeti.logic.steps import Commit, Effect, Step
from ganeti.model.config import Config
from ganeti.model.disks import is_mirror
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import Disk, DiskTemplate, Instance, Move, Node, Put
from ganeti.model.types import MiB
from ganeti.ops.instance import OpInstanceFailover, OpInstanceMigrate

#: where both nodes see the same disk, coherently enough for one of them at a time
TEMPLATES = (DiskTemplate.SHAREDFILE, DiskTemplate.BLOCKDEV, DiskTemplate.DRBD)
_LONGEST_S = 4 * 3600 - 300  # the call's own limit comes later
_SHORTEST_S = 600
#: of the time that one pass over the memory takes
_PASSES = 10
_ASSUMED_BANDWIDTH = 32  # MiB/s, where there is no limit


class MigrateFacts(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    source: Node
    target: Node
    departure: Departure | None = None
    tuning: Tuning = Tuning()
    failover: FailoverFacts | None = None  # what is done instead
    corrected: Instance | None = None  # clean-up without a migration under way: as it is to be recorded


class _CannotMigrate(Exception):
    def __init__(self, kind: str, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.kind, self.why, self.hint = kind, why, hint


@implements(OpInstanceMigrate)
class InstanceMigrate(LogicalUnit[OpInstanceMigrate, MigrateFacts]):
    """The target waits, the source sends and stops, one commit names the target, it goes on there.

    That commit decides: `moving` has what becomes of it when it is interrupted before or after.
    """

    def locks(self, config: Config) -> LockPlan:
        instance = config.instance(self.op.instance_name)
        if self.op.cleanup and instance.moving is not None:
            ends = sorted({instance.moving.source, instance.moving.target}.intersection(config.nodes))
            nodes = shared(*ends)
            return LockPlan.of(instances=exclusive(instance.uuid), nodes=nodes, node_res=nodes)
        if self.op.cleanup:
            return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(ALL), node_res=shared(ALL))
        return self._failover(config.nodes[instance.primary_node]).locks(config)

    def _failover(self, source: Node, target: str = "") -> InstanceFailover:
        """The same move, with the guest stopped meanwhile."""
        op = self.op
        return InstanceFailover(
            OpInstanceFailover(
                instance_name=op.instance_name,
                target_node=target or op.target_node,
                iallocator="" if target else op.iallocator,
                ignore_ipolicy=op.ignore_ipolicy,
                ignore_consistency=source.offline,
                dry_run=op.dry_run,
            )
        )

    async def check(self, env: Env) -> MigrateFacts:
        op, config = self.op, env.config
        instance = config.instance(op.instance_name)
        source = config.nodes[instance.primary_node]
        tuning = self._tuning(config, instance)
        if op.cleanup:
            return await self._cleanup(env, instance)
        checks.not_blocked(instance)
        _check_template(instance)
        target = new_pairing.destination(config, instance, op.target_node, op.iallocator)
        allocator = placement.allocator(config, op.target_node, op.iallocator) if target is None else ""
        if target is None and not allocator:
            target = config.node(op.target_node)
        try:
            _check_target(instance, source, target)
            departure = await self._departure(env, instance, source)
            memory = _memory(config, instance, departure)
            if target is None:
                target = await self._choose(env, instance, memory, allocator)
            is_paired = not new_pairing.is_needed(instance, target)
            if not is_paired:
                await new_pairing.check(env, instance, target)
            departure = _with_disks(departure, instance.disks if is_paired else ())
            await self._check_on(env, departure, tuning, target)
            if is_paired:
                await _check_mirrors(env, instance)
        except _CannotMigrate as err:
            hint = f"{err.hint}; " if err.hint else ""
            if not op.allow_failover:
                raise errors.PrereqError(
                    err.kind,
                    err.why,
                    hint=f"{hint}gnt-instance failover {instance.name} moves it, with a restart (or: --allow-failover)",
                ) from err
            env.report(f"{err.why}: it fails over instead")
            facts = await self._failover(source, target.name if target is not None else "").check(env)
            return MigrateFacts(instance=instance, source=source, target=facts.target, failover=facts)
        if not allocator:
            free = await checks.free_memory(env, target.uuid, instance.hypervisor)
            env.reserve_memory(target.uuid, memory, free)
        placement.check_policy(env, instance, target, ignore=op.ignore_ipolicy)
        networking.check_move(env.config, instance, target)
        return MigrateFacts(instance=instance, source=source, target=target, departure=departure, tuning=tuning)

    def _tuning(self, config: Config, instance: Instance) -> Tuning:
        op, hv = self.op, guests.hvparams(config, instance)
        if op.mode is not None and op.live is not None:
            raise errors.PrereqError("wrong_input", "give either the migration mode or whether it is live")
        mode = op.mode or hv.get("migration_mode", "live")
        bandwidth = int(hv.get("migration_bandwidth", 0))
        one_pass = guests.beparams(config, instance)["maxmem"] / (bandwidth or _ASSUMED_BANDWIDTH)
        return Tuning(
            live=op.live if op.live is not None else mode == "live",
            bandwidth=bandwidth,
            downtime=int(hv.get("migration_downtime", 0)),
            capabilities=tuple(name for name in str(hv.get("migration_caps", "")).split(":") if name),
            limit=int(min(_LONGEST_S, max(_SHORTEST_S, _PASSES * one_pass))),
        )

    async def _departure(self, env: Env, instance: Instance, source: Node) -> Departure:
        if source.offline:
            raise _CannotMigrate(
                "wrong_state", f"node {source.name} is marked offline, {instance.name} cannot leave it"
            )
        call = MigrationPreflight(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
        try:
            found = await env.rpc.one(source.uuid, call)
        except errors.RpcError as err:
            if err.kind == "failed":
                raise _CannotMigrate("environment_error", f"{instance.name} cannot migrate: {err}") from err
            raise errors.PrereqError(
                "environment_error",
                f"cannot find out whether {instance.name} runs: {err}",
                hint=f"if the node is dead, mark it offline (gnt-node modify --offline=yes {source.name}) and use"
                " gnt-instance failover",
            ) from err
        if found is None:
            raise _CannotMigrate("wrong_state", f"instance {instance.name} is not running, so it cannot migrate")
        if not found.is_running:
            raise _CannotMigrate(
                "wrong_state", f"instance {instance.name} is paused or has shut down, so it cannot migrate"
            )
        return found

    @staticmethod
    async def _choose(env: Env, instance: Instance, memory: MiB, allocator: str) -> Node:
        answer = await env.allocate(Relocate(instance=instance.uuid, memory=memory), allocator)
        target = env.config.nodes[answer.nodes[0]]
        env.report(f"chose node {target.name}")
        return target

    async def _check_on(self, env: Env, departure: Departure, tuning: Tuning, target: Node) -> None:
        call = MigrationCheck(departure=departure, tuning=tuning)
        found = await checks.ask(env, target.uuid, call, "check whether the target can take it")
        name, problems = departure.spec.instance.name, list(found.problems)
        if found.version and self.op.ignore_hvversions:
            env.warn(f"{found.version}: ignored")
        elif found.version:
            problems.append(f"{found.version} (--ignore-hvversions tries all the same)")
        if problems:
            raise _CannotMigrate(
                "environment_error", f"{name} cannot migrate to node {target.name}: {'; '.join(problems)}"
            )

    async def _cleanup(self, env: Env, instance: Instance) -> MigrateFacts:
        op, config, move = self.op, env.config, instance.moving
        if op.target_node or op.iallocator:
            raise errors.PrereqError("wrong_input", "a clean-up takes no target: it looks where the instance runs")
        if move is None:
            right = await whereabouts.corrected(env, instance)
            source, target = config.nodes[instance.primary_node], config.nodes[right.primary_node]
            return MigrateFacts(instance=instance, source=source, target=target, corrected=right)
        here = config.nodes[instance.primary_node]
        return MigrateFacts(
            instance=instance,
            source=config.nodes.get(move.source, here),
            target=config.nodes.get(move.target, here),
        )

    def hooks(self, facts: MigrateFacts, config: Config) -> HookPlan:
        extra = {
            "MIGRATE_LIVE": hooks.text(facts.tuning.live),
            "MIGRATE_CLEANUP": hooks.text(self.op.cleanup),
            "ALLOW_RUNTIME_CHANGES": hooks.text(self.op.allow_runtime_changes),
            **hooks.move_environment(config, facts.instance, facts.source, facts.target),
        }
        ends = [node.uuid for node in (facts.source, facts.target) if not node.offline]
        nodes = tuple(dict.fromkeys((config.cluster.master_node, *ends)))
        environment = hooks.instance_environment(config, facts.instance) | extra
        return HookPlan(environment=environment, pre=nodes, post=nodes, instance=facts.instance.uuid)

    def plan(self, facts: MigrateFacts, env: Env) -> Sequence[Step]:
        instance = facts.instance
        if facts.failover is not None:
            return self._failover(facts.source, facts.target.name).plan(facts.failover, env)
        if self.op.cleanup:
            # what a migration under way needs is found out by observing it
            if facts.corrected is None or facts.corrected == instance:
                return ()
            title = f"make {facts.target.name} the primary node of {instance.name}"
            return (Commit(title=title, changes=(Put(facts.corrected),), is_final=True),)
        assert facts.departure is not None, facts
        if not new_pairing.is_needed(instance, facts.target):
            return self._steps(facts, facts.departure, env)
        pairing = new_pairing.make(env, instance, facts.target)
        paired = msgspec.structs.replace(facts, instance=pairing.after)
        departure = _with_disks(facts.departure, pairing.after.disks)
        return [*pairing.steps, *pairing.wait(), *pairing.removals, *self._steps(paired, departure, env)]

    def _steps(self, facts: MigrateFacts, departure: Departure, env: Env) -> list[Step]:
        instance, source, target = facts.instance, facts.source, facts.target
        move = Move(
            migration=env.new_uuid(),
            source=source.uuid,
            target=target.uuid,
            prepare=env.new_request(),
            run=env.new_request(),
        )
        leaving = msgspec.structs.replace(instance, moving=move)
        moved = msgspec.structs.replace(leaving, primary_node=target.uuid)
        settled = msgspec.structs.replace(moved, moving=None)
        resolve = (moving.record(instance),)
        prepare = MigrationPrepare(
            migration=move.migration,
            departure=departure,
            tuning=facts.tuning,
            address=target.secondary_ip,
            request=move.prepare,
        )
        run = MigrationRun(
            migration=move.migration,
            name=instance.name,
            uuid=instance.uuid,
            hypervisor=instance.hypervisor,
            endpoint=Endpoint(address=target.secondary_ip, port=0),  # what the step before it replies
            tuning=facts.tuning,
            request=move.run,
        )
        name, config, ends = instance.name, env.config, (source.uuid, target.uuid)
        return [
            Commit(title=f"note that {name} is to move", changes=(Put(leaving),), recoveries=resolve),
            *mirrors.two_primaries(config, env, instance, ends),
            Effect(title=f"make {target.name} wait for {name}", node=target.uuid, call=prepare, passes="endpoint"),
            Effect(title=f"send {name} from {source.name} to {target.name}", node=source.uuid, call=run),
            # nothing of it runs now: what the target lacks would be lost
            *mirrors.whole(instance, source.uuid),
            Commit(title=f"make {target.name} the primary node of {name}", changes=(Put(moved),), recoveries=resolve),
            Effect(
                title=f"let {name} go on on {target.name}", node=target.uuid, call=moving.finish(env, instance, move)
            ),
            Effect(
                title=f"end what {name} left on {source.name}",
                node=source.uuid,
                call=moving.source_done(env, instance, move),
            ),
            *mirrors.one_primary(config, env, instance, ends),
            Commit(title=f"{name} has moved", changes=(Put(settled),), is_final=True),
        ]

    async def execute(self, facts: MigrateFacts, env: Env) -> None:
        instance = facts.instance
        if facts.failover is not None:
            await self._failover(facts.source, facts.target.name).execute(facts.failover, env)
        elif not self.op.cleanup:
            await stale.check_settled(env, instance, facts.target.uuid)
            await super().execute(facts, env)
        elif instance.moving is not None:
            found = await moving.settle(env, instance, instance.moving)
            if found.end is moving.End.LEFT:
                raise errors.ExecError(
                    f"the migration of {instance.name} is still half-way: {found.text}",
                    hint="bring the node back, or mark it offline if it is dead; then repeat this",
                )
            env.report(found.text)
        else:
            _tell_cleanup(facts, env)
            await super().execute(facts, env)


def _tell_cleanup(facts: MigrateFacts, env: Env) -> None:
    name = facts.instance.name
    if facts.corrected == facts.instance:
        env.report(f"there is nothing to clean up: {name} belongs to {facts.source.name}")
    elif facts.source.uuid != facts.target.uuid:
        env.report(f"{name} runs on {facts.target.name}, so that becomes its primary node")


def _memory(config: Config, instance: Instance, departure: Departure) -> MiB:
    return departure.memory or int(guests.beparams(config, instance)["maxmem"])


def _with_disks(departure: Departure, disks: tuple[Disk, ...]) -> Departure:
    """Mirrors may have got another end since the guest was started; others are as they were."""
    if disks and not any(is_mirror(disk) for disk in disks):
        return departure
    started = msgspec.structs.replace(departure.spec.instance, disks=disks)
    return msgspec.structs.replace(departure, spec=msgspec.structs.replace(departure.spec, instance=started))


async def _check_mirrors(env: Env, instance: Instance) -> None:
    """Both ends have everything: for a moment both may write."""
    if not mirrors.of(instance):
        return
    try:
        found = await mirrors.states(env, instance, instance.primary_node)
    except errors.RpcError as err:
        raise _CannotMigrate("environment_error", f"cannot look at the mirrors of {instance.name}: {err}") from err
    bad = [f"disk {index} {one.problem}" for index, one in enumerate(found) if one.is_degraded]
    if bad:
        raise _CannotMigrate(
            "wrong_state",
            f"{instance.name} cannot migrate: {'; '.join(bad)}",
            f"gnt-instance activate-disks --wait-for-sync {instance.name} mends it, if both nodes are up",
        )


def _check_template(instance: Instance) -> None:
    if instance.disks and all(disk.template in TEMPLATES for disk in instance.disks):
        return
    wanted = ", ".join(template.value for template in TEMPLATES)
    raise errors.PrereqError(
        "wrong_state",
        f"instance {instance.name} cannot migrate: its disk template is {instance.disk_template}",
        hint=f"this version migrates instances with disk template {wanted}",
    )


def _check_target(instance: Instance, source: Node, target: Node | None) -> None:
    if target is None:
        return
    if target.uuid == source.uuid:
        raise errors.PrereqError("wrong_input", f"node {target.name} is the primary node of {instance.name} already")
    checks.takes_instances(target)
