"""Handlers of calls about mirrored disks."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.mirror import (
    Half,
    MirrorAssemble,
    MirrorAttach,
    MirrorCatchUp,
    MirrorDemote,
    MirrorDetach,
    MirrorDisconnect,
    MirrorEnd,
    MirrorGenerations,
    MirrorMinors,
    MirrorPause,
    MirrorPromote,
    MirrorResize,
    MirrorRoom,
    MirrorState,
    MirrorStatus,
    MirrorSync,
    MirrorTwoPrimaries,
    MirrorWhole,
    SyncReply,
)
from ganeti.model.generations import Age, compare
from ganeti.model.objects import Disk
from ganeti.node import verify_host
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.node.volumes import storage_of
from ganeti.storage.base import Mirror

#: a disk that is no mirror, and is there
_GOOD = MirrorStatus(connection="Connected", role="Primary", disk="UpToDate", peer_disk="UpToDate", has_peer=False)
#: an estimate is worth little while a sync begins: many minutes are told of one that takes two seconds
_LONGEST_WAIT_S = 5.0
_SHORTEST_WAIT_S = 0.5


def _mirror(disk: Disk, env: NodeEnv) -> Mirror:
    found = storage_of(disk, env).mirror
    if found is None:
        raise errors.NodeFailure(f"disk {disk.uuid} of template {disk.template.value} is not mirrored")
    return found


@handles(MirrorState)
def state(call: MirrorState, env: NodeEnv, context: Context) -> tuple[MirrorStatus, ...]:
    found = []
    for disk in call.disks:
        mirror = storage_of(disk, env).mirror
        found.append(_GOOD if mirror is None else mirror.status(disk, call.owner))
    return tuple(found)


@handles(MirrorGenerations)
def generations(call: MirrorGenerations, env: NodeEnv, context: Context) -> tuple[Half, ...]:
    found = []
    for disk in call.disks:
        mirror = _mirror(disk, env)
        try:
            found.append(Half(generation=mirror.generation(disk, call.owner)))
        except errors.StorageError as err:
            found.append(Half(problem=str(err)))
    return tuple(found)


@handles(MirrorCatchUp)
def catch_up(call: MirrorCatchUp, env: NodeEnv, context: Context) -> None:
    own = generations(MirrorGenerations(disks=call.disks, owner=call.owner), env, context)
    if len(own) != len(call.others):
        raise errors.NodeFailure(f"{len(own)} disks cannot be compared with {len(call.others)}")
    bad = [f"disk {index} {why}" for index, why in enumerate(map(lacks, own, call.others)) if why]
    if bad:
        raise errors.NodeFailure("; ".join(bad))


def lacks(own: Half, other: Half) -> str:
    """Why this half may not have all that the other one has; empty: it has. Pure."""
    if own.generation is None or other.generation is None:
        return f"cannot be compared with its other half: {own.problem or other.problem}"
    if not own.generation.is_consistent:
        return "is incomplete here"
    match compare(own.generation, other.generation):
        case Age.SAME | Age.NEWER:
            return ""
        case Age.OLDER:
            return "was written on the other node without this one"
        case Age.APART:
            return "was written on both nodes, each without the other"


@handles(MirrorWhole)
def whole(call: MirrorWhole, env: NodeEnv, context: Context) -> None:
    found = state(MirrorState(disks=call.disks, owner=call.owner), env, context)
    bad = [f"disk {index} {one.problem or 'is degraded'}" for index, one in enumerate(found) if one.is_degraded]
    if bad:
        raise errors.NodeFailure("; ".join(bad))


@handles(MirrorSync)
def sync(call: MirrorSync, env: NodeEnv, context: Context) -> SyncReply:
    found = state(MirrorState(disks=call.disks, owner=call.owner), env, context)
    return summary(found)


def summary(found: tuple[MirrorStatus, ...]) -> SyncReply:
    """Of all disks together; pure."""
    syncing = [(index, one) for index, one in enumerate(found) if one.is_syncing]
    if not syncing:
        bad = [(index, one) for index, one in enumerate(found) if one.is_degraded]
        return SyncReply(
            is_done=True,
            problem="; ".join(f"disk {index} {one.problem or 'is degraded'}" for index, one in bad),
            may_settle=all(one.may_settle for _, one in bad),
        )
    texts = []
    for index, one in syncing:
        left = "no time estimate" if one.seconds is None else f"{one.seconds} estimated seconds remaining"
        texts.append(f"disk {index}: {one.percent or 0.0:.2f}% done, {left}")
    longest = max((one.seconds or 5 for _, one in syncing), default=5)
    wait = min(_LONGEST_WAIT_S, max(_SHORTEST_WAIT_S, float(longest)))
    return SyncReply(is_done=False, text="; ".join(texts), wait=wait)


@handles(MirrorAssemble)
def assemble(call: MirrorAssemble, env: NodeEnv, context: Context) -> None:
    mirror = storage_of(call.disk, env).mirror
    if mirror is not None:
        mirror.assemble(call.disk, call.owner)


@handles(MirrorPromote)
def promote(call: MirrorPromote, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).promote(call.disk, call.owner, force=call.force)


@handles(MirrorDemote)
def demote(call: MirrorDemote, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).demote(call.disk, call.owner)


@handles(MirrorTwoPrimaries)
def two_primaries(call: MirrorTwoPrimaries, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).two_primaries(call.disk, call.owner, allowed=call.allowed)


@handles(MirrorDisconnect)
def disconnect(call: MirrorDisconnect, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).disconnect(call.disk, call.owner)


@handles(MirrorDetach)
def detach(call: MirrorDetach, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).detach(call.disk, call.owner)


@handles(MirrorAttach)
def attach(call: MirrorAttach, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).attach(call.disk, call.owner)


@handles(MirrorRoom)
def room(call: MirrorRoom, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).check_room(call.disk, call.owner, size=call.size)


@handles(MirrorResize)
def resize(call: MirrorResize, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).resize(call.disk, call.owner, size=call.size)


@handles(MirrorPause)
def pause(call: MirrorPause, env: NodeEnv, context: Context) -> None:
    _mirror(call.disk, env).pause(call.disk, call.owner, paused=call.paused)


@handles(MirrorMinors)
def minors(call: MirrorMinors, env: NodeEnv, context: Context) -> tuple[int, ...]:
    return verify_host.minors(env)


@handles(MirrorEnd)
def end(call: MirrorEnd, env: NodeEnv, context: Context) -> str:
    for storage in env.storage.values():
        if storage.mirror is not None and call.minor in storage.mirror.minors():
            return storage.mirror.end(call.minor)
    return ""
