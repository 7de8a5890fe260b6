"""List fields of node groups."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from ganeti.model.objects import Group
from ganeti.model.types import Uuid
from ganeti.query.fields import Field, Getter, Kind, Resource, stamps, table
from ganeti.query.view import UNAVAIL, View

TEXT, NUMBER, OTHER = Kind.TEXT, Kind.NUMBER, Kind.OTHER


def _instances(view: View, group: Group) -> list[Uuid]:
    primaries = view.config.primaries
    return list(chain.from_iterable(primaries.get(node.uuid, ()) for node in view.group_nodes.get(group.uuid, ())))


def _ndparam(name: str) -> Getter:
    def get(view: View, group: Group) -> object:
        found = view.params.group_nd(group).get(name)
        return UNAVAIL if found is None else found

    return get


_STATIC: tuple[Field, ...] = (
    Field("name", "Group", TEXT, "Name", lambda _, group: group.name),
    Field("alloc_policy", "AllocPolicy", TEXT, "Whether allocation may use it",
          lambda _, group: group.alloc_policy.value),
    Field("node_cnt", "Nodes", NUMBER, "Number of nodes",
          lambda view, group: len(view.group_nodes.get(group.uuid, ()))),
    Field("node_list", "NodeList", OTHER, "Nodes",
          lambda view, group: [node.name for node in view.group_nodes.get(group.uuid, ())]),
    Field("pinst_cnt", "Instances", NUMBER, "Number of instances that have their primary node in it",
          lambda view, group: len(_instances(view, group))),
    Field("pinst_list", "InstanceList", OTHER, "Instances that have their primary node in it",
          lambda view, group: view.instance_names(_instances(view, group))),
    Field("ndparams", "NDParams", OTHER, "Node parameters, complete", lambda view, group: view.params.group_nd(group)),
    Field("custom_ndparams", "CustomNDParams", OTHER, "Node parameters set on the group",
          lambda _, group: group.ndparams),
    Field("diskparams", "DiskParameters", OTHER, "Disk parameters, complete",
          lambda view, group: view.params.group_disk(group)),
    Field("custom_diskparams", "CustomDiskParameters", OTHER, "Disk parameters set on the group",
          lambda _, group: group.diskparams),
    Field("ipolicy", "InstancePolicy", OTHER, "Instance policy, complete",
          lambda view, group: view.params.group_ipolicy(group)),
    Field("custom_ipolicy", "CustomInstancePolicy", OTHER, "Instance policy set on the group",
          lambda _, group: group.ipolicy),
)  # fmt: skip


def resource(nd_params: Iterable[tuple[str, Kind, str]]) -> Resource:
    """`nd_params`: name, kind and title of every node parameter."""
    nd = [
        Field(f"ndp/{name}", title, kind, f"Node parameter {name}", _ndparam(name)) for name, kind, title in nd_params
    ]
    return Resource(
        name="group",
        fields=table((*_STATIC, *stamps("group"), *nd)),
        every=lambda view: view.order.of("group", view.config.groups),
        lookup=lambda view, name: view.config.group(str(name)),
        identity=lambda group: group.uuid,
    )
