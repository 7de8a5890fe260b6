"""All that makes a machine a node of a cluster, as one document: bootstrap writes it, leaving removes it."""

from __future__ import annotations

import os
import re
import secrets

import msgspec

from ganeti import errors, paths
from ganeti.host import files, tls
from ganeti.paths import Paths
from ganeti.rpc import identity, term, trust
from ganeti.rpc.identity import Identity
from ganeti.rpc.trust import Trust

_CONFD_KEY = re.compile(r"[0-9a-f]{32,256}\n\Z")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a node gets when it joins. Has a key in it: keep it off logs and command lines."""

    identity: Identity
    authority: str  # PEM certificates; more than one while authorities overlap
    bundle: str  # PEM key and certificate of the node
    trust: Trust
    term: int
    authority_key: str = ""  # PEM; only for nodes that may become master
    confd_key: str = ""  # signs questions and answers of confd; its end of line belongs to it

    def __repr__(self) -> str:
        return f"Credentials({self.identity!r}, <hidden>)"


def new_confd_key() -> str:
    """Hex digits and an end of line, as the file has them: all of it is the key."""
    return secrets.token_hex(32) + "\n"


def check(wanted: Credentials) -> None:
    """Raises PrereqError when the parts do not fit together."""
    if tls.node_uuid(wanted.bundle) != wanted.identity.uuid:
        raise errors.PrereqError(
            "wrong_input", f"the certificate is not that of node {wanted.identity.node} ({wanted.identity.uuid})"
        )
    if not tls.is_signed_by(wanted.bundle, wanted.authority):
        raise errors.PrereqError("wrong_input", "the node's certificate is not signed by the cluster's authority")
    trust.check(wanted.trust)
    if wanted.confd_key and not _CONFD_KEY.match(wanted.confd_key):
        raise errors.PrereqError("wrong_input", "the key of confd is not 32 to 256 hex digits with an end of line")


def install(where: Paths, wanted: Credentials) -> None:
    """Make this machine a node. May be repeated; its finished requests and its copy of the state stay.

    The identity is written last: until then no daemon starts.
    """
    check(wanted)
    remove(where)
    for directory in (paths.DATA_DIR, paths.NODE_DIR):
        files.make_directory(where, directory)
    term.store(where, wanted.term)
    files.write(where, paths.CA_CERT, wanted.authority.encode("ascii"))
    if wanted.authority_key:
        files.write(where, paths.CA_KEY, wanted.authority_key.encode("ascii"))
    if wanted.confd_key:
        files.write(where, paths.CONFD_KEY, wanted.confd_key.encode("ascii"))
    files.write(where, paths.NODE_CERT, wanted.bundle.encode("ascii"))
    trust.store(where, wanted.trust)
    identity.store(where, wanted.identity)


#: in this order: without an identity nothing starts
MEMBERSHIP = (
    paths.IDENTITY, paths.TRUST_FILE, paths.NODE_CERT, paths.CA_KEY, paths.CA_CERT, paths.TERM_FILE, paths.CONFD_KEY,
)  # fmt: skip


def remove(where: Paths) -> None:
    """This machine is no node any more. Not a node: fine. Requests, state and ssconf files are not looked at."""
    for file in MEMBERSHIP:
        local = where.local(file)
        if os.path.lexists(local):
            os.unlink(local)
