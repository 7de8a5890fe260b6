"""Operations on node groups."""

from __future__ import annotations

from typing import Annotated, Any

from ganeti.model.objects import AllocPolicy, Params
from ganeti.model.types import GroupName, ObjectName
from ganeti.ops.base import Cli, OpCode, Parse, Rest, operation, opt
from ganeti.ops.ipolicy import GroupPolicy

NodeParameters = Annotated[Params | None, opt("--node-parameters", help="parameters of its nodes", parse=Parse.KEYVAL)]
# Any: parameters by template, by hypervisor, by storage; checked by the logic
HvState = Annotated[
    dict[str, Any] | None,
    opt("--hypervisor-state", help="recorded for allocators, by hypervisor", parse=Parse.IDENT_KEYVAL),
]
DiskState = Annotated[
    dict[str, Any] | None,
    opt(
        "--disk-state",
        help="recorded for allocators, by storage",
        parse=Parse.IDENT_KEYVAL,
        metavar="TYPE/NAME:KEY=VALUE,...",
    ),
]
_AllocPolicy = Annotated[
    AllocPolicy | None, opt("--alloc-policy", help="whether allocation may use the group", metavar="POLICY")
]
_DiskParameters = Annotated[
    dict[str, Any] | None,
    opt(
        "-D",
        "--disk-parameters",
        help="parameters of disks by template",
        parse=Parse.IDENT_KEYVAL,
        metavar="TEMPLATE:KEY=VALUE,...",
    ),
]


@operation(
    cli=Cli(tool="gnt-group", verb="add", positional=("group_name",)),
    rest=Rest(method="POST", path="/2/groups", renames=(("name", "group_name"),)),
    hooks="group-add",
    object_type="GROUP",
    summary="group_name",
)
class OpGroupAdd(OpCode, frozen=True, tag="OP_GROUP_ADD"):
    """Make a node group. It has no nodes yet."""

    group_name: ObjectName
    alloc_policy: _AllocPolicy = None
    ndparams: NodeParameters = None
    diskparams: _DiskParameters = None
    hv_state: HvState = None
    disk_state: DiskState = None
    ipolicy: GroupPolicy = None


@operation(
    cli=Cli(tool="gnt-group", verb="assign-nodes", positional=("group_name", "nodes"), custom=True),
    rest=Rest(method="PUT", path="/2/groups/{group_name}/assign-nodes"),
    summary="group_name",
)
class OpGroupAssignNodes(OpCode, frozen=True, tag="OP_GROUP_ASSIGN_NODES"):
    """Put nodes into another node group."""

    group_name: GroupName
    nodes: tuple[str, ...]
    force: Annotated[bool, opt("-f", "--force", help="even if instances are on nodes of different groups then")] = False


@operation(
    cli=Cli(tool="gnt-group", verb="modify", positional=("group_name",), needs_option=True),
    rest=Rest(
        method="PUT",
        path="/2/groups/{group_name}/modify",
        renames=(("custom_ndparams", "ndparams"), ("custom_ipolicy", "ipolicy"), ("custom_diskparams", "diskparams")),
    ),
    hooks="group-modify",
    object_type="GROUP",
    summary="group_name",
)
class OpGroupSetParams(OpCode, frozen=True, tag="OP_GROUP_SET_PARAMS"):
    """Change settings of a node group; `default` as a value takes an override away. Result: list of [what, value]."""

    group_name: GroupName
    alloc_policy: _AllocPolicy = None
    ndparams: NodeParameters = None
    diskparams: _DiskParameters = None
    hv_state: HvState = None
    disk_state: DiskState = None
    ipolicy: GroupPolicy = None


@operation(
    cli=Cli(tool="gnt-group", verb="remove", positional=("group_name",)),
    rest=Rest(method="DELETE", path="/2/groups/{group_name}"),
    hooks="group-remove",
    object_type="GROUP",
    summary="group_name",
)
class OpGroupRemove(OpCode, frozen=True, tag="OP_GROUP_REMOVE"):
    """Remove a node group; it may have no nodes and not be the last one."""

    group_name: GroupName


@operation(
    cli=Cli(tool="gnt-group", verb="rename", positional=("group_name", "new_name")),
    rest=Rest(method="PUT", path="/2/groups/{group_name}/rename"),
    hooks="group-rename",
    object_type="GROUP",
)
class OpGroupRename(OpCode, frozen=True, tag="OP_GROUP_RENAME"):
    """Give a node group another name. Result: the new name."""

    group_name: GroupName
    new_name: ObjectName
