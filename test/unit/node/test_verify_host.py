"""What a node tells of its host."""

import os

from ganeti import paths
from ganeti.host import files
from ganeti.node import verify_host
from ganeti.paths import Paths


def test_bridges_are_looked_for_on_real_nodes_only(tmp_path):
    assert verify_host.missing_bridges(("no-such-bridge",), Paths(str(tmp_path), "node1")) == ()
    assert verify_host.missing_bridges(("no-such-bridge", "../../x"), Paths()) == ("no-such-bridge", "../../x")


def test_programs_that_cannot_be_run(tmp_path):
    where = Paths(str(tmp_path), "node1")
    os.makedirs(tmp_path / "usr/bin")
    for name, mode in (("good", 0o755), ("bad", 0o644), ("open", 0o757)):
        (tmp_path / "usr/bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "usr/bin" / name).chmod(mode)
    found = verify_host.bad_programs(("/usr/bin/good", "/usr/bin/bad", "/usr/bin/open", "/usr/bin/none", "../x"), where)
    assert sorted(found) == ["../x", "/usr/bin/bad", "/usr/bin/none", "/usr/bin/open"]
    assert found["/usr/bin/bad"] == "it is not executable"
    assert "can be written by everybody; type: chmod o-w" in found["/usr/bin/open"]


def test_hooks_and_allocators_that_root_does_not_run(tmp_path):
    where = Paths(str(tmp_path), "node1")
    assert verify_host.distrusted(("mine", "none", "../x"), where) == ()
    programs = [f"{paths.HOOKS_DIR.path}/node-add-pre.d/10-x", f"{where.iallocator_search_path[0]}/mine"]
    for local in map(where.local, programs):
        os.makedirs(os.path.dirname(local))
        with open(local, "w", encoding="ascii"):
            os.chmod(local, 0o757)
    os.rename(where.local(f"{paths.HOOKS_DIR.path}/node-add-pre.d"), tmp_path / "shared")
    os.symlink(tmp_path / "shared", where.local(f"{paths.HOOKS_DIR.path}/node-add-pre.d"))
    (tmp_path / "shared/README").touch()
    (tmp_path / "shared/README").chmod(0o666)
    found = verify_host.distrusted(("mine", "none", "../x"), where)
    assert [why.split()[0] for why in found] == [f"{tmp_path}/shared/10-x", where.local(programs[1])]


def test_storage_paths_that_are_not_used(tmp_path):
    where = Paths(str(tmp_path), "node1")
    assert verify_host.bad_storage_paths(where) == ()
    files.make_directory(where, paths.CONFIG_DIR)
    files.write(where, paths.FILE_STORAGE_PATHS, b"/mnt/big\n/etc\n")
    assert verify_host.bad_storage_paths(where) == ("'/etc' is /etc, where no volume may lie",)
