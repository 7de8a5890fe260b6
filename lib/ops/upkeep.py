"""Operations that look whether what is there is what should be, beside the check of the cluster."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ganeti.model.types import GroupName, InstanceName
from ganeti.ops.base import Cli, OpCode, Parse, operation, opt

_NO_STRICT = opt(
    "--no-strict",
    help="look only at instances that nobody works on, instead of waiting for all",
    parse=Parse.UNSET_FLAG,
)


@operation(cli=Cli(tool="gnt-cluster", verb="verify-disks", custom=True, common=("priority",)))
class OpClusterVerifyDisks(OpCode, frozen=True, tag="OP_CLUSTER_VERIFY_DISKS"):
    """Look for disks that are missing or not active, and activate these; one job for each node group.

    Result: the jobs.
    """

    group_name: Annotated[str, opt("-g", "--node-group", help="only this group", metavar="GROUP")] = ""
    is_strict: Annotated[bool, _NO_STRICT] = True


@operation(summary="group_name")
class OpGroupVerifyDisks(OpCode, frozen=True, tag="OP_GROUP_VERIFY_DISKS"):
    """Look at the disks of the running instances of a node group.

    Result: (why nodes do not tell, by name; instances whose disks are not active; missing volumes as (node, volume),
    by instance).
    """

    group_name: GroupName
    is_strict: bool = True


@operation(summary="group_name")
class OpGroupEndStrays(OpCode, frozen=True, tag="OP_GROUP_END_STRAYS"):
    """End what this product started on nodes of a group and what belongs to no instance: guests, mirrors' minors.

    Result: (node, guest) of each guest, and (node, minor) of each minor.
    """

    group_name: GroupName


@operation(cli=Cli(tool="gnt-cluster", verb="repair-disk-sizes", custom=True, common=("dry_run", "priority")))
class OpClusterRepairDiskSizes(OpCode, frozen=True, tag="OP_CLUSTER_REPAIR_DISK_SIZES"):
    """Make the recorded sizes of disks what they really are. Without names: of all instances.

    Result: (instance, disk, "size", new size in MiB) of each that was wrong.
    """

    instances: tuple[InstanceName, ...] = ()


@operation(
    cli=Cli(tool="gnt-cluster", verb="activate-master-ip", common=()), hooks="master-ip-turnup", object_type="CLUSTER"
)
class OpClusterActivateMasterIp(OpCode, frozen=True, tag="OP_CLUSTER_ACTIVATE_MASTER_IP"):
    """Bring up the cluster's own address on the master node."""


@operation(
    cli=Cli(tool="gnt-cluster", verb="deactivate-master-ip", custom=True, common=()),
    hooks="master-ip-turndown",
    object_type="CLUSTER",
)
class OpClusterDeactivateMasterIp(OpCode, frozen=True, tag="OP_CLUSTER_DEACTIVATE_MASTER_IP"):
    """Take down the cluster's own address; clients that use it lose their connection."""


@operation(
    cli=Cli(
        tool="gnt-cluster",
        verb="rename",
        positional=("name",),
        confirm="The cluster gets the name {name} and that name's address. If you are connected by the present address,"
        " you lose the connection. Continue?",
        common=("dry_run",),
    ),
    hooks="cluster-rename",
    object_type="CLUSTER",
    summary="name",
)
class OpClusterRename(OpCode, frozen=True, tag="OP_CLUSTER_RENAME"):
    """Give the cluster another name, and the address of that name. Result: the new name."""

    name: Annotated[str, Meta(min_length=1, max_length=255, description="new name of the cluster")]
