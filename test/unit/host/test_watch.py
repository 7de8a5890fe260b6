"""File watching, by inotify and by looking."""

from __future__ import annotations

import os
import queue

import pytest

from ganeti.host import files
from ganeti.host.watch import FileWatcher

SHORT_S, LONG_S = 0.01, 10.0


class Watched:
    def __init__(self, *paths: str, use_inotify: bool = True) -> None:
        self.changes: queue.SimpleQueue[frozenset[str]] = queue.SimpleQueue()
        self.watcher = FileWatcher(paths, self.changes.put, settle_s=SHORT_S, poll_s=SHORT_S, use_inotify=use_inotify)

    def __enter__(self) -> Watched:
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop()

    def next(self) -> frozenset[str]:
        return self.changes.get(timeout=LONG_S)


@pytest.mark.parametrize("use_inotify", [True, False])
def test_atomic_replacement_appearance_and_removal_are_seen(tmp_path, use_inotify):
    path = str(tmp_path / "trust")
    with Watched(path, use_inotify=use_inotify) as watched:
        files.write_atomic(path, b"one")
        assert watched.next() == {path}
        files.write_atomic(path, b"two!")
        assert watched.next() == {path}
        os.unlink(path)
        assert watched.next() == {path}


def test_change_between_making_and_starting_is_seen(tmp_path):
    path = str(tmp_path / "trust")
    watched = Watched(path)
    files.write_atomic(path, b"one")
    with watched:
        assert watched.next() == {path}


def test_other_files_of_the_directory_do_not_matter(tmp_path):
    path, other = str(tmp_path / "trust"), str(tmp_path / "other")
    with Watched(path) as watched:
        files.write_atomic(other, b"x")
        files.write_atomic(path, b"x")
        assert watched.next() == {path}
    assert watched.changes.empty()


def test_missing_directory_is_logged_and_looked_at(tmp_path, caplog):
    path = str(tmp_path / "later" / "trust")
    with Watched(path) as watched:
        os.mkdir(tmp_path / "later")
        files.write_atomic(path, b"x")
        assert watched.next() == {path}
    assert "cannot watch files by inotify" in caplog.text


def test_failing_callback_does_not_end_the_watching(tmp_path, caplog):
    path = str(tmp_path / "trust")
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()

    def changed(paths: frozenset[str]) -> None:
        seen.put(1)
        raise ValueError("bad file")

    watcher = FileWatcher([path], changed, settle_s=SHORT_S)
    watcher.start()
    files.write_atomic(path, b"1")
    seen.get(timeout=LONG_S)
    files.write_atomic(path, b"22")
    seen.get(timeout=LONG_S)
    watcher.stop()
    assert "bad file" in caplog.text
