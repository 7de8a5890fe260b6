"""Users, passwords, and addresses that guess."""

import asyncio
import base64
import hashlib

import pytest

from ganeti.rapi import auth
from ganeti.rapi.auth import Failures, User, Verified
from ganeti.rapi.failures import HttpFailure
from ganeti.rapi.users import Users


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


def cheap_hash(password):
    digest = hashlib.scrypt(password.encode(), salt=b"salt", n=2, r=1, p=1, dklen=16)
    return "{scrypt}ln=1,r=1,p=1$" + "$".join(base64.b64encode(part).decode() for part in (b"salt", digest))


def admitted(tmp_path, text, tries):
    """What each of the tries, which come at one moment, is answered: a name or a status."""
    file = tmp_path / "users"
    file.write_text(text)

    async def one(users, who):
        try:
            return (await users.admit(basic(who), ("write",), "192.0.2.1")).name
        except HttpFailure as err:
            return err.status

    async def every():
        users = Users(str(file), require_authentication=False, monotonic=lambda: 0.0)
        return await asyncio.gather(*(one(users, who) for who in tries))

    return asyncio.run(every())


def test_guesses_that_come_together_are_counted(tmp_path):
    text = f"anna {cheap_hash('secret')} write\n"
    found = admitted(tmp_path, text, [f"anna:guess{number}" for number in range(40)])
    assert sorted(found) == [401] * 10 + [429] * 30


def test_many_first_requests_with_the_right_password_are_all_admitted(tmp_path):
    text = f"anna {cheap_hash('secret')} write\nbob plain write\ncarl {cheap_hash('x')} read\n"
    found = admitted(tmp_path, text, ["anna:secret"] * 30 + ["bob:plain"] * 30 + ["carl:x"])
    assert found == ["anna"] * 30 + ["bob"] * 30 + [403]


def test_file_that_cannot_be_read_changes_nothing_and_odd_rights_are_told_of(tmp_path, caplog):
    async def course():
        file = tmp_path / "users"
        file.write_text("anna secret wirte\nbob secret read\n")
        users = Users(str(file), require_authentication=False, monotonic=lambda: 0.0)
        assert "user anna has rights that are neither" in caplog.text and "bob" not in caplog.text
        file.unlink()
        file.mkdir()
        users.load()
        assert (await users.admit(basic("bob:secret"), ("read",), "")).name == "bob"
        file.rmdir()
        users.load()
        with pytest.raises(HttpFailure):
            await users.admit(basic("bob:secret"), ("read",), "")

    asyncio.run(course())
