"""What lies in the place of the state file when it is opened."""

import os

import pytest

from ganeti import errors
from ganeti.store.place import create_file

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
