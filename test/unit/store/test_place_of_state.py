"""What lies in the place of the state file when it is opened."""

import os
import sqlite3
from contextlib import closing

import pytest

from ganeti import errors
from ganeti.store import planted, sql
from ganeti.store.place import Place, create_file

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def test_a_file_that_a_backup_has_linked_and_a_link_of_the_administrators_are_fine(tmp_path):
    path = tmp_path / "state.db"
    create_file(str(path), (-1, -1))
    assert path.stat().st_mode & 0o777 == 0o600
    os.link(path, tmp_path / "backup")
    create_file(str(path), (-1, -1))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to("elsewhere")
    create_file(str(path), (-1, -1))


@needs_root
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_that_another_account_has_made_is_refused(tmp_path, exists):
    path, target = tmp_path / "state.db", tmp_path / "target"
    if exists:
        target.touch()
    path.symlink_to(target)
    os.chown(path, 4999, 4999, follow_symlinks=False)
    with pytest.raises(errors.StoreError, match="symbolic link"):
        create_file(str(path), (4999, 4999))
    assert target.exists() == exists


def made(path):
    create_file(str(path), (-1, -1))
    sql.connect(str(path)).close()
    return path


def test_a_link_that_comes_between_the_look_and_the_opening_is_not_followed(tmp_path):
    path, victim = made(tmp_path / "state.db"), made(tmp_path / "victim.db")
    wanted = planted.expected(str(path), for_writing=True)
    path.unlink()
    path.symlink_to(victim)
    with (
        closing(sqlite3.connect(path)) as connection,
        pytest.raises(errors.StoreError, match=r"was replaced by a link to .*/victim\.db"),
    ):
        planted.check_opened(connection, str(path), wanted)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_link_in_the_place_of_the_log_or_the_index_is_not_followed(tmp_path, suffix):
    path, victim = made(tmp_path / "state.db"), tmp_path / "victim"
    victim.write_text("whole")
    os.symlink(victim, f"{path}{suffix}")
    with pytest.raises(errors.StoreError, match="cannot open the state file"):
        sql.connect(str(path))
    assert victim.read_text() == "whole"


def test_a_link_of_the_administrators_leads_to_the_state(tmp_path):
    path = made(tmp_path / "state.db")
    (tmp_path / "disk").mkdir()
    path.rename(tmp_path / "disk/state.db")
    path.symlink_to("disk/state.db")
    (tmp_path / "alias").symlink_to(tmp_path)
    for name in (path, tmp_path / "alias/state.db"):
        with closing(sql.connect(str(name))) as connection:
            assert connection.execute("SELECT count(*) FROM rows").fetchone() == (0,)
        reader = sql.connect_read_only(str(name))
        assert reader is not None
        reader.close()


@needs_root
@pytest.mark.parametrize("connect", [sql.connect, sql.connect_read_only])
def test_another_accounts_link_is_not_opened(tmp_path, connect):
    path, victim = tmp_path / "state.db", made(tmp_path / "victim.db")
    path.symlink_to(victim)
    os.chown(path, 4999, 4999, follow_symlinks=False)
    with pytest.raises(errors.StoreError, match="a symbolic link of another account is in its place"):
        connect(str(path))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "state.db")
    for connect in (sql.connect, sql.connect_read_only):
        with pytest.raises(errors.StoreError, match="what is there is no file"):
            connect(f"{tmp_path}/state.db")


def test_a_directory_where_everybody_may_write_holds_no_state(tmp_path):
    path = made(tmp_path / "state.db")
    tmp_path.chmod(0o777)
    with pytest.raises(errors.StoreError, match=r"others may write in .* \(mode 0777\); type: chmod go-w"):
        sql.connect(str(path))


def test_what_is_rescued_is_not_written_to_what_a_link_points_to(tmp_path):
    path = made(tmp_path / "state.db")
    rescued = tmp_path / "state.db.rescued"
    rescued.symlink_to(tmp_path / "target")
    with closing(sql.connect(str(path))) as connection:
        Place(str(path)).rescue(connection)
    assert not (tmp_path / "target").exists()
    assert rescued.is_file()
    assert not rescued.is_symlink()
