"""Users, passwords, and addresses that guess."""

import base64
import hashlib

import pytest

from ganeti.rapi import auth
from ganeti.rapi.auth import Failures, User, Verified


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_users_file_has_comments_blank_lines_and_rights():
    users = auth.parse_users(
        "# who\n\nanna secret write\nbob {HA1}00  read, write\n  carl x\nlonely\nanna other read\n"
    )
    assert set(users) == {"anna", "bob", "carl"}
    assert users["bob"].rights == {"read", "write"}
    assert users["carl"].rights == frozenset()
    assert users["anna"].secret == "other"
    assert "other" not in repr(users["anna"])


@pytest.mark.parametrize(
    ("stored", "is_right"),
    [
        ("secret", True),
        ("{cleartext}secret", True),
        ("{ClearText}secret", True),
        ("{cleartext}", False),
        ("{unknown}secret", False),
        ("{HA1}00", False),
        ("{scrypt}rubbish", False),
        ("{scrypt}ln=40,r=8,p=1$AAAA$AAAA", False),
    ],
)
def test_password_is_compared_by_its_scheme(stored, is_right):
    assert auth.verify(User("anna", stored), "secret") is is_right
    assert not auth.verify(User("anna", stored), "Secret")


def test_digest_of_user_realm_and_password_is_taken_in_either_case():
    digest = hashlib.md5(b"anna:Ganeti Remote API:secret").hexdigest()
    assert auth.verify(User("anna", "{HA1}" + digest), "secret")
    assert auth.verify(User("anna", "{ha1}" + digest.upper()), "secret")
    assert not auth.verify(User("bob", "{HA1}" + digest), "secret")


def test_new_hash_fits_its_password_alone():
    stored = auth.hashed("grün", salt=b"0123456789abcdef")
    assert stored.startswith("{scrypt}ln=15,r=8,p=1$")
    assert auth.is_slow(User("anna", stored))
    assert auth.verify(User("anna", stored), "grün")
    assert not auth.verify(User("anna", stored), "gruen")


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Bearer abc", basic("nocolon")])
def test_header_that_cannot_be_understood_names_nobody(header):
    assert auth.parse_header(header) is None


def test_password_may_have_colons():
    assert auth.parse_header(basic("anna:a:b")) == ("anna", "a:b")


def test_address_with_many_wrong_passwords_waits():
    failures = Failures(most=3, per_s=60)
    for second in range(3):
        assert failures.wait_s("a", float(second)) == 0
        failures.note("a", float(second))
    assert failures.wait_s("a", 10.0) == 50.0
    assert failures.wait_s("b", 10.0) == 0
    assert failures.wait_s("a", 61.0) == 0


def test_right_password_is_remembered_until_the_user_changes():
    known, anna = Verified(), User("anna", "x")
    known.remember(anna, "pw")
    assert known.knows(anna, "pw")
    assert not known.knows(anna, "other")
    assert not known.knows(User("anna", "y"), "pw")
    known.keep_only({})
    assert not known.knows(anna, "pw")
