"""Files and directories of root's where other accounts may write, too."""

import fcntl
import os
import stat

import pytest

from ganeti import errors, paths
from ganeti.host import files
from ganeti.host.own_file import open_own
from ganeti.paths import Paths

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
OTHER = 4999


def _open(path, **more):
    os.close(open_own(str(path), os.O_RDWR, 0o640, **more))


def test_a_file_is_made_once_and_found_again(tmp_path):
    path = tmp_path / "file"
    _open(path)
    path.write_text("x")
    _open(path)
    assert path.read_text() == "x"
    assert path.stat().st_mode & 0o777 == 0o640 & ~0o022


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_not_followed_wherever_it_points_to(tmp_path, exists):
    target, path = tmp_path / "target", tmp_path / "file"
    if exists:
        target.write_text("x")
    path.symlink_to(target)
    with pytest.raises(PermissionError, match="symbolic link"):
        _open(path)
    assert target.exists() == exists


def test_a_pipe_is_not_opened_and_nobody_waits_for_its_other_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PermissionError, match="not a file"):
        _open(tmp_path / "pipe")


def test_a_file_that_a_backup_has_linked_is_ours_all_the_same(tmp_path):
    _open(tmp_path / "file")
    os.link(tmp_path / "file", tmp_path / "backup")
    _open(tmp_path / "file", uid=os.geteuid(), gid=os.getegid())


@needs_root
def test_another_name_of_a_file_of_roots_is_not_given_away(tmp_path):
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_text("x")
    os.link(target, path)
    with pytest.raises(PermissionError, match="another name"):
        _open(path, uid=OTHER, gid=OTHER)
    assert target.stat().st_uid == 0


@needs_root
def test_the_owner_is_set_also_of_a_file_that_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    _open(path, uid=OTHER, gid=OTHER)
    assert (path.stat().st_uid, path.stat().st_gid) == (OTHER, OTHER)


@needs_root
def test_a_directory_that_another_account_has_replaced_by_a_link_is_not_given_away(tmp_path):
    where = Paths(str(tmp_path), "node1")
    files.make_directory(where, paths.RUN_DIR)
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir(mode=0o755)
    local = where.local(paths.SOCKET_DIR)
    os.symlink(elsewhere, local)
    os.chown(local, OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(errors.PrereqError, match=f"link that belongs to user {OTHER}"):
        files.make_directory(where, paths.SOCKET_DIR)
    assert elsewhere.stat().st_mode & 0o777 == 0o755
    os.chown(local, 0, 0, follow_symlinks=False)  # the administrator's
    files.make_directory(where, paths.SOCKET_DIR)
    assert elsewhere.stat().st_mode & 0o777 == 0o770


def test_a_link_in_the_place_of_a_file_is_not_read(tmp_path):
    path = tmp_path / "users"
    assert files.read_own(str(path), max_bytes=9) is None
    (tmp_path / "key").write_text("secret")
    path.symlink_to(tmp_path / "key")
    with pytest.raises(OSError, match="symbolic links"):
        files.read_own(str(path), max_bytes=9)
    path.unlink()
    path.write_text("0123456789")
    assert files.read_own(str(path), max_bytes=9) == "012345678"


def test_in_directories_where_others_write_too_nobody_replaces_what_is_roots():
    parents = {os.path.dirname(file.path) for file in paths.DIRECTORIES}
    shared = [file for file in paths.DIRECTORIES if file.mode & 0o022 and file.path in parents]
    assert {file.path for file in shared} == {paths.RUN_DIR.path, paths.LOG_DIR.path}
    for directory in shared:
        assert (directory.user, directory.mode & 0o1000) == ("root", 0o1000), directory.path


def test_what_systemd_reads_for_a_start_is_where_only_root_writes():
    writable = {file.path for file in paths.DIRECTORIES if file.user != "root" or file.mode & 0o022}
    assert os.path.dirname(paths.once_file("ganeti-noded").path) not in writable


@needs_root
@pytest.mark.parametrize("plant", ["file", "link", "pipe", "directory"])
def test_a_lock_that_another_account_has_put_there_keeps_nobody_out(tmp_path, plant):
    path, target = tmp_path / "ganeti-ssconf.lock", tmp_path / "target"
    target.write_text("x")
    make = {"file": path.touch, "link": lambda: path.symlink_to(target), "pipe": lambda: os.mkfifo(path)}
    make.get(plant, path.mkdir)()
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    planted = os.open(path, os.O_RDONLY if plant == "directory" else os.O_RDWR)
    fcntl.flock(planted, fcntl.LOCK_EX)
    with files.locked(str(path), wait=False):
        found = path.lstat()
        assert (stat.S_ISREG(found.st_mode), found.st_uid, found.st_mode & 0o777) == (True, 0, 0o600)
        with pytest.raises(BlockingIOError), files.locked(str(path), wait=False):
            pass
    os.close(planted)
    assert target.read_text() == "x"


def test_a_lock_that_all_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "ganeti-watcher.lock"
    path.touch(mode=0o644)
    with files.locked(str(path)):
        assert path.stat().st_mode & 0o777 == 0o600
