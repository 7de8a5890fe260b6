"""All that makes a machine a node of a cluster, as one document: bootstrap writes it, leaving removes it."""

from __future__ import annotations

import os

import msgspec

from ganeti import errors, paths
from ganeti.host import files, tls
from ganeti.paths import File, Paths
from ganeti.rpc import identity, term, trust
from ganeti.rpc.identity import Identity
from ganeti.rpc.trust import Trust


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a node gets when it joins. Has a key in it: keep it off logs and command lines."""

    identity: Identity
    authority: str  # PEM certificates; more than one while authorities overlap
    bundle: str  # PEM key and certificate of the node
    trust: Trust
    term: int
    authority_key: str = ""  # PEM; only for nodes that may become master

    def __repr__(self) -> str:
        return f"Credentials({self.identity!r}, <hidden>)"


def check(wanted: Credentials) -> None:
    """Raises PrereqError when the parts do not fit together."""
    if tls.node_uuid(wanted.bundle) != wanted.identity.uuid:
        raise errors.PrereqError(
            "wrong_input", f"the certificate is not that of node {wanted.identity.node} ({wanted.identity.uuid})"
        )
    if not tls.is_signed_by(wanted.bundle, wanted.authority):
        raise errors.PrereqError("wrong_input", "the node's certificate is not signed by the cluster's authority")
    trust.check(wanted.trust)


def install(where: Paths, wanted: Credentials) -> None:
    """Make this machine a node. What an earlier membership left is replaced; may be repeated.

    The identity is written last: until then no daemon starts.
    """
    check(wanted)
    remove(where)
    _remove_file(where, paths.NODE_DB)
    _remove_file(where, paths.SSCONF_SERIAL)
    for directory in (paths.DATA_DIR, paths.NODE_DIR):
        files.make_directory(where, directory)
    term.store(where, wanted.term)
    files.write(where, paths.CA_CERT, wanted.authority.encode("ascii"))
    if wanted.authority_key:
        files.write(where, paths.CA_KEY, wanted.authority_key.encode("ascii"))
    files.write(where, paths.NODE_CERT, wanted.bundle.encode("ascii"))
    trust.store(where, wanted.trust)
    identity.store(where, wanted.identity)


def _remove_file(where: Paths, file: File) -> None:
    local = where.local(file)
    for name in (local, local + "-wal", local + "-shm"):
        if os.path.lexists(name):
            os.unlink(name)


def remove(where: Paths) -> None:
    """This machine is no node any more. Not a node: fine. The request table stays while its daemon runs."""
    for file in (paths.IDENTITY, paths.TRUST_FILE, paths.NODE_CERT, paths.CA_KEY, paths.CA_CERT, paths.TERM_FILE):
        _remove_file(where, file)
