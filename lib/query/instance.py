"""List fields of instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ganeti.model.objects import AdminState, Disk, DiskTemplate, Instance, Nic
from ganeti.query.fields import Compare, Field, Getter, Kind, Need, Resource, same_as, stamps, table
from ganeti.query.view import UNAVAIL, Absent, GuestFacts, View

MAX_DISKS = 16
MAX_NICS = 8
DRBD_META_MIB = 128

TEXT, BOOL, NUMBER, UNIT, OTHER = Kind.TEXT, Kind.BOOL, Kind.NUMBER, Kind.UNIT, Kind.OTHER


def _seen(view: View, inst: Instance) -> tuple[GuestFacts, ...] | Absent:
    """Running guests of this instance, or why its primary node could not tell."""
    running = tuple(guest for guest in view.live.guests.get(inst.uuid, ()) if guest.is_running)
    return running or view.live.silent.get((inst.primary_node, inst.hypervisor), ())


def _status(view: View, inst: Instance) -> str:
    node = view.config.nodes.get(inst.primary_node)
    if node is not None and node.offline:
        return "ERROR_nodeoffline"
    if (inst.primary_node, inst.hypervisor) in view.live.silent:
        return "ERROR_nodedown"
    guests = view.live.guests.get(inst.uuid, ())
    is_up = inst.admin_state is AdminState.UP
    if any(guest.is_running and guest.node != inst.primary_node for guest in guests):
        return "ERROR_wrongnode"
    if any(guest.is_running for guest in guests):
        return "running" if is_up else "ERROR_up"
    by_user = view.config.cluster.enabled_user_shutdown
    ended = [guest for guest in guests if guest.node == inst.primary_node]
    if ended:
        if not is_up:
            return "ADMIN_down"
        allowed = by_user and (inst.hypervisor != "kvm" or bool(view.params.hv(inst).get("user_shutdown")))
        return "USER_down" if allowed and any(guest.has_switched_off for guest in ended) else "ERROR_down"
    if is_up:
        return "ERROR_down"
    if inst.admin_state is AdminState.OFFLINE:
        return "ADMIN_offline"
    return "USER_down" if by_user and inst.admin_state_source == "user" else "ADMIN_down"


def _oper_state(view: View, inst: Instance) -> Any:
    guests = _seen(view, inst)
    return guests if isinstance(guests, Absent) else bool(guests)


def _oper(attribute: str) -> Getter:
    def get(view: View, inst: Instance) -> Any:
        guests = _seen(view, inst)
        if isinstance(guests, Absent):
            return guests
        return getattr(guests[0], attribute) if guests else UNAVAIL

    return get


def _console(view: View, inst: Instance) -> Any:
    guests = _seen(view, inst)
    if isinstance(guests, Absent):
        return guests
    return view.live.consoles.get(inst.uuid, UNAVAIL) if guests else UNAVAIL


def _snodes(view: View, inst: Instance) -> list[str]:
    return [view.node_name(uuid) for uuid in inst.secondary_nodes]


def _group(view: View, inst: Instance, attribute: str) -> Any:
    group = view.group_of(inst.primary_node)
    return getattr(group, attribute) if group else UNAVAIL


def _snode_groups(view: View, inst: Instance, attribute: str) -> list[str]:
    groups = (view.group_of(uuid) for uuid in inst.secondary_nodes)
    return [getattr(group, attribute) for group in groups if group]


def _disk_usage(_: View, inst: Instance) -> int:
    """MiB on each of its nodes."""
    total = 0
    for disk in inst.disks:
        if disk.template is not DiskTemplate.BLOCKDEV:
            total += disk.size + (DRBD_META_MIB if disk.template is DiskTemplate.DRBD else 0)
    return total


class _Nic(NamedTuple):
    """What its mode and link come from depends on where its instance is."""

    inst: Instance
    nic: Nic


def _nic_param(name: str) -> Callable[[View, _Nic], Any]:
    return lambda view, at: view.params.nic(at.inst, at.nic).get(name)


def _bridge(view: View, at: _Nic) -> str | None:
    filled = view.params.nic(at.inst, at.nic)
    return filled.get("link") if filled.get("mode") == "bridged" else None


def _network_name(view: View, at: _Nic) -> str | None:
    return view.network_names.get(at.nic.network, at.nic.network) if at.nic.network else None


#: (singular, plural, title word, kind, meaning, getter); None is a value that the device lacks
_DISK_PARTS: tuple[tuple[str, str, str, Kind, str, Callable[[View, Disk], Any]], ...] = (
    ("size", "sizes", "Disk", UNIT, "size", lambda _, disk: disk.size),
    ("spindles", "spindles", "DiskSpindles", NUMBER, "spindles", lambda _, disk: None),
    ("name", "names", "DiskName", TEXT, "name", lambda _, disk: disk.name or None),
    ("uuid", "uuids", "DiskUUID", TEXT, "unique id", lambda _, disk: disk.uuid),
)
_NIC_PARTS: tuple[tuple[str, str, str, str, str, Callable[[View, _Nic], Any]], ...] = (
    ("mac", "macs", "MAC", "MACs", "MAC address", lambda _, at: at.nic.mac),
    ("ip", "ips", "IP", "IPs", "IP address", lambda _, at: at.nic.ip),
    ("bridge", "bridges", "Bridge", "bridges", "bridge", _bridge),
    ("mode", "modes", "Mode", "modes", "mode", _nic_param("mode")),
    ("link", "links", "Link", "links", "link", _nic_param("link")),
    ("vlan", "vlans", "VLAN", "VLANs", "VLAN", lambda view, at: view.params.nic(at.inst, at.nic).get("vlan") or None),
    ("name", "names", "Name", "Names", "name", lambda _, at: at.nic.name or None),
    ("uuid", "uuids", "UUID", "UUIDs", "unique id", lambda _, at: at.nic.uuid),
    ("network", "networks", "Network", "networks", "network's unique id", lambda _, at: at.nic.network),
    ("network.name", "networks.names", "NetworkName", "networks_names", "network", _network_name),
)


def _nth(of: Callable[[Instance], tuple[Any, ...]], index: int, get: Callable[[View, Any], Any]) -> Getter:
    def value(view: View, inst: Instance) -> Any:
        devices = of(inst)
        found = get(view, devices[index]) if index < len(devices) else None
        return UNAVAIL if found is None else found

    return value


def _each(of: Callable[[Instance], tuple[Any, ...]], get: Callable[[View, Any], Any]) -> Getter:
    return lambda view, inst: [get(view, device) for device in of(inst)]


def _disks(inst: Instance) -> tuple[Disk, ...]:
    return inst.disks


def _nics(inst: Instance) -> tuple[_Nic, ...]:
    return tuple(_Nic(inst, nic) for nic in inst.nics)


def _devices() -> Iterator[Field]:
    yield Field("disk.count", "Disks", NUMBER, "Number of disks", lambda _, inst: len(inst.disks))
    for one, many, title, kind, what, disk_get in _DISK_PARTS:
        yield Field(f"disk.{many}", f"Disk_{many.replace('uuids', 'UUIDs')}", OTHER, f"The {what} of each disk",
                    _each(_disks, disk_get))  # fmt: skip
        for n in range(MAX_DISKS):
            yield Field(f"disk.{one}/{n}", f"{title}/{n}", kind, f"The {what} of disk {n}", _nth(_disks, n, disk_get))
    yield Field("nic.count", "NICs", NUMBER, "Number of NICs", lambda _, inst: len(inst.nics))
    for one, many, title, titles, what, nic_get in _NIC_PARTS:
        yield Field(f"nic.{many}", f"NIC_{titles}", OTHER, f"The {what} of each NIC", _each(_nics, nic_get))
        for n in range(MAX_NICS):
            yield Field(f"nic.{one}/{n}", f"Nic{title}/{n}", TEXT, f"The {what} of NIC {n}", _nth(_nics, n, nic_get))


def _beparam(name: str) -> Getter:
    return lambda view, inst: view.params.be(inst).get(name, UNAVAIL)


def _hvparam(name: str) -> Getter:
    def get(view: View, inst: Instance) -> Any:
        found = view.params.hv(inst).get(name, UNAVAIL)
        return UNAVAIL if found is None else found

    return get


_STATIC: tuple[Field, ...] = (
    Field("name", "Instance", TEXT, "Name", lambda _, inst: inst.name, compare=Compare.HOST_NAME),
    Field("os", "OS", TEXT, "Operating system definition", lambda _, inst: inst.os),
    Field("hypervisor", "Hypervisor", TEXT, "Hypervisor that runs it", lambda _, inst: inst.hypervisor),
    Field("pnode", "Primary_node", TEXT, "Primary node", lambda view, inst: view.node_name(inst.primary_node),
          compare=Compare.HOST_NAME),
    Field("snodes", "Secondary_Nodes", OTHER, "Secondary nodes", _snodes),
    Field("pnode.group", "PrimaryNodeGroup", TEXT, "Node group of the primary node",
          lambda view, inst: _group(view, inst, "name")),
    Field("pnode.group.uuid", "PrimaryNodeGroupUUID", TEXT, "Unique id of the primary node's group",
          lambda view, inst: _group(view, inst, "uuid")),
    Field("snodes.group", "SecondaryNodesGroups", OTHER, "Node groups of the secondary nodes",
          lambda view, inst: _snode_groups(view, inst, "name")),
    Field("snodes.group.uuid", "SecondaryNodesGroupsUUID", OTHER, "Unique ids of the secondary nodes' groups",
          lambda view, inst: _snode_groups(view, inst, "uuid")),
    Field("disk_template", "Disk_template", TEXT, "Kind of its disks", lambda _, inst: inst.disk_template),
    Field("disk_usage", "DiskUsage", UNIT, "Space its disks take on each of its nodes", _disk_usage),
    Field("admin_state", "InstanceState", TEXT, "Wanted state: up, down or offline",
          lambda _, inst: inst.admin_state.value),
    Field("admin_up", "Autostart", BOOL, "Whether it shall run", lambda _, inst: inst.admin_state is AdminState.UP),
    Field("admin_state_source", "InstanceStateSource", TEXT, "Who set the wanted state: admin or user",
          lambda _, inst: inst.admin_state_source),
    Field("disks_active", "DisksActive", BOOL, "Whether its disks shall be active", lambda _, inst: inst.disks_active),
    Field("network_port", "Network_port", OTHER, "TCP port of its console",
          lambda _, inst: UNAVAIL if inst.network_port is None else inst.network_port),
    Field("hvparams", "HypervisorParameters", OTHER, "Hypervisor parameters, complete",
          lambda view, inst: view.params.hv(inst)),
    Field("beparams", "BackendParameters", OTHER, "Back-end parameters, complete",
          lambda view, inst: view.params.be(inst)),
    Field("osparams", "OpSysParameters", OTHER, "OS parameters, complete", lambda view, inst: view.params.os(inst)),
    Field("custom_hvparams", "CustomHypervisorParameters", OTHER, "Hypervisor parameters set on the instance",
          lambda _, inst: inst.hvparams),
    Field("custom_beparams", "CustomBackendParameters", OTHER, "Back-end parameters set on the instance",
          lambda _, inst: inst.beparams),
    Field("custom_osparams", "CustomOpSysParameters", OTHER, "OS parameters set on the instance",
          lambda _, inst: inst.osparams),
    Field("custom_nicparams", "CustomNicParameters", OTHER, "NIC parameters set on each NIC",
          lambda _, inst: [nic.params for nic in inst.nics]),
    Field("forthcoming", "Forthcoming", BOOL, "Whether it is only reserved", lambda _, inst: False),
    Field("be/minmem", "ConfigMinMem", UNIT, "Least memory when ballooning", _beparam("minmem")),
    Field("be/maxmem", "ConfigMaxMem", UNIT, "Memory at start", _beparam("maxmem")),
    Field("be/vcpus", "ConfigVCPUs", NUMBER, "Virtual processors", _beparam("vcpus")),
    Field("be/auto_balance", "Auto_balance", BOOL, "Whether N+1 checks count it", _beparam("auto_balance")),
    Field("be/always_failover", "be/always_failover", BOOL, "Whether it is never migrated live",
          _beparam("always_failover")),
    Field("be/spindle_use", "be/spindle_use", NUMBER, "Weight for the spindle ratio", _beparam("spindle_use")),
)  # fmt: skip

_LIVE: tuple[Field, ...] = (
    Field("status", "Status", TEXT, "Wanted and found state in one word", _status, Need.GUESTS),
    Field("oper_state", "Running", BOOL, "Whether it runs", _oper_state, Need.GUESTS),
    Field("oper_ram", "Memory", UNIT, "Memory in use", _oper("memory"), Need.GUESTS),
    Field("oper_vcpus", "VCPUs", NUMBER, "Virtual processors in use", _oper("vcpus"), Need.GUESTS),
    Field("console", "Console", OTHER, "How to reach its console", _console, Need.CONSOLE),
)

#: old name → (name it has now, its own title or empty)
ALIASES = {
    "vcpus": "be/vcpus",
    "be/memory": "be/maxmem",
    "sda_size": "disk.size/0",
    "sdb_size": "disk.size/1",
    "ip": "nic.ip/0",
    "mac": "nic.mac/0",
    "bridge": "nic.bridge/0",
    "nic_mode": "nic.mode/0",
    "nic_link": "nic.link/0",
    "nic_network": "nic.network/0",
}


def resource(hv_params: Iterable[tuple[str, Kind, str]]) -> Resource:
    """`hv_params`: name, kind and title of every hypervisor parameter that is not global."""
    hv = [
        Field(f"hv/{name}", title, kind, f"Hypervisor parameter {name}", _hvparam(name))
        for name, kind, title in hv_params
    ]
    fields = table((*_STATIC, *_LIVE, *_devices(), *stamps("instance"), *hv))
    for alias, name in ALIASES.items():
        fields[alias] = same_as(fields[name], alias)
    return Resource(
        name="instance",
        fields=fields,
        every=lambda view: view.order.of("instance", view.config.instances),
        lookup=lambda view, name: view.config.instance(str(name)),
        identity=lambda inst: inst.uuid,
    )
