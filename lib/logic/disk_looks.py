"""What nodes say about the disks of many instances, in one call for each node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from ganeti import errors
from ganeti.calls.volume import Look, VolumesLook
from ganeti.logic.base import Env
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.model.types import Uuid

#: (instance, node, index of the disk)
Place = tuple[Uuid, Uuid, int]


def nodes_of(instance: Instance, disk: Disk) -> tuple[Uuid, ...]:
    """Where the disk has to be; of what all nodes see, the primary answers for all."""
    return instance.nodes if disk.template is DiskTemplate.DRBD else (instance.primary_node,)


async def look(env: Env, instances: Iterable[Instance]) -> tuple[Mapping[Place, Look], Mapping[Uuid, errors.RpcError]]:
    """What is known by place, and who does not answer."""
    asked: dict[Uuid, list[tuple[Place, Disk]]] = {}
    for instance in instances:
        for index, disk in enumerate(instance.disks):
            for node in nodes_of(instance, disk):
                asked.setdefault(node, []).append(((instance.uuid, node, index), disk))
    replies = await asyncio.gather(*(_ask(env, node, questions) for node, questions in asked.items()))
    found: dict[Place, Look] = {}
    silent: dict[Uuid, errors.RpcError] = {}
    for (node, questions), reply in zip(asked.items(), replies, strict=True):
        if isinstance(reply, errors.RpcError):
            silent[node] = reply
        else:
            found.update({place: each for (place, _), each in zip(questions, reply, strict=True)})
    return found, silent


async def _ask(env: Env, node: Uuid, questions: Sequence[tuple[Place, Disk]]) -> tuple[Look, ...] | errors.RpcError:
    question = VolumesLook(disks=tuple(disk for _, disk in questions), owners=tuple(place[0] for place, _ in questions))
    return (await env.rpc.many([node], question))[node]


def volume_name(disk: Disk) -> str:
    """As people know it: a path, or volume group and name."""
    if disk.template is DiskTemplate.PLAIN:
        return "/".join(str(part) for part in disk.logical_id)
    return str(disk.logical_id[1]) if len(disk.logical_id) == 2 else disk.uuid
