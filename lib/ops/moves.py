"""Operations that move an instance with its disks, or whole sets of instances by jobs of their own."""

from __future__ import annotations

from typing import Annotated, Literal

from ganeti.model.types import GroupName, InstanceName, NodeName
from ganeti.ops.base import Cli, OpCode, Option, Parse, Rest, operation, opt
from ganeti.ops.disks import IgnorePolicy

_Allocator = Annotated[
    str, opt("-I", "--iallocator", help="who chooses the nodes (. is the cluster's default)", metavar="NAME")
]
_EarlyRelease = Annotated[
    bool, opt("--early-release", help="let go of the old secondary nodes before their disks are removed")
]
_TargetGroups = Annotated[
    tuple[str, ...], opt("--to", help="node groups to move to; without it any other", parse=Parse.LIST, metavar="GROUP")
]


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="move",
        positional=("instance_name",),
        confirm="The instance {instance_name} will be stopped, its disks copied to node {target_node} and removed where"
        " they are now. Continue?",
    ),
    hooks="instance-move",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceMove(OpCode, frozen=True, tag="OP_INSTANCE_MOVE"):
    """Move an instance with disks on one node (plain, file) to another: stop, copy, start there if it shall run.

    Until the copies are whole it belongs to the old node and is started there again should anything fail.
    """

    instance_name: InstanceName
    target_node: Annotated[NodeName, opt("-n", "--node", help="where it shall run", metavar="NODE", required=True)]
    compress: Annotated[
        str, opt("--compress", help="on the way: none, gzip, gzip-fast, gzip-slow or zstd", metavar="TOOL")
    ] = "none"
    shutdown_timeout: Annotated[
        int, opt("--shutdown-timeout", help="seconds the guest gets to shut down by itself", ge=0)
    ] = 120
    ignore_consistency: Annotated[
        bool, opt("--ignore-consistency", help="go on although it cannot be stopped where it is")
    ] = False
    ignore_ipolicy: IgnorePolicy = False


@operation(
    cli=Cli(
        tool="gnt-node",
        verb="evacuate",
        positional=("node_name",),
        custom=True,
        common=("submit", "print_jobid", "priority"),
    ),
    rest=Rest(method="POST", path="/2/nodes/{node_name}/evacuate"),
    summary="node_name",
)
class OpNodeEvacuate(OpCode, frozen=True, tag="OP_NODE_EVACUATE"):
    """Move instances away from a node: its primary ones, its secondary ones, or all. Result: jobs."""

    node_name: NodeName
    mode: Annotated[
        Literal["primary-only", "secondary-only", "all"],
        opt(
            "-p",
            "--primary-only",
            help="only instances that have it as primary node",
            const="primary-only",
            absent="all",
            others=(
                Option(
                    flags=("-s", "--secondary-only"),
                    const="secondary-only",
                    help="only instances that have it as secondary node",
                ),
            ),
        ),
    ]
    remote_node: Annotated[
        str, opt("-n", "--new-secondary", help="new secondary node of all; implies -s", metavar="NODE")
    ] = ""
    iallocator: _Allocator = ""
    early_release: _EarlyRelease = False
    ignore_soft_errors: Annotated[
        bool | None, opt("--ignore-soft-errors", help="the allocator may fill nodes more than is wise")
    ] = None


@operation(
    cli=Cli(
        tool="gnt-node",
        verb="migrate",
        positional=("node_name",),
        custom=True,
        common=("submit", "print_jobid", "priority"),
    ),
    rest=Rest(method="POST", path="/2/nodes/{node_name}/migrate"),
    hooks="node-migrate",
    object_type="NODE",
    summary="node_name",
)
class OpNodeMigrate(OpCode, frozen=True, tag="OP_NODE_MIGRATE"):
    """Migrate all primary instances of a node, one job for each. Result: jobs."""

    node_name: NodeName
    live: Annotated[
        bool | None, opt("--non-live", help="pause them while they are sent: always comes to an end", const=False)
    ] = None
    mode: Annotated[
        Literal["live", "non-live"] | None, opt("--migration-mode", help="instead of what the cluster has set")
    ] = None
    target_node: Annotated[
        str, opt("-n", "--target-node", help="where they shall run; for disks that every node sees", metavar="NODE")
    ] = ""
    iallocator: _Allocator = ""
    ignore_ipolicy: Annotated[bool, opt("--ignore-ipolicy", help="only warn where it breaks the policy")] = False
    allow_runtime_changes: Annotated[
        bool,
        opt("--no-runtime-changes", help="do not make their memory smaller for the move", parse=Parse.UNSET_FLAG),
    ] = True


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="change-group",
        positional=("instance_name",),
        common=("submit", "print_jobid", "priority"),
    ),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/change-group"),
    hooks="instance-change-group",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceChangeGroup(OpCode, frozen=True, tag="OP_INSTANCE_CHANGE_GROUP"):
    """Move an instance to another node group. Result: jobs."""

    instance_name: InstanceName
    target_groups: _TargetGroups = ()
    iallocator: _Allocator = ""
    early_release: _EarlyRelease = False


@operation(
    cli=Cli(
        tool="gnt-group",
        verb="evacuate",
        positional=("group_name",),
        common=("submit", "print_jobid"),
    ),
    rest=Rest(method="PUT", path="/2/groups/{group_name}/evacuate"),
    hooks="group-evacuate",
    object_type="GROUP",
    summary="group_name",
)
class OpGroupEvacuate(OpCode, frozen=True, tag="OP_GROUP_EVACUATE"):
    """Move all instances of a node group to other groups. Result: jobs."""

    group_name: GroupName
    target_groups: _TargetGroups = ()
    iallocator: _Allocator = ""
    early_release: _EarlyRelease = False
    sequential: Annotated[bool, opt("--sequential", help="one job after the other")] = False
    force_failover: Annotated[bool, opt("--force-failover", help="stop and start the instances, no migration")] = False
