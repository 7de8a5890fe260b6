"""Trust file, term file, credentials of a node."""

from __future__ import annotations

import os

import msgspec
import pytest

from ganeti import errors, paths
from ganeti.host import faults, files
from ganeti.paths import Paths
from ganeti.rpc import credentials, identity, term, trust
from ganeti.rpc.credentials import Credentials
from ganeti.rpc.term import TermKeeper
from ganeti.rpc.trust import Trust, TrustFile

from .conftest import AUTHORITY, MASTER, OTHER_AUTHORITY, SERVER, SERVER_PAIR, TRUST, certificate

A, B = "a" * 64, "b" * 64
CREDENTIALS = Credentials(
    identity=SERVER, authority=AUTHORITY.certificate, bundle=SERVER_PAIR.bundle, trust=TRUST, term=3
)


@pytest.fixture
def where(tmp_path):
    made = Paths(str(tmp_path / "root"), "node1")
    credentials.install(made, CREDENTIALS)
    return made


def test_newer_generation_replaces_and_lasts(where):
    held = TrustFile(where)
    for generation in ((1, 2), (2, 1), (2, 1), (2, 5)):
        held.replace(Trust(term=generation[0], serial=generation[1], digests={A: "x"}))
    assert TrustFile(where).trust.generation == (2, 5)
    assert (held.accepts(A), held.accepts(B)) == (True, False)


@pytest.mark.parametrize(("new_term", "serial"), [(1, 9), (2, 4), (0, 0)])
def test_older_generation_is_refused(where, new_term, serial):
    held = TrustFile(where)
    held.replace(Trust(term=2, serial=5, digests={A: "x"}))
    with pytest.raises(errors.PrereqError, match=f"term {new_term}, serial {serial}.*older"):
        held.replace(Trust(term=new_term, serial=serial, digests={B: "x"}))
    assert held.accepts(A)


@pytest.mark.parametrize("digests", [{}, {"A" * 64: "x"}, {"aa": "x"}, {A + "\n": "x"}])
def test_useless_lists_are_refused(where, digests):
    held = TrustFile(where)
    with pytest.raises(errors.PrereqError):
        held.replace(Trust(term=9, serial=9, digests=digests))
    assert held.trust == TRUST


def test_change_on_disk_is_taken_and_a_broken_or_old_file_is_not(where):
    held = TrustFile(where)
    trust.store(where, Trust(term=4, serial=1, digests={A: "x"}))
    assert (held.reload(), held.accepts(A)) == (True, True)
    assert not held.reload()
    files.write(where, paths.TRUST_FILE, b"{")
    with pytest.raises(errors.PrereqError, match="cannot read"):
        held.reload()
    trust.store(where, TRUST)
    with pytest.raises(errors.PrereqError, match="went back"):
        held.reload()
    assert held.accepts(A)


def test_crash_while_trust_is_written_leaves_old_or_new(where):
    for point, expected in ((trust.BEFORE_TRUST, 1), (trust.AFTER_TRUST, 2)):

        def die(passed, point=point):
            if passed == point:
                raise KeyboardInterrupt

        held = TrustFile(where)
        faults.arm(die)
        try:
            with pytest.raises(KeyboardInterrupt):
                held.replace(Trust(term=1, serial=2, digests={A: "x"}))
        finally:
            faults.arm(None)
        assert TrustFile(where).trust.serial == expected


def test_missing_trust_file_is_a_clear_error(where):
    os.unlink(where.local(paths.TRUST_FILE))
    with pytest.raises(errors.PrereqError, match="is missing"):
        TrustFile(where)


def test_term_only_rises_and_lasts(where):
    keeper = TermKeeper(where)
    assert keeper.seen == 3
    keeper.check(7)
    keeper.check(7)
    with pytest.raises(errors.StaleTermError, match="carries term 6, this node saw term 7"):
        keeper.check(6)
    assert TermKeeper(where).seen == 7


def test_term_is_durable_before_it_is_accepted(where):
    keeper = TermKeeper(where)

    def die(passed):
        if passed == term.BEFORE_TERM:
            raise KeyboardInterrupt

    faults.arm(die)
    try:
        with pytest.raises(KeyboardInterrupt):
            keeper.check(8)
    finally:
        faults.arm(None)
    assert (keeper.seen, TermKeeper(where).seen) == (3, 3)


def test_broken_term_file_is_not_guessed(where):
    files.write(where, paths.TERM_FILE, b"seven\n")
    with pytest.raises(errors.PrereqError, match="holds no number"):
        TermKeeper(where)


def test_install_makes_a_node_and_remove_unmakes_it(where):
    assert identity.load(where) == SERVER
    assert os.stat(where.local(paths.NODE_CERT)).st_mode & 0o777 == 0o440
    credentials.remove(where)
    credentials.remove(where)
    assert identity.load(where) is None
    assert not os.path.exists(where.local(paths.NODE_CERT))


def test_install_replaces_an_earlier_membership(where):
    term.store(where, 99)
    credentials.install(where, CREDENTIALS)
    assert TermKeeper(where).seen == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"identity": MASTER}, "is not that of node"),
        ({"bundle": certificate(SERVER, OTHER_AUTHORITY).bundle}, "not signed by"),
        ({"bundle": "nonsense"}, "cannot read a certificate"),
        ({"trust": Trust(term=1, serial=1, digests={})}, "lock the master out"),
    ],
)
def test_install_refuses_what_does_not_fit_and_changes_nothing(where, change, said):
    with pytest.raises(errors.PrereqError, match=said):
        credentials.install(where, msgspec.structs.replace(CREDENTIALS, **change))
    assert identity.load(where) == SERVER


def test_broken_identity_is_a_clear_error(where):
    files.write(where, paths.IDENTITY, b'{"cluster":1}')
    with pytest.raises(errors.PrereqError, match="join the node again"):
        identity.load(where)


def test_secrets_are_not_printed():
    assert "PRIVATE" not in repr(CREDENTIALS)
    assert "PRIVATE" not in repr(SERVER_PAIR)
