"""What nodes say about the disks of many instances, in one call for each node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ganeti import errors
from ganeti.calls.volume import Look, Owned, VolumesLook
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
    asked: dict[Uuid, list[tuple[Place, Owned]]] = {}
    for instance in instances:
        for index, disk in enumerate(instance.disks):
            for node in nodes_of(instance, disk):
                asked.setdefault(node, []).append(((instance.uuid, node, index), Owned(disk, instance.uuid)))
    found: dict[Place, Look] = {}
    silent: dict[Uuid, errors.RpcError] = {}
    for node, questions in asked.items():
        replies = await env.rpc.many([node], VolumesLook(volumes=tuple(owned for _, owned in questions)))
        reply = replies[node]
        if isinstance(reply, errors.RpcError):
            silent[node] = reply
        else:
            found.update({place: each for (place, _), each in zip(questions, reply, strict=True)})
    return found, silent


def volume_name(disk: Disk) -> str:
    """As people know it: a path, or volume group and name."""
    if disk.template is DiskTemplate.PLAIN:
        return "/".join(str(part) for part in disk.logical_id)
    return str(disk.logical_id[1]) if len(disk.logical_id) == 2 else disk.uuid
