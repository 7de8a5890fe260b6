"""Steps on mirrored disks, each with its way back, and what is asked about them. Other disks are passed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ganeti import errors
from ganeti.calls.base import ChangingCall
from ganeti.calls.mirror import (
    MirrorAssemble,
    MirrorAttach,
    MirrorDemote,
    MirrorDetach,
    MirrorDisconnect,
    MirrorPause,
    MirrorPromote,
    MirrorResize,
    MirrorRoom,
    MirrorState,
    MirrorStatus,
    MirrorSync,
    MirrorTwoPrimaries,
    MirrorWhole,
)
from ganeti.logic.base import Env
from ganeti.logic.steps import Ask, Effect, OnFailure, Parallel, Step, Wait
from ganeti.model import disks as ids
from ganeti.model.config import Config
from ganeti.model.objects import Disk, Instance
from ganeti.model.types import RequestId, Uuid

#: the call for a disk, and what takes it back
Make = Callable[[Disk, RequestId], tuple[ChangingCall[Any], ChangingCall[Any] | None]]


def of(instance: Instance) -> tuple[Disk, ...]:
    return tuple(disk for disk in instance.disks if ids.is_mirror(disk))


def on_disks(
    config: Config,
    env: Env,
    instance: Instance,
    disks: Sequence[Disk],
    nodes: Sequence[Uuid],
    *,
    title: str,
    make: Make,
    on_failure: OnFailure = OnFailure.UNDO,
) -> list[Step]:
    """One group of effects; `title` with {disk} and {node}."""
    places = {disk.uuid: index for index, disk in enumerate(instance.disks)}
    effects = []
    for node in nodes:
        for disk in disks:
            call, undo = make(disk, env.new_request())
            what = f"disk {places[disk.uuid]} of {instance.name}"
            told = title.format(disk=what, node=config.nodes[node].name)
            effects.append(Effect(title=told, node=node, call=call, undo=undo, on_failure=on_failure))
    return [Parallel(effects=tuple(effects))] if effects else []


def assemble(
    config: Config,
    env: Env,
    instance: Instance,
    nodes: Sequence[Uuid],
    *,
    disks: Sequence[Disk] | None = None,
    on_failure: OnFailure = OnFailure.UNDO,
) -> list[Step]:
    """Up and connected, in the role that they have. Whether they were up before is not known, so it is not undone."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorAssemble(disk=disk, owner=instance.uuid, request=request), None

    wanted = of(instance) if disks is None else disks
    title = "assemble {disk} on {node}"
    return on_disks(config, env, instance, wanted, nodes, title=title, make=make, on_failure=on_failure)


def promote_new(config: Config, env: Env, instance: Instance, disks: Sequence[Disk]) -> list[Step]:
    """Right after their creation: what lies on the primary node is the content from now on."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorPromote(disk=disk, owner=instance.uuid, force=True, request=request), None

    title = "let {disk} be filled from {node}"
    return on_disks(config, env, instance, disks, [instance.primary_node], title=title, make=make)


def lead_outdated(config: Config, env: Env, instance: Instance, disks: Sequence[Disk]) -> list[Step]:
    """Primary with what they have, as somebody has decided: the other halves, which have more, cannot be reached.

    Should these come back, DRBD finds that both were written and throws nothing away.
    """

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorPromote(disk=disk, owner=instance.uuid, force=True, request=request), None

    node = [instance.primary_node]
    title = "let the outdated half of {disk} lead on {node}"
    return [
        *assemble(config, env, instance, node, disks=disks),
        *on_disks(config, env, instance, disks, node, title=title, make=make),
    ]


def whole(instance: Instance, node: Uuid) -> list[Step]:
    """Both ends have all that was written until now, as that node sees it."""
    if not of(instance):
        return []
    call = MirrorWhole(disks=of(instance), owner=instance.uuid)
    return [Ask(title=f"see that both nodes have all data of {instance.name}", node=node, call=call)]


def demote(config: Config, env: Env, instance: Instance, nodes: Sequence[Uuid], on_failure: OnFailure) -> list[Step]:
    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorDemote(disk=disk, owner=instance.uuid, request=request), None

    title = "make {disk} secondary on {node}"
    return on_disks(config, env, instance, of(instance), nodes, title=title, make=make, on_failure=on_failure)


def two_primaries(config: Config, env: Env, instance: Instance, nodes: Sequence[Uuid]) -> list[Step]:
    """Until `one_primary`: for a live migration. Whoever settles that takes it back, once one of them is secondary."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorTwoPrimaries(disk=disk, owner=instance.uuid, allowed=True, request=request), None

    title = "let {disk} be open on both nodes ({node})"
    return on_disks(config, env, instance, of(instance), nodes, title=title, make=make)


def one_primary(config: Config, env: Env, instance: Instance, nodes: Sequence[Uuid]) -> list[Step]:
    """What a node cannot be told now it owes: two that may write later, by mistake, would spoil the data."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorTwoPrimaries(disk=disk, owner=instance.uuid, allowed=False, request=request), None

    title = "let {disk} be open on one node only ({node})"
    return on_disks(config, env, instance, of(instance), nodes, title=title, make=make, on_failure=OnFailure.OWE)


def one_primary_call(
    env: Env, instance: Instance, disk: Disk, *, undoes: RequestId | None = None
) -> MirrorTwoPrimaries:
    return MirrorTwoPrimaries(disk=disk, owner=instance.uuid, allowed=False, request=env.new_request(), undoes=undoes)


def disconnect(config: Config, env: Env, instance: Instance, node: Uuid, *, back: Instance) -> list[Step]:
    """Alone on that node; taken back by connecting the disks as they are in `back`."""
    old = {disk.uuid: disk for disk in back.disks}

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            MirrorDisconnect(disk=disk, owner=instance.uuid, request=request),
            MirrorAssemble(disk=old[disk.uuid], owner=instance.uuid, request=env.new_request(), undoes=request),
        )

    return on_disks(config, env, instance, of(instance), [node], title="disconnect {disk} on {node}", make=make)


def detach(config: Config, env: Env, instance: Instance, disks: Sequence[Disk], node: Uuid) -> list[Step]:
    """Taken back by using the same volumes again."""

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            MirrorDetach(disk=disk, owner=instance.uuid, request=request),
            MirrorAssemble(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request),
        )

    return on_disks(config, env, instance, disks, [node], title="detach {disk} from its volumes on {node}", make=make)


def attach(config: Config, env: Env, instance: Instance, disks: Sequence[Disk], node: Uuid) -> list[Step]:
    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any]]:
        return (
            MirrorAttach(disk=disk, owner=instance.uuid, request=request),
            MirrorDetach(disk=disk, owner=instance.uuid, request=env.new_request(), undoes=request),
        )

    return on_disks(config, env, instance, disks, [node], title="attach {disk} to its new volumes on {node}", make=make)


def room(config: Config, instance: Instance, disk: Disk, size: int) -> list[Step]:
    """Before `resize`: of two halves with different room the smaller one decides, and DRBD says nothing about it."""
    index = instance.disks.index(disk)
    return [
        Ask(
            title=f"see that the volume of disk {index} of {instance.name} on {config.nodes[node].name} has {size} MiB",
            node=node,
            call=MirrorRoom(disk=disk, owner=instance.uuid, size=size),
        )
        for node in instance.nodes
    ]


def resize(config: Config, env: Env, instance: Instance, disk: Disk, size: int, *, on_failure: OnFailure) -> list[Step]:
    """On the primary node, which tells the other."""

    def make(each: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return MirrorResize(disk=each, owner=instance.uuid, size=size, request=request), None

    title = f"let {{disk}} use {size} MiB"
    return on_disks(
        config, env, instance, [disk], [instance.primary_node], title=title, make=make, on_failure=on_failure
    )


def pause(config: Config, env: Env, instance: Instance, disks: Sequence[Disk], *, paused: bool) -> list[Step]:
    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], ChangingCall[Any] | None]:
        def other(of_request: RequestId, *, value: bool, undoes: RequestId | None) -> MirrorPause:
            return MirrorPause(disk=disk, owner=instance.uuid, paused=value, request=of_request, undoes=undoes)

        back = other(env.new_request(), value=False, undoes=request) if paused else None
        return other(request, value=paused, undoes=None), back

    title = "let the synchronisation of {disk} " + ("wait" if paused else "go on")
    return on_disks(config, env, instance, disks, [instance.primary_node], title=title, make=make)


def wait(
    config: Config, instance: Instance, *, on_failure: OnFailure = OnFailure.UNDO, disks: Sequence[Disk] | None = None
) -> list[Step]:
    """Until the mirrors are in sync, as the primary node sees it."""
    wanted = of(instance) if disks is None else tuple(disk for disk in disks if ids.is_mirror(disk))
    if not wanted:
        return []
    return [
        Wait(
            title=f"wait for the disks of {instance.name} to be in sync",
            node=instance.primary_node,
            call=MirrorSync(disks=tuple(wanted), owner=instance.uuid),
            on_failure=on_failure,
        )
    ]


async def states(env: Env, instance: Instance, node: Uuid) -> tuple[MirrorStatus, ...]:
    """Of all its disks as that node sees them. Raises RpcError."""
    return await env.rpc.one(node, MirrorState(disks=instance.disks, owner=instance.uuid))


async def check_good(
    env: Env, instance: Instance, node: Uuid, *, ignore: bool = False, is_connected: bool = False
) -> None:
    """The node's own halves have all data, and with `is_connected` get what is being written.

    Raises PrereqError, or warns with `ignore`.
    """
    if not of(instance):
        return
    name = env.config.nodes[node].name
    try:
        found = await states(env, instance, node)
    except errors.RpcError as err:
        raise errors.PrereqError("environment_error", f"cannot look at the mirrors of {instance.name}: {err}") from err
    bad = [
        f"disk {index} {one.problem or one.disk}"
        for index, one in enumerate(found)
        if not one.is_local_good or (is_connected and not one.is_connected)
    ]
    if not bad:
        return
    text = f"the disks of {instance.name} on node {name} are not good: " + "; ".join(bad)
    if not ignore:
        raise errors.PrereqError(
            "wrong_state", text, hint=f"gnt-instance activate-disks {instance.name} connects them, if their node is up"
        )
    env.warn(text)
