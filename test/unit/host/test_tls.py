"""Certificates."""

from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ganeti import errors
from ganeti.host import tls

NOW = 1_700_000_000.0
DAY = 86400
AUTHORITY = tls.make_authority("c.example.com", now=NOW)
NODE = tls.make_node(AUTHORITY, name="node1.example.com", uuid="0f-uuid", address="192.0.2.7", now=NOW)


def test_node_certificate_carries_name_address_and_uuid():
    names = tls.load(NODE.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node1.example.com", "0f-uuid"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    assert tls.node_uuid(NODE.certificate) == "0f-uuid"


def test_validity_begins_a_day_back():
    begin = tls.load(NODE.certificate).not_valid_before_utc.timestamp()
    assert begin == NOW - DAY
    assert tls.ends(NODE.certificate) == NOW + tls.NODE_DAYS * DAY
    assert tls.ends(AUTHORITY.certificate) == NOW + tls.AUTHORITY_DAYS * DAY


def test_digest_is_that_of_openssl_and_works_on_bundles():
    der = ssl.PEM_cert_to_DER_cert(NODE.certificate)
    import hashlib

    assert tls.digest(NODE.bundle) == hashlib.sha256(der).hexdigest()


def test_only_its_own_authority_signed_it():
    other = tls.make_authority("c.example.com", now=NOW)
    assert tls.is_signed_by(NODE.certificate, AUTHORITY.certificate)
    assert not tls.is_signed_by(NODE.certificate, other.certificate)


def test_long_names_are_no_problem():
    name = ".".join(["a" * 60] * 4)
    pair = tls.make_node(AUTHORITY, name=name, uuid="u", address="::1", now=NOW)
    names = tls.load(pair.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in names.get_values_for_type(x509.DNSName)


def test_keys_are_on_the_p256_curve():
    key = serialization.load_pem_private_key(NODE.key.encode(), None)
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_a_clear_error(text):
    with pytest.raises(errors.PrereqError, match="cannot read a certificate"):
        tls.load(text)


@pytest.mark.parametrize("content", [None, "nonsense", NODE.certificate])
def test_unusable_files_are_a_clear_error(tmp_path, content):
    bundle, authority = tmp_path / "bundle", tmp_path / "ca"
    authority.write_text(AUTHORITY.certificate)
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(errors.PrereqError, match="cannot use the certificates"):
        tls.client_context(str(bundle), str(authority))
    with pytest.raises(errors.PrereqError, match="cannot use the certificates"):
        tls.server_context(str(bundle), str(authority), lambda digest: True)


def test_client_context_wants_tls_1_2_and_a_checked_peer(tmp_path):
    bundle, authority = tmp_path / "bundle", tmp_path / "ca"
    authority.write_text(AUTHORITY.certificate)
    bundle.write_text(NODE.bundle)
    context = tls.client_context(str(bundle), str(authority))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
