"""What is taken over from a classic data directory, and the way back."""

import json
import os

import pytest

from ganeti import errors, paths
from ganeti.bootstrap import classic_directory
from ganeti.bootstrap.classic_directory import Directory, look, move_aside, take_back
from ganeti.host import files
from ganeti.paths import Paths

PEM = b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\ny\n"


def write(root, **contents):
    for name, content in contents.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".").replace("_DASH_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def job(status):
    return json.dumps({"id": 1, "ops": [{"status": "success"}, {"status": status}]}).encode()


def test_secrets_users_and_the_number_of_the_last_job_are_taken_over(tmp_path):
    write(
        tmp_path, rapi__users=b"jack secret write\n", rapi_DOT_pem=PEM, hmac_DOT_key=b"ab" * 20 + b"\n",
        queue__serial=b"4711\n", queue__job_DASH_4711=job("error"), server_DOT_pem=PEM,
    )  # fmt: skip
    found = look(Directory(str(tmp_path)))
    assert found.last_job == 4711
    assert dict(found.carried) == {
        paths.RAPI_USERS.path: b"jack secret write\n",
        paths.RAPI_CERT.path: PEM,
        paths.CONFD_KEY.path: b"ab" * 20 + b"\n",
    }
    assert any("certificates of nodes are made anew" in line for line in found.lines)


def test_users_of_the_oldest_versions_are_found(tmp_path):
    write(tmp_path, rapi_users=b"jack secret\n")
    assert dict(look(Directory(str(tmp_path))).carried) == {paths.RAPI_USERS.path: b"jack secret\n"}


def test_directory_of_a_first_version_has_nothing_of_that(tmp_path):
    found = look(Directory(str(tmp_path)))
    assert (found.last_job, found.carried) == (0, ())


@pytest.mark.parametrize(
    ("name", "content"), [("hmac_DOT_key", b"not hex\n"), ("rapi_DOT_pem", b"-----BEGIN CERTIFICATE")]
)
def test_file_that_is_not_what_it_should_be_is_told_of_and_left(tmp_path, name, content):
    write(tmp_path, **{name: content})
    found = look(Directory(str(tmp_path)))
    assert found.carried == ()
    assert any("WARNING" in line for line in found.lines)


@pytest.mark.parametrize("status", ["queued", "waiting", "waitlock", "running", "canceling"])
def test_jobs_that_are_not_at_their_end_are_named(tmp_path, status):
    write(tmp_path, queue__serial=b"9\n", queue__job_DASH_8=job("success"), queue__job_DASH_9=job(status))
    with pytest.raises(errors.PrereqError, match="not at their end: job-9;"):
        look(Directory(str(tmp_path)))


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"ops": 5}', b'{"ops": [5, {"status": 7}]}'])
def test_job_that_cannot_be_read_is_no_obstacle(tmp_path, junk):
    write(tmp_path, queue__job_DASH_9=junk)
    assert look(Directory(str(tmp_path))).last_job == 0


@pytest.mark.parametrize("junk", [b"-1\n", b"many\n", b"1" * 30])
def test_serial_that_is_no_number_is_refused(tmp_path, junk):
    write(tmp_path, queue__serial=junk)
    with pytest.raises(errors.PrereqError, match="is not the number of a job"):
        look(Directory(str(tmp_path)))


def make_host(root):
    where = Paths(str(root), "node1")
    files.make_directory(where, paths.DATA_DIR)
    data = root / paths.DATA_DIR.path[1:]
    write(data, config_DOT_data=b"{}", ssconf_master_node=b"node1\n", server_DOT_pem=PEM, queue__serial=b"1\n")
    write(data, rapi__users=b"jack\n", other=b"not theirs")
    return where, data


def contents(data):
    return {
        os.path.relpath(path, data): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()
    }  # fmt: skip


def test_way_back_restores_every_file_and_removes_ours(tmp_path):
    where, data = make_host(tmp_path)
    before = contents(data)
    move_aside(str(data))
    assert sorted(os.listdir(data)) == ["classic", "other"]
    files.make_directory(where, paths.STATE_DIR)
    files.write(where, paths.STATE_DB, b"ours")
    files.write(where, paths.NODE_CERT, b"ours")
    files.write(where, paths.ssconf("master_node"), b"ours\n")
    write(data, rapi__users=b"ours\n")
    take_back(where)
    assert contents(data) == before


def test_way_back_that_was_interrupted_is_repeated(tmp_path):
    where, data = make_host(tmp_path)
    before = contents(data)
    move_aside(str(data))
    # some went back before the power failed
    os.rename(data / classic_directory.ASIDE, data / classic_directory.BACK)
    os.rename(data / classic_directory.BACK / "server.pem", data / "server.pem")
    take_back(where)
    assert contents(data) == before


def test_move_that_was_interrupted_is_repeated(tmp_path):
    _, data = make_host(tmp_path)
    (data / classic_directory.ASIDE).mkdir()
    os.rename(data / "queue", data / classic_directory.ASIDE / "queue")
    assert look(Directory(str(data), str(data / classic_directory.ASIDE))).last_job == 1
    move_aside(str(data))
    assert sorted(os.listdir(data)) == ["classic", "other"]


def test_nothing_to_go_back_to_is_said(tmp_path):
    where, data = make_host(tmp_path)
    before = contents(data)
    with pytest.raises(errors.PrereqError, match="nothing to go back to"):
        take_back(where)
    assert contents(data) == before
