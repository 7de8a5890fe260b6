"""Operations on networks."""

from __future__ import annotations

from typing import Annotated, Literal

from ganeti.model.types import GroupName, NetworkName, ObjectName
from ganeti.ops.base import Cli, OpCode, Parse, Rest, operation, opt

_Reserved = Annotated[
    tuple[str, ...] | None,
    opt("--add-reserved-ips", help="addresses that no NIC shall get", parse=Parse.LIST, metavar="IP,..."),
]
_MacPrefix = Annotated[
    str | None,
    opt("-m", "--mac-prefix", help="first three octets of generated MAC addresses", metavar="XX:XX:XX"),
]
ConflictsCheck = Annotated[
    bool, opt("--no-conflicts-check", help="do not look for addresses in use", parse=Parse.UNSET_FLAG)
]


@operation(
    cli=Cli(tool="gnt-network", verb="add", positional=("network_name",)),
    rest=Rest(method="POST", path="/2/networks", renames=(("name", "network_name"),)),
    hooks="network-add",
    object_type="NETWORK",
    summary="network_name",
)
class OpNetworkAdd(OpCode, frozen=True, tag="OP_NETWORK_ADD"):
    """Make a network: a subnet whose addresses NICs can get. It is used once it is connected to a node group."""

    network_name: ObjectName
    network: Annotated[str, opt("--network", help="IPv4 subnet, such as 192.0.2.0/24", required=True, metavar="CIDR")]
    gateway: Annotated[str | None, opt("--gateway", help="IPv4 gateway", metavar="IP")] = None
    network6: Annotated[str | None, opt("--network6", help="IPv6 subnet", metavar="CIDR")] = None
    gateway6: Annotated[str | None, opt("--gateway6", help="IPv6 gateway", metavar="IP")] = None
    mac_prefix: _MacPrefix = None
    add_reserved_ips: _Reserved = None
    conflicts_check: ConflictsCheck = True
    tags: Annotated[tuple[str, ...], opt("--tags", help="tags to set", parse=Parse.LIST)] = ()


@operation(
    cli=Cli(tool="gnt-network", verb="modify", positional=("network_name",), needs_option=True),
    rest=Rest(method="PUT", path="/2/networks/{network_name}/modify"),
    hooks="network-modify",
    object_type="NETWORK",
    summary="network_name",
)
class OpNetworkSetParams(OpCode, frozen=True, tag="OP_NETWORK_SET_PARAMS"):
    """Change a network; `none` takes a gateway or an IPv6 subnet away."""

    network_name: NetworkName
    gateway: Annotated[str | None, opt("--gateway", help="IPv4 gateway, or none", metavar="IP")] = None
    network6: Annotated[str | None, opt("--network6", help="IPv6 subnet, or none", metavar="CIDR")] = None
    gateway6: Annotated[str | None, opt("--gateway6", help="IPv6 gateway, or none", metavar="IP")] = None
    mac_prefix: _MacPrefix = None
    add_reserved_ips: _Reserved = None
    remove_reserved_ips: Annotated[
        tuple[str, ...] | None,
        opt("--remove-reserved-ips", help="addresses that NICs may get again", parse=Parse.LIST, metavar="IP,..."),
    ] = None


@operation(
    cli=Cli(tool="gnt-network", verb="remove", positional=("network_name",)),
    rest=Rest(method="DELETE", path="/2/networks/{network_name}"),
    hooks="network-remove",
    object_type="NETWORK",
    summary="network_name",
)
class OpNetworkRemove(OpCode, frozen=True, tag="OP_NETWORK_REMOVE"):
    """Remove a network; it may not be connected to any node group."""

    network_name: NetworkName
    force: Annotated[bool, opt("-f", "--force", help="do not ask")] = False


@operation(
    cli=Cli(tool="gnt-network", verb="rename", positional=("network_name", "new_name")),
    rest=Rest(method="PUT", path="/2/networks/{network_name}/rename"),
    hooks="network-rename",
    object_type="NETWORK",
)
class OpNetworkRename(OpCode, frozen=True, tag="OP_NETWORK_RENAME"):
    """Give a network another name. Result: the new name."""

    network_name: NetworkName
    new_name: ObjectName


@operation(
    rest=Rest(method="PUT", path="/2/networks/{network_name}/connect"),
    hooks="network-connect",
    object_type="NETWORK",
    summary="network_name",
)
class OpNetworkConnect(OpCode, frozen=True, tag="OP_NETWORK_CONNECT"):
    """Say how NICs on a network are attached on the nodes of a node group."""

    group_name: GroupName
    network_name: NetworkName
    network_mode: Literal["bridged", "routed", "openvswitch"]
    network_link: str
    network_vlan: str = ""
    conflicts_check: bool = True


@operation(
    rest=Rest(method="PUT", path="/2/networks/{network_name}/disconnect"),
    hooks="network-disconnect",
    object_type="NETWORK",
    summary="network_name",
)
class OpNetworkDisconnect(OpCode, frozen=True, tag="OP_NETWORK_DISCONNECT"):
    """End a network's connection to a node group; no instance there may use it."""

    group_name: GroupName
    network_name: NetworkName
