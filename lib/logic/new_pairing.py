"""Moves of a mirrored instance to a node that has no half of it: the first half of them, a new pairing.

The target takes the place of the half that is not needed: while the primary node is up, of the secondary's, and the
guest goes on meanwhile; when the primary is dead (marked offline), of its own, and the secondary leads. After that the
move is one between the two ends of a mirror.

============ ============ ======= ===========================================
primary      secondary    pairing where the data come from
============ ============ ======= ===========================================
P            S            P - N   P
P, offline   S            S - N   S; P owes its volumes and what may run there
============ ============ ======= ===========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.base import ChangingCall
from ganeti.calls.mirror import MirrorDemote, MirrorPromote
from ganeti.logic import checks, disk_activation, freshness, mirrors, new_mirror_ends, stale
from ganeti.logic.base import Env
from ganeti.logic.steps import Commit, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.disks import space
from ganeti.model.jobs import Resolve
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import DiskTemplate, Instance, Node, Put
from ganeti.model.types import RequestId


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    steps: list[Step]  # the target is the secondary afterwards, and is being filled
    after: Instance
    lead: Node  # its primary then
    config: Config  # with `after`
    record: Resolve  # what becomes of the volumes that are not needed any more
    removals: list[Step]  # of them, for when the target has everything
    given_up: Commit  # in their place when it may not have: they go as soon as it has

    def wait(self, moved: Instance | None = None, *, on_failure: OnFailure = OnFailure.UNDO) -> list[Step]:
        return mirrors.wait(self.config, moved or self.after, on_failure=on_failure)


def is_needed(instance: Instance, target: Node) -> bool:
    return bool(instance.secondary_nodes) and target.uuid not in instance.nodes


def locks(config: Config, instance: Instance, target_node: str) -> LockPlan | None:
    """None: there is nothing to pair."""
    if not target_node or not is_needed(instance, config.node(target_node)):
        return None
    nodes = (*instance.nodes, config.node(target_node).uuid)
    return LockPlan.of(instances=exclusive(instance.uuid), nodes=shared(*nodes), node_res=exclusive(*nodes))


async def check(env: Env, instance: Instance, target: Node) -> None:
    """There is room on the target, and one half has all data. Raises PrereqError."""
    primary, secondary = (env.config.nodes[uuid] for uuid in instance.nodes)
    lead = secondary if primary.offline else primary
    checks.online(lead, hint="no node that is up has its data")
    await checks.room(env, target, DiskTemplate.DRBD, sum(space(disk) for disk in instance.disks))
    if instance.disks_active:
        await mirrors.check_good(env, instance, lead.uuid)
    await freshness.check_leads(env, instance, lead, secondary if lead is primary else primary, mirrors.of(instance))
    if primary.offline:
        env.warn(freshness.not_known(instance, lead, primary))


def make(env: Env, instance: Instance, target: Node) -> Pairing:
    """Takes minors. Until the commit in its steps all is taken back; from then on the new pairing stays."""
    primary, secondary = (env.config.nodes[uuid] for uuid in instance.nodes)
    lead, old = (secondary, primary) if primary.offline else (primary, secondary)
    config, steps = env.config, list[Step]()
    if primary.offline:
        instance = msgspec.structs.replace(instance, primary_node=lead.uuid)
        config = config.apply([Put(instance)])
        debt = stale.debt(env, env.config.instances[instance.uuid], primary)
        title = f"let node {lead.name} lead for {instance.name}"
        steps.append(Commit(title=title, changes=(Put(instance),), debts=(debt,)))
    if primary.offline or not instance.disks_active:
        steps += disk_activation.opened(config, env, instance, instance.disks)
    change = new_mirror_ends.elsewhere(env, instance, instance.disks, target, old, ())
    return Pairing(
        steps=[*steps, *change.steps],
        after=change.after,
        lead=lead,
        config=config.apply([Put(change.after)]),
        record=change.record,
        removals=change.removals,
        given_up=change.given_up,
    )


async def settle(env: Env, before: Instance) -> None:
    """After the move of an instance that was so: what can go of the end that it has left goes now."""
    after = env.config.instances[before.uuid]
    for node in before.nodes:
        if node not in after.nodes and not env.config.nodes[node].offline:
            for line in await stale.settled(env, after, node):
                env.report(line)


def turned(env: Env, pairing: Pairing, target: Node) -> list[Step]:
    """The target may write, and not the lead, whose guest is stopped; fails while it could not read all data."""
    config, after = pairing.config, pairing.after

    def demote(disk: Any, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorDemote(disk=disk, owner=after.uuid, request=request), None

    def promote(disk: Any, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            MirrorPromote(disk=disk, owner=after.uuid, request=request),
            MirrorDemote(disk=disk, owner=after.uuid, request=env.new_request(), undoes=request),
        )

    disks, lead = mirrors.of(after), [pairing.lead.uuid]
    return [
        *mirrors.on_disks(config, env, after, disks, lead, title="make {disk} secondary on {node}", make=demote),
        *mirrors.assemble(config, env, after, lead),
        *mirrors.on_disks(
            config, env, after, disks, [target.uuid], title="let {disk} be written on {node}", make=promote
        ),
    ]


def shut(env: Env, pairing: Pairing, nodes: Sequence[Node]) -> list[Step]:
    """The disks of an instance that is down."""
    after = pairing.after
    uuids = [node.uuid for node in nodes]
    return disk_activation.closed(pairing.config, env, after, after.disks, uuids, on_failure=OnFailure.WARN)


def destination(config: Config, instance: Instance, target_node: str, iallocator: str) -> Node | None:
    """Where a mirrored instance goes: to its secondary, or to the node that is named. None: it is not mirrored.

    Raises PrereqError when an allocator is asked for.
    """
    if not instance.secondary_nodes:
        return None
    if target_node and not iallocator:
        return config.node(target_node)
    found = config.nodes[instance.secondary_nodes[0]]
    if iallocator:
        raise errors.PrereqError(
            "wrong_input",
            f"no allocator is asked for {instance.name}: it is mirrored, so it moves to its secondary {found.name}",
            hint=f"-n NODE moves it elsewhere; gnt-instance replace-disks -I {iallocator} {instance.name} gives it"
            " another secondary",
        )
    return found
