"""Operations on the disks of instances."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ganeti.model.types import InstanceName
from ganeti.ops.base import Cli, OpCode, Option, Parse, Rest, operation, opt

IgnorePolicy = Annotated[bool, opt("--ignore-ipolicy", help="only warn where it breaks the policy")]
Allocator = Annotated[str, opt("-I", "--iallocator", help="who chooses the node", metavar="NAME")]


@operation()
class OpDetachedDisksQuery(OpCode, frozen=True, tag="OP_DETACHED_DISKS_QUERY"):
    """List the disks that were taken off their instances and kept.

    Result: (uuid, name, MiB, template, nodes, instance that it was taken off, epoch seconds of that) of each.
    """


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="remove-detached-disk",
        positional=("disk",),
        confirm="The detached disk {disk} is removed with all its data. Continue?",
        common=("submit", "print_jobid", "priority", "dry_run"),
    ),
    summary="disk",
)
class OpDetachedDiskRemove(OpCode, frozen=True, tag="OP_DETACHED_DISK_REMOVE"):
    """Remove a disk that was taken off its instance, with its data."""

    disk: Annotated[str, Meta(min_length=1, max_length=255, description="uuid or name of the disk")]


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="activate-disks",
        positional=("instance_name",),
        common=("submit", "print_jobid", "priority"),
    ),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/activate-disks"),
    summary="instance_name",
)
class OpInstanceActivateDisks(OpCode, frozen=True, tag="OP_INSTANCE_ACTIVATE_DISKS"):
    """Bring the disks of an instance up on its nodes. Result: list of [node, disk/N, path]."""

    instance_name: InstanceName
    ignore_size: Annotated[bool, opt("--ignore-size", help="also when the volumes are smaller than recorded")] = False
    wait_for_sync: Annotated[bool, opt("--wait-for-sync", help="wait until the mirrors are in sync")] = False


@operation(
    cli=Cli(tool="gnt-instance", verb="deactivate-disks", positional=("instance_name",)),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/deactivate-disks"),
    summary="instance_name",
)
class OpInstanceDeactivateDisks(OpCode, frozen=True, tag="OP_INSTANCE_DEACTIVATE_DISKS"):
    """Shut the disks of a stopped instance down on its nodes."""

    instance_name: InstanceName
    force: Annotated[bool, opt("-f", "--force", help="do not ask whether it runs, and go on after failures")] = False


@operation(
    cli=Cli(tool="gnt-instance", verb="grow-disk", positional=("instance_name", "disk", "amount")),
    rest=Rest(method="POST", path="/2/instances/{instance_name}/disk/{disk}/grow"),
    hooks="disk-grow",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceGrowDisk(OpCode, frozen=True, tag="OP_INSTANCE_GROW_DISK"):
    """Make one disk of an instance larger; AMOUNT is what is added, in MiB or with g or t after it."""

    instance_name: InstanceName
    disk: Annotated[int | str, Meta(description="its number, name or uuid")]
    amount: Annotated[int | str, Meta(description="such as 512 or 10g")]
    wait_for_sync: Annotated[
        bool, opt("--no-wait-for-sync", help="do not wait for the mirror", parse=Parse.UNSET_FLAG)
    ] = True
    absolute: Annotated[bool, opt("--absolute", help="the amount is the new size, not what is added")] = False
    ignore_ipolicy: IgnorePolicy = False


@operation(
    cli=Cli(tool="gnt-instance", verb="recreate-disks", positional=("instance_name",), custom=True),
    rest=Rest(method="POST", path="/2/instances/{instance_name}/recreate-disks"),
    hooks="instance-recreate-disks",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceRecreateDisks(OpCode, frozen=True, tag="OP_INSTANCE_RECREATE_DISKS"):
    """Make lost disks of a stopped instance anew; they are empty afterwards."""

    instance_name: InstanceName
    # numbers, or [number, {key: value}]; Any: typed by the logic
    disks: tuple[Any, ...] = ()
    nodes: tuple[str, ...] = ()  # primary, and of mirrors secondary
    iallocator: Allocator = ""
    drop_old_volumes: Annotated[
        bool,
        opt(
            "--drop-old-volumes",
            help="also when old volumes, or halves of mirrors on nodes that it leaves, may be the last good copy",
        ),
    ] = False


@operation(
    cli=Cli(tool="gnt-instance", verb="replace-disks", positional=("instance_name",)),
    rest=Rest(method="POST", path="/2/instances/{instance_name}/replace-disks"),
    hooks="mirrors-replace",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceReplaceDisks(OpCode, frozen=True, tag="OP_INSTANCE_REPLACE_DISKS"):
    """Give mirrored disks new volumes on one of their nodes, or another secondary node."""

    instance_name: InstanceName
    mode: Annotated[
        Literal["replace_on_primary", "replace_on_secondary", "replace_new_secondary", "replace_auto"] | None,
        opt(
            "-p",
            "--on-primary",
            help="new volumes on the primary node",
            const="replace_on_primary",
            others=(
                Option(
                    flags=("-s", "--on-secondary"),
                    const="replace_on_secondary",
                    help="new volumes on the secondary node",
                ),
                Option(flags=("-a", "--auto"), const="replace_auto", help="new volumes for what is broken"),
            ),
        ),
    ] = None
    disks: Annotated[tuple[int | str, ...], opt("--disks", help="numbers of the disks", parse=Parse.LIST)] = ()
    remote_node: Annotated[str, opt("-n", "--new-secondary", help="another secondary node", metavar="NODE")] = ""
    iallocator: Allocator = ""
    early_release: Annotated[
        bool, opt("--early-release", help="remove the old volumes before the new ones are in sync")
    ] = False
    ignore_ipolicy: IgnorePolicy = False
