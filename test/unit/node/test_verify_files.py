"""Files that are more open than the account table says."""

import os

from ganeti import paths
from ganeti.host import files
from ganeti.node.verify_files import too_open
from ganeti.paths import Paths


def test_only_what_is_too_open_is_named(tmp_path):
    where = Paths(str(tmp_path), "node1")
    for directory in (paths.DATA_DIR, paths.NODE_DIR):
        files.make_directory(where, directory)
    files.write(where, paths.CA_KEY, b"x")
    files.write(where, paths.ssconf("cluster_name"), b"x")
    assert too_open(where) == {}
    os.chmod(where.local(paths.CA_KEY), 0o400)
    os.chmod(where.local(paths.NODE_DIR), 0o711)
    os.chmod(where.local(paths.ssconf("cluster_name")), 0o644)
    assert too_open(where) == {
        paths.NODE_DIR.path: "its mode is 0711, at most 0700 is meant",
        paths.ssconf("cluster_name").path: "its mode is 0644, at most 0444 is meant",
    }


def test_every_file_of_the_table_is_looked_at_once():
    table = [file.path for file in paths.account_table()]
    assert paths.CA_KEY.path in table
    assert paths.XEN_CONFIG_DIR.path not in table
    assert len(table) == len(set(table))


def test_a_directory_where_others_could_replace_roots_files_is_named(tmp_path):
    where = Paths(str(tmp_path), "node1")
    files.make_directory(where, paths.LOG_DIR)
    assert too_open(where) == {}
    os.chmod(where.local(paths.LOG_DIR), 0o755)
    assert too_open(where) == {}
    os.chmod(where.local(paths.LOG_DIR), 0o775)
    assert "1775 is meant: others can put something in the place" in too_open(where)[paths.LOG_DIR.path]
