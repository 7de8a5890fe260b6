"""List fields of locks, networks, exports and the cluster itself."""

from __future__ import annotations

import ipaddress
from typing import Any

from ganeti import errors, settings
from ganeti.model import pool
from ganeti.model.objects import Cluster, Network
from ganeti.query import versions
from ganeti.query.fields import Compare, Field, Kind, Need, Resource, stamps, table
from ganeti.query.view import UNAVAIL, ExportRow, LockRow, View

TEXT, BOOL, NUMBER, OTHER = Kind.TEXT, Kind.BOOL, Kind.NUMBER, Kind.OTHER

# -- locks ------------------------------------------------------------------------------------------------------------


def _lock(view: View, name: str | int) -> LockRow:
    row = next((row for row in view.locks() if row.name == name), None)
    if row is None:
        raise errors.PrereqError("unknown_entity", f"lock {name!r} is neither held nor wanted by any job")
    return row


LOCK = Resource(
    name="lock",
    fields=table((
        Field("name", "Name", OTHER, "Name: level and object", lambda _, row: row.name),
        Field("mode", "Mode", OTHER, "How it is held: exclusive or shared; none: it is free", lambda _, row: row.mode),
        Field("owner", "Owner", OTHER, "Jobs that hold it", lambda _, row: row.owners or None),
        Field("pending", "Pending", OTHER, "Jobs that wait for it, with the mode they want",
              lambda _, row: row.pending or None),
        Field("waited", "Waited", OTHER, "Seconds that each of the waiting jobs has waited, in the order of pending",
              lambda _, row: [round(seconds, 1) for seconds in row.waited] or None),
    )),
    every=lambda view: sorted(view.locks(), key=lambda row: row.name),
    lookup=_lock,
    identity=lambda row: row.name,
)  # fmt: skip

# -- networks ---------------------------------------------------------------------------------------------------------


def _or_unavail(value: str) -> Any:
    return value or UNAVAIL


def used_addresses(view: View, network: Network) -> set[int]:
    """Offsets of the addresses in use: those of instances, the gateway, and reserved ones."""
    names = view.network_instances.get(network.uuid, ())
    nics = [nic for name in names for nic in view.config.instance(name).nics if nic.network == network.uuid]
    return pool.used(network, [nic.ip for nic in nics if nic.ip])


def _map(view: View, network: Network) -> str:
    used = used_addresses(view, network)
    return "".join("X" if n in used else "." for n in range(ipaddress.ip_network(network.network).num_addresses))


def _free(view: View, network: Network) -> int:
    return int(ipaddress.ip_network(network.network).num_addresses) - len(used_addresses(view, network))


def _groups(view: View, network: Network) -> list[list[str]]:
    return [
        [group.name, *(str(group.networks[network.uuid].get(key, "")) for key in ("mode", "link", "vlan"))]
        for group in view.order.of("group", view.config.groups)
        if network.uuid in group.networks
    ]


NETWORK = Resource(
    name="network",
    fields=table((
        Field("name", "Network", TEXT, "Name", lambda _, net: net.name),
        Field("network", "Subnet", TEXT, "IPv4 subnet", lambda _, net: net.network),
        Field("gateway", "Gateway", OTHER, "IPv4 gateway", lambda _, net: _or_unavail(net.gateway)),
        Field("network6", "IPv6Subnet", OTHER, "IPv6 subnet", lambda _, net: _or_unavail(net.network6)),
        Field("gateway6", "IPv6Gateway", OTHER, "IPv6 gateway", lambda _, net: _or_unavail(net.gateway6)),
        Field("mac_prefix", "MacPrefix", OTHER, "Prefix of its MAC addresses",
              lambda _, net: _or_unavail(net.mac_prefix)),
        Field("free_count", "FreeCount", NUMBER, "Number of free addresses", _free),
        Field("reserved_count", "ReservedCount", NUMBER, "Number of addresses in use",
              lambda view, net: len(used_addresses(view, net))),
        Field("map", "Map", TEXT, "Every address: X in use, . free", _map),
        Field("external_reservations", "ExternalReservations", TEXT, "Addresses reserved from outside",
              lambda _, net: ", ".join(net.reserved)),
        Field("group_list", "GroupList", OTHER, "Node groups that have it, with mode, link and VLAN", _groups),
        Field("group_cnt", "NodeGroups", NUMBER, "Number of node groups that have it",
              lambda view, net: len(_groups(view, net))),
        Field("inst_list", "InstanceList", OTHER, "Instances on it",
              lambda view, net: view.network_instances.get(net.uuid, [])),
        Field("inst_cnt", "Instances", NUMBER, "Number of instances on it",
              lambda view, net: len(view.network_instances.get(net.uuid, []))),
        *stamps("network"),
    )),
    every=lambda view: view.order.of("network", view.config.networks),
    lookup=lambda view, name: view.config.network(str(name)),
    identity=lambda net: net.uuid,
)  # fmt: skip

# -- exports ----------------------------------------------------------------------------------------------------------


def _exports_of(view: View, name: str | int) -> list[ExportRow]:
    node = view.config.node(str(name)).name
    return [row for row in view.live.exports if row.node == node]


EXPORT = Resource(
    name="export",
    fields=table((
        Field("node", "Node", TEXT, "Node that holds it", lambda _, row: row.node, compare=Compare.HOST_NAME),
        Field("export", "Export", TEXT, "Name of the exported instance", lambda _, row: row.export),
    )),
    every=lambda view: view.live.exports,
    name_field="node",
    lookup_all=_exports_of,
    source=Need.EXPORTS,
)  # fmt: skip

# -- the cluster ------------------------------------------------------------------------------------------------------


def _pause(view: View, _: Cluster) -> Any:
    until = view.flags.watcher_pause
    return until if until is not None and until > view.now else UNAVAIL


_NAME = Field("cluster_name", "Name", TEXT, "Name of the cluster", lambda _, cluster: cluster.name)

CLUSTER = Resource(
    name="cluster",
    fields=table((
        _NAME,
        Field("name", "Name", TEXT, "Name of the cluster (same as cluster_name)", _NAME.get),
        Field("volume_group_name", "VgName", TEXT, "LVM volume group",
              lambda _, cluster: _or_unavail(cluster.volume_group_name)),
        Field("master_node", "Master", TEXT, "Master node", lambda view, cluster: view.node_name(cluster.master_node)),
        Field("architecture", "ArchInfo", OTHER, "Word size and machine of the master",
              lambda *_: versions.architecture()),
        Field("drain_flag", "QueueDrained", BOOL, "Whether the queue takes no jobs",
              lambda view, _: view.flags.drained),
        Field("watcher_pause", "WatcherPause", Kind.TIMESTAMP, "Until when the watcher is paused", _pause),
        Field("software_version", "SoftwareVersion", TEXT, "Version of the software", lambda *_: settings.VERSION),
        Field("protocol_version", "ProtocolVersion", NUMBER, "Version of the node protocol",
              lambda *_: versions.PROTOCOL),
        Field("config_version", "ConfigVersion", NUMBER, "Version of the configuration", lambda *_: versions.CONFIG),
        Field("os_api_version", "OsApiVersion", NUMBER, "Highest OS API that is spoken", lambda *_: versions.OS_API),
        Field("export_version", "ExportVersion", NUMBER, "Version of exports", lambda *_: versions.EXPORT),
        Field("vcs_version", "VCSVersion", TEXT, "Source version", lambda *_: settings.VERSION),
        *(field for field in stamps("cluster") if field.name in ("ctime", "mtime", "tags")),
    )),
    every=lambda view: (view.config.cluster,),
    name_field="cluster_name",
    identity=lambda cluster: cluster.uuid,
)  # fmt: skip
