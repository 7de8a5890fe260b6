"""The configuration as one immutable snapshot with indexes. A change costs the size of the change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

import msgspec
from immutables import Map

from ganeti import errors
from ganeti.model.objects import (
    AnyObject,
    Change,
    Cluster,
    Group,
    Instance,
    Network,
    Node,
    Put,
)
from ganeti.model.types import Uuid


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All objects. Readers keep it as long as they like; it never changes under them."""

    cluster: Cluster
    nodes: Map[Uuid, Node] = Map()
    groups: Map[Uuid, Group] = Map()
    instances: Map[Uuid, Instance] = Map()
    networks: Map[Uuid, Network] = Map()
    # indexes, lower-case names
    node_names: Map[str, Uuid] = Map()
    group_names: Map[str, Uuid] = Map()
    instance_names: Map[str, Uuid] = Map()
    network_names: Map[str, Uuid] = Map()
    primaries: Map[Uuid, frozenset[Uuid]] = Map()  # node → instances that have it as primary
    secondaries: Map[Uuid, frozenset[Uuid]] = Map()

    @classmethod
    def load(cls, objects: Iterable[AnyObject]) -> Self:
        """From all stored objects; exactly one of them is the cluster."""
        every = list(objects)
        cluster = next((obj for obj in every if isinstance(obj, Cluster)), None)
        if cluster is None:
            raise errors.StoreError("the state has no cluster object", hint="restore the database from a candidate")
        return cls(cluster=cluster).apply(Put(obj) for obj in every)

    def objects(self) -> Iterator[AnyObject]:
        yield self.cluster
        for table in (self.groups, self.nodes, self.networks, self.instances):
            yield from table.values()

    def get(self, kind: str, uuid: Uuid) -> AnyObject | None:
        if kind == "cluster":
            return self.cluster if uuid == self.cluster.uuid else None
        found: AnyObject | None = getattr(self, kind + "s").get(uuid)
        return found

    def apply(self, changes: Iterable[Change]) -> Self:
        """A new snapshot with the changes made, in order."""
        editor = _Editor(self)
        for change in changes:
            editor.make(change)
        return msgspec.structs.replace(self, **editor.finish())

    # Look-up by what people type: uuid, full name, or a prefix of it that ends at a dot.

    def node(self, name: str) -> Node:
        return self.nodes[_expand(name, self.node_names, self.nodes, "node")]

    def instance(self, name: str) -> Instance:
        return self.instances[_expand(name, self.instance_names, self.instances, "instance")]

    def group(self, name: str) -> Group:
        return self.groups[_expand(name, self.group_names, self.groups, "node group", prefixes=False)]

    def network(self, name: str) -> Network:
        return self.networks[_expand(name, self.network_names, self.networks, "network", prefixes=False)]

    @property
    def master(self) -> Node:
        return self.nodes[self.cluster.master_node]

    @property
    def online_nodes(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes.values() if not node.offline)

    @property
    def candidates(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes.values() if node.master_candidate)


class _Editor:
    """Collects changes in mutations of the persistent maps."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._cluster = config.cluster
        names = ["nodes", "groups", "instances", "networks", "node_names", "group_names"]
        names += ["instance_names", "network_names", "primaries", "secondaries"]
        self._maps = {name: getattr(config, name).mutate() for name in names}

    def make(self, change: Change) -> None:
        if isinstance(change, Put):
            obj = change.object
            if isinstance(obj, Cluster):
                self._cluster = obj
                return
            kind, uuid = obj.kind, obj.uuid
        else:
            obj, kind, uuid = None, change.kind, change.uuid
        if kind == "cluster":
            raise errors.ExecError("the cluster object cannot be deleted")
        table, names = self._maps[kind + "s"], self._maps[kind + "_names"]
        old = table.get(uuid)
        if old is not None:
            names.pop(old.name.lower(), None)
            self._index(old, add=False)
        if obj is None:
            table.pop(uuid, None)
            return
        holder = names.get(obj.name.lower())
        if holder is not None and holder != uuid:
            raise errors.PrereqError("already_exists", f"there is already a {kind} called {obj.name!r}")
        table[uuid] = obj
        names[obj.name.lower()] = uuid
        self._index(obj, add=True)

    def _index(self, obj: AnyObject, *, add: bool) -> None:
        if not isinstance(obj, Instance):
            return
        entries = [("primaries", obj.primary_node)] + [("secondaries", node) for node in obj.secondary_nodes]
        for index, node in entries:
            held: frozenset[Uuid] = self._maps[index].get(node, frozenset())
            self._maps[index][node] = held | {obj.uuid} if add else held - {obj.uuid}

    def finish(self) -> dict[str, object]:
        return {"cluster": self._cluster} | {name: table.finish() for name, table in self._maps.items()}


def _expand(
    name: str,
    names: Map[str, Uuid],
    objects: Map[Uuid, Node] | Map[Uuid, Instance] | Map[Uuid, Group] | Map[Uuid, Network],
    what: str,
    *,
    prefixes: bool = True,
) -> Uuid:
    wanted = name.lower()
    found = names.get(wanted)
    if found is not None:
        return found
    if wanted in objects:
        return Uuid(wanted)
    matches = [full for full in names if full.startswith(wanted + ".")] if prefixes and wanted else []
    if len(matches) == 1:
        return names[matches[0]]
    if matches:
        raise errors.PrereqError(
            "unknown_entity", f"{what} name {name!r} is ambiguous", hint="it may be " + ", ".join(sorted(matches)[:5])
        )
    raise errors.PrereqError("unknown_entity", f"{what} {name!r} is not known")
