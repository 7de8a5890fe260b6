"""What sparse volumes were promised, asked again and again."""

from __future__ import annotations

import os

from ganeti.storage.file import places
from ganeti.storage.file.promised import PromisedSpace

LONG_AGO_NS = 10**18


def volume(directory, name: str, size: int, *, marked: bool = True) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(b"")
    os.truncate(directory / name, size)
    if marked:
        (directory / (name + places.MARK)).write_text("ours")


def settle(directory) -> None:
    for place, _, _ in os.walk(directory):
        os.utime(place, ns=(LONG_AGO_NS, LONG_AGO_NS))


def test_marked_volumes_of_all_depths_count_and_others_do_not(tmp_path):
    volume(tmp_path, "flat", 100)
    volume(tmp_path / "one" / "deep", "disk0", 2000)
    volume(tmp_path / "one", "stranger", 7, marked=False)
    space = PromisedSpace()
    assert space.sum([str(tmp_path)]).size == 2100
    assert space.sum([str(tmp_path), str(tmp_path / "one"), str(tmp_path / "absent")]).size == 2100
    assert PromisedSpace().sum([]).size == 0


def test_blocks_that_volumes_have_are_told(tmp_path):
    volume(tmp_path, "disk0", 1 << 20)
    (tmp_path / "disk0").write_bytes(b"x" * 8192)
    assert PromisedSpace().sum([str(tmp_path)]).used >= 8192


def test_what_comes_and_goes_is_seen(tmp_path):
    volume(tmp_path / "a", "disk0", 10)
    volume(tmp_path / "b", "disk0", 20)
    settle(tmp_path)
    space = PromisedSpace()
    assert space.sum([str(tmp_path)]).size == 30
    volume(tmp_path / "a", "disk1", 100)
    assert space.sum([str(tmp_path)]).size == 130
    for name in ("disk0", "disk0" + places.MARK):
        (tmp_path / "b" / name).unlink()
    (tmp_path / "b").rmdir()
    assert space.sum([str(tmp_path)]).size == 110


def test_a_directory_that_changed_just_now_is_read_again(tmp_path):
    volume(tmp_path, "disk0", 10)
    space = PromisedSpace()
    space.sum([str(tmp_path)])
    os.truncate(tmp_path / "disk0", 500)  # without another time of change of the directory
    assert space.sum([str(tmp_path)]).size == 500


def test_a_settled_directory_is_read_again_when_told(tmp_path):
    volume(tmp_path, "disk0", 10)
    settle(tmp_path)
    space = PromisedSpace()
    space.sum([str(tmp_path)])
    os.truncate(tmp_path / "disk0", 500)
    assert space.sum([str(tmp_path)]).size == 10
    space.forget(str(tmp_path))
    assert space.sum([str(tmp_path)]).size == 500
