"""The ssconf files of a node."""

from __future__ import annotations

import os

import pytest

from ganeti import errors, paths
from ganeti.calls.node import WATCHER_PAUSE
from ganeti.host import files
from ganeti.host.clock import SystemClock
from ganeti.node.ssconf import write_ssconf
from ganeti.paths import Paths


@pytest.fixture
def where(tmp_path) -> Paths:
    made = Paths(str(tmp_path), "node1")
    for directory in (paths.DATA_DIR, paths.NODE_DIR):
        files.make_directory(made, directory)
    return made


def read(where: Paths, name: str) -> str | None:
    return files.read_text(where.local(paths.ssconf(name)))


def test_only_changed_files_are_rewritten(where):
    assert write_ssconf(where, {"a": "1\n", "b": ""}, generation=(1, 1)) == 2
    before = os.stat(where.local(paths.ssconf("a"))).st_ino
    assert write_ssconf(where, {"a": "1\n", "b": "2\n"}, generation=(1, 2)) == 1
    assert os.stat(where.local(paths.ssconf("a"))).st_ino == before
    assert (read(where, "b"), os.stat(where.local(paths.ssconf("b"))).st_mode & 0o777) == ("2\n", 0o444)


def test_late_older_content_is_ignored_file_by_file(where):
    write_ssconf(where, {"a": "new\n"}, generation=(2, 1))
    assert write_ssconf(where, {"a": "old\n", "b": "old\n"}, generation=(1, 9)) == 1
    assert (read(where, "a"), read(where, "b")) == ("new\n", "old\n")


def test_older_content_is_ignored_also_when_the_newer_changed_nothing(where):
    write_ssconf(where, {"a": "same\n"}, generation=(1, 1))
    write_ssconf(where, {"a": "same\n"}, generation=(1, 5))
    assert write_ssconf(where, {"a": "old\n"}, generation=(1, 3)) == 0


def test_join_writes_all_and_begins_anew(where):
    write_ssconf(where, {"a": "other cluster\n"}, generation=(9, 9))
    assert write_ssconf(where, {"a": "mine\n"}) == 1
    assert write_ssconf(where, {"a": "newer\n"}, generation=(1, 1)) == 1


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "x" * 65, "a\n"])
def test_bad_names_are_refused_before_anything_is_written(where, name):
    with pytest.raises(errors.NodeFailure, match="is not the name of an ssconf file"):
        write_ssconf(where, {"good": "x", name: "x"}, generation=(1, 1))
    assert read(where, "good") is None


def test_too_large_files_are_refused(where):
    with pytest.raises(errors.NodeFailure, match="more than 4096 KiB"):
        write_ssconf(where, {"a": "x" * (4 * 1024 * 1024 + 1)}, generation=(1, 1))


def test_lock_of_another_program_is_waited_for_with_a_limit(where):
    class Clock(SystemClock):
        def __init__(self) -> None:
            self.now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += 1

    lock = where.local(paths.SSCONF_LOCK)
    os.makedirs(os.path.dirname(lock))
    with files.locked(lock), pytest.raises(errors.NodeFailure, match="another program holds"):
        write_ssconf(where, {"a": "x"}, clock=Clock())
    assert write_ssconf(where, {"a": "x"}, clock=Clock()) == 1


def test_pause_of_the_watcher_is_a_file_of_its_own(where):
    write_ssconf(where, {WATCHER_PAUSE: "1700000000\n"}, generation=(1, 1))
    assert files.read_text(where.local(paths.WATCHER_PAUSE)) == "1700000000\n"
    assert read(where, WATCHER_PAUSE) is None
