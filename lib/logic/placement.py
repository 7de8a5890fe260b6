"""Which node a new instance goes to when nobody names one: the built-in choice."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from ganeti import errors
from ganeti.calls.node import NodeInfo
from ganeti.logic import guests
from ganeti.logic.base import Env
from ganeti.model.config import Config
from ganeti.model.objects import AllocPolicy, DiskTemplate, Instance, Node
from ganeti.model.types import MiB, Uuid

#: what -I takes for the built-in choice
BUILTIN = "builtin"
#: -I .
CLUSTER_DEFAULT = "."


class Need(msgspec.Struct, frozen=True, kw_only=True):
    hypervisor: str
    template: DiskTemplate
    memory: MiB
    disk: MiB


def allocator(config: Config, pnode: str, iallocator: str) -> str:
    """The allocator to ask, or empty when the node is given. Raises PrereqError(wrong_input)."""
    if pnode and iallocator:
        raise errors.PrereqError("wrong_input", "both a node and an allocator were given", hint="give one of them")
    if pnode:
        return ""
    name = config.cluster.default_iallocator if iallocator in ("", CLUSTER_DEFAULT) else iallocator
    if not name:
        raise errors.PrereqError(
            "wrong_input", "neither a node nor an allocator was given", hint=f"add -n NODE or -I {BUILTIN}"
        )
    if name != BUILTIN:
        raise errors.PrereqError(
            "wrong_input",
            f"allocator {name!r} is not available in this version",
            hint=f"give a node, or the allocator {BUILTIN!r}",
        )
    return name


def eligible(config: Config, group: Uuid | None, without: Collection[Uuid] = ()) -> Sequence[Node]:
    """Nodes that may get the instance; last-resort groups only when there is no other."""

    def of(policy: AllocPolicy) -> list[Node]:
        return [
            node
            for node in config.nodes.values()
            if not node.offline
            and not node.drained
            and node.vm_capable
            and node.uuid not in without
            and (config.groups[node.group].alloc_policy is policy if group is None else node.group == group)
        ]

    return of(AllocPolicy.PREFERRED) or of(AllocPolicy.LAST_RESORT)


async def choose(env: Env, need: Need, group: Uuid | None, without: Collection[Uuid] = ()) -> Node:
    """The eligible node with most free memory that has the disk space, by chance among equals; the memory is reserved.

    Raises PrereqError(insufficient_resources) that says why each node was not taken.
    """
    candidates = eligible(env.config, group, without)
    if not candidates:
        raise errors.PrereqError(
            "insufficient_resources", "no node takes new instances: all are offline, drained or not vm_capable"
        )
    templates = () if need.template is DiskTemplate.DISKLESS else (need.template.value,)
    question = NodeInfo(hypervisors=(need.hypervisor,), templates=templates)
    answers = await env.rpc.many([node.uuid for node in candidates], question)
    usable: list[tuple[MiB, int, float, Node]] = []
    reasons = []
    for node in candidates:
        answer = answers[node.uuid]
        if isinstance(answer, errors.RpcError):
            reasons.append(str(answer))
            continue
        info = answer.hypervisors.get(need.hypervisor)
        space = answer.storage.get(need.template.value)
        if info is None:
            reasons.append(f"node {node.name} does not tell the memory of {need.hypervisor}")
        elif templates and (space is None or space.free < need.disk):
            free = space.free if space is not None else 0
            reasons.append(f"node {node.name} has {free} MiB of disk free, {need.disk} are wanted")
        else:
            held = len(env.config.primaries.get(node.uuid, ()))
            usable.append((-info.memory_free, held, env.rng.random(), node))
    # no await from here: what is chosen is reserved before another job can choose
    for negative_free, _, _, node in sorted(usable, key=lambda entry: entry[:3]):
        try:
            env.reserve_memory(node.uuid, need.memory, -negative_free)
        except errors.PrereqError as err:
            reasons.append(str(err))
            continue
        return node
    raise errors.PrereqError("insufficient_resources", "no node has room for the instance: " + "; ".join(reasons))


def check_policy(env: Env, instance: Instance, target: Node, *, ignore: bool) -> None:
    """Raises PrereqError when it would break the policy there, or warns. What it breaks where it is does not count."""
    before = guests.policy_violations(env.config, instance)
    after = guests.policy_violations(env.config, msgspec.structs.replace(instance, primary_node=target.uuid))
    broken = [text for text in after if text not in before]
    if not broken:
        return
    text = f"on node {target.name} instance {instance.name} breaks the instance policy: " + "; ".join(broken)
    if not ignore:
        raise errors.PrereqError("wrong_input", text, hint="choose another node or add --ignore-ipolicy")
    env.warn(text)
