"""Operations that look whether what is there is what should be, beside the check of the cluster."""

from __future__ import annotations

from typing import Annotated

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


@operation(cli=Cli(tool="gnt-cluster", verb="repair-disk-sizes", custom=True, common=("dry_run", "priority")))
class OpClusterRepairDiskSizes(OpCode, frozen=True, tag="OP_CLUSTER_REPAIR_DISK_SIZES"):
    """Make the recorded sizes of disks what they really are. Without names: of all instances.

    Result: (instance, disk, "size", new size in MiB) of each that was wrong.
    """

    instances: tuple[InstanceName, ...] = ()
