"""List fields of nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ganeti.model.objects import Node
from ganeti.query.fields import Compare, Field, Getter, Kind, Need, Resource, stamps, table
from ganeti.query.view import NODATA, OFFLINE, UNAVAIL, Absent, View

TEXT, BOOL, NUMBER, UNIT, OTHER = Kind.TEXT, Kind.BOOL, Kind.NUMBER, Kind.UNIT, Kind.OTHER


def _role(view: View, node: Node) -> str:
    """M master, C master candidate, D drained, O offline, R regular."""
    if node.uuid == view.config.cluster.master_node:
        return "M"
    return "C" if node.master_candidate else "D" if node.drained else "O" if node.offline else "R"


def _live(attribute: str) -> Getter:
    def get(view: View, node: Node) -> Any:
        if node.offline:
            return OFFLINE
        if not node.vm_capable:
            return UNAVAIL
        facts = view.live.nodes.get(node.uuid, NODATA)
        if isinstance(facts, Absent):
            return facts
        value = getattr(facts, attribute)
        return NODATA if value is None else value

    return get


def _spindles(_: View, node: Node) -> Any:
    # No storage type with exclusive spindles exists: none are free, none are counted.
    return OFFLINE if node.offline else 0 if node.vm_capable else UNAVAIL


def _powered(view: View, node: Node) -> Any:
    return node.powered if view.params.nd(node).get("oob_program") else UNAVAIL


def _ndparam(name: str) -> Getter:
    def get(view: View, node: Node) -> Any:
        found = view.params.nd(node).get(name)
        return UNAVAIL if found is None else found

    return get


def _instances(view: View, node: Node, index: str) -> list[str]:
    return view.instance_names(getattr(view.config, index).get(node.uuid, ()))


def _group(view: View, node: Node) -> Any:
    group = view.config.groups.get(node.group)
    return group.name if group else UNAVAIL


_STATIC: tuple[Field, ...] = (
    Field("name", "Node", TEXT, "Name", lambda _, node: node.name, compare=Compare.HOST_NAME),
    Field("pip", "PrimaryIP", TEXT, "Primary address", lambda _, node: node.primary_ip),
    Field("sip", "SecondaryIP", TEXT, "Address for replication", lambda _, node: node.secondary_ip),
    Field("pinst_cnt", "Pinst", NUMBER, "Number of instances that have it as primary",
          lambda view, node: len(view.config.primaries.get(node.uuid, ()))),
    Field("sinst_cnt", "Sinst", NUMBER, "Number of instances that have it as secondary",
          lambda view, node: len(view.config.secondaries.get(node.uuid, ()))),
    Field("pinst_list", "PriInstances", OTHER, "Instances that have it as primary",
          lambda view, node: _instances(view, node, "primaries")),
    Field("sinst_list", "SecInstances", OTHER, "Instances that have it as secondary",
          lambda view, node: _instances(view, node, "secondaries")),
    Field("role", "Role", TEXT, "M master, C master candidate, R regular, D drained, O offline", _role),
    Field("master", "IsMaster", BOOL, "Whether it is the master",
          lambda view, node: node.uuid == view.config.cluster.master_node),
    Field("master_candidate", "MasterC", BOOL, "Whether it holds the state and may become master",
          lambda _, node: node.master_candidate),
    Field("drained", "Drained", BOOL, "Whether it takes no new instances", lambda _, node: node.drained),
    Field("offline", "Offline", BOOL, "Whether it is not to be contacted", lambda _, node: node.offline),
    Field("master_capable", "MasterCapable", BOOL, "Whether it can be a master candidate",
          lambda _, node: node.master_capable),
    Field("vm_capable", "VMCapable", BOOL, "Whether it can hold instances", lambda _, node: node.vm_capable),
    Field("powered", "Powered", BOOL, "Whether it has power, as out-of-band management knows it", _powered),
    Field("group", "Group", TEXT, "Node group", _group),
    Field("group.uuid", "GroupUUID", TEXT, "Unique id of the node group", lambda _, node: node.group),
    Field("ndparams", "NodeParameters", OTHER, "Node parameters, complete", lambda view, node: view.params.nd(node)),
    Field("custom_ndparams", "CustomNodeParameters", OTHER, "Node parameters set on the node",
          lambda _, node: node.ndparams),
    Field("hv_state", "HypervisorState", OTHER, "Recorded hypervisor state", lambda _, node: node.hv_state_static),
    Field("disk_state", "DiskState", OTHER, "Recorded disk state", lambda _, node: node.disk_state_static),
)  # fmt: skip

_LIVE: tuple[Field, ...] = (
    *(Field(name, title, kind, doc, _live(attribute), Need.NODES)
      for name, title, kind, doc, attribute in (
        ("bootid", "BootID", TEXT, "Changes with every boot", "bootid"),
        ("cnodes", "CNodes", NUMBER, "NUMA nodes", "cpu_nodes"),
        ("cnos", "CNOs", NUMBER, "Processors that the node's own system uses", "cpu_dom0"),
        ("csockets", "CSockets", NUMBER, "Processor sockets", "cpu_sockets"),
        ("ctotal", "CTotal", NUMBER, "Logical processors", "cpu_total"),
        ("dfree", "DFree", UNIT, "Free space of the default storage", "storage_free"),
        ("dtotal", "DTotal", UNIT, "Space of the default storage", "storage_total"),
        ("mfree", "MFree", UNIT, "Memory free for instances", "memory_free"),
        ("mnode", "MNode", UNIT, "Memory that the node's own system uses", "memory_dom0"),
        ("mtotal", "MTotal", UNIT, "Memory of the machine", "memory_total"),
    )),
    Field("spfree", "SpFree", NUMBER, "Free spindles (exclusive storage)", _spindles, Need.NODES),
    Field("sptotal", "SpTotal", NUMBER, "Spindles (exclusive storage)", _spindles, Need.NODES),
)  # fmt: skip


def resource(nd_params: Iterable[tuple[str, Kind, str]]) -> Resource:
    """`nd_params`: name, kind and title of every node parameter."""
    nd = [
        Field(f"ndp/{name}", title, kind, f"Node parameter {name}", _ndparam(name)) for name, kind, title in nd_params
    ]
    return Resource(
        name="node",
        fields=table((*_STATIC, *_LIVE, *stamps("node"), *nd)),
        every=lambda view: view.order.of("node", view.config.nodes),
        lookup=lambda view, name: view.config.node(str(name)),
        identity=lambda node: node.uuid,
    )
