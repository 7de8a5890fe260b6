"""Commands that work without a master or around it: cluster creation and end, node join."""

from __future__ import annotations

import os
import uuid
from typing import Any

import msgspec

from ganeti import errors, paths
from ganeti.bootstrap.checks import InitRequest
from ganeti.host import files
from ganeti.model import ssh
from ganeti.model.types import Uuid
from ganeti.ops.base import Parse
from ganeti.ops.cluster import OpClusterDestroy, OpClusterPostInit
from ganeti.ops.crypto import OpClusterRenewCrypto
from ganeti.ops.ipolicy import BOUNDS_OPTION, POLICY_OPTIONS
from ganeti.ops.node import OpNodeAdd
from ganeti.ops.verbs import Argument, Call, Session, flag, option, verb
from ganeti.wire import codec

_INIT_OPTIONS = (
    option("enabled_hypervisors", "--enabled-hypervisors", help="hypervisors; the first is the default",
           parse=Parse.LIST, metavar="LIST", default="xen-pvm, or what this version has"),
    option("enabled_disk_templates", "--enabled-disk-templates", help="kinds of disks", parse=Parse.LIST,
           metavar="LIST", default="drbd,plain, or what this version has"),
    option("hvparams", "-H", "--hypervisor-parameters", help="defaults of a hypervisor", parse=Parse.IDENT_KEYVAL,
           metavar="HV:KEY=VALUE,..."),
    option("beparams", "-B", "--backend-parameters", help="back-end defaults", parse=Parse.KEYVAL,
           metavar="KEY=VALUE,..."),
    option("nicparams", "-N", "--nic-parameters", help="defaults of network interfaces", parse=Parse.KEYVAL,
           metavar="KEY=VALUE,..."),
    option("ndparams", "--node-parameters", help="node defaults", parse=Parse.KEYVAL, metavar="KEY=VALUE,..."),
    option("diskparams", "-D", "--disk-parameters", help="defaults of a disk template", parse=Parse.IDENT_KEYVAL,
           metavar="TEMPLATE:KEY=VALUE,..."),
    *(
        msgspec.structs.replace(
            option("ipolicy", *each.flags, help=each.help, parse=Parse.POLICY, metavar=each.metavar), also=each.also
        )
        for each in (BOUNDS_OPTION, *POLICY_OPTIONS)
    ),
    option("vg_name", "--vg-name", help="LVM volume group of plain and drbd disks", metavar="VG",
           default="xenvg, where such disks are enabled"),
    option("drbd_helper", "--drbd-usermode-helper", help="DRBD's usermode helper", metavar="PATH"),
    option("uid_pool", "--uid-pool", help="user ids for security_model pool", parse=Parse.UID_RANGES,
           metavar="FIRST-LAST,..."),
    option("compression_tools", "--compression-tools", help="tools for exports", parse=Parse.LIST, metavar="A,B,...",
           default="gzip,gzip-fast,gzip-slow"),
    option("install_image", "--install-image", help="what is booted to run untrusted OS scripts", metavar="PATH"),
    option("prealloc_wipe_disks", "--prealloc-wipe-disks", help="overwrite new disks before use",
           parse=Parse.YES_NO, metavar="yes|no"),
    option("lvm_self_repair", "--lvm-self-repair", parse=Parse.YES_NO, metavar="yes|no",
           help="drop missing physical volumes of a node once, if all that is lost there is whole elsewhere"),
    option("use_external_mip_script", "--use-external-mip-script", parse=Parse.YES_NO, metavar="yes|no",
           help="the administrator's master-ip-setup script"),
    option("default_iallocator_params", "--default-iallocator-params", help="parameters for the default allocator",
           parse=Parse.KEYVAL, metavar="KEY=VALUE,..."),
    option("hv_state", "--hypervisor-state", help="recorded for allocators, by hypervisor", parse=Parse.IDENT_KEYVAL,
           metavar="HV:KEY=VALUE,..."),
    option("disk_state", "--disk-state", help="recorded for allocators, by storage", parse=Parse.IDENT_KEYVAL,
           metavar="NAME:KEY=VALUE,..."),
    option("candidate_pool_size", "-C", "--candidate-pool-size", help="wanted number of master candidates", kind="int",
           metavar="N", default="10"),
    option("mac_prefix", "-m", "--mac-prefix", help="first three octets of generated MAC addresses", metavar="XX:XX:XX",
           default="aa:00:00"),
    option("master_netdev", "--master-netdev", help="interface that carries the cluster's address", metavar="DEVICE",
           default="xen-br0"),
    option("master_netmask", "--master-netmask", help="prefix length of the cluster's address", kind="int",
           metavar="BITS", default="32, for IPv6 128"),
    option("secondary_ip", "-s", "--secondary-ip", help="this node's address on the replication network",
           metavar="ADDRESS"),
    option("file_storage_dir", "--file-storage-dir", help="base directory of file disks", metavar="DIR"),
    option("shared_file_storage_dir", "--shared-file-storage-dir", help="base directory of sharedfile disks",
           metavar="DIR"),
    option("primary_ip_version", "--primary-ip-version", help="4 or 6, for the life of the cluster",
           choices=("4", "6"), default="4"),
    option("default_iallocator", "-I", "--default-iallocator", help="allocator used when a command names none",
           metavar="NAME", default="builtin"),
    option("maintain_node_health", "--maintain-node-health", parse=Parse.YES_NO, metavar="yes|no",
           help="the watcher ends guests and DRBD minors of no instance"),
    option("enabled_user_shutdown", "--user-shutdown", help="a shutdown from inside the guest is meant",
           parse=Parse.YES_NO, metavar="yes|no"),
    flag("modify_etc_hosts", "--no-etc-hosts", help="do not let the cluster edit the hosts file", const=False),
    flag("modify_ssh_setup", "--no-ssh-init", help="do not generate and distribute SSH keys", const=False),
    option("ssh_key_type", "--ssh-key-type", help="kind of the nodes' SSH keys", choices=tuple(ssh.KINDS),
           default="rsa"),
    option("ssh_key_bits", "--ssh-key-bits", help="length of the nodes' SSH keys", kind="int", metavar="BITS",
           default="2048, for ecdsa and ed25519 256"),
)  # fmt: skip


def _new_uuid() -> Uuid:
    return Uuid(str(uuid.uuid4()))


def _init_request(call: Call) -> InitRequest:
    names = set(InitRequest.__struct_fields__)
    given: dict[str, Any] = {name: value for name, value in call.options.items() if name in names}
    try:
        return codec.convert({"cluster_name": call.arguments[0], **given}, InitRequest)
    except codec.CodecError as err:
        raise errors.PrereqError("wrong_input", str(err)) from err


def _is_answering(session: Session) -> bool:
    try:
        session.call("QueryConfigValues", ["cluster_name"])
    except (errors.NoMasterError, errors.RequestError):
        return False
    return True


@verb("gnt-cluster", "init", arguments=(Argument(name="cluster-name"),), options=_INIT_OPTIONS)
def init(session: Session, call: Call) -> int:
    """Make this host the first node and master of a new cluster.

    The cluster's name must have an address that nobody uses yet: it will be the address of whatever node is master.
    An init that failed or was interrupted may simply be repeated.
    """
    # heavy imports stay inside the commands: the others of these tools must start fast
    from ganeti.bootstrap.init import create_cluster
    from ganeti.host.clock import SystemClock
    from ganeti.host.run import HostRunner
    from ganeti.hypervisor import registry as hypervisors
    from ganeti.model.objects import DiskTemplate
    from ganeti.storage import registry as storage

    runner, clock = HostRunner(session.paths), SystemClock()
    drivers = storage.drivers(session.paths, runner)

    def why_not_group(name: str) -> str:
        return drivers[DiskTemplate.PLAIN].verify(vg=name)

    create_cluster(
        _init_request(call),
        session.paths,
        clock=clock,
        new_uuid=_new_uuid,
        known_hypervisors=tuple(hypervisors.drivers(session.paths, runner, clock)),
        known_templates=tuple(template.value for template in drivers),
        why_not_group=why_not_group,
        is_answering=lambda: _is_answering(session),
    )
    try:
        session.run(OpClusterPostInit())
    except errors.GanetiError as err:
        session.note(f"The cluster is there, but its hooks were not run: {err}")
    return 0


@verb(
    "gnt-cluster",
    "destroy",
    operation=OpClusterDestroy,
    options=(flag("yes_do_it", "--yes-do-it", "--ya-rly", help="confirms that this is meant"),),
)
def destroy(session: Session, call: Call) -> int:
    """End the cluster. Only the master may be left in it, and no instances.

    The daemons are stopped and all cluster files of this host are removed.
    """
    if not call.given("yes_do_it"):
        session.note("This ends the cluster for good: give --yes-do-it if that is what you want.")
        return 1
    from ganeti.bootstrap.membership import remove_everything

    session.run(OpClusterDestroy())
    remove_everything(session.paths)
    return 0


@verb(
    "gnt-cluster",
    "import-config",
    aliases=("import",),
    arguments=(Argument(name="path", least=0, completes="file"),),
    options=(
        flag("dry_run", "--dry-run", help="do all checks and tell what would be done, change nothing"),
        flag("undo", "--undo", help="put the old data directory back; what was done since is lost"),
        flag("yes_do_it", "--yes-do-it", help="confirms --undo"),
    ),
)
def import_config(session: Session, call: Call) -> int:
    """Make a new cluster of a classic one, of any version from 2.0 to 3.1. Its master has to be this host.

    The path is a config.data file, or a whole data directory with it: then users and certificate of the REST
    interface, the keys of confd and between clusters, and the number of the last job are taken over too. Without a
    path it is this host's data directory: what is in it is moved to the directory classic there, and --undo brings it
    back.

    No cluster and no daemon may be on this host. The daemons are not started. The other nodes are in the new
    cluster, marked offline, until they are added again with gnt-node add --readd --force-join: certificates are
    made anew. Guests and disks are not touched.
    """
    from ganeti.bootstrap.classic_directory import import_directory, take_back
    from ganeti.bootstrap.config_import import import_file
    from ganeti.host.clock import SystemClock

    if call.given("undo"):
        if not call.given("yes_do_it"):
            session.note("What was done since the import is lost: give --yes-do-it if that is what you want.")
            return 1
        take_back(session.paths)
        session.out("The old files are in their places again.")
        return 0
    path = call.arguments[0] if call.arguments else session.paths.local(paths.DATA_DIR)
    act = import_directory if os.path.isdir(path) else import_file
    for line in act(path, session.paths, now=SystemClock().time(), new_uuid=_new_uuid, dry_run=call.given("dry_run")):
        session.out(line)
    return 0


@verb(
    "gnt-cluster",
    "upgrade",
    options=(
        option("to", "--to", help="the version that is installed on all nodes", metavar="VERSION"),
        flag("resume", "--resume", help="go on with an upgrade that was interrupted"),
    ),
)
def upgrade(session: Session, call: Call) -> int:
    """Take the cluster to the version that was installed on all its nodes. Runs on the master.

    Install the new version on every node first: daemons that run go on as they are. Then this waits for all jobs to
    end (36 hours at most), stops the daemons everywhere, copies this node's data to the directory backup among them,
    changes the format of the state if the new version has another one, starts the daemons and checks the cluster.

    What fails before the format is changed is taken back. What fails later is noted, and --resume goes on; so it does
    when the command was killed, as does the same command once more. An older version refuses a state of a newer format:
    the way back is the backup.
    """
    from ganeti.bootstrap.upgrade import begin, resume
    from ganeti.bootstrap.upgrade_site import RealSite, alone
    from ganeti.host import faults
    from ganeti.host.clock import SystemClock
    from ganeti.host.run import HostRunner

    wanted = call.options.get("to")
    if bool(wanted) == call.given("resume"):
        raise errors.PrereqError("wrong_input", "give one of --to and --resume")
    if session.paths.is_virtual and (fault := os.environ.get(faults.VARIABLE)):
        faults.arm_to_die(fault)
    site = RealSite(session.paths, session, HostRunner(session.paths), SystemClock())
    with alone(session.paths):
        return 0 if (resume(site) if wanted is None else begin(site, str(wanted))) else 1


@verb("gnt-cluster", "getmaster")
def getmaster(session: Session, call: Call) -> int:
    """Print the name of the master node, as this node knows it."""
    text = files.read_text(session.paths.local(paths.ssconf("master_node")))
    if text is None or not text.strip():
        raise errors.PrereqError("environment_error", "this node is in no cluster", hint="gnt-cluster init makes one")
    session.out(text.strip())
    return 0


@verb(
    "gnt-cluster",
    "master-failover",
    aliases=("masterfailover",),
    options=(
        flag("no_voting", "--no-voting", help="become master without asking a majority of the nodes"),
        flag("yes_do_it", "--yes-do-it", help="do not ask for confirmation of --no-voting"),
        option("ignore_offline", "--ignore-offline-nodes", help="leave nodes that are marked offline out of the vote",
               parse=Parse.YES_NO, metavar="yes|no", absent=True, default="yes"),
    ),
)  # fmt: skip
def master_failover(session: Session, call: Call) -> int:
    """Make this node the master, in the place of the present one. It has to be a master candidate.

    The old master's daemon is stopped if its node can be reached. Jobs that were running are recovered: what was
    half-way is taken back. A candidate whose copy of the state is older than another's is refused, and the better
    one is named.

    With --no-voting a candidate becomes master though too few nodes answer. What only the others know is lost.
    """
    from ganeti.bootstrap.failover import failover

    def confirm(text: str) -> bool:
        return call.given("yes_do_it") or session.confirm_typed(text, "YES")

    is_done = failover(
        session.paths,
        no_voting=call.given("no_voting"),
        with_offline=not call.given("ignore_offline"),
        confirm=confirm,
        warn=session.note,
    )
    if not is_done:
        session.note("Nothing was changed.")
    return 0 if is_done else 1


@verb("gnt-cluster", "master-ping")
def master_ping(session: Session, call: Call) -> int:
    """Tell by the exit status whether the master answers: 0 if it does, else 1. Works on all master candidates."""
    from ganeti.bootstrap.failover import is_master_answering
    from ganeti.node.mastership import answers

    return 0 if is_master_answering(session.paths, answers_here=answers) else 1


@verb(
    "gnt-node",
    "add",
    operation=OpNodeAdd,
    options=(
        flag("no_ssh_key_check", "--no-ssh-key-check", help="do not ask about the node's SSH host key"),
        flag("force_join", "--force-join", help="take the node away from the cluster it belongs to"),
        flag("no_node_setup", "--no-node-setup", help="accepted for older scripts; changes nothing"),
        flag("verbose", "-v", "--verbose", help="tell more of what is done"),
    ),
)
def node_add(session: Session, call: Call) -> int:
    """Add a node to the cluster, or bring back one that was repaired (--readd).

    Connects to it by ssh as root, installs this cluster's certificates there and starts its node daemon.
    """
    from ganeti.bootstrap.join import KnownNode, join
    from ganeti.host.clock import SystemClock

    wanted = codec.convert({**call.form, "node_name": call.arguments[0]}, OpNodeAdd)
    rows = session.call("QueryNodes", [], ["name", "uuid", "pip", "sip", "master"], False)
    members = [
        KnownNode(name=name, uuid=node, primary_ip=primary, secondary_ip=secondary, is_master=bool(is_master))
        for name, node, primary, secondary, is_master in rows
    ]
    joined = join(
        wanted.node_name,
        members,
        session.paths,
        readd=wanted.readd,
        force=call.given("force_join"),
        secondary_ip=wanted.secondary_ip,
        ask_host_key=not call.given("no_ssh_key_check"),
        master_capable=wanted.master_capable,
        clock=SystemClock(),
        new_uuid=_new_uuid,
        tell=session.note,
    )
    if call.given("verbose"):
        session.out(f"{joined.name} has its certificate and runs its daemon")
    op = codec.convert(
        {
            **codec.to_builtins(wanted),
            "node_name": joined.name,
            "primary_ip": joined.address,
            "secondary_ip": joined.secondary_ip,
            "node_uuid": joined.uuid,
            "certificate_digest": joined.digest,
        },
        OpNodeAdd,
    )
    session.run(op)
    return 0


@verb(
    "gnt-cluster",
    "renew-crypto",
    operation=OpClusterRenewCrypto,
    options=(
        flag("new_rapi_certificate", "--new-rapi-certificate", help="new certificate of the REST server"),
        option("rapi_certificate", "--rapi-certificate", metavar="FILE",
               help="take the REST server's certificate and key from that file"),
        flag("new_confd_hmac_key", "--new-confd-hmac-key", help="new key of the configuration daemons"),
        flag("new_cluster_domain_secret", "--new-cluster-domain-secret",
             help="new secret that signs what goes to other clusters"),
        option("cluster_domain_secret", "--cluster-domain-secret", metavar="FILE",
               help="take that secret from that file"),
        flag("new_spice_certificate", "--new-spice-certificate", help="new SPICE certificate and authority"),
        option("spice_certificate", "--spice-certificate", metavar="FILE",
               help="take SPICE's certificate and key from that file"),
        option("spice_ca_certificate", "--spice-ca-certificate", metavar="FILE",
               help="take the certificate of SPICE's authority from that file"),
        flag("no_ssh_key_check", "--no-ssh-key-check", help="accepted for older scripts; no new host key is met here"),
        flag("force", "-f", "--force", help="do not ask for confirmation"),
    ),
)  # fmt: skip
def renew_crypto(session: Session, call: Call) -> int:
    """Give the cluster new keys and certificates. No daemon is restarted and no call fails meanwhile.

    What is new is made known on all online nodes before it is used, and what is old is refused only when all have
    switched. If it is interrupted nothing is lost: run the same command again. Nodes that are offline keep what they
    have; after new certificates they have to be added again with gnt-node add --readd.
    """
    from ganeti.bootstrap import renewal
    from ganeti.host.clock import SystemClock

    names = set(renewal.Wanted.__struct_fields__)
    wanted = codec.convert({name: value for name, value in call.options.items() if name in names}, renewal.Wanted)
    cluster = files.read_text(session.paths.local(paths.ssconf("cluster_name"))) or ""
    found = renewal.contents(wanted, cluster=cluster.strip(), now=SystemClock().time())
    op = codec.convert({**call.form, "secrets": sorted(found)}, OpClusterRenewCrypto)
    if not (found or op.cluster_certificate or op.node_certificates or op.renew_ssh_keys):
        raise errors.PrereqError("wrong_input", "no option says what to renew", hint="gnt-cluster renew-crypto --help")
    question = "Keys of the cluster are replaced. Nodes that are offline may have to be added again. Continue?"
    if not call.given("force") and not session.confirm(question):
        return 1
    renewal.stage_all(session.paths, found)
    session.run(op)
    session.out("All requested certificates and keys have been replaced.")
    return 0
