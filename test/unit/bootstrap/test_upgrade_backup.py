"""The copy that an upgrade makes of a node's data: whole, closed to others, and nothing when it cannot be made."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import tarfile
from typing import Any

import pytest

from ganeti import errors, paths
from ganeti.bootstrap.upgrade import Intent
from ganeti.bootstrap.upgrade_site import RealSite
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.paths import Paths

INTENT = Intent(version="2.0", before="1.0", begun=0.0, format=1)


@pytest.fixture
def where(tmp_path) -> Paths:
    made = Paths(str(tmp_path), "node1")
    for file, text in ((paths.IDENTITY, "{}"), (paths.CA_KEY, "key")):
        local = made.local(file)
        os.makedirs(os.path.dirname(local), exist_ok=True)
        with open(local, "w", encoding="ascii") as target:
            target.write(text)
        os.chmod(local, file.mode)
    state = made.local(paths.STATE_DB)
    os.makedirs(os.path.dirname(state))
    with sqlite3.connect(state) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE rows (value)")
        connection.executemany("INSERT INTO rows VALUES (?)", [("x" * 1000,)] * 500)
    connection.close()
    os.chmod(state, 0o640)
    return made


def site(where: Paths) -> RealSite:
    nobody: Any = None  # the master daemon is not asked
    return RealSite(where, nobody, HostRunner(where), SystemClock())


def test_what_is_unpacked_is_as_it_was_and_open_to_nobody_else(where, tmp_path):
    before = os.umask(0o022)
    try:
        path = site(where).back_up(INTENT)
    finally:
        os.umask(before)
    assert path.endswith("/1.0-to-2.0-1970-01-01T00-00-00.tar")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(where.local(paths.BACKUP_DIR)) == [os.path.basename(path)]
    with tarfile.open(path) as archive:
        modes = {entry.name: entry.mode for entry in archive if entry.isfile()}
        assert modes["./state/state.db"] == 0o640
        assert modes["./ca.key"] == paths.CA_KEY.mode
        assert sum(name.endswith("state.db") for name in modes) == 1
        archive.extractall(tmp_path / "back", filter="fully_trusted")
    with sqlite3.connect(tmp_path / "back/state/state.db") as connection:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (500,)
    connection.close()


def test_a_disk_that_is_full_leaves_nothing_behind_and_the_state_as_it_was(where):
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in (1 << 12, 1 << 18):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, held[1]))
            with pytest.raises((errors.StoreError, OSError)):
                site(where).back_up(INTENT)
            resource.setrlimit(resource.RLIMIT_FSIZE, held)
            assert os.listdir(where.local(paths.BACKUP_DIR)) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
        signal.signal(signal.SIGXFSZ, ignored)
    site(where).back_up(INTENT)


def test_what_an_interrupted_one_left_is_no_obstacle(where):
    path = site(where).back_up(INTENT)
    os.unlink(path)
    for rest in (path + ".new", path + ".state"):
        with open(rest, "wb") as file:
            file.write(b"half")
    assert site(where).back_up(INTENT) == path
    assert os.listdir(where.local(paths.BACKUP_DIR)) == [os.path.basename(path)]
