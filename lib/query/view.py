"""What a query sees: one snapshot, filled parameters, and the live data that was collected for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import msgspec
from immutables import Map

from ganeti.model.config import Config
from ganeti.model.jobs import FilterRule, Flags, Job, LogEntry
from ganeti.model.objects import Group, Instance, Network, Nic, Node, Params
from ganeti.model.types import JobId, Uuid, nice_key


class Absent:
    """Stands for a value that is not there, and says why."""

    __slots__ = ("cell", "word")

    def __init__(self, status: int, word: str) -> None:
        self.cell = [status, None]
        self.word = word

    def __repr__(self) -> str:
        return f"<{self.word}>"


NORMAL = 0
UNKNOWN = Absent(1, "unknown")  # no such field
NODATA = Absent(2, "nodata")  # could not be collected
UNAVAIL = Absent(3, "unavail")  # does not apply to this object
OFFLINE = Absent(4, "offline")  # its node is offline


class Filler(Protocol):
    """Complete parameters. Global hypervisor parameters are left out."""

    def hv(self, instance: Instance) -> Params: ...
    def be(self, instance: Instance) -> Params: ...
    def os(self, instance: Instance) -> Params: ...
    def nic(self, instance: Instance, nic: Nic) -> Params: ...
    def nd(self, node: Node) -> Params: ...
    def group_nd(self, group: Group) -> Params: ...
    def group_disk(self, group: Group) -> dict[str, Params]: ...
    def group_ipolicy(self, group: Group) -> Params: ...


class GuestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as one node reported it."""

    node: Uuid
    memory: int  # MiB
    vcpus: int
    is_running: bool  # False: it has ended, its process is still there
    has_switched_off: bool = False  # by itself, in good order


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A node's answer. None: it did not say."""

    bootid: str | None = None
    memory_total: int | None = None  # MiB
    memory_free: int | None = None
    memory_dom0: int | None = None
    cpu_total: int | None = None
    cpu_nodes: int | None = None
    cpu_sockets: int | None = None
    cpu_dom0: int | None = None
    storage_total: int | None = None
    storage_free: int | None = None


class OsRow(msgspec.Struct, frozen=True, kw_only=True):
    """An OS definition as the nodes have it."""

    name: str
    valid: bool  # on all nodes, with equal properties
    # by node, its copies in the order of its search path, the one it uses first:
    # [path, is valid, message, variants, parameters, api versions, is trusted]
    node_status: dict[str, list[list[Any]]]
    hidden: bool = False
    blacklisted: bool = False
    variants: Sequence[str] = ()
    api_versions: Sequence[int] = ()
    parameters: Sequence[Sequence[str]] = ()  # (name, help)
    os_hvp: Mapping[str, Params] = {}  # by hypervisor
    osparams: Params = {}
    trusted: bool = True


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A provider of external storage as the nodes have it."""

    name: str
    node_status: dict[str, list[list[Any]]]  # by node: [path, is valid, message, parameters]
    nodegroup_status: dict[str, bool]  # by group: valid on all its nodes
    parameters: Sequence[Sequence[str]] = ()  # (name, help)


class ExportRow(msgspec.Struct, frozen=True):
    node: str
    export: str | Absent  # why there is none: the node could not be asked


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What nodes answered."""

    guests: Mapping[Uuid, Sequence[GuestFacts]] = {}  # by instance
    # (node, hypervisor) that could not be asked, and why
    silent: Mapping[tuple[Uuid, str], Absent] = {}
    consoles: Mapping[Uuid, dict[str, Any] | Absent] = {}  # by instance; Any: JSON for the client
    nodes: Mapping[Uuid, NodeFacts | Absent] = {}
    oses: Sequence[OsRow] = ()
    exports: Sequence[ExportRow] = ()
    providers: Sequence[ProviderRow] = ()


#: why a job does not go on: (lock, dependency, filter or limit; lock's name; job that must give way or end first)
WaitsFor = tuple[str, str | None, JobId | None]


class JobRow(msgspec.Struct, frozen=True):
    """A job to list; `job` is None when there is none with the id that was asked for."""

    id: JobId
    job: Job | None
    log: Sequence[LogEntry] = ()
    is_archived: bool = False
    waits_for: Callable[[], Sequence[WaitsFor]] = tuple


class LockRow(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is held or waited for."""

    name: str
    mode: str | None  # of the owners: exclusive or shared
    owners: Sequence[str]
    pending: Sequence[tuple[str, Sequence[str]]]  # waiters as (mode, jobs), in order of the queue
    waited: Sequence[float]  # seconds, for each of them


T = TypeVar("T", Instance, Node, Group, Network)


class Order:
    """Objects in natural order of their names, kept from one snapshot to the next.

    A change of the configuration costs one pass over an order that is nearly right already.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Map[Uuid, Any], list[Any]]] = {}
        self._keys: dict[str, tuple[tuple[int, int, str], ...]] = {}

    def of(self, kind: str, objects: Map[Uuid, T]) -> Sequence[T]:
        kept_map, kept = self._kept.get(kind, (None, []))
        if kept_map is objects:
            return kept
        known = {old.uuid for old in kept}
        now = [objects[old.uuid] for old in kept if old.uuid in objects]
        now += [new for uuid, new in objects.items() if uuid not in known]
        if len(self._keys) > 2 * len(now) + 1000:
            self._keys.clear()
        now.sort(key=self._key)
        self._kept[kind] = (objects, now)
        return now

    def _key(self, obj: Any) -> tuple[tuple[int, int, str], ...]:
        key = self._keys.get(obj.name)
        if key is None:
            key = self._keys[obj.name] = nice_key(obj.name)
        return key

    def names(self, found: Iterable[str]) -> list[str]:
        return sorted(found, key=nice_key)


class View:
    """One query's world. Never changes, but for `live`, which is put in when it was collected."""

    def __init__(
        self,
        config: Config,
        params: Filler,
        *,
        order: Order | None = None,
        live: Live | None = None,
        jobs: Callable[[JobId], JobRow | None] = lambda _: None,
        all_jobs: Callable[[], Sequence[JobRow]] = tuple,
        locks: Callable[[], Sequence[LockRow]] = tuple,
        flags: Flags | None = None,
        filters: Sequence[FilterRule] = (),
        now: float = 0.0,  # epoch seconds
    ) -> None:
        self.config = config
        self.params = params
        self.order = order or Order()
        self.live = live or Live()
        self.jobs = jobs
        self.all_jobs = all_jobs
        self.locks = locks
        self.flags = flags or Flags()
        self.filters = filters
        self.now = now

    @cached_property
    def node_names(self) -> dict[Uuid, str]:
        return {uuid: node.name for uuid, node in self.config.nodes.items()}

    @cached_property
    def network_names(self) -> dict[Uuid, str]:
        return {uuid: network.name for uuid, network in self.config.networks.items()}

    def node_name(self, uuid: Uuid) -> str:
        """The uuid itself when the configuration has lost the node; verify reports that."""
        return self.node_names.get(uuid, uuid)

    def group_of(self, node: Uuid) -> Group | None:
        found = self.config.nodes.get(node)
        return self.config.groups.get(found.group) if found else None

    @cached_property
    def group_nodes(self) -> dict[Uuid, list[Node]]:
        """Nodes of each group, in natural order."""
        found: dict[Uuid, list[Node]] = {}
        for node in self.order.of("node", self.config.nodes):
            found.setdefault(node.group, []).append(node)
        return found

    @cached_property
    def network_instances(self) -> dict[Uuid, list[str]]:
        """Names of the instances on each network, in natural order."""
        found: dict[Uuid, list[str]] = {}
        for inst in self.order.of("instance", self.config.instances):
            for uuid in {nic.network for nic in inst.nics if nic.network}:
                found.setdefault(uuid, []).append(inst.name)
        return found

    def instance_names(self, uuids: Iterable[Uuid]) -> list[str]:
        instances = self.config.instances
        return self.order.names(instances[uuid].name for uuid in uuids)
