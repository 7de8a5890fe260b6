"""SSH key pairs as OpenSSH reads them."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ganeti import errors

_CURVES: dict[int, ec.EllipticCurve] = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def make(kind: str, bits: int) -> str:
    """A new private key without a passphrase. `kind` and `bits` are those of `model.ssh.KINDS`."""
    key: Key
    if kind == "rsa":
        key = rsa.generate_private_key(65537, bits)
    elif kind == "ecdsa":
        key = ec.generate_private_key(_CURVES[bits])
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode("ascii")


def _load(private: str) -> Key:
    try:
        key = serialization.load_ssh_private_key(private.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:  # TypeError: it has a passphrase
        raise errors.NodeFailure(f"the SSH key of this node cannot be read: {err}") from err
    if not isinstance(key, Key):
        raise errors.NodeFailure("the SSH key of this node is of a kind that is not used")
    return key


def public_of(private: str) -> str:
    """`type base64`. Raises NodeFailure when it is no key."""
    encoded = (
        _load(private).public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
    return encoded.decode("ascii")


def is_of(private: str, kind: str, bits: int) -> bool:
    """Whether it is of that kind and length. Raises NodeFailure when it is no key."""
    match _load(private):
        case rsa.RSAPrivateKey() as key:
            return (kind, bits) == ("rsa", key.key_size)
        case ec.EllipticCurvePrivateKey() as key:
            return (kind, bits) == ("ecdsa", key.key_size)
        case _:
            return kind == "ed25519"
