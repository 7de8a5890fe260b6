"""Operations on instances."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ganeti.model.objects import DiskTemplate, Params
from ganeti.model.types import InstanceName
from ganeti.ops.base import Cli, OpCode, Option, Parse, Rest, operation, opt

ShutdownTimeout = Annotated[int, opt("--shutdown-timeout", help="seconds the guest gets to shut down by itself", ge=0)]
IgnoreOffline = Annotated[bool, opt("--ignore-offline", help="on an offline primary node only record the wanted state")]
TemporaryHv = Annotated[
    Params, opt("-H", "--hypervisor-parameters", help="hypervisor parameters for this start only", parse=Parse.KEYVAL)
]
TemporaryBe = Annotated[
    Params, opt("-B", "--backend-parameters", help="back-end parameters for this start only", parse=Parse.KEYVAL)
]
NoRemember = Annotated[bool, opt("--no-remember", help="do not record the new wanted state")]

HelperStartup = Annotated[
    Annotated[int, Meta(ge=1)] | None,
    opt(
        "--helper-startup-timeout",
        help="seconds until the helper machine of an untrusted OS script begins it [300]",
        metavar="SECONDS",
    ),
]
HelperShutdown = Annotated[
    Annotated[int, Meta(ge=1)] | None,
    opt(
        "--helper-shutdown-timeout",
        help="seconds from that script's end until its helper machine is off [120]",
        metavar="SECONDS",
    ),
]


@operation(
    cli=Cli(tool="gnt-instance", verb="add", positional=("instance_name",)),
    rest=Rest(method="POST", path="/2/instances", renames=(("os", "os_type"), ("name", "instance_name"))),
    hooks="instance-add",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceCreate(OpCode, frozen=True, tag="OP_INSTANCE_CREATE"):
    """Create an instance: disks, operating system, first start. Result: list of its nodes."""

    instance_name: InstanceName
    mode: Literal["create", "import", "remote-import"] = "create"
    os_type: Annotated[str, opt("-o", "--os-type", help="operating system to install", metavar="OS")] = ""
    force_variant: Annotated[bool, opt("--force-variant", help="do not check the OS variant")] = False
    no_install: Annotated[bool, opt("--no-install", help="leave the disks as they are created")] = False
    disk_template: Annotated[DiskTemplate | None, opt("-t", "--disk-template", help="kind of its disks")] = None
    # Any: typed by the logic, which knows what each template takes
    disks: Annotated[
        tuple[dict[str, Any], ...],
        opt(
            "--disk",
            help="N:size=SIZE,mode=rw, one for each disk; N:adopt=VOLUME,vg=GROUP or N:adopt=/dev/disk/..."
            " takes over what is there",
            parse=Parse.DEVICES,
            metavar="N:KEY=VALUE,...",
            others=(
                Option(
                    flags=("-s", "--os-size"),
                    parse=Parse.ONE_DISK,
                    metavar="SIZE",
                    help="size of the one disk (short for --disk 0:size=SIZE)",
                ),
            ),
        ),
    ] = ()
    # None: one NIC with all defaults
    nics: Annotated[
        tuple[dict[str, Any], ...] | None,
        opt(
            "--net",
            help="N:mac=MAC,link=BRIDGE, one for each NIC",
            parse=Parse.DEVICES,
            metavar="N:KEY=VALUE,...",
            others=(Option(flags=("--no-nics",), const=[], help="without network interfaces"),),
        ),
    ] = None
    pnode: Annotated[
        str, opt("-n", "--node", help="primary[:secondary]", parse=Parse.NODE_PAIR, also="snode", metavar="NODE")
    ] = ""
    snode: str = ""
    iallocator: Annotated[str, opt("-I", "--iallocator", help="who chooses the nodes", metavar="NAME")] = ""
    group_name: Annotated[str, opt("-g", "--node-group", help="node group to allocate in", metavar="GROUP")] = ""
    hypervisor: Annotated[
        str,
        opt("-H", "--hypervisor-parameters", help="hypervisor[:key=value,...]", parse=Parse.IDENT_ONE, also="hvparams"),
    ] = ""
    hvparams: Params = {}
    beparams: Annotated[
        Params, opt("-B", "--backend-parameters", help="memory, vcpus and so on", parse=Parse.KEYVAL)
    ] = {}
    osparams: Annotated[Params, opt("-O", "--os-parameters", help="for the OS scripts", parse=Parse.KEYVAL)] = {}
    osparams_private: Annotated[
        Params,
        opt(
            "--os-parameters-private",
            help="for the OS scripts too; kept, but shown to nobody",
            parse=Parse.KEYVAL,
        ),
    ] = {}
    osparams_secret: Annotated[
        Params,
        opt("--os-parameters-secret", help="for this run of the OS scripts only; not kept", parse=Parse.KEYVAL),
    ] = {}
    helper_startup_timeout: HelperStartup = None
    helper_shutdown_timeout: HelperShutdown = None
    file_driver: Annotated[str, opt("--file-driver", help="loop, blktap or blktap2")] = ""
    file_storage_dir: Annotated[
        str, opt("--file-storage-dir", help="directory below the file storage directory", metavar="DIR")
    ] = ""
    start: Annotated[bool, opt("--no-start", help="do not start it", parse=Parse.UNSET_FLAG)] = True
    wait_for_sync: Annotated[
        bool, opt("--no-wait-for-sync", help="do not wait for the mirrors", parse=Parse.UNSET_FLAG)
    ] = True
    ip_check: Annotated[
        bool,
        opt(
            "--ip-check",
            help="check that its address is free",
            others=(Option(flags=("--no-ip-check",), const=False, help="the default"),),
        ),
    ] = False
    name_check: Annotated[
        bool,
        opt(
            "--name-check",
            help="resolve its name",
            others=(Option(flags=("--no-name-check",), const=False, help="the default"),),
        ),
    ] = False
    conflicts_check: Annotated[
        bool, opt("--no-conflicts-check", help="do not check addresses against networks", parse=Parse.UNSET_FLAG)
    ] = True
    ignore_ipolicy: Annotated[bool, opt("--ignore-ipolicy", help="only warn where it breaks the policy")] = False
    opportunistic_locking: Annotated[
        bool, opt("--opportunistic-locking", help="choose only among nodes that are free now")
    ] = False
    tags: Annotated[tuple[str, ...], opt("--tags", help="tags to set", parse=Parse.LIST)] = ()
    # of an import
    src_node: Annotated[str, Meta(description="node that holds the export; empty: looked for everywhere")] = ""
    src_path: Annotated[
        str, Meta(description="directory of the export, below the export directory unless absolute; empty: the name")
    ] = ""
    compress: Annotated[str, Meta(description="on the way: none, gzip, gzip-fast, gzip-slow or zstd")] = "none"
    identify_defaults: Annotated[
        bool, Meta(description="do not set parameters of the export that equal the cluster's defaults")
    ] = False
    os_mode: Annotated[
        Literal["auto", "script", "raw"],
        Meta(description="what restores the disks; auto: what the export was made with"),
    ] = "auto"


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="remove",
        positional=("instance_name",),
        confirm="This will remove the volumes of the instance {instance_name} (including mirrors), thus removing"
        " all the data of the instance. Continue?",
    ),
    rest=Rest(method="DELETE", path="/2/instances/{instance_name}", fixed=(("ignore_failures", False),)),
    hooks="instance-remove",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceRemove(OpCode, frozen=True, tag="OP_INSTANCE_REMOVE"):
    """Stop an instance and remove it with all its data."""

    instance_name: InstanceName
    ignore_failures: Annotated[
        bool, opt("--ignore-failures", help="also when parts cannot be removed now: they are as soon as their node can")
    ] = False
    shutdown_timeout: ShutdownTimeout = 120


@operation(
    cli=Cli(tool="gnt-instance", verb="rename", positional=("instance_name", "new_name")),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/rename"),
    hooks="instance-rename",
    object_type="INSTANCE",
)
class OpInstanceRename(OpCode, frozen=True, tag="OP_INSTANCE_RENAME"):
    """Give a stopped instance another name. Result: the new name."""

    instance_name: InstanceName
    new_name: InstanceName
    ip_check: Annotated[
        bool,
        opt(
            "--ip-check",
            help="check that the new name's address is free",
            absent=False,
            others=(Option(flags=("--no-ip-check",), const=False, help="the default"),),
        ),
    ] = True
    name_check: Annotated[
        bool,
        opt(
            "--name-check",
            help="resolve the new name",
            others=(Option(flags=("--no-name-check",), const=False, help="the default"),),
        ),
    ] = False


@operation(
    cli=Cli(tool="gnt-instance", verb="startup", many="instance_name", aliases=("start",), selectors=True),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/startup", ignores_body=True),
    hooks="instance-start",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceStartup(OpCode, frozen=True, tag="OP_INSTANCE_STARTUP"):
    """Start an instance on its primary node."""

    instance_name: InstanceName
    force: Annotated[bool, opt("-f", "--force", help="start even if secondary disks fail")] = False
    ignore_offline_nodes: IgnoreOffline = False
    hvparams: TemporaryHv = {}
    beparams: TemporaryBe = {}
    no_remember: NoRemember = False
    startup_paused: Annotated[bool, opt("--paused", help="start it paused")] = False
    shutdown_timeout: int = 120


@operation(
    cli=Cli(tool="gnt-instance", verb="shutdown", many="instance_name", aliases=("stop",), selectors=True),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/shutdown"),
    hooks="instance-stop",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceShutdown(OpCode, frozen=True, tag="OP_INSTANCE_SHUTDOWN"):
    """Stop an instance."""

    instance_name: InstanceName
    force: Annotated[bool, opt("-f", "--force", help="also when it is marked offline")] = False
    timeout: Annotated[
        int, opt("--timeout", "--shutdown-timeout", help="seconds the guest gets to shut down by itself", ge=0)
    ] = 120
    ignore_offline_nodes: IgnoreOffline = False
    no_remember: NoRemember = False
    admin_state_source: Literal["admin", "user"] = "admin"


@operation(
    cli=Cli(tool="gnt-instance", verb="reboot", many="instance_name", selectors=True),
    rest=Rest(method="POST", path="/2/instances/{instance_name}/reboot", renames=(("type", "reboot_type"),)),
    hooks="instance-reboot",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceReboot(OpCode, frozen=True, tag="OP_INSTANCE_REBOOT"):
    """Restart an instance: soft (the guest does it), hard (the hypervisor) or full (stop and start)."""

    instance_name: InstanceName
    reboot_type: Annotated[Literal["soft", "hard", "full"], opt("-t", "--type", help="soft, hard or full")] = "hard"
    ignore_secondaries: Annotated[bool, opt("--ignore-secondaries", help="ignore errors of secondary disks")] = False
    shutdown_timeout: ShutdownTimeout = 120


@operation(
    cli=Cli(tool="gnt-instance", verb="modify", positional=("instance_name",), needs_option=True),
    rest=Rest(
        method="PUT",
        path="/2/instances/{instance_name}/modify",
        renames=(("custom_beparams", "beparams"), ("custom_hvparams", "hvparams")),
    ),
    hooks="instance-modify",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceSetParams(OpCode, frozen=True, tag="OP_INSTANCE_SET_PARAMS"):
    """Change parameters of an instance; `default` as a value removes an override. Result: list of [what, value]."""

    instance_name: InstanceName
    force: Annotated[bool, opt("-f", "--force", help="skip checks on the node")] = False
    beparams: Annotated[
        Params, opt("-B", "--backend-parameters", help="memory, vcpus and so on", parse=Parse.KEYVAL)
    ] = {}
    hvparams: Annotated[Params, opt("-H", "--hypervisor-parameters", help="of its hypervisor", parse=Parse.KEYVAL)] = {}
    osparams: Annotated[Params, opt("-O", "--os-parameters", help="for the OS scripts", parse=Parse.KEYVAL)] = {}
    osparams_private: Annotated[
        Params,
        opt(
            "--os-parameters-private",
            help="for the OS scripts too; kept, but shown to nobody",
            parse=Parse.KEYVAL,
        ),
    ] = {}
    # Any: typed by the logic: [action, index, name or uuid, values]
    disks: Annotated[
        tuple[tuple[Any, ...], ...],
        opt(
            "--disk",
            help="add:size=SIZE,..., N:mode=ro, N:add,..., N:remove, detach (the disk is kept), attach:uuid=UUID or "
            "attach:name=NAME (one that was detached); N may be a name, a uuid or -1",
            parse=Parse.DEVICE_CHANGES,
            metavar="N:KEY=VALUE,...",
        ),
    ] = ()
    nics: Annotated[
        tuple[tuple[Any, ...], ...],
        opt(
            "--net",
            help="add:link=BRIDGE,..., N:ip=IP, N:add,..., N:remove; N may be a name, a uuid or -1",
            parse=Parse.DEVICE_CHANGES,
            metavar="N:KEY=VALUE,...",
        ),
    ] = ()
    disk_template: Annotated[
        DiskTemplate | None,
        opt("-t", "--disk-template", help="copy the disks of the stopped instance to another kind of disk"),
    ] = None
    remote_node: Annotated[
        str, opt("-n", "--node", help="secondary node of disks that become drbd", metavar="NODE")
    ] = ""
    file_driver: Annotated[str, opt("--file-driver", help="of disks that become files: loop, blktap or blktap2")] = ""
    file_storage_dir: Annotated[
        str, opt("--file-storage-dir", help="of disks that become files: directory below the cluster's", metavar="DIR")
    ] = ""
    hotplug: Annotated[
        bool,
        opt(
            "--no-hotplug",
            help="changes of disks and NICs wait for the next start",
            parse=Parse.UNSET_FLAG,
            others=(Option(flags=("--hotplug",), const=True, help="the default: a running guest gets them at once"),),
        ),
    ] = True
    hotplug_if_possible: Annotated[
        bool, opt("--hotplug-if-possible", help="at once where the hypervisor can, else with the next start")
    ] = False
    runtime_mem: Annotated[
        int | None,
        opt("-m", "--runtime-memory", help="memory of the running guest, from minmem to maxmem", parse=Parse.SIZE),
    ] = None
    pnode: Annotated[
        str, opt("--new-primary", help="record that it lies on another node (nothing is moved)", metavar="NODE")
    ] = ""
    ignore_ipolicy: Annotated[bool, opt("--ignore-ipolicy", help="only warn where it breaks the policy")] = False
    conflicts_check: Annotated[
        bool, opt("--no-conflicts-check", help="do not check addresses against networks", parse=Parse.UNSET_FLAG)
    ] = True
    force_variant: Annotated[bool, opt("--force-variant", help="do not check the OS variant")] = False
    os_name: Annotated[str, opt("-o", "--os-type", help="record another OS (nothing is installed)", metavar="OS")] = ""
    offline: Annotated[
        bool | None,
        opt(
            "--offline",
            help="mark the stopped instance offline",
            others=(Option(flags=("--online",), const=False, help="end the offline state; it is down then"),),
        ),
    ] = None


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="reinstall",
        many="instance_name",
        selectors=True,
        custom=True,
        confirm="This will remove all data on the disks of the instance {instance_name} and install its operating"
        " system anew. Continue?",
        warning="All data on their disks will be removed.",
    ),
    hooks="instance-reinstall",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceReinstall(OpCode, frozen=True, tag="OP_INSTANCE_REINSTALL"):
    """Install the operating system of a stopped instance anew, or another one; the data on its disks is lost."""

    instance_name: InstanceName
    os_type: Annotated[
        str, opt("-o", "--os-type", help="install another operating system and record it", metavar="OS")
    ] = ""
    force_variant: Annotated[bool, opt("--force-variant", help="do not check the OS variant")] = False
    osparams: Annotated[
        Params, opt("-O", "--os-parameters", help="for this run of the OS script only", parse=Parse.KEYVAL)
    ] = {}
    osparams_private: Annotated[
        Params,
        opt(
            "--os-parameters-private",
            help="as --os-parameters, but shown to nobody",
            parse=Parse.KEYVAL,
        ),
    ] = {}
    osparams_secret: Annotated[
        Params,
        opt("--os-parameters-secret", help="as --os-parameters-private", parse=Parse.KEYVAL),
    ] = {}
    helper_startup_timeout: HelperStartup = None
    helper_shutdown_timeout: HelperShutdown = None


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="failover",
        positional=("instance_name",),
        custom=True,
        confirm="The instance {instance_name} will be stopped and started again on another node: what runs in it ends."
        " Continue?",
    ),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/failover"),
    hooks="instance-failover",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceFailover(OpCode, frozen=True, tag="OP_INSTANCE_FAILOVER"):
    """Stop an instance and start it on another node that sees its disks; the way out when its node is dead.

    A mirrored instance goes to its secondary node, or with -n to any: that first gets the place of the half that is
    not needed.
    """

    instance_name: InstanceName
    shutdown_timeout: ShutdownTimeout = 120
    ignore_consistency: Annotated[
        bool, opt("--ignore-consistency", help="its node is marked offline: do not insist on stopping it there")
    ] = False
    target_node: Annotated[str, opt("-n", "--target-node", help="where it shall run", metavar="NODE")] = ""
    iallocator: Annotated[str, opt("-I", "--iallocator", help="who chooses the node", metavar="NAME")] = ""
    ignore_ipolicy: Annotated[bool, opt("--ignore-ipolicy", help="only warn where it breaks the policy")] = False
    cleanup: Annotated[
        bool, opt("--cleanup", help="after an interrupted move: record the node where it really runs")
    ] = False
    wait_for_sync: Annotated[
        bool,
        opt(
            "--no-wait-for-sync",
            help="on a node that had no half of its mirrors: start as soon as they are being filled, not afterwards",
            parse=Parse.UNSET_FLAG,
        ),
    ] = True


@operation(
    cli=Cli(
        tool="gnt-instance",
        verb="migrate",
        positional=("instance_name",),
        confirm="The instance {instance_name} will be moved to another node while it runs. Continue?",
    ),
    rest=Rest(method="PUT", path="/2/instances/{instance_name}/migrate"),
    hooks="instance-migrate",
    object_type="INSTANCE",
    summary="instance_name",
)
class OpInstanceMigrate(OpCode, frozen=True, tag="OP_INSTANCE_MIGRATE"):
    """Move a running instance to another node that sees its disks. It pauses for some milliseconds.

    The job's log tells how far it is. When it is cancelled or fails, the instance runs on where it was. When it cannot
    be decided where it runs, because a node does not answer, the instance is blocked: bring that node back, or mark it
    offline if it is dead, then use --cleanup.
    """

    instance_name: InstanceName
    live: Annotated[
        bool | None,
        opt("--non-live", help="pause it while it is sent: always comes to an end", const=False),
    ] = None
    mode: Annotated[
        Literal["live", "non-live"] | None, opt("--migration-mode", help="instead of what the cluster has set")
    ] = None
    target_node: Annotated[str, opt("-n", "--target-node", help="where it shall run", metavar="NODE")] = ""
    iallocator: Annotated[str, opt("-I", "--iallocator", help="who chooses the node", metavar="NAME")] = ""
    cleanup: Annotated[
        bool, opt("--cleanup", help="bring an interrupted migration to its end, or find where the instance runs")
    ] = False
    allow_failover: Annotated[
        bool, opt("--allow-failover", help="if it cannot migrate, stop it and start it on the other node")
    ] = False
    ignore_ipolicy: Annotated[bool, opt("--ignore-ipolicy", help="only warn where it breaks the policy")] = False
    ignore_hvversions: Annotated[
        bool, opt("--ignore-hvversions", help="try it although the target's hypervisor is older")
    ] = False
    allow_runtime_changes: Annotated[
        bool,
        opt("--no-runtime-changes", help="do not make its memory smaller for the move", parse=Parse.UNSET_FLAG),
    ] = True


@operation(
    cli=Cli(tool="gnt-instance", verb="console", positional=("instance_name",), custom=True, common=("priority",)),
    summary="instance_name",
)
class OpInstanceConsole(OpCode, frozen=True, tag="OP_INSTANCE_CONSOLE"):
    """Connect to the console of a running instance. Result: {kind, host, port, user, command, display, message}."""

    instance_name: InstanceName


@operation(
    rest=Rest(method="GET", path="/2/instances/{instances}/info", ignores_body=True),
)
class OpInstanceQueryData(OpCode, frozen=True, tag="OP_INSTANCE_QUERY_DATA"):
    """Everything about instances. Result: {name: details}."""

    instances: tuple[str, ...] = ()
    static: bool = False
    use_locking: bool = False
