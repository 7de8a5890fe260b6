"""New keys and certificates of this node and of its cluster.

What is new is staged beside what is in use and takes its place by a rename. The files of a renewal that was broken
off are used by the next one, or made anew.
"""

from __future__ import annotations

import os
import re

from ganeti import errors, paths
from ganeti.calls.renewal import (
    AuthorityBegin,
    AuthorityWrite,
    CertificateBegin,
    CertificateLook,
    CertificateReply,
    CertificateSign,
    CertificateSwitch,
    Secrets,
    SecretsRead,
    SecretsUnstage,
    SecretsWrite,
    SignReply,
)
from ganeti.host import files, tls
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import File, Paths
from ganeti.rpc.identity import Identity
from ganeti.rpc.server import TlsAdapter

#: staged: the new key of this node, and the new authority
NODE_KEY = "server.key"
AUTHORITY = "ca.pem"
AUTHORITY_KEY = "ca.key"
#: what can be staged for all nodes, and where it is put
SECRETS = {AUTHORITY_KEY: paths.CA_KEY, **paths.SHARED_SECRETS}

MAX_BYTES = 256 * 1024
MAX_AUTHORITIES = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}\Z")


@handles(CertificateLook)
def look(call: CertificateLook, env: NodeEnv, context: Context) -> CertificateReply:
    authorities = tls.split(_need(env.paths, paths.CA_CERT))
    return CertificateReply(
        digest=tls.digest(_need(env.paths, paths.NODE_CERT)),
        authorities=tuple(tls.digest(each) for each in authorities),
    )


@handles(CertificateBegin)
def begin(call: CertificateBegin, env: NodeEnv, context: Context) -> str:
    key, request = tls.make_request(env.service(Identity).node)
    stage(env.paths, NODE_KEY, key)
    return request


@handles(CertificateSign)
def sign(call: CertificateSign, env: NodeEnv, context: Context) -> SignReply:
    for word in (call.name, call.uuid):
        if not _NAME.match(word):
            raise errors.NodeFailure(f"{word[:80]!r} is not the name or uuid of a node")
    staged_key, staged = (staged_text(env.paths, name) for name in (AUTHORITY_KEY, AUTHORITY))
    if staged_key is not None and staged is not None:
        signer = tls.authority_of(staged_key, staged)
    else:
        signer = tls.authority_of(_need(env.paths, paths.CA_KEY), _need(env.paths, paths.CA_CERT))
    try:
        made = tls.sign_request(
            signer, call.signing_request, name=call.name, uuid=call.uuid, address=call.address, now=env.clock.time()
        )
    except ValueError as err:  # the address
        raise errors.NodeFailure(str(err)) from err
    return SignReply(certificate=made, digest=tls.digest(made))


@handles(CertificateSwitch)
def switch(call: CertificateSwitch, env: NodeEnv, context: Context) -> None:
    where, me = env.paths, env.service(Identity)
    if tls.digest(call.certificate) == tls.digest(_need(where, paths.NODE_CERT)):
        _unstage(where, NODE_KEY)
        return
    key = staged_text(where, NODE_KEY)
    if key is None or not tls.belongs(key, call.certificate):
        raise errors.NodeFailure(
            "the certificate does not belong to the key that was made for it",
            hint="another renewal came between: run gnt-cluster renew-crypto again",
        )
    if tls.node_uuid(call.certificate) != me.uuid:
        raise errors.NodeFailure(f"the certificate is not that of node {me.node} ({me.uuid})")
    if not tls.is_signed_by(call.certificate, _need(where, paths.CA_CERT)):
        raise errors.NodeFailure("the certificate is of an authority that this node does not know")
    files.write(where, paths.NODE_CERT, tls.KeyPair(key, tls.split(call.certificate)[0]).bundle.encode("ascii"))
    _unstage(where, NODE_KEY)
    _reload(env)


@handles(AuthorityBegin)
def begin_authority(call: AuthorityBegin, env: NodeEnv, context: Context) -> str:
    where = env.paths
    key, certificate = staged_text(where, AUTHORITY_KEY), staged_text(where, AUTHORITY)
    present = tls.split(_need(where, paths.CA_CERT))
    is_over = certificate is not None and [tls.digest(each) for each in present] == [tls.digest(certificate)]
    if key is None or certificate is None or not tls.belongs(key, certificate) or is_over:
        made = tls.make_authority(call.cluster, now=env.clock.time())
        # a key without its certificate is not used: so the certificate goes first, and the new one comes last
        _unstage(where, AUTHORITY)
        stage(where, AUTHORITY_KEY, made.key)
        stage(where, AUTHORITY, made.certificate)
        certificate = made.certificate
    return certificate


@handles(AuthorityWrite)
def write_authorities(call: AuthorityWrite, env: NodeEnv, context: Context) -> None:
    if not 0 < len(call.certificates) <= MAX_AUTHORITIES:
        raise errors.NodeFailure(f"{len(call.certificates)} authorities are wanted, 1 to {MAX_AUTHORITIES} can be had")
    text = "".join(tls.split("".join(call.certificates)))
    own = _need(env.paths, paths.NODE_CERT)
    if not tls.is_signed_by(own, text):
        raise errors.NodeFailure(
            "this node's own certificate is of none of these authorities",
            hint="it was away when certificates were renewed: add it again with --readd",
        )
    if files.read_text(env.paths.local(paths.CA_CERT)) != text:
        files.write(env.paths, paths.CA_CERT, text.encode("ascii"))
    _reload(env)


@handles(SecretsRead)
def read_secrets(call: SecretsRead, env: NodeEnv, context: Context) -> Secrets:
    found: dict[str, str] = {}
    for name in call.names:
        file = _file(name)
        text = files.read_own(env.paths.local(paths.staged(name) if call.is_staged else file), max_bytes=MAX_BYTES)
        if text is not None:
            found[name] = text
        elif call.is_staged:
            raise errors.NodeFailure(
                f"no new {name} waits on this node", hint="run gnt-cluster renew-crypto on the master again"
            )
    return Secrets(found)


@handles(SecretsWrite)
def write_secrets(call: SecretsWrite, env: NodeEnv, context: Context) -> None:
    for name, text in call.secrets.files.items():
        _file(name)
        # users may all be gone; anything else without content is a mistake
        if (not text and name != "rapi-users") or len(text.encode()) > MAX_BYTES:
            raise errors.NodeFailure(f"{name} would have {len(text.encode())} bytes; 1 to {MAX_BYTES} are possible")
    for name, text in call.secrets.files.items():
        os.makedirs(os.path.dirname(env.paths.local(_file(name))), exist_ok=True)
        files.write(env.paths, _file(name), text.encode())


@handles(SecretsUnstage)
def unstage(call: SecretsUnstage, env: NodeEnv, context: Context) -> None:
    for name in call.names:
        _file(name)
        _unstage(env.paths, name)
        if name == AUTHORITY_KEY:
            _unstage(env.paths, AUTHORITY)


def stage(where: Paths, name: str, text: str) -> None:
    files.make_directory(where, paths.RENEWAL_DIR)
    files.write(where, paths.staged(name), text.encode())


def staged_text(where: Paths, name: str) -> str | None:
    return files.read_text(where.local(paths.staged(name)))


def _unstage(where: Paths, name: str) -> None:
    local = where.local(paths.staged(name))
    if os.path.exists(local):
        os.unlink(local)


def _file(name: str) -> File:
    found = SECRETS.get(name)
    if found is None:
        raise errors.NodeFailure(f"{name[:80]!r} is none of the cluster's secrets", hint=", ".join(sorted(SECRETS)))
    return found


def _need(where: Paths, file: File) -> str:
    text = files.read_text(where.local(file))
    if text is None:
        raise errors.NodeFailure(
            f"{where.local(file)} is missing on this node", hint="copy it from another master candidate"
        )
    return text


def _reload(env: NodeEnv) -> None:
    """At once, not when the file watcher has seen it: what the caller does next relies on it."""
    adapters = [part for part in env.services.values() if isinstance(part, TlsAdapter)]
    for adapter in adapters:
        adapter.reload()
