"""Operations on the machines below the nodes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ganeti.model.types import NodeName
from ganeti.ops.base import Cli, OpCode, Rest, operation, opt

OobCommand = Literal["power-on", "power-off", "power-cycle", "power-status", "health"]


@operation(summary="command")
class OpOobCommand(OpCode, frozen=True, tag="OP_OOB_COMMAND"):
    """Have the nodes' out-of-band helpers switch them or tell their state; without names all nodes.

    Result: for each node [[status, name], [status, answer]].
    """

    command: OobCommand
    node_names: tuple[NodeName, ...] = ()
    timeout: Annotated[int, Meta(ge=1)] = 60
    ignore_status: bool = False
    power_delay: Annotated[float, Meta(ge=0)] = 2.0


@operation(
    cli=Cli(tool="gnt-node", verb="powercycle", custom=True),
    rest=Rest(method="POST", path="/2/nodes/{node_name}/powercycle"),
    summary="node_name",
)
class OpNodePowercycle(OpCode, frozen=True, tag="OP_NODE_POWERCYCLE"):
    """Reboot a node at once and hard, its guests with it. Result: what the node says."""

    node_name: NodeName
    force: Annotated[bool, opt("-f", "--force", help="also the master")] = False


@operation(cli=Cli(tool="gnt-node", verb="modify-storage", custom=True), summary="node_name")
class OpNodeModifyStorage(OpCode, frozen=True, tag="OP_NODE_MODIFY_STORAGE"):
    """Change a storage unit of a node: whether space of a physical volume may be taken."""

    node_name: NodeName
    storage_type: str
    changes: dict[str, Any]  # Any: allocatable: bool
    name: str = ""


@operation(
    cli=Cli(tool="gnt-node", verb="repair-storage", custom=True),
    rest=Rest(method="PUT", path="/2/nodes/{node_name}/storage/repair"),
    summary="node_name",
)
class OpRepairNodeStorage(OpCode, frozen=True, tag="OP_REPAIR_NODE_STORAGE"):
    """Drop physical volumes that are missing from a volume group of a node, and what was on them.

    `unattended`: the cluster does it by itself; only if it may, and nothing that may be the only copy goes.
    """

    node_name: NodeName
    storage_type: str
    name: str = ""  # empty: the cluster's volume group
    ignore_consistency: Annotated[
        bool, opt("--ignore-consistency", help="give up also what may be the only copy of a disk")
    ] = False
    unattended: bool = False
