"""Operations on the cluster as a whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ganeti.model.objects import Params
from ganeti.ops.base import Cli, OpCode, Parse, Rest, operation, opt
from ganeti.ops.crypto import SshKeyType
from ganeti.ops.ipolicy import BOUNDS_OPTION, POLICY_OPTIONS


@operation(hooks="cluster-init", object_type="CLUSTER")
class OpClusterPostInit(OpCode, frozen=True, tag="OP_CLUSTER_POST_INIT"):
    """Run the hooks of a cluster that has just been made. Result: true."""


@operation(
    cli=Cli(tool="gnt-cluster", verb="destroy", custom=True, common=()), hooks="cluster-destroy", object_type="CLUSTER"
)
class OpClusterDestroy(OpCode, frozen=True, tag="OP_CLUSTER_DESTROY"):
    """End the cluster: only the master may be left, without instances."""


@operation(cli=Cli(tool="gnt-cluster", verb="verify", common=("dry_run", "priority")))
class OpClusterVerify(OpCode, frozen=True, tag="OP_CLUSTER_VERIFY"):
    """Check the configuration and all nodes; submits one job for the cluster and one per node group."""

    skip_checks: Annotated[
        tuple[str, ...],
        opt("--no-nplus1-mem", help="skip the check that each node could take over", const="nplusone_mem"),
    ] = ()
    error_codes: Annotated[bool, opt("--error-codes", help="machine-readable messages: type:code:object:message")] = (
        False
    )
    ignore_errors: Annotated[
        tuple[str, ...], opt("-I", "--ignore-errors", help="error codes to treat as warnings", parse=Parse.LIST)
    ] = ()
    verbose: Annotated[bool, opt("-v", "--verbose", help="tell more of what is checked")] = False
    debug_simulate_errors: Annotated[bool, opt("--debug-simulate-errors", help="act as if every check failed")] = False
    group_name: Annotated[str, opt("-g", "--node-group", help="only the nodes of this group", metavar="GROUP")] = ""
    verify_clutter: Annotated[bool, opt("--verify-ssh-clutter", help="look for leftover SSH keys")] = False


@operation()
class OpClusterVerifyConfig(OpCode, frozen=True, tag="OP_CLUSTER_VERIFY_CONFIG"):
    """Check the configuration, the certificates and the replicated state."""

    error_codes: bool = False
    ignore_errors: tuple[str, ...] = ()
    verbose: bool = False
    debug_simulate_errors: bool = False


@operation(hooks="cluster-verify", object_type="CLUSTER", summary="group_name")
class OpClusterVerifyGroup(OpCode, frozen=True, tag="OP_CLUSTER_VERIFY_GROUP"):
    """Check the nodes and instances of one node group."""

    group_name: str
    skip_checks: tuple[str, ...] = ()
    error_codes: bool = False
    ignore_errors: tuple[str, ...] = ()
    verbose: bool = False
    debug_simulate_errors: bool = False
    verify_clutter: bool = False


@operation(
    cli=Cli(tool="gnt-cluster", verb="modify", needs_option=True),
    rest=Rest(method="PUT", path="/2/modify", forbidden=("compression_tools",)),
    hooks="cluster-modify",
    object_type="CLUSTER",
)
class OpClusterSetParams(OpCode, frozen=True, tag="OP_CLUSTER_SET_PARAMS"):
    """Change settings of the cluster; what is not given stays."""

    force: Annotated[bool, opt("-f", "--force", help="go on in spite of warnings")] = False
    enabled_hypervisors: Annotated[
        tuple[str, ...] | None,
        opt("--enabled-hypervisors", help="replaces the list; the first is the default", parse=Parse.LIST),
    ] = None
    enabled_disk_templates: Annotated[
        tuple[str, ...] | None,
        opt("--enabled-disk-templates", help="replaces the list; the first is the default", parse=Parse.LIST),
    ] = None
    hvparams: Annotated[
        dict[str, Params] | None,
        opt("-H", "--hypervisor-parameters", help="defaults of a hypervisor", parse=Parse.IDENT_KEYVAL),
    ] = None
    beparams: Annotated[
        Params | None, opt("-B", "--backend-parameters", help="back-end defaults", parse=Parse.KEYVAL)
    ] = None
    nicparams: Annotated[
        Params | None, opt("-N", "--nic-parameters", help="NIC defaults: mode, link, vlan", parse=Parse.KEYVAL)
    ] = None
    ndparams: Annotated[Params | None, opt("--node-parameters", help="node defaults", parse=Parse.KEYVAL)] = None
    diskparams: Annotated[
        dict[str, Params] | None,
        opt("-D", "--disk-parameters", help="defaults of a disk template", parse=Parse.IDENT_KEYVAL),
    ] = None
    os_hvp: dict[str, dict[str, Params | None] | None] | None = None  # by OS, then hypervisor; None: all taken away
    osparams: dict[str, Params | None] | None = None  # by OS
    osparams_private_cluster: dict[str, Params | None] | None = None
    hidden_os: tuple[tuple[Literal["add", "remove"], str], ...] | None = None
    blacklisted_os: tuple[tuple[Literal["add", "remove"], str], ...] | None = None
    # Any: typed by the logic, part by part
    ipolicy: Annotated[
        dict[str, Any] | None,
        opt(
            *BOUNDS_OPTION.flags,
            help=BOUNDS_OPTION.help,
            parse=BOUNDS_OPTION.parse,
            also=BOUNDS_OPTION.also,
            metavar=BOUNDS_OPTION.metavar,
            others=POLICY_OPTIONS,
        ),
    ] = None
    candidate_pool_size: Annotated[
        int | None, opt("-C", "--candidate-pool-size", help="wanted number of master candidates")
    ] = None
    max_running_jobs: Annotated[int | None, opt("--max-running-jobs", help="jobs that may run at once")] = None
    max_tracked_jobs: Annotated[int | None, opt("--max-tracked-jobs", help="jobs followed closely")] = None
    mac_prefix: Annotated[
        str | None, opt("-m", "--mac-prefix", help="first three octets of generated MAC addresses", metavar="XX:XX:XX")
    ] = None
    master_netdev: Annotated[
        str | None, opt("--master-netdev", help="interface that carries the cluster's address", metavar="DEVICE")
    ] = None
    master_netmask: Annotated[
        int | None, opt("--master-netmask", help="prefix length of the cluster's address", metavar="BITS")
    ] = None
    vg_name: Annotated[
        str | None,
        opt("--vg-name", help="LVM volume group of plain and drbd disks; empty: none", metavar="VG"),
    ] = None
    drbd_helper: Annotated[str | None, opt("--drbd-usermode-helper", help="DRBD's usermode helper", metavar="PATH")] = (
        None
    )
    file_storage_dir: Annotated[
        str | None, opt("--file-storage-dir", help="base directory of new file disks", metavar="DIR")
    ] = None
    shared_file_storage_dir: Annotated[
        str | None, opt("--shared-file-storage-dir", help="base directory of new sharedfile disks", metavar="DIR")
    ] = None
    default_iallocator: Annotated[
        str | None,
        opt("-I", "--default-iallocator", help="allocator used when a command names none", metavar="NAME"),
    ] = None
    default_iallocator_params: Annotated[
        Params | None,
        opt("--default-iallocator-params", help="parameters for the default allocator", parse=Parse.KEYVAL),
    ] = None
    maintain_node_health: Annotated[
        bool | None,
        opt(
            "--maintain-node-health", help="the watcher ends guests and DRBD minors of no instance", parse=Parse.YES_NO
        ),
    ] = None
    enabled_user_shutdown: Annotated[
        bool | None, opt("--user-shutdown", help="a shutdown from inside the guest is meant", parse=Parse.YES_NO)
    ] = None
    install_image: Annotated[
        str | None,
        opt("--install-image", help="what is booted to run untrusted OS scripts; empty: nothing", metavar="PATH"),
    ] = None
    prealloc_wipe_disks: Annotated[
        bool | None, opt("--prealloc-wipe-disks", help="overwrite new disks before use", parse=Parse.YES_NO)
    ] = None
    lvm_self_repair: Annotated[
        bool | None,
        opt(
            "--lvm-self-repair",
            help="drop physical volumes that are missing from the volume group of a node, once and on one node, if "
            "all that is lost there is whole elsewhere; yes again allows it once more",
            parse=Parse.YES_NO,
        ),
    ] = None
    use_external_mip_script: Annotated[
        bool | None,
        opt("--use-external-mip-script", help="the administrator's master-ip-setup script", parse=Parse.YES_NO),
    ] = None
    modify_etc_hosts: Annotated[
        bool | None, opt("--modify-etc-hosts", help="whether the cluster edits the hosts file", parse=Parse.YES_NO)
    ] = None
    modify_ssh_setup: Annotated[
        bool | None,
        opt(
            "--modify-ssh-setup",
            help="whether the cluster looks after SSH keys; redist-conf makes what is missing",
            parse=Parse.YES_NO,
        ),
    ] = None
    ssh_key_type: Annotated[
        SshKeyType | None,
        opt("--ssh-key-type", help="kind of SSH keys that are made from now on; see renew-crypto", metavar="TYPE"),
    ] = None
    ssh_key_bits: Annotated[
        int | None,
        opt("--ssh-key-bits", help="length of SSH keys that are made from now on", metavar="BITS"),
    ] = None
    reserved_lvs: Annotated[
        tuple[str, ...] | None,
        opt("--reserved-lvs", help="patterns of volumes that verify ignores; empty: none", parse=Parse.LIST),
    ] = None
    uid_pool: Annotated[
        tuple[tuple[int, int], ...] | None,
        opt("--uid-pool", help="user ids for security_model pool; replaces them", parse=Parse.UID_RANGES),
    ] = None
    add_uids: Annotated[
        tuple[tuple[int, int], ...] | None, opt("--add-uids", help="user ids to add", parse=Parse.UID_RANGES)
    ] = None
    remove_uids: Annotated[
        tuple[tuple[int, int], ...] | None, opt("--remove-uids", help="user ids to remove", parse=Parse.UID_RANGES)
    ] = None
    compression_tools: Annotated[
        tuple[str, ...] | None,
        opt("--compression-tools", help="tools for exports; empty: the usual ones", parse=Parse.LIST),
    ] = None
    hv_state: Annotated[
        dict[str, Params] | None,
        opt("--hypervisor-state", help="recorded for allocators, by hypervisor", parse=Parse.IDENT_KEYVAL),
    ] = None
    disk_state: Annotated[
        dict[str, Params] | None,
        opt("--disk-state", help="recorded for allocators, by storage", parse=Parse.IDENT_KEYVAL),
    ] = None


@operation(
    cli=Cli(tool="gnt-cluster", verb="redist-conf", when_drained=True),
    rest=Rest(method="PUT", path="/2/redistribute-config"),
)
class OpClusterRedistConf(OpCode, frozen=True, tag="OP_CLUSTER_REDIST_CONF"):
    """Send the ssconf files and the trust file to every node again."""
