"""The configuration as one immutable snapshot with indexes. A change costs the size of the change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

import msgspec
from immutables import Map

from ganeti import errors
from ganeti.model.objects import (
    AnyObject,
    Change,
    Cluster,
    DetachedDisk,
    Disk,
    DiskTemplate,
    Group,
    Instance,
    Network,
    Node,
    Put,
)
from ganeti.model.types import Uuid

_LISTED = "gnt-instance list-detached-disks tells their uuids"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All objects. Readers keep it as long as they like; it never changes under them."""

    cluster: Cluster
    nodes: Map[Uuid, Node] = Map()
    groups: Map[Uuid, Group] = Map()
    instances: Map[Uuid, Instance] = Map()
    networks: Map[Uuid, Network] = Map()
    disks: Map[Uuid, DetachedDisk] = Map()  # of no instance
    # indexes, lower-case names
    node_names: Map[str, Uuid] = Map()
    group_names: Map[str, Uuid] = Map()
    instance_names: Map[str, Uuid] = Map()
    network_names: Map[str, Uuid] = Map()
    disk_names: Map[str, Uuid] = Map()
    primaries: Map[Uuid, frozenset[Uuid]] = Map()  # node → instances that have it as primary
    secondaries: Map[Uuid, frozenset[Uuid]] = Map()
    macs: Map[str, frozenset[Uuid]] = Map()  # address → instances that have it: one, unless something went wrong
    ports: Map[int, frozenset[Uuid]] = Map()  # port → instances and detached disks
    ips: Map[str, frozenset[Uuid]] = Map()  # `nic_address` → instances that have it on that network

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
        for table in (self.groups, self.nodes, self.networks, self.instances, self.disks):
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

    def detached_disk(self, wanted: str) -> DetachedDisk:
        """By uuid, or by the name that people gave it. Raises PrereqError."""
        found = self.disks.get(Uuid(wanted))
        named = [found] if found is not None else [each for each in self.disks.values() if each.disk.name == wanted]
        if len(named) == 1 and wanted:
            return named[0]
        if named:
            raise errors.PrereqError("unknown_entity", f"several detached disks are called {wanted!r}", hint=_LISTED)
        raise errors.PrereqError("unknown_entity", f"there is no detached disk {wanted!r}", hint=_LISTED)

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
    """Collects changes; an index that no change touches stays the same object, so that it can be compared by `is`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._cluster = config.cluster
        self._mutations: dict[str, Any] = {}  # Any: MapMutation of the table's or index's own types
        # (index, key) → who is there now; made anew once, however many changes there are: a load has all of them
        self._members: dict[tuple[str, str | int], set[Uuid]] = {}

    def _table(self, name: str) -> Any:
        if name not in self._mutations:
            self._mutations[name] = getattr(self._config, name).mutate()
        return self._mutations[name]

    def _get(self, name: str, key: str | int) -> Any:
        """Without making a mutation of it."""
        table = self._mutations.get(name)
        return (table if table is not None else getattr(self._config, name)).get(key)

    def make(self, change: Change) -> None:
        obj = change.object if isinstance(change, Put) else None
        kind, uuid = (obj.kind, obj.uuid) if obj is not None else (change.kind, change.uuid)  # type: ignore[union-attr]  # a Delete
        if isinstance(obj, Cluster):
            self._cluster = obj
            return
        if kind == "cluster":
            raise errors.ExecError("the cluster object cannot be deleted")
        old = self._get(kind + "s", uuid)
        if obj is None:
            if old is not None:
                self._table(kind + "s").pop(uuid)
                self._table(kind + "_names").pop(old.name.lower(), None)
                self._index(old, None)
            return
        if old is None or old.name != obj.name:
            holder = self._get(kind + "_names", obj.name.lower())
            if holder is not None and holder != uuid:
                raise errors.PrereqError("already_exists", f"there is already a {kind} called {obj.name!r}")
            names = self._table(kind + "_names")
            if old is not None:
                names.pop(old.name.lower(), None)
            names[obj.name.lower()] = uuid
        self._table(kind + "s")[uuid] = obj
        self._index(old, obj)

    def _index(self, old: AnyObject | None, new: AnyObject | None) -> None:
        before, after = _index_entries(old), _index_entries(new)
        if before == after:
            return
        for index, key, instance in before - after:
            self._members_of(index, key).discard(instance)
        for index, key, instance in after - before:
            self._members_of(index, key).add(instance)

    def _members_of(self, index: str, key: str | int) -> set[Uuid]:
        members = self._members.get((index, key))
        if members is None:
            members = self._members[index, key] = set(getattr(self._config, index).get(key, ()))
        return members

    def finish(self) -> dict[str, object]:
        for (index, key), members in self._members.items():
            if members:
                self._table(index)[key] = frozenset(members)
            else:
                self._table(index).pop(key, None)
        return {"cluster": self._cluster} | {name: table.finish() for name, table in self._mutations.items()}


def nic_address(network: Uuid, ip: str) -> str:
    """Key of the index `ips`: the same address may be in use on several networks."""
    return f"{network} {ip}"


def _index_entries(obj: AnyObject | None) -> set[tuple[str, str | int, Uuid]]:
    """(index, key, instance or detached disk)."""
    if isinstance(obj, DetachedDisk):
        return _mirror_ports([obj.disk], obj.uuid)
    if not isinstance(obj, Instance):
        return set()
    found: set[tuple[str, str | int, Uuid]] = {("primaries", obj.primary_node, obj.uuid)}
    found.update(("secondaries", node, obj.uuid) for node in obj.secondary_nodes)
    found.update(("macs", nic.mac, obj.uuid) for nic in obj.nics)
    found.update(("ips", nic_address(nic.network, nic.ip), obj.uuid) for nic in obj.nics if nic.network and nic.ip)
    if obj.network_port is not None:
        found.add(("ports", obj.network_port, obj.uuid))
    return found | _mirror_ports(obj.disks, obj.uuid)


def _mirror_ports(disks: Iterable[Disk], holder: Uuid) -> set[tuple[str, str | int, Uuid]]:
    return {("ports", disk.logical_id[2], holder) for disk in disks if disk.template is DiskTemplate.DRBD}


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
