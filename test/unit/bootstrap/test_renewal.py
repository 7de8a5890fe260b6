"""New secrets are made or checked before anything is changed."""

import os
import time

import pytest

from ganeti import errors
from ganeti.bootstrap.renewal import Wanted, contents, stage_all
from ganeti.host import tls
from ganeti.paths import Paths

NOW = time.time()
AUTHORITY = tls.make_authority("spice", now=NOW)
SERVICE = tls.make_service("c.example.com", now=NOW, authority=AUTHORITY)


@pytest.fixture
def put(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def made(**wanted):
    return contents(Wanted(**wanted), cluster="c.example.com", now=NOW)


def test_new_ones_are_made():
    found = made(
        new_rapi_certificate=True,
        new_confd_hmac_key=True,
        new_cluster_domain_secret=True,
        new_spice_certificate=True,
    )
    assert sorted(found) == ["cluster-domain-secret", "hmac.key", "rapi.pem", "spice-ca.pem", "spice.pem"]
    assert tls.belongs(found["rapi.pem"], found["rapi.pem"])
    assert tls.is_signed_by(found["spice.pem"], found["spice-ca.pem"])
    assert len(found["hmac.key"]) == 65
    assert found["hmac.key"] != found["cluster-domain-secret"]


def test_a_pipe_in_the_place_of_a_secret_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.PrereqError, match="it is a pipe, not a regular file"):
        made(cluster_domain_secret=str(tmp_path / "pipe"))


def test_given_ones_are_taken(put):
    found = made(
        rapi_certificate=put("rapi", SERVICE.bundle),
        cluster_domain_secret=put("secret", "  correct horse \n"),
        spice_certificate=put("spice", SERVICE.bundle),
        spice_ca_certificate=put("ca", AUTHORITY.certificate),
    )
    assert found["rapi.pem"] == found["spice.pem"] == SERVICE.bundle
    assert found["cluster-domain-secret"] == "correct horse\n"
    assert found["spice-ca.pem"] == AUTHORITY.certificate


@pytest.mark.parametrize(
    "wanted",
    [
        {"new_rapi_certificate": True, "rapi_certificate": "/x"},
        {"new_cluster_domain_secret": True, "cluster_domain_secret": "/x"},
        {"new_spice_certificate": True, "spice_certificate": "/x", "spice_ca_certificate": "/x"},
        {"spice_certificate": "/x"},
        {"spice_ca_certificate": "/x"},
        {"rapi_certificate": "/nowhere"},
        {"rapi_certificate": "/"},
    ],
)
def test_options_that_do_not_fit(wanted):
    with pytest.raises(errors.PrereqError):
        made(**wanted)


def test_files_of_no_use(put):
    foreign = tls.make_authority("other", now=NOW)
    for wanted in (
        {"rapi_certificate": put("text", "hello")},
        {"rapi_certificate": put("bare", SERVICE.certificate)},
        {"rapi_certificate": put("mixed", foreign.key + SERVICE.certificate)},
        {"rapi_certificate": put("old", tls.make_service("c", now=NOW - 10 * 366 * 86400).bundle)},
        {"cluster_domain_secret": put("short", "abc\n")},
        {"spice_certificate": put("s", SERVICE.bundle), "spice_ca_certificate": put("f", foreign.certificate)},
    ):
        with pytest.raises(errors.PrereqError):
            made(**wanted)


def test_nothing_is_staged_outside_of_a_cluster(tmp_path):
    with pytest.raises(errors.PrereqError):
        stage_all(Paths(str(tmp_path), "n"), {"hmac.key": "x"})
