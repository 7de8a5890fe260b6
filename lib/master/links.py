"""What only the cluster knows of a disk, filled in on the way to a node: its end of a mirror, and parameters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.node import NodeInfo, NodeVerify
from ganeti.calls.port import Progress, Rpc
from ganeti.model import diskparams
from ganeti.model.config import Config
from ganeti.model.disks import Mirror, VolumeName, is_mirror, names
from ganeti.model.objects import Disk, Link, Node
from ganeti.model.types import Uuid

R = TypeVar("R")
V = TypeVar("V")


class LinkedRpc:
    """Implements `calls.port.Rpc` in front of the real one; nobody above it thinks of addresses."""

    def __init__(self, rpc: Rpc, config: Callable[[], Config]) -> None:
        self._rpc = rpc
        self._config = config

    async def one(self, node: Uuid, call: Call[R], *, progress: Progress | None = None) -> R:
        return await self._rpc.one(node, linked(call, node, self._config()), progress=progress)

    async def many(self, nodes: Iterable[Uuid], call: Call[R]) -> dict[Uuid, R | errors.RpcError]:
        wanted, config = list(nodes), self._config()
        made = {node: linked(call, node, config) for node in wanted}
        if all(each is call for each in made.values()):
            return await self._rpc.many(wanted, call)
        answers = await asyncio.gather(*(self._rpc.many([node], each) for node, each in made.items()))
        return {node: answer for each in answers for node, answer in each.items()}

    async def at(self, node: Node, call: Call[R]) -> R:
        return await self._rpc.at(node, linked(call, node.uuid, self._config()))


def linked(value: V, node: Uuid, config: Config) -> V:
    """The same value when there is nothing to fill in."""
    found: Any = value  # Any: one of several structs
    if isinstance(value, Disk):
        found = _disk(value, node, config)
    elif isinstance(value, tuple) and value and isinstance(value[0], Disk):
        made = tuple(_disk(disk, node, config) for disk in value)
        found = value if all(new is old for new, old in zip(made, value, strict=True)) else made
    elif isinstance(value, msgspec.Struct):
        changed = {}
        for name in value.__struct_fields__:
            old = getattr(value, name)
            new = linked(old, node, config)
            if new is not old:
                changed[name] = new
        if isinstance(value, (NodeInfo, NodeVerify)) and not value.volume_group:
            changed["volume_group"] = config.cluster.volume_group_name
        found = msgspec.structs.replace(value, **changed) if changed else value
    return found  # type: ignore[no-any-return]  # of the type that came in


def _disk(disk: Disk, node: Uuid, config: Config) -> Disk:
    changed: dict[str, Any] = {}  # Any: fields of a disk
    params = filled_params(disk, node, config)
    if params != disk.params:
        changed["params"] = params
    if is_mirror(disk):
        link = _link(disk, node, config)
        if link != disk.link:
            changed["link"] = link
    return msgspec.structs.replace(disk, **changed) if changed else disk


def filled_params(disk: Disk, node: Uuid, config: Config) -> dict[str, Any]:  # Any: parameter values
    """Complete: built-in, cluster, the node's group, the disk."""
    held = config.nodes.get(node)
    group = held.group if held is not None else Uuid("")
    return {**diskparams.filled(config, disk.template, group), **disk.params}


def _link(disk: Disk, node: Uuid, config: Config) -> Link | None:
    """None: the node has no end of it."""
    mirror = Mirror.of(disk)
    if node not in mirror.nodes:
        return None
    peer = mirror.peer(node)
    own, other = config.nodes.get(node), config.nodes.get(peer)
    return Link(
        minor=mirror.minor(node),
        peer_minor=mirror.minor(peer),
        port=mirror.port,
        secret=mirror.secret,
        address=own.secondary_ip if own is not None else "",
        peer_address=other.secondary_ip if other is not None else "",
    )


def disks(value: Any) -> Iterator[Disk]:  # Any: a call, or a part of one
    """The disks that a call is about."""
    if isinstance(value, Disk):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from disks(each)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from disks(getattr(value, name))


def mirrors(value: Any) -> Iterator[Disk]:  # Any: a call
    """The mirrored disks that a call is about."""
    return filter(is_mirror, disks(value))


def volumes(value: Any) -> frozenset[VolumeName]:  # Any: a call
    """The volumes that a call is about, as they are called on a node."""
    return names(disks(value))
