"""The data directory of every version from 2.0 to 3.1: tried, taken over, interrupted, damaged, and put back."""

import errno
import itertools
import os
import stat
from pathlib import Path

import pytest
from crash import points
from unit.model import classic_samples as samples
from unit.model.classic_samples import Sample, uuid

from ganeti import errors, paths
from ganeti.bootstrap import classic_directory
from ganeti.host import faults, files
from ganeti.master import private
from ganeti.paths import Paths
from ganeti.store.db import Database
from ganeti.wire import codec

VERSIONS = [pytest.param(version, id=".".join(map(str, version))) for version in samples.VERSIONS]
#: of the newest, as far as there are such
FILES = (paths.STATE_DB, paths.CA_KEY, paths.NODE_CERT, paths.CONFD_KEY, paths.RAPI_CERT, paths.RAPI_USERS,
         paths.DOMAIN_SECRET, paths.SPICE_CERT, paths.SPICE_CA)  # fmt: skip


class Host:
    """The master of that cluster, whose daemons have ended."""

    def __init__(self, root, version=(3, 1)):
        sample = Sample(version)
        # addresses that are this machine's
        samples_nodes = {name: f"127.0.0.{place}" for place, name in enumerate(samples.NODES, start=2)}
        document = sample.document()
        for node in document["nodes"].values():
            node["primary_ip"] = node["secondary_ip"] = samples_nodes[node["name"]]
        document["cluster"]["modify_etc_hosts"] = False
        document["cluster"]["modify_ssh_setup"] = False
        self.where = Paths(str(root), "node1.example.com")
        self.data = self.where.local(paths.DATA_DIR)
        for name, (content, mode) in sample.files().items():
            self.write(name, codec.dumps(document) if name == "config.data" else content, mode)
        self.write("rapi/extra", "somebody's own", 0o600)

    def write(self, name, content, mode):
        path = f"{self.data}/{name}"
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(path, mode)

    def contents(self):
        """Every file, link and directory below the data directory: its name, mode and content."""
        found = {}
        for directory, _, names in os.walk(self.data):
            found[os.path.relpath(directory, self.data)] = stat.S_IMODE(os.stat(directory).st_mode)
            for name in names:
                path = f"{directory}/{name}"
                with open(path, "rb") as file:
                    found[os.path.relpath(path, self.data)] = (stat.S_IMODE(os.lstat(path).st_mode), file.read())
        return found

    def take_over(self, *, dry_run=False):
        numbers = itertools.count(1000)
        return classic_directory.import_directory(
            self.data, self.where, now=1.7e9, new_uuid=lambda: uuid(next(numbers)), dry_run=dry_run
        )

    def rows(self):
        """(table, key) → value, and the secrets."""
        database = Database.open(self.where.local(paths.STATE_DB))
        try:
            return {(table, key): value for table, key, value in database.all_rows(without=())}, database.secrets()
        finally:
            database.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_dry_run_changes_nothing_and_the_way_back_is_byte_for_byte(tmp_path, version):
    host = Host(tmp_path, version)
    before = host.contents()
    told = host.take_over(dry_run=True)
    assert told[-1] == "Nothing was changed."
    assert "3 nodes" in told[0]
    assert host.contents() == before

    told = host.take_over()
    assert any("--undo" in line for line in told)
    rows, secrets = host.rows()
    assert {kind for table, key in rows if table == "object" for kind in [key.partition("/")[0]]} >= {
        "cluster", "group", "instance", "node",
    }  # fmt: skip
    assert sum(key.startswith("filter/") for _, key in rows) == (version >= (2, 13))
    assert codec.loads(rows["meta", "flags"])["last_job"] == samples.LAST_JOB
    # private values are where nobody looks, not in rows, which go into the history
    assert [value for value in rows.values() if samples.PRIVATE in value or samples.CLUSTER_PRIVATE in value] == []
    if version >= (2, 12):
        assert samples.PRIVATE in secrets[private.name_of("instance", uuid(20))]
        assert samples.CLUSTER_PRIVATE in secrets[private.name_of("cluster", uuid(100))]
    for file in FILES:
        local = host.where.local(file)
        if os.path.exists(local):
            assert stat.S_IMODE(os.stat(local).st_mode) == file.mode, file.path
    classic = f"{host.data}/{classic_directory.ASIDE}"
    assert stat.S_IMODE(os.stat(classic).st_mode) == 0o700
    carried = {"hmac.key": (2, 1), "rapi.pem": (2, 1), "cluster-domain-secret": (2, 2), "spice.pem": (2, 6)}
    for name, since in carried.items():
        is_same = files.read_text(f"{host.data}/{name}") == before.get(name, (0, b""))[1].decode()
        assert is_same is (version >= since), name

    classic_directory.take_back(host.where)
    assert host.contents() == before


class Killed(BaseException):
    """As kill -9: nothing is cleaned up."""


def killed_at(point, act):
    """Whether it was passed; `point`: its name, and at which passing."""

    left = [point[1]]

    def hit(passed):
        left[0] -= passed == point[0]
        if left[0] == 0:
            faults.arm(None)
            raise Killed

    faults.arm(hit)
    try:
        act()
    except Killed:
        return True
    finally:
        faults.arm(None)
    return False


#: each file is moved: when the first one is, one in between, the last
MOVES = [(point, nth) for point in ("import.before_move", "import.after_move") for nth in (1, 2, 7, 14)]
STEPS = [*MOVES, *((point, 1) for point in points.IMPORT if "move" not in point)]
BACK = [*MOVES, *((point, 1) for point in points.IMPORT_BACK)]


@pytest.mark.parametrize("point", STEPS)
def test_import_that_was_killed_is_repeated(tmp_path, point):
    host = Host(tmp_path)
    assert killed_at(point, host.take_over), "the point was not passed"
    host.take_over()
    rows, _ = host.rows()
    assert ("object", f"instance/{uuid(20)}") in rows
    assert not os.path.exists(host.where.local(paths.INIT_MARK))


@pytest.mark.parametrize("point", STEPS)
def test_import_that_was_killed_is_taken_back(tmp_path, point):
    host = Host(tmp_path)
    before = host.contents()
    assert killed_at(point, host.take_over)
    classic_directory.take_back(host.where)
    assert host.contents() == before


@pytest.mark.parametrize("point", BACK)
def test_taking_back_that_was_killed_is_repeated(tmp_path, point):
    host = Host(tmp_path)
    before = host.contents()
    host.take_over()
    assert killed_at(point, lambda: classic_directory.take_back(host.where))
    classic_directory.take_back(host.where)
    assert host.contents() == before


@pytest.mark.parametrize("length", [0, 1, 100, 3000, -2])
def test_configuration_that_was_cut_off_is_refused_and_nothing_is_moved(tmp_path, length):
    host = Host(tmp_path)
    with open(f"{host.data}/config.data", "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.truncate(length if length >= 0 else size + length)
    before = host.contents()
    for dry_run in (True, False):
        with pytest.raises(errors.PrereqError, match=r"config\.data is not JSON"):
            host.take_over(dry_run=dry_run)
    assert host.contents() == before


def test_wrong_part_of_the_configuration_is_named_and_nothing_is_moved(tmp_path):
    host = Host(tmp_path)
    document = Sample((3, 1)).document()
    document["disks"][uuid(50)]["logical_id"][3] = "zero"
    host.write("config.data", codec.dumps(document), 0o600)
    before = host.contents()
    with pytest.raises(errors.PrereqError, match=rf"\$\.disks\['{uuid(50)}'\]\.logical_id\[3\]: a number is wanted"):
        host.take_over()
    assert host.contents() == before


def test_another_host_than_its_master_is_refused_and_nothing_is_moved(tmp_path):
    host = Host(tmp_path)
    host.where = Paths(str(tmp_path), "node2.example.com")
    before = host.contents()
    with pytest.raises(errors.PrereqError, match=r"master in the file is node1\.example\.com, this host is node2"):
        host.take_over()
    assert host.contents() == before


def test_full_disk_while_it_is_moved_loses_nothing(tmp_path):
    host = Host(tmp_path)
    before = host.contents()

    def hit(passed):
        if passed == classic_directory.AFTER_MOVE:
            raise OSError(errno.ENOSPC, "No space left on device", host.data)

    faults.arm(hit)
    try:
        with pytest.raises(OSError, match="No space"):
            host.take_over()
    finally:
        faults.arm(None)
    classic_directory.take_back(host.where)
    assert host.contents() == before


@pytest.mark.parametrize("name", ["config.data", "queue/serial", "queue/job-7", "rapi/users"])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_nothing_is_moved(tmp_path, name):
    host = Host(tmp_path)
    place = Path(host.data, name)
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    with pytest.raises(errors.PrereqError, match=f"{name}: it is a pipe, not a regular file"):
        host.take_over()
    assert place.is_fifo()
