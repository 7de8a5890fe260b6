"""Keys and certificates of a cluster, and the TLS contexts made of them.

The cluster has an authority that signs one certificate per node. A node's certificate carries its name, address and
uuid; peers check the uuid, because names and addresses can be given to another machine.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from ganeti import errors

AUTHORITY_DAYS = 3650
NODE_DAYS = 1826
#: X509_V_FLAG_NO_CHECK_TIME, X509_VERIFY_PARAM_set_flags(3): all certificates of a cluster are of one age, and new ones
#: can be given out only over connections that work. Who is trusted stands in trust files; verify tells what ends soon
_AT_ANY_TIME = 0x200000
# X.520 limits a common name to 64 characters; the full name is in the subjectAltName
_COMMON_NAME_MAX = 64


class KeyPair(msgspec.Struct, frozen=True):
    """A private key and its certificate, both PEM."""

    key: str
    certificate: str

    @property
    def bundle(self) -> str:
        """One text with both, as kept in a node's certificate file."""
        return self.key + self.certificate

    def __repr__(self) -> str:
        return "KeyPair(key=<hidden>)"


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    # a day back: the clocks of nodes that join may be behind ours
    begin = datetime.datetime.fromtimestamp(now, datetime.UTC) - datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=days + 1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def make_authority(cluster: str, *, now: float) -> KeyPair:
    """A new certificate authority for a cluster of that name; valid ten years from `now` (epoch seconds)."""
    key = _new_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster[:_COMMON_NAME_MAX]),
            x509.NameAttribute(NameOID.COMMON_NAME, "cluster authority"),
        ]
    )
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_key_pem(key), _certificate_pem(certificate))


def make_node(authority: KeyPair, *, name: str, uuid: str, address: str, now: float) -> KeyPair:
    """A new key and certificate for a node; valid five years from `now` (epoch seconds)."""
    key = _new_key()
    signed = _sign_node(authority, key.public_key(), name=name, uuid=uuid, address=address, now=now)
    return KeyPair(_key_pem(key), signed)


def make_request(name: str) -> tuple[str, str]:
    """A new key and a request to sign its certificate, both PEM: (key, request)."""
    key = _new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return _key_pem(key), request.public_bytes(serialization.Encoding.PEM).decode("ascii")


def sign_request(authority: KeyPair, request: str, *, name: str, uuid: str, address: str, now: float) -> str:
    """A node's certificate, PEM, for the key of a request; what else is in the request does not count.

    Raises PrereqError(wrong_input) for a request that is broken or not signed by its own key.
    """
    try:
        found = x509.load_pem_x509_csr(request.encode("ascii", "replace"))
        key = found.public_key()
        is_usable = found.is_signature_valid and isinstance(key, ec.EllipticCurvePublicKey)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise errors.PrereqError("wrong_input", f"cannot read the signing request: {err}") from err
    if not is_usable or not isinstance(key, ec.EllipticCurvePublicKey):
        raise errors.PrereqError("wrong_input", "the signing request is not signed by an elliptic curve key of its own")
    return _sign_node(authority, key, name=name, uuid=uuid, address=address, now=now)


def _sign_node(
    authority: KeyPair, key: ec.EllipticCurvePublicKey, *, name: str, uuid: str, address: str, now: float
) -> str:
    signer = serialization.load_pem_private_key(authority.key.encode("ascii"), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise errors.PrereqError("environment_error", "the cluster authority's key is not an elliptic curve key")
    issuer = load(authority.certificate)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX]),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, uuid),
        ]
    )
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if uuid != name:
        # as a host name too, so that any TLS library can check it (`client_context`, server_hostname=uuid)
        names.append(x509.DNSName(uuid))
    names.append(x509.IPAddress(ipaddress.ip_address(address)))
    certificate = (
        _builder(subject, issuer.subject, key, now, NODE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _certificate_pem(certificate)


def make_service(
    name: str, *, now: float, authority: KeyPair | None = None, addresses: tuple[str, ...] = ()
) -> KeyPair:
    """A new key and certificate of a service for clients outside; without an authority signed by itself."""
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]
    key = _new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX])])
    signer, issuer = key, subject
    if authority is not None:
        loaded = serialization.load_pem_private_key(authority.key.encode("ascii"), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise errors.PrereqError("environment_error", "the authority's key is not an elliptic curve key")
        signer, issuer = loaded, load(authority.certificate).subject
    certificate = (
        _builder(subject, issuer, key.public_key(), now, NODE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return KeyPair(_key_pem(key), _certificate_pem(certificate))


def split(pem: str) -> tuple[str, ...]:
    """Each certificate of a text with several, PEM. Raises PrereqError(environment_error)."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    parts = [begin + part.partition(end)[0] + end + "\n" for part in pem.split(begin)[1:]]
    return tuple(_certificate_pem(load(part)) for part in parts)


def belongs(key: str, certificate: str) -> bool:
    """Whether that private key is the certificate's; both PEM, the key may have a certificate in its text too."""
    form, encoding = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER
    try:
        own = serialization.load_pem_private_key(key.encode("ascii", "replace"), None).public_key()
        shown = load(certificate).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, errors.PrereqError):
        return False
    return own.public_bytes(encoding, form) == shown.public_bytes(encoding, form)


def authority_of(key: str, certificates: str) -> KeyPair:
    """The authority with that key, among the certificates of a text. Raises PrereqError(environment_error)."""
    for certificate in split(certificates):
        if belongs(key, certificate):
            return KeyPair(key, certificate)
    raise errors.PrereqError(
        "environment_error",
        "the key of the cluster's authority fits none of its certificates",
        hint="copy both from another master candidate",
    )


def load(pem: str) -> x509.Certificate:
    """The first certificate of a text, which may have a key too. Raises PrereqError(environment_error)."""
    begin = pem.find("-----BEGIN CERTIFICATE-----")
    try:
        if begin < 0:
            raise ValueError("there is none in the text")
        return x509.load_pem_x509_certificate(pem[begin:].encode("ascii"))
    except ValueError as err:
        raise errors.PrereqError("environment_error", f"cannot read a certificate: {err}") from err


def digest(pem: str) -> str:
    """SHA-256 of the certificate, lower-case hex: what trust files list."""
    return load(pem).fingerprint(hashes.SHA256()).hex()


def ends(pem: str) -> float:
    """Epoch seconds at which the certificate runs out."""
    return load(pem).not_valid_after_utc.timestamp()


def node_uuid(pem: str) -> str:
    """The uuid in a node's certificate, or empty."""
    found = load(pem).subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return str(found[0].value) if found else ""


def is_signed_by(pem: str, authority_pem: str) -> bool:
    """Whether one of the authorities of a text issued the certificate."""
    for authority in split(authority_pem):
        try:
            load(pem).verify_directly_issued_by(load(authority))
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _unusable(bundle_path: str, authority_path: str, err: Exception) -> errors.PrereqError:
    return errors.PrereqError(
        "environment_error",
        f"cannot use the certificates {bundle_path} and {authority_path}: {err}",
        hint="join the node again, or renew the cluster's certificates",
    )


def client_context(bundle_path: str, authority_path: str) -> ssl.SSLContext:
    """For calling nodes: shows our certificate, accepts servers of our authority whose name or uuid is asked for.

    Whether certificates have ended is not looked at. Raises PrereqError(environment_error) when the files cannot be
    used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.verify_flags |= _AT_ANY_TIME
        context.load_verify_locations(authority_path)
        context.load_cert_chain(bundle_path)
    except OSError as err:  # ssl.SSLError is one
        raise _unusable(bundle_path, authority_path, err) from err
    return context


def server_context(bundle_path: str, authority_path: str, accepts: Callable[[str], bool]) -> SSL.Context:
    """For answering calls: the handshake fails unless our authority signed the peer and `accepts(its digest)`.

    Whether certificates have ended is not looked at. Raises PrereqError(environment_error) when the files cannot be
    used.
    """

    def verify(_connection: SSL.Connection, peer: crypto.X509, _error: int, depth: int, is_valid: int) -> bool:
        if not is_valid:
            return False
        return depth > 0 or accepts(peer_digest(peer))

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # A resumed session would skip the verify callback, so there is none.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    store = context.get_cert_store()
    assert store is not None  # a context has one from its beginning
    store.set_flags(_AT_ANY_TIME)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
    try:
        context.use_privatekey_file(bundle_path)
        context.use_certificate_chain_file(bundle_path)
        context.check_privatekey()
        context.load_verify_locations(authority_path)
    except (SSL.Error, OSError) as err:
        raise _unusable(bundle_path, authority_path, err) from err
    return context


def peer_digest(peer: crypto.X509) -> str:
    """As `digest`, of a certificate that came in a handshake."""
    return peer.to_cryptography().fingerprint(hashes.SHA256()).hex()


def peer_name(peer: crypto.X509) -> str:
    """The node name in a certificate that came in a handshake, or empty."""
    found = peer.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
