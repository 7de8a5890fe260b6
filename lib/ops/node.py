"""Operations on nodes."""

from __future__ import annotations

from typing import Annotated, Any

from ganeti.model.objects import Params
from ganeti.model.types import NodeName
from ganeti.ops.base import Cli, OpCode, Parse, Rest, operation, opt

_NodeParameters = Annotated[Params | None, opt("--node-parameters", help="parameters of the node", parse=Parse.KEYVAL)]
# Any: by hypervisor, by storage; checked by the logic
_HvState = Annotated[
    dict[str, Any] | None,
    opt("--hypervisor-state", help="recorded for allocators, by hypervisor", parse=Parse.IDENT_KEYVAL),
]
_DiskState = Annotated[
    dict[str, Any] | None,
    opt(
        "--disk-state",
        help="recorded for allocators, by storage",
        parse=Parse.IDENT_KEYVAL,
        metavar="TYPE/NAME:KEY=VALUE,...",
    ),
]


@operation(
    cli=Cli(tool="gnt-node", verb="add", positional=("node_name",), custom=True, common=("priority",)),
    hooks="node-add",
    object_type="NODE",
    summary="node_name",
)
class OpNodeAdd(OpCode, frozen=True, tag="OP_NODE_ADD"):
    """Add a node that has joined (its daemon runs with a certificate of this cluster)."""

    node_name: NodeName
    primary_ip: str = ""  # filled by the command that resolved the name
    secondary_ip: Annotated[str, opt("-s", "--secondary-ip", help="address on the replication network")] = ""
    group: Annotated[str, opt("-g", "--node-group", help="node group to put it into", metavar="GROUP")] = ""
    readd: Annotated[bool, opt("--readd", help="the node is known and was installed anew")] = False
    master_capable: Annotated[
        bool, opt("--master-capable", help="whether it may become master candidate", parse=Parse.YES_NO)
    ] = True
    vm_capable: Annotated[bool, opt("--vm-capable", help="whether it may hold instances", parse=Parse.YES_NO)] = True
    ndparams: _NodeParameters = None
    hv_state: _HvState = None
    disk_state: _DiskState = None
    node_uuid: str = ""  # chosen by the join, written into the certificate
    certificate_digest: str = ""  # SHA-256, hex, of the certificate that the join installed


@operation(
    cli=Cli(tool="gnt-node", verb="remove", positional=("node_name",), common=("dry_run", "priority")),
    hooks="node-remove",
    object_type="NODE",
    summary="node_name",
)
class OpNodeRemove(OpCode, frozen=True, tag="OP_NODE_REMOVE"):
    """Take a node out of the cluster; it may hold no instances and not be the master."""

    node_name: NodeName


@operation(
    cli=Cli(tool="gnt-node", verb="modify", positional=("node_name",), custom=True, needs_option=True),
    rest=Rest(method="POST", path="/2/nodes/{node_name}/modify"),
    hooks="node-modify",
    object_type="NODE",
    summary="node_name",
)
class OpNodeSetParams(OpCode, frozen=True, tag="OP_NODE_SET_PARAMS"):
    """Change a node's role and abilities. Result: list of [what, new value]."""

    node_name: NodeName
    force: Annotated[bool, opt("-f", "--force", help="go on in spite of warnings")] = False
    auto_promote: Annotated[bool, opt("--auto-promote", help="promote another node when candidates become too few")] = (
        False
    )
    master_candidate: Annotated[
        bool | None, opt("-C", "--master-candidate", help="whether it is a master candidate", parse=Parse.YES_NO)
    ] = None
    offline: Annotated[bool | None, opt("-O", "--offline", help="whether it is out of reach", parse=Parse.YES_NO)] = (
        None
    )
    drained: Annotated[
        bool | None, opt("-D", "--drained", help="whether it gets no new instances", parse=Parse.YES_NO)
    ] = None
    master_capable: Annotated[
        bool | None, opt("--master-capable", help="whether it may become candidate", parse=Parse.YES_NO)
    ] = None
    vm_capable: Annotated[
        bool | None, opt("--vm-capable", help="whether it may hold instances", parse=Parse.YES_NO)
    ] = None
    secondary_ip: Annotated[
        str | None, opt("-s", "--secondary-ip", help="address on the replication network", metavar="IP")
    ] = None
    ndparams: _NodeParameters = None
    powered: Annotated[
        bool | None, opt("--node-powered", help="recorded power state of a node with a helper", parse=Parse.YES_NO)
    ] = None
    hv_state: _HvState = None
    disk_state: _DiskState = None


@operation()
class OpNodeQueryVols(OpCode, frozen=True, tag="OP_NODE_QUERYVOLS"):
    """List the logical volumes of nodes. Result: rows of `output_fields`, all values as text."""

    output_fields: tuple[str, ...]
    nodes: tuple[str, ...] = ()


@operation(rest=Rest(method="GET", path="/2/nodes/{nodes}/storage", ignores_body=True, rights=("write",)))
class OpNodeQueryStorage(OpCode, frozen=True, tag="OP_NODE_QUERY_STORAGE"):
    """List directories, physical volumes or volume groups of nodes with their space. Result: rows of `output_fields`.

    The kind is that of the first enabled disk template when none is given.
    """

    output_fields: tuple[str, ...]
    storage_type: str = ""
    nodes: tuple[str, ...] = ()
    name: str = ""
