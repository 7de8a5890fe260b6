"""Which half of a mirror has the newer data, up or down: before one is to lead, and before one is given up.

DRBD decides the same when the halves meet, and throws nothing away then. These questions come earlier: a half that is
old and leads without the other makes a second history, and one of the two is lost in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ganeti import errors
from ganeti.calls.mirror import Half, MirrorCatchUp, MirrorGenerations
from ganeti.logic import mirrors
from ganeti.logic.base import Env
from ganeti.logic.steps import Ask, Step
from ganeti.model.disks import is_mirror
from ganeti.model.generations import Age, compare
from ganeti.model.objects import DetachedDisk, Disk, Instance, Node
from ganeti.model.types import Uuid


class Doubts(msgspec.Struct, frozen=True, kw_only=True):
    """Why a half should not lead."""

    lost: tuple[str, ...] = ()  # data would be lost, or are not there
    unknown: tuple[str, ...] = ()  # nobody can tell
    outdated: tuple[Disk, ...] = ()  # told by its peer that it went on alone; the peer cannot be asked


def judge(
    disks: Sequence[tuple[str, Disk]], lead: str, halves: Sequence[Half], other: str, others: Sequence[Half] | None
) -> Doubts:
    """May the halves on node `lead` lead? Pure.

    `others`: the other halves, in the same order; None: their node is dead.
    """
    lost: list[str] = []
    unknown: list[str] = []
    outdated: list[Disk] = []
    for place, ((name, disk), half) in enumerate(zip(disks, halves, strict=True)):
        peer = others[place] if others is not None else Half()
        if half.generation is None:
            unknown.append(f"the half of {name} on {lead} cannot be judged: {half.problem}")
        elif not half.generation.is_consistent:
            lost.append(f"the half of {name} on {lead} is incomplete: it was never filled to its end")
        elif peer.generation is None:
            if others is not None:
                unknown.append(f"whether {other} has newer data of {name} is not known: {peer.problem}")
            if half.generation.is_outdated:
                outdated.append(disk)
                unknown.append(f"the half of {name} on {lead} is out of date: {other} has been written without it")
        else:
            age = compare(half.generation, peer.generation)
            if age is Age.OLDER:
                lost.append(f"{other} has newer data of {name} than {lead}")
            elif age is Age.APART:
                unknown.append(f"{lead} and {other} have each data of {name} that the other lacks")
    return Doubts(lost=tuple(lost), unknown=tuple(unknown), outdated=tuple(outdated))


async def halves(env: Env, disks: Iterable[Disk], owner: Uuid, node: Node) -> tuple[Half, ...]:
    """Of these mirrors on that node; one that does not answer has told nothing."""
    asked = tuple(disks)
    if not asked:
        return ()
    try:
        return await env.rpc.one(node.uuid, MirrorGenerations(disks=asked, owner=owner))
    except errors.RpcError as err:
        return (Half(problem=str(err)),) * len(asked)


async def doubts(env: Env, instance: Instance, lead: Node, other: Node, disks: Sequence[Disk] | None = None) -> Doubts:
    """About `lead` leading the instance, whose other end is `other`; marked offline it is dead."""
    wanted = mirrors.of(instance) if disks is None else disks
    named = [(f"disk {instance.disks.index(disk)}", disk) for disk in wanted]
    there = await halves(env, wanted, instance.uuid, lead)
    others = None if other.offline else await halves(env, wanted, instance.uuid, other)
    return judge(named, lead.name, there, other.name, others)


def mend(instance: Instance) -> str:
    return f"gnt-instance activate-disks --wait-for-sync {instance.name} makes both halves the same"


async def check_takes_over(env: Env, instance: Instance, lead: Node, other: Node, *, ignore: bool) -> Doubts:
    """`lead` shall be the primary node instead of `other`. Returns what is ignored.

    Data that can still be reached are never left behind, with `ignore` neither: nothing forces anybody to.
    Raises PrereqError.
    """
    if not mirrors.of(instance):
        return Doubts()
    found = await doubts(env, instance, lead, other)
    if found.lost:
        hint = f"bring node {other.name} back: it has the data" if other.offline else mend(instance)
        raise _refused(instance, lead, (*found.lost, *found.unknown), hint)
    if found.unknown and not ignore:
        hint = f"{mend(instance)}; --ignore-consistency goes on with what {lead.name} has"
        raise _refused(instance, lead, found.unknown, hint)
    for text in found.unknown:
        env.warn(text)
    if other.offline:
        env.warn(not_known(instance, lead, other))
    return found


def still_whole(instance: Instance, lead: Node, other: Node) -> list[Step]:
    """Once the guest is stopped: `lead` has heard of all that was written on `other`, until the end."""
    disks = mirrors.of(instance)
    if not disks:
        return []
    name, owner = instance.name, instance.uuid
    return [
        Ask(
            title=f"see which data of {name} {other.name} has",
            node=other.uuid,
            call=MirrorGenerations(disks=disks, owner=owner),
            passes="others",
        ),
        Ask(
            title=f"see that {lead.name} has all data of {name}",
            node=lead.uuid,
            call=MirrorCatchUp(disks=disks, owner=owner),
        ),
    ]


def not_known(instance: Instance, lead: Node, dead: Node) -> str:
    return (
        f"node {dead.name} cannot be asked: whether it has newer data of {instance.name} than {lead.name} is not known;"
        f" what was written there while {lead.name} was away is missing"
    )


async def check_leads(env: Env, instance: Instance, lead: Node, other: Node, disks: Sequence[Disk]) -> None:
    """The other half is to be given up: it is not known to have what `lead` lacks. Raises PrereqError."""
    found = await doubts(env, instance, lead, other, disks)
    if found.lost:
        hint = f"bring node {other.name} back" if other.offline else mend(instance)
        raise _refused(instance, lead, found.lost, hint)


def _refused(instance: Instance, lead: Node, why: Sequence[str], hint: str) -> errors.PrereqError:
    text = f"node {lead.name} may not lead for {instance.name}: " + "; ".join(why)
    return errors.PrereqError("wrong_state", text, hint=hint)


async def check_whole(env: Env, instance: Instance, disks: Sequence[Disk]) -> None:
    """Both halves of each mirror among them are the same, as far as both can be asked. Raises PrereqError.

    A detached disk has nobody who fills its other half.
    """
    mirrored = [disk for disk in disks if is_mirror(disk)]
    if not mirrored:
        return
    primary, secondary = (env.config.nodes[uuid] for uuid in instance.nodes)
    here = await halves(env, mirrored, instance.uuid, primary)
    there = await halves(env, mirrored, instance.uuid, secondary)
    for disk, own, other in zip(mirrored, here, there, strict=True):
        why = _difference(primary.name, own, secondary.name, other)
        if why:
            raise errors.PrereqError(
                "wrong_state",
                f"disk {instance.disks.index(disk)} of {instance.name} is degraded, so it cannot be taken off: {why}",
                hint=f"{mend(instance)}; gnt-instance replace-disks gives it a new half if one is lost for good",
            )


async def check_attached(env: Env, instance: Instance, detached: DetachedDisk) -> None:
    """Its half on the primary node of the instance is not the older one. Raises PrereqError."""
    disk = detached.disk
    if not is_mirror(disk):
        return
    lead = env.config.nodes[instance.primary_node]
    (other,) = (env.config.nodes[uuid] for uuid in detached.nodes if uuid != lead.uuid)
    name = f"the disk {disk.name or disk.uuid}"
    there = await halves(env, [disk], detached.owner, lead)
    found = judge([(name, disk)], lead.name, there, other.name, await halves(env, [disk], detached.owner, other))
    why = (*found.lost, *found.unknown)
    if why:
        raise errors.PrereqError(
            "wrong_state",
            f"{name} cannot be attached to {instance.name}: " + "; ".join(why),
            hint=f"an instance whose primary node is {other.name} can have it, if that has the newer data",
        )


def _difference(node: str, own: Half, other_node: str, other: Half) -> str:
    for name, half in ((node, own), (other_node, other)):
        if half.generation is None:
            return f"its half on {name} cannot be judged: {half.problem}"
        if not half.generation.is_consistent:
            return f"its half on {name} is incomplete"
    assert own.generation is not None
    assert other.generation is not None
    match compare(own.generation, other.generation):
        case Age.SAME:
            return ""
        case Age.NEWER:
            return f"{node} has newer data than {other_node}"
        case Age.OLDER:
            return f"{other_node} has newer data than {node}"
        case Age.APART:
            return f"{node} and {other_node} have each data that the other lacks"
