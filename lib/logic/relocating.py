"""From an allocator's plan to submitted jobs: what evacuations and changes of group share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.logic import networking
from ganeti.logic.allocation import ChangeGroup, Evacuation
from ganeti.logic.base import Env
from ganeti.model.config import Config
from ganeti.model.objects import AllocPolicy, Instance
from ganeti.model.types import Uuid
from ganeti.ops.base import OpCode
from ganeti.ops.instance import OpInstanceFailover, OpInstanceMigrate

Jobs = tuple[tuple[OpCode, ...], ...]


def checked(plan: Evacuation, what: str) -> Jobs:
    """The jobs of a plan that has a place for every instance. Raises PrereqError(insufficient_resources)."""
    if plan.failed:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in plan.failed)
        raise errors.PrereqError(
            "insufficient_resources",
            f"{what}: {len(plan.failed)} of {len(plan.failed) + len(plan.moved)} instances cannot be moved: {reasons}",
            hint="nothing was changed; move or stop those by hand, then repeat it",
        )
    return plan.jobs


def released_early(jobs: Jobs) -> Jobs:
    """Replacements of disks let go of the old secondary before its disks are removed."""
    return tuple(
        tuple(
            msgspec.structs.replace(op, early_release=True) if "early_release" in op.__struct_fields__ else op
            for op in job
        )
        for job in jobs
    )


def as_failovers(jobs: Jobs) -> Jobs:
    """The same moves with the instances stopped."""
    return tuple(tuple(_failover(op) if isinstance(op, OpInstanceMigrate) else op for op in job) for job in jobs)


def _failover(op: OpInstanceMigrate) -> OpInstanceFailover:
    return OpInstanceFailover(
        instance_name=op.instance_name,
        target_node=op.target_node,
        iallocator=op.iallocator,
        ignore_ipolicy=op.ignore_ipolicy,
    )


def chained(jobs: Jobs) -> Jobs:
    """Each begins when the one before has ended, however."""
    found: list[tuple[OpCode, ...]] = []
    for job in jobs:
        first = msgspec.structs.replace(job[0], depends=((-1, ()),)) if found else job[0]
        found.append((first, *job[1:]))
    return tuple(found)


async def submit(env: Env, jobs: Jobs) -> dict[str, Any]:
    """Any: JSON, the result that clients follow."""
    submitted = await env.submit(jobs) if jobs else []
    return {"jobs": [list(pair) for pair in submitted]}


# Changes of group


def target_groups(config: Config, names: Sequence[str], here: Uuid, instances: Sequence[Instance]) -> tuple[Uuid, ...]:
    """Groups that the instances may go to: those that are named, or any other that takes instances and has their
    networks. Raises PrereqError."""
    networks = {network for instance in instances for network in networking.of_instance(instance)}
    if not names:
        found = tuple(
            group.uuid
            for group in sorted(config.groups.values(), key=lambda group: group.name)
            if group.uuid != here
            and group.alloc_policy is not AllocPolicy.UNALLOCABLE
            and networks <= group.networks.keys()
        )
        if not found:
            why = "with the networks of the instances " if networks else ""
            raise errors.PrereqError("wrong_state", f"there is no other node group {why}that takes instances")
        return found
    groups = [config.group(name) for name in names]
    for group in groups:
        if group.uuid == here:
            raise errors.PrereqError("wrong_input", f"node group {group.name} is where the instances are already")
        missing = sorted(config.networks[uuid].name for uuid in networks if uuid not in group.networks)
        if missing:
            raise errors.PrereqError(
                "wrong_state",
                f"network {', '.join(missing)} is not connected to node group {group.name}",
                hint="gnt-network connect does that",
            )
    return tuple(dict.fromkeys(group.uuid for group in groups))


async def change_group(
    env: Env, instances: Sequence[Instance], groups: Sequence[Uuid], *, iallocator: str, what: str
) -> Jobs:
    """Ask the allocator. Raises PrereqError."""
    request = ChangeGroup(instances=tuple(instance.uuid for instance in instances), groups=tuple(groups))
    return checked(await env.allocate(request, iallocator), what)
