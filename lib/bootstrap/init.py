"""Makes this host the first node of a new cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

import msgspec

from ganeti import errors, paths
from ganeti.bootstrap import daemons
from ganeti.bootstrap.checks import InitFacts, InitRequest, check, check_not_a_member
from ganeti.bootstrap.membership import make_storage_directories, remove_everything
from ganeti.host import files, services, tls
from ganeti.host.clock import Clock
from ganeti.hypervisor import linux, parameters
from ganeti.logic import cluster_values
from ganeti.master import private, ssconf
from ganeti.master.state import FILTER_KEYS, FLAGS_KEY, row, write_of
from ganeti.model import params, policy, policy_input
from ganeti.model.config import Config
from ganeti.model.jobs import FilterRule, Flags
from ganeti.model.objects import AnyObject, Cluster, Group, Node, Params, Put
from ganeti.model.ssh import settings as ssh_settings
from ganeti.model.types import Uuid
from ganeti.node import helper_image, ssh, ssh_files
from ganeti.node.ssconf import write_ssconf
from ganeti.ops.cluster import OpClusterSetParams
from ganeti.paths import Paths
from ganeti.rpc import credentials
from ganeti.rpc.credentials import Credentials
from ganeti.rpc.identity import Identity
from ganeti.rpc.trust import Trust
from ganeti.store import db, formats
from ganeti.store.api import Note

log = logging.getLogger(__name__)

#: of the new cluster: its first master wins the next one
FIRST_TERM = 1
LUXI_LIMIT_S = 20.0


class TypedParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The request's parameters, checked and in their right types."""

    hvparams: dict[str, Params]
    beparams: Params
    nicparams: Params
    others: OpClusterSetParams  # what is set in the way in which it can be changed later


#: settings of the request that `gnt-cluster modify` takes in the same form
_OTHERS = (
    "ndparams", "diskparams", "ipolicy", "vg_name", "drbd_helper", "uid_pool", "compression_tools", "hv_state",
    "disk_state", "install_image", "prealloc_wipe_disks", "lvm_self_repair", "use_external_mip_script",
    "default_iallocator_params",
)  # fmt: skip


def check_parameters(request: InitRequest, hypervisors: tuple[str, ...]) -> TypedParameters:
    """Raises PrereqError, ParameterError or TypeEnforcementError naming the parameter."""
    hvparams: dict[str, Params] = {}
    for name, untrusted in request.hvparams.items():
        hvparams[name] = params.merged({}, parameters.parse(name, untrusted))
    for name in hypervisors:
        parameters.check(name, parameters.fill(name, hvparams.get(name, {})))
    beparams = params.merged({}, params.parse_be(request.beparams))
    params.check_be({**params.defaults(params.BACKEND), **beparams})
    nicparams = params.merged({}, params.parse_nic(request.nicparams))
    params.check_nic({**params.defaults(params.NIC), **nicparams}, "0.0.0.0")
    others = OpClusterSetParams(**{name: value for name in _OTHERS if (value := getattr(request, name))})
    bare = Cluster(uuid=Uuid(""), name="", master_node=Uuid(""), master_ip="127.0.0.1", master_netdev="")
    tried = Config(cluster=cluster_values.changed(Config(cluster=bare), others))
    policy_input.check(policy.filled_cluster(tried))
    if not request.uid_pool and any(values.get("security_model") == "pool" for values in hvparams.values()):
        raise errors.PrereqError("wrong_input", "security_model is pool, but there are no user ids", hint="--uid-pool")
    return TypedParameters(hvparams=hvparams, beparams=beparams, nicparams=nicparams, others=others)


def check_image(path: str, where: Paths) -> None:
    """The install image, if one is given, lies on this host. Raises PrereqError."""
    if not path:
        return
    try:
        helper_image.find(linux.host_file(where, path), where)
    except errors.NodeFailure as err:
        raise errors.PrereqError("wrong_input", f"--install-image: {err}", hint="tools/helper-image makes one") from err


def first_objects(
    request: InitRequest,
    facts: InitFacts,
    typed: TypedParameters,
    *,
    digest: str,
    authority: str,
    new_uuid: Callable[[], Uuid],
    node_uuid: Uuid,
    now: float,
) -> list[AnyObject]:
    """The configuration of a cluster of one node. Pure."""
    group = Group(uuid=new_uuid(), name="default", ctime=now, mtime=now)
    node = Node(
        uuid=node_uuid,
        name=facts.node_name,
        primary_ip=facts.node_ip,
        secondary_ip=facts.secondary_ip,
        group=group.uuid,
        certificate_digest=digest,
        master_candidate=True,
        ctime=now,
        mtime=now,
    )
    cluster = Cluster(
        uuid=new_uuid(),
        name=facts.cluster_name,
        master_node=node.uuid,
        master_ip=facts.cluster_ip,
        master_netdev=facts.netdev,
        master_netmask=facts.netmask,
        primary_ip_family=facts.ip_family,
        mac_prefix=request.mac_prefix.lower(),
        file_storage_dir=request.file_storage_dir,
        shared_file_storage_dir=request.shared_file_storage_dir,
        enabled_hypervisors=facts.hypervisors,
        enabled_disk_templates=facts.templates,
        hvparams=typed.hvparams,
        beparams=typed.beparams,
        nicparams=typed.nicparams,
        candidate_pool_size=request.candidate_pool_size,
        default_iallocator=request.default_iallocator,
        modify_etc_hosts=request.modify_etc_hosts,
        modify_ssh_setup=request.modify_ssh_setup,
        ssh_key_type=request.ssh_key_type,
        ssh_key_bits=request.ssh_key_bits,
        maintain_node_health=request.maintain_node_health,
        enabled_user_shutdown=request.enabled_user_shutdown,
        ca_certificate=authority,
        ctime=now,
        mtime=now,
    )
    return [cluster_values.changed(Config(cluster=cluster), typed.others), group, node]


def create_cluster(
    request: InitRequest,
    where: Paths,
    *,
    clock: Clock,
    new_uuid: Callable[[], Uuid],
    known_hypervisors: tuple[str, ...],
    known_templates: tuple[str, ...],
    why_not_group: Callable[[str], str],
    is_answering: Callable[[], bool],
) -> None:
    """Check, then make the cluster and start its daemons; returns when the master answers (`is_answering`).

    What an interrupted attempt left is cleared away first. Raises PrereqError before anything was changed, ExecError
    or StoreError after that: then the same command may be repeated.
    """
    check_not_a_member(where)
    facts = check(
        request,
        where,
        known_hypervisors=known_hypervisors,
        known_templates=known_templates,
        why_not_group=why_not_group,
    )
    request = msgspec.structs.replace(request, vg_name=facts.volume_group)
    typed = check_parameters(request, facts.hypervisors)
    check_image(request.install_image, where)
    files.make_directory(where, paths.DATA_DIR)
    with files.locked(where.local(paths.INIT_MARK) + ".lock"):
        check_not_a_member(where)  # another init may have ended while we waited
        if os.path.exists(where.local(paths.INIT_MARK)):
            log.info("clearing away an init that was interrupted")
            remove_everything(where)
        files.write(where, paths.INIT_MARK, facts.cluster_name.encode() + b"\n")
        try:
            _install(request, facts, typed, where, now=clock.time(), new_uuid=new_uuid)
            for daemon in (daemons.NODED, daemons.CONFD, daemons.MASTERD):
                daemons.start(where, daemon)
            daemons.wait_until(
                "an answer of the new master",
                is_answering,
                timeout_s=LUXI_LIMIT_S,
                while_true=lambda: daemons.is_running(where, daemons.MASTERD),
            )
            daemons.start(where, daemons.RAPI)
            services.of(where).enable()
        except (errors.GanetiError, OSError) as err:
            for daemon in (daemons.RAPI, daemons.MASTERD, daemons.CONFD, daemons.NODED):
                daemons.stop(where, daemon)
            raise errors.ExecError(
                f"the cluster was not created: {err}", hint="remedy that and run the same command again"
            ) from err
        os.unlink(where.local(paths.INIT_MARK))
        files.sync_directory(os.path.dirname(where.local(paths.INIT_MARK)))


def _install(
    request: InitRequest,
    facts: InitFacts,
    typed: TypedParameters,
    where: Paths,
    *,
    now: float,
    new_uuid: Callable[[], Uuid],
) -> None:
    """All files of the first node; the identity comes last, so no daemon starts on half of them."""
    for directory in paths.DIRECTORIES:
        files.make_directory(where, directory)
    make_storage_directories(where, (request.file_storage_dir, request.shared_file_storage_dir))
    authority = tls.make_authority(facts.cluster_name, now=now)
    node_uuid = new_uuid()
    own = tls.make_node(authority, name=facts.node_name, uuid=node_uuid, address=facts.node_ip, now=now)
    digest = tls.digest(own.certificate)
    objects = first_objects(
        request,
        facts,
        typed,
        digest=digest,
        authority=authority.certificate,
        new_uuid=new_uuid,
        node_uuid=node_uuid,
        now=now,
    )
    write_first_node(where, objects, authority=authority, own=own, now=now, note=Note(actor="gnt-cluster init"))


def write_first_node(
    where: Paths,
    objects: Sequence[AnyObject],
    *,
    authority: tls.KeyPair,
    own: tls.KeyPair,
    now: float,
    note: Note,
    last_job: int = 0,
    rules: Sequence[FilterRule] = (),
) -> None:
    """State, ssconf files and credentials of a cluster whose one voter is this node; the identity comes last."""
    config = _with_ssh_keys(Config.load(objects), where)
    me, hvparams = config.master, config.cluster.hvparams
    rest = tls.make_service(config.cluster.name, addresses=(config.cluster.master_ip, me.primary_ip), now=now)
    files.write(where, paths.RAPI_CERT, rest.bundle.encode("ascii"))
    if not os.path.exists(where.local(paths.RAPI_USERS)):
        # there with its owner and mode, so that lines can be added to it
        files.write(where, paths.RAPI_USERS, b"# user password rights\n")
    flags = Flags(trust_serial=1, last_job=last_job)
    db.create(
        where.local(paths.STATE_DB),
        [
            *(write_of(Put(obj)) for obj in config.objects()),
            *(row("meta", FILTER_KEYS + rule.uuid, rule) for rule in rules),
            row("meta", FLAGS_KEY, flags),
            formats.write(),
        ],
        voters=[me.uuid],
        now=now,
        note=note,
        secrets={
            private.name_of(obj.kind, obj.uuid): text
            for obj in config.objects()
            if (text := private.text_of(obj)) is not None
        },
        ids=files.owner_ids(paths.STATE_DB, is_virtual=where.is_virtual),
    )
    write_ssconf(where, ssconf.render(config, lambda name: parameters.fill(name, hvparams.get(name, {}))))
    credentials.install(
        where,
        Credentials(
            identity=Identity(cluster=config.cluster.name, node=me.name, uuid=me.uuid, address=me.primary_ip),
            authority=authority.certificate,
            authority_key=authority.key,
            bundle=own.bundle,
            trust=Trust(term=FIRST_TERM, serial=1, digests={me.certificate_digest: me.name}),
            term=FIRST_TERM,
            confd_key=credentials.new_confd_key(),
        ),
    )


def _with_ssh_keys(config: Config, where: Paths) -> Config:
    """With root's new keys of this first node, if the cluster is to look after them."""
    if not config.cluster.modify_ssh_setup:
        return config
    public = ssh.stage_pair(where, *ssh_settings(config.cluster))
    ssh.use_pair(where, public)
    me = msgspec.structs.replace(config.master, ssh_key=public, ssh_host_keys=ssh_files.host_keys(where))
    return config.apply([Put(me)])
