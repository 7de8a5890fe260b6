"""New secrets of a cluster, made or read on its master and staged there: an operation puts them in place everywhere."""

from __future__ import annotations

import secrets as chance

import msgspec

from ganeti import errors, paths
from ganeti.host import files, tls
from ganeti.node.renewal import stage
from ganeti.paths import Paths
from ganeti.rpc import identity

_SECRET_BYTES = 32
_MAX_BYTES = 256 * 1024


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be new; a path is that of a file with the new content."""

    new_rapi_certificate: bool = False
    rapi_certificate: str = ""
    new_confd_hmac_key: bool = False
    new_cluster_domain_secret: bool = False
    cluster_domain_secret: str = ""
    new_spice_certificate: bool = False
    spice_certificate: str = ""
    spice_ca_certificate: str = ""


def check(wanted: Wanted) -> None:
    """Raises PrereqError(wrong_input) for options that exclude or need each other."""
    pairs = (
        (wanted.new_rapi_certificate, wanted.rapi_certificate, "--new-rapi-certificate", "--rapi-certificate"),
        (
            wanted.new_cluster_domain_secret,
            wanted.cluster_domain_secret,
            "--new-cluster-domain-secret",
            "--cluster-domain-secret",
        ),
        (wanted.new_spice_certificate, wanted.spice_certificate, "--new-spice-certificate", "--spice-certificate"),
        (
            wanted.new_spice_certificate,
            wanted.spice_ca_certificate,
            "--new-spice-certificate",
            "--spice-ca-certificate",
        ),
    )
    for new, given, first, second in pairs:
        if new and given:
            raise errors.PrereqError("wrong_input", f"{first} and {second} exclude each other")
    if bool(wanted.spice_certificate) != bool(wanted.spice_ca_certificate):
        raise errors.PrereqError("wrong_input", "--spice-certificate and --spice-ca-certificate must come together")


def contents(wanted: Wanted, *, cluster: str, now: float) -> dict[str, str]:
    """New contents by the names of the secrets. Raises PrereqError when a given file is of no use."""
    check(wanted)
    found: dict[str, str] = {}
    if wanted.rapi_certificate:
        found["rapi.pem"] = _bundle(wanted.rapi_certificate, now=now)
    elif wanted.new_rapi_certificate:
        found["rapi.pem"] = tls.make_service(cluster, now=now).bundle
    if wanted.new_confd_hmac_key:
        found["hmac.key"] = new_secret()
    if wanted.cluster_domain_secret:
        text = _read(wanted.cluster_domain_secret).strip()
        if len(text) < 8 or not text.isprintable():
            raise errors.PrereqError(
                "wrong_input", f"{wanted.cluster_domain_secret} holds no secret: one line of 8 or more characters is"
            )
        found["cluster-domain-secret"] = text + "\n"
    elif wanted.new_cluster_domain_secret:
        found["cluster-domain-secret"] = new_secret()
    if wanted.spice_certificate:
        found["spice.pem"] = _bundle(wanted.spice_certificate, now=now)
        found["spice-ca.pem"] = _spice_authority(wanted, now=now)
    elif wanted.new_spice_certificate:
        authority = tls.make_authority(cluster, now=now)
        found["spice.pem"] = tls.make_service(cluster, now=now, authority=authority).bundle
        found["spice-ca.pem"] = authority.certificate
    return found


def new_secret() -> str:
    return chance.token_hex(_SECRET_BYTES) + "\n"


def stage_all(where: Paths, found: dict[str, str]) -> None:
    """They wait on this node, the master's. Raises PrereqError where it is in no cluster."""
    if identity.load(where) is None:
        raise errors.PrereqError("wrong_state", "this node is in no cluster")
    for name, text in found.items():
        assert name in paths.SHARED_SECRETS, name
        stage(where, name, text)


def _read(path: str) -> str:
    try:
        text = files.read_text(path, max_bytes=_MAX_BYTES)
    except OSError as err:
        raise errors.PrereqError("wrong_input", f"cannot read {path}: {err.strerror}") from err
    if text is None:
        raise errors.PrereqError("wrong_input", f"there is no file {path}")
    return text


def _bundle(path: str, *, now: float) -> str:
    """A private key and the certificate that belongs to it. Raises PrereqError(wrong_input)."""
    text = _read(path)
    try:
        ends = tls.ends(text)
    except errors.PrereqError as err:
        raise errors.PrereqError("wrong_input", f"{path}: {err.message}") from err
    if not tls.belongs(text, text):
        raise errors.PrereqError(
            "wrong_input",
            f"{path} has no private key that belongs to its certificate",
            hint="the file has to hold both, in PEM form and without a passphrase, the certificate of the key first",
        )
    _not_over(path, ends, now)
    return text


def _spice_authority(wanted: Wanted, *, now: float) -> str:
    path, text = wanted.spice_ca_certificate, _read(wanted.spice_ca_certificate)
    try:
        _not_over(path, tls.ends(text), now)
        is_signed = tls.is_signed_by(_read(wanted.spice_certificate), text)
    except errors.PrereqError as err:
        raise errors.PrereqError("wrong_input", f"{path}: {err.message}") from err
    if not is_signed:
        raise errors.PrereqError("wrong_input", f"{wanted.spice_certificate} is not signed by {path}")
    return text


def _not_over(path: str, ends: float, now: float) -> None:
    if ends <= now:
        raise errors.PrereqError("wrong_input", f"the certificate in {path} has run out")
