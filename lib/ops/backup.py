"""Operations on exports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ganeti.model.types import InstanceName, NodeName
from ganeti.ops.base import Cli, OpCode, Parse, Rest, operation, opt

#: what moves the contents of disks
OsMode = Literal["auto", "script", "raw"]
OS_MODE_HELP = (
    "script: the OS's export and import scripts; raw: whole disks as they are; auto: scripts, but raw for an instance"
    " whose OS has neither of the two"
)


@operation(
    cli=Cli(
        tool="gnt-backup",
        verb="export",
        positional=("instance_name",),
        common=("force", "submit", "print_jobid", "dry_run", "priority"),
    ),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/export", renames=(("destination", "target_node"),)),
    hooks="instance-export",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpBackupExport(OpCode, frozen=True, tag="OP_BACKUP_EXPORT"):
    """Keep an instance's disks and parameters on a node. Result: [true, [whether it is exported, for each disk]].

    A running instance is shut down, its disks are kept as they are then (by the file system or its hypervisor), and it
    runs again while they are exported. Disks that are marked as not exportable are left out. An older export of the
    instance is replaced, on whatever node it is, once the new one is whole.
    """

    instance_name: InstanceName
    target_node: Annotated[NodeName, opt("-n", "--node", help="where it is kept", metavar="NODE", required=True)]
    compress: Annotated[
        str, opt("--transport-compression", help="on the way: none, gzip, gzip-fast, gzip-slow or zstd", metavar="TOOL")
    ] = "none"
    shutdown: Annotated[
        bool,
        opt(
            "--noshutdown",
            help="let it run meanwhile: the disks are as after a power failure at the moment of the export",
            parse=Parse.UNSET_FLAG,
        ),
    ] = True
    shutdown_timeout: Annotated[
        int, opt("--shutdown-timeout", help="seconds the guest gets to shut down by itself", ge=0)
    ] = 120
    remove_instance: Annotated[bool, opt("--remove-instance", help="remove the instance after the export")] = False
    ignore_remove_failures: Annotated[
        bool, opt("--ignore-remove-failures", help="remove it even if parts cannot be stopped or removed")
    ] = False
    mode: Literal["local", "remote"] = "local"
    os_mode: Annotated[OsMode, opt("--os-mode", help=OS_MODE_HELP)] = "auto"
    long_sleep: Annotated[
        bool,
        opt("--long-sleep", help="if its disks cannot be kept as they are, let it be down until all are exported"),
    ] = False
    zero_free_space: Annotated[bool, Meta(description="not available: holes and zeros are not sent anyway")] = False


@operation(
    cli=Cli(tool="gnt-backup", verb="remove", positional=("instance_name",)),
    summary="instance_name",
)
class OpBackupRemove(OpCode, frozen=True, tag="OP_BACKUP_REMOVE"):
    """Remove an export from all nodes."""

    instance_name: InstanceName


@operation(
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/prepare-export"),
    summary="instance_name",
)
class OpBackupPrepare(OpCode, frozen=True, tag="OP_BACKUP_PREPARE"):
    """Tell what an export of the instance needs to know beforehand. Result: null, for one on a node of this cluster."""

    instance_name: InstanceName
    mode: Literal["local", "remote"]


@operation()
class OpBackupQueryData(OpCode, frozen=True, tag="OP_BACKUP_QUERY_DATA"):
    """Everything about exports, from their config.ini. Result: {name: [details for each node that has it]}."""

    names: tuple[str, ...] = ()


#: JSON of one export in the result of OP_BACKUP_QUERY_DATA; Any: JSON
Details = dict[str, Any]
