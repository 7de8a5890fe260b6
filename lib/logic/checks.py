"""Questions that many operations ask before they do anything. All raise PrereqError."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.instance import Guest, GuestState, HypervisorValidate, InstanceInfo
from ganeti.calls.node import AddressProbe, NodeInfo
from ganeti.logic.base import Env
from ganeti.model.disks import node_volumes
from ganeti.model.objects import Disk, DiskTemplate, Instance, Node, Params
from ganeti.model.types import HOST_NAME, TAG, MiB, Uuid

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")

MAX_TAGS = 4096


def host_name(name: str) -> str:
    """The name in lower case. Raises PrereqError(wrong_input) when no host can be called so."""
    lower = name.lower()
    if len(lower) > 255 or not HOST_NAME.match(lower):
        raise errors.PrereqError(
            "wrong_input",
            f"{name[:80]!r} cannot be the name of a host",
            hint="use letters, digits, '-' and '_' in parts of at most 63 characters, with dots between",
        )
    return lower


def tags(untrusted: Iterable[str]) -> tuple[str, ...]:
    """Sorted, without repeats."""
    wanted = sorted(set(untrusted))
    for tag in wanted:
        if not TAG.match(tag):
            raise errors.PrereqError(
                "wrong_input",
                f"{tag[:140]!r} cannot be a tag",
                hint="tags have 1 to 128 letters, digits and the characters _ . + * / : @ -",
            )
    if len(wanted) > MAX_TAGS:
        raise errors.PrereqError("wrong_input", f"{len(wanted)} tags are too many", hint=f"{MAX_TAGS} are allowed")
    return tuple(wanted)


def online(node: Node, *, hint: str = "") -> None:
    if node.offline:
        raise errors.PrereqError("wrong_state", f"node {node.name} is marked offline", hint=hint)


def takes_instances(node: Node) -> None:
    """Online, not drained, able to hold instances."""
    online(node)
    if node.drained:
        raise errors.PrereqError("wrong_state", f"node {node.name} is drained: it takes no new instances")
    if not node.vm_capable:
        raise errors.PrereqError("wrong_state", f"node {node.name} may not hold instances (vm_capable is no)")


def not_blocked(instance: Instance) -> None:
    not_moving(instance)
    if instance.blocked:
        raise errors.PrereqError(
            "wrong_state",
            f"instance {instance.name} is blocked: {instance.blocked}",
            hint="look at it, then remove it or repeat what was interrupted",
        )


def not_moving(instance: Instance) -> None:
    """No half of it is left by a migration. Whoever holds its lock and finds one: nobody works on that any more."""
    if instance.moving is not None:
        raise errors.PrereqError(
            "wrong_state",
            f"instance {instance.name} is blocked: {instance.blocked or 'a migration of it is half-way'}",
            hint=f"gnt-instance migrate --cleanup {instance.name} brings it to its end",
        )


async def ask(env: Env, node: Uuid, call: Call[R], what: str) -> R:
    """The reply of a question that the check depends on; `what` such as "ask for free memory"."""
    try:
        return await env.rpc.one(node, call)
    except errors.RpcError as err:
        raise errors.PrereqError("environment_error", f"cannot {what}: {err}") from err


async def both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Two questions at once; both are waited for even if one fails."""
    one, two = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(two, BaseException):
        raise two
    return one, two


async def guest(env: Env, instance: Instance) -> Guest | None:
    """What the primary node has of its guest, also when that has ended (`runs`)."""
    call = InstanceInfo(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
    return await ask(env, instance.primary_node, call, f"find out whether {instance.name} runs")


def runs(found: Guest | None) -> bool:
    """Not when it has ended, though its process is still there."""
    return found is not None and found.state is not GuestState.SHUTDOWN


async def memory_for_start(env: Env, instance: Instance, found: Guest | None) -> MiB:
    """Free on its primary node once what is left of its last run has gone."""
    free = await free_memory(env, instance.primary_node, instance.hypervisor)
    return free + (found.memory if found is not None else 0)


async def free_memory(env: Env, node: Uuid, hypervisor: str) -> MiB:
    info = await ask(env, node, NodeInfo(hypervisors=(hypervisor,)), "ask for free memory")
    found = info.hypervisors.get(hypervisor)
    if found is None:
        why = "; ".join(info.errors) or "it did not say why"
        name = env.config.nodes[node].name
        raise errors.PrereqError("environment_error", f"node {name} does not tell the memory of {hypervisor}: {why}")
    return found.memory_free


async def room(env: Env, node: Node, template: DiskTemplate, wanted: MiB) -> None:
    """It has so much free space for disks of that template."""
    name = template.value
    info = await ask(env, node.uuid, NodeInfo(templates=(name,)), "ask for free space")
    found = info.storage.get(name)
    if found is None:
        why = "; ".join(info.errors) or "it does not say why"
        raise errors.PrereqError("environment_error", f"node {node.name} has no {name} storage: {why}")
    if found.free < wanted:
        raise errors.PrereqError(
            "insufficient_resources",
            f"not enough {name} storage on node {node.name}: {wanted} MiB wanted, {found.free} MiB free",
        )


async def room_in_groups(env: Env, node: Node, disks: Iterable[Disk]) -> None:
    """Volume groups that the disks name beside the cluster's own are on the node, and have the room for them."""
    wanted: dict[str, MiB] = {}
    for volume in (volume for disk in disks for volume in node_volumes(disk)):
        if volume.template is DiskTemplate.PLAIN:
            group = str(volume.logical_id[0])
            wanted[group] = wanted.get(group, 0) + volume.size
    wanted.pop(env.config.cluster.volume_group_name, None)
    template = DiskTemplate.PLAIN.value
    for group, size in wanted.items():
        call = NodeInfo(templates=(template,), volume_group=group)
        info = await ask(env, node.uuid, call, f"ask for the space of volume group {group}")
        found = info.storage.get(template)
        if found is None:
            why = "; ".join(info.errors) or "it does not say why"
            raise errors.PrereqError("environment_error", f"node {node.name} cannot use volume group {group}: {why}")
        if found.free < size:
            raise errors.PrereqError(
                "insufficient_resources",
                f"not enough space in volume group {group} of node {node.name}: "
                f"{size} MiB wanted, {found.free} MiB free",
            )


async def hvparams_on_node(env: Env, node: Uuid, hypervisor: str, complete: Params) -> None:
    """The second stage: do the files exist there, and so on."""
    call = HypervisorValidate(hypervisor=hypervisor, hvparams=complete)
    problem = await ask(env, node, call, f"check the parameters of {hypervisor}")
    if problem:
        name = env.config.nodes[node].name
        raise errors.PrereqError("wrong_input", f"hypervisor {hypervisor} on node {name}: {problem}")


async def address_is_free(env: Env, name: str, address: str, port: int) -> None:
    """Asked from the master node."""
    master = env.config.cluster.master_node
    if await ask(env, master, AddressProbe(address=address, port=port), f"probe {address}"):
        raise errors.PrereqError("already_exists", f"the address {address} of {name} is in use already")
