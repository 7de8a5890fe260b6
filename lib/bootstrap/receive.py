"""The node's half of a join: `ganeti-node-join`, run by ssh from the master with a document on standard input."""

from __future__ import annotations

import optparse
import os
import re
import sys
from typing import IO

from ganeti import errors, paths, settings
from ganeti.bootstrap import daemons
from ganeti.bootstrap.join import JOIN_FORMAT, JoinReply, JoinRequest
from ganeti.bootstrap.membership import make_storage_directories, remove_everything
from ganeti.host import files, net, services, tls
from ganeti.node.ssconf import MAX_BYTES, write_ssconf
from ganeti.paths import Paths
from ganeti.rpc import credentials, identity
from ganeti.rpc.term import TermKeeper
from ganeti.storage.file import places
from ganeti.wire import codec

MAX_DOCUMENT = 16 << 20  # bytes; ssconf lists grow with the number of instances
_SSCONF_NAME = re.compile(r"[a-z0-9_-]{1,64}\Z")


def read_request(source: IO[bytes]) -> JoinRequest:
    """Raises PrereqError(wrong_input)."""
    untrusted = source.read(MAX_DOCUMENT + 1)
    if len(untrusted) > MAX_DOCUMENT:
        raise errors.PrereqError("wrong_input", f"the join document is longer than {MAX_DOCUMENT} bytes")
    try:
        request = codec.decode(untrusted, JoinRequest)
    except codec.CodecError as err:
        raise errors.PrereqError(
            "wrong_input",
            f"cannot read the join document: {err}",
            hint=f"this node has version {settings.VERSION}; the master must have the same",
        ) from err
    check_request(request)
    return request


def check_request(request: JoinRequest) -> None:
    """What can be said without a look at this node. Raises PrereqError(wrong_input)."""
    if request.format != JOIN_FORMAT:
        raise errors.PrereqError(
            "wrong_input",
            f"the master's join document has format {request.format}, this node knows {JOIN_FORMAT}",
            hint=f"the master has version {request.version}, this node {settings.VERSION}: install the same",
        )
    if request.credentials.term < 1:
        raise errors.PrereqError("wrong_input", "the join document comes from a master without a term")
    for name, content in request.ssconf.items():
        if not _SSCONF_NAME.match(name):
            raise errors.PrereqError("wrong_input", f"{name[:80]!r} cannot be the name of an ssconf file")
        if len(content.encode()) > MAX_BYTES:
            raise errors.PrereqError("wrong_input", f"ssconf file {name} is longer than {MAX_BYTES} bytes")
    for directory in storage_directories(request):
        problem = places.why_not_directory(directory) if directory else ""
        if problem:
            raise errors.PrereqError("wrong_input", f"the storage directory {directory!r} {problem}")
    credentials.check(request.credentials)


def storage_directories(request: JoinRequest) -> tuple[str, ...]:
    """Base directories of file volumes in this cluster; empty: not used."""
    names = ("file_storage_dir", "shared_file_storage_dir")
    return tuple(request.ssconf.get(name, "").strip() for name in names)


def check_host(request: JoinRequest, where: Paths) -> None:
    """Whether this is the host that is meant. Raises PrereqError(environment_error)."""
    wanted = request.credentials.identity
    own_name = net.resolve(net.own_name(where), where)[0]
    if own_name.lower() != wanted.node.lower():
        raise errors.PrereqError(
            "environment_error",
            f"the master calls this host {wanted.node}, it calls itself {own_name}",
            hint="make both the same in DNS, /etc/hosts or the host name",
        )
    if net.is_loopback(wanted.address) and not where.is_virtual:
        raise errors.PrereqError(
            "environment_error",
            f"the master has the reserved address {wanted.address} for this host",
            hint="fix DNS or /etc/hosts on the master",
        )
    if not net.is_own(wanted.address):
        raise errors.PrereqError(
            "environment_error",
            f"the master has the address {wanted.address} for this host, which is not one of its own",
            hint="fix DNS or /etc/hosts on the master, or configure the address here",
        )


def is_same_cluster(request: JoinRequest, where: Paths) -> bool:
    """Whether this node has credentials of the same cluster. Names can be chosen again and authorities renewed.

    So one authority in common says so, and our own uuid, which only our cluster knows.
    """
    present = identity.load(where)
    if present is None or not os.path.exists(where.local(paths.CA_CERT)):
        return False
    return present.uuid == request.credentials.identity.uuid or _has_common_authority(request, where)


def _has_common_authority(request: JoinRequest, where: Paths) -> bool:
    ours, theirs = files.read_text(where.local(paths.CA_CERT)) or "", request.credentials.authority
    return not {tls.digest(each) for each in tls.split(ours)}.isdisjoint(tls.digest(each) for each in tls.split(theirs))


def check_membership(request: JoinRequest, where: Paths) -> None:
    """Raises PrereqError(wrong_state) when this host must not be taken over."""
    present = identity.load(where)
    if daemons.is_running(where, daemons.MASTERD):
        raise errors.PrereqError(
            "wrong_state",
            "a master daemon runs on this host" + (f": it is master of {present.cluster}" if present else ""),
            hint="destroy that cluster first, or make another of its nodes the master",
        )
    if present is None:
        return
    if not is_same_cluster(request, where):
        if not request.force:
            raise errors.PrereqError(
                "wrong_state",
                f"this host belongs to another cluster, {present.cluster!r}",
                hint="remove it there, or give --force-join to take it away from that cluster",
            )
        return
    seen = TermKeeper(where).seen
    if request.credentials.term < seen and not is_left_behind(request, where):
        raise errors.PrereqError(
            "wrong_state",
            f"this node saw term {seen}, the master that sent this has term {request.credentials.term}",
            hint="another master has taken over: run the command there"
            "; if this host was removed, or the cluster made anew of an export: --force-join, which empties its copy",
        )


def is_left_behind(request: JoinRequest, where: Paths) -> bool:
    """Whether this host shall forget what it has of the same cluster: remains of a state that the cluster lacks.

    It was removed and has made itself a master since; or the cluster was made anew of an export, and its terms begin
    anew with it.
    """
    present = identity.load(where)
    if present is None or not request.force or request.credentials.term >= TermKeeper(where).seen:
        return False
    return present.uuid != request.credentials.identity.uuid or not _has_common_authority(request, where)


def receive(request: JoinRequest, where: Paths) -> JoinReply:
    """Make this host the node that is asked for and start its daemon. May be repeated. Raises GanetiError, OSError."""
    check_host(request, where)
    check_membership(request, where)
    if is_same_cluster(request, where) and not is_left_behind(request, where):
        # the state copy, promises and finished requests of this node stay what they are
        daemons.stop(where, daemons.NODED)
    else:
        remove_everything(where)
    for directory in paths.DIRECTORIES:
        files.make_directory(where, directory)
    make_storage_directories(where, storage_directories(request))
    write_ssconf(where, request.ssconf)
    credentials.install(where, request.credentials)
    for daemon in (daemons.NODED, daemons.CONFD):
        daemons.start(where, daemon)
    services.of(where).enable()
    return JoinReply(joined=True, digest=tls.digest(request.credentials.bundle))


def make_parser() -> optparse.OptionParser:
    return optparse.OptionParser(
        prog="ganeti-node-join",
        usage="%prog <DOCUMENT >REPLY",
        version=f"ganeti-node-join (ganeti {settings.VERSION}) {settings.VERSION}",
        description="Makes this host a node of a cluster. gnt-node add runs it by ssh; the document that it reads from"
        " standard input has the node's certificate and key. Not for people.",
    )


def main() -> int:
    """`ganeti-node-join`: the document on standard input, the reply on standard output. Exit status 0 or 1."""
    make_parser().parse_args()
    where = Paths.from_environment()
    try:
        reply = receive(read_request(sys.stdin.buffer), where)
    except errors.PrereqError as err:
        reply = JoinReply(joined=False, code=err.code, message=err.message, hint=err.hint)
    except (errors.GanetiError, OSError) as err:
        reply = JoinReply(joined=False, code="environment_error", message=str(err))
    sys.stdout.write(codec.dumps(reply) + "\n")
    sys.stdout.flush()
    return 0 if reply.joined else 1
