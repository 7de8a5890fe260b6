"""The master's half of a node's join: credentials made here, installed there over ssh."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Sequence

import msgspec

from ganeti import errors, paths, settings
from ganeti.host import files, net, tls
from ganeti.host.clock import Clock
from ganeti.host.run import HostRunner
from ganeti.model.types import Uuid
from ganeti.paths import Paths
from ganeti.rpc import credentials, identity, trust
from ganeti.rpc.credentials import Credentials
from ganeti.rpc.identity import Identity
from ganeti.rpc.term import TermKeeper
from ganeti.wire import codec

log = logging.getLogger(__name__)

#: of the document on the join command's standard input
JOIN_FORMAT = 1
JOIN_PROGRAM = "ganeti-node-join"
_JOIN_LIMIT_S = 180.0


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node gets on standard input: it has a private key in it."""

    format: int
    version: str  # of the master's software
    credentials: Credentials
    ssconf: dict[str, str]  # name without `ssconf_` → content
    force: bool = False  # leave another cluster for this one


class JoinReply(msgspec.Struct, frozen=True, kw_only=True):
    """One line of JSON on the join command's standard output."""

    joined: bool
    code: str = ""  # of a PrereqError
    message: str = ""
    hint: str = ""
    digest: str = ""  # SHA-256 of the certificate that is installed now


class KnownNode(msgspec.Struct, frozen=True, kw_only=True):
    """A member, as the master lists it."""

    name: str
    uuid: str
    primary_ip: str
    secondary_ip: str
    is_master: bool


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """What OP_NODE_ADD has to know of the join."""

    name: str
    address: str
    secondary_ip: str
    uuid: str
    digest: str


def choose(wanted: str, address: str, members: Sequence[KnownNode], *, readd: bool) -> KnownNode | None:
    """The member that is added again, or None for a new node. Raises PrereqError."""
    member = next((node for node in members if node.name.lower() == wanted.lower()), None)
    if member is None:
        if readd:
            raise errors.PrereqError(
                "unknown_entity", f"node {wanted!r} is not in the cluster", hint="leave out --readd to add it"
            )
        holder = next((node for node in members if address in (node.primary_ip, node.secondary_ip)), None)
        if holder is not None:
            raise errors.PrereqError(
                "resource_not_unique", f"{wanted} has the address {address}, which node {holder.name} has already"
            )
        return None
    if not readd:
        raise errors.PrereqError(
            "already_exists", f"node {wanted!r} is in the cluster already", hint="--readd brings back a repaired node"
        )
    if member.is_master:
        raise errors.PrereqError("wrong_state", "the master cannot be added to its own cluster again")
    if member.primary_ip != address:
        raise errors.PrereqError(
            "wrong_state",
            f"{wanted} has the address {address}, but the cluster knows it as {member.primary_ip}",
            hint="fix DNS or /etc/hosts, or remove the node and add it as a new one",
        )
    return member


def join(
    wanted: str,
    members: Sequence[KnownNode],
    where: Paths,
    *,
    readd: bool,
    force: bool,
    secondary_ip: str,
    ask_host_key: bool,
    master_capable: bool,
    clock: Clock,
    new_uuid: Callable[[], Uuid],
    tell: Callable[[str], None],
) -> Joined:
    """Install the cluster's credentials on the node and start its daemon there. May be repeated.

    Raises PrereqError for what is wrong before or on the node, ExecError when ssh fails.
    """
    name, address = net.resolve(wanted, where)
    member = choose(name, address, members, readd=readd)
    uuid = member.uuid if member is not None else new_uuid()
    request = prepare(
        where,
        Identity(cluster=_own_identity(where).cluster, node=name, uuid=uuid, address=address),
        master_capable=master_capable,
        force=force,
        now=clock.time(),
    )
    tell(f"The cluster's certificates are put on {name}; those it has are replaced.")
    reply = send(HostRunner(where), ssh_command(where, name, ask_host_key=ask_host_key), request, name)
    expected = tls.digest(request.credentials.bundle)
    if reply.digest != expected:
        raise errors.ExecError(f"node {name} installed another certificate ({reply.digest}) than was sent")
    return Joined(
        name=name,
        address=address,
        secondary_ip=member.secondary_ip if member is not None else secondary_ip,
        uuid=uuid,
        digest=expected,
    )


def _own_identity(where: Paths) -> Identity:
    own = identity.load(where)
    if own is None:
        raise errors.PrereqError("wrong_state", "this node is in no cluster", hint="gnt-cluster init makes one")
    return own


def prepare(where: Paths, wanted: Identity, *, master_capable: bool, force: bool, now: float) -> JoinRequest:
    """The document for the node, made of this master's files. Raises PrereqError(environment_error)."""
    authority_key = files.read_text(where.local(paths.CA_KEY))
    authority = files.read_text(where.local(paths.CA_CERT))
    if authority_key is None or authority is None:
        missing = paths.CA_KEY if authority_key is None else paths.CA_CERT
        raise errors.PrereqError(
            "environment_error",
            f"{where.local(missing)} is missing on this master",
            hint="copy it from another master candidate",
        )
    # while the authority is renewed there are several
    signer = tls.authority_of(authority_key, authority)
    pair = tls.make_node(signer, name=wanted.node, uuid=wanted.uuid, address=wanted.address, now=now)
    own_trust = trust.read(where)
    if own_trust is None:
        raise errors.PrereqError("environment_error", f"{where.local(paths.TRUST_FILE)} is missing on this master")
    made = Credentials(
        identity=wanted,
        authority=authority,
        authority_key=authority_key if master_capable else "",
        bundle=pair.bundle,
        trust=own_trust,
        term=TermKeeper(where).seen,
        confd_key=files.read_text(where.local(paths.CONFD_KEY)) or "",
    )
    credentials.check(made)
    return JoinRequest(
        format=JOIN_FORMAT, version=settings.VERSION, credentials=made, ssconf=read_ssconf(where), force=force
    )


def read_ssconf(where: Paths) -> dict[str, str]:
    """This node's ssconf files: name without `ssconf_` → content."""
    prefix = where.local(paths.DATA_DIR) + "/ssconf_"
    found = {}
    for path in glob.glob(glob.escape(prefix) + "*"):
        found[os.path.basename(path).removeprefix("ssconf_")] = files.read_text(path) or ""
    return found


def ssh_command(where: Paths, name: str, *, ask_host_key: bool) -> tuple[str, ...]:
    """Runs the join command as root on the node; the document goes to its standard input."""
    options = ["-oBatchMode=no", "-oEscapeChar=none", "-oLogLevel=ERROR"]
    options.append("-oStrictHostKeyChecking=" + ("ask" if ask_host_key else "no"))
    return (*where.ssh, *options, f"root@{name}", where.remote((JOIN_PROGRAM,)))


def send(runner: HostRunner, command: tuple[str, ...], request: JoinRequest, name: str) -> JoinReply:
    """Raises PrereqError with what the node objects to, ExecError when it could not be asked."""
    done = runner.run_on_terminal(command, stdin=codec.dumps(request), timeout_s=_JOIN_LIMIT_S)
    last = done.stdout.strip().rpartition("\n")[2]  # a login script may print things before it
    try:
        reply = codec.decode(last, JoinReply)
    except codec.CodecError as err:
        if done.status == 255:
            raise errors.ExecError(
                f"cannot reach node {name} by ssh", hint=f"root must be able to log in there: ssh root@{name}"
            ) from err
        if done.status == 127:
            raise errors.ExecError(
                f"there is no {JOIN_PROGRAM} on node {name}", hint="install the same version of the software there"
            ) from err
        said = done.stdout.strip()[-500:]
        raise errors.ExecError(
            f"the join command on node {name} ended with status {done.status}" + (f": {said}" if said else "")
        ) from err
    if not reply.joined:
        raise errors.PrereqError(reply.code or "wrong_state", f"node {name}: {reply.message}", hint=reply.hint)
    return reply
