"""Who could have changed what root is to run."""

import errno
import os
import struct

import pytest

from ganeti.host import trust
from ganeti.host.trust import Judge
from ganeti.paths import Paths

ME = frozenset({0, os.geteuid()})
NOBODY = 0xFFFFFFFF
VIRTUAL, REAL = Paths("/nowhere", "node1"), Paths()


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "os/linux/create"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def strangers(gid):
    return "group games (eve)"


def test_a_file_of_ours_may_be_run(script):
    assert trust.why_not_trusted(str(script), VIRTUAL) == ""


@pytest.mark.parametrize("name", [".", "..", "create"])
def test_what_everybody_could_change_is_told_with_its_mode_and_the_cure(script, name):
    place = (script.parent / name).resolve()
    place.chmod(0o777)
    said = trust.why_not_trusted(str(script), VIRTUAL)
    assert said == f"{place} (mode 0777) can be written by everybody; type: chmod o-w {place}"


def test_a_group_that_has_members_may_not_write(script):
    script.chmod(0o775)
    assert Judge(VIRTUAL, strangers=lambda gid: "").problem(str(script)) == ""
    said = Judge(VIRTUAL, strangers=strangers).problem(str(script))
    assert said == f"{script} (mode 0775) can be written by group games (eve); type: chmod g-w {script}"


def test_an_access_control_list_is_read(script):
    def grant(rights_of_group, *more):
        entries = [(1, 7, NOBODY), *more, (4, rights_of_group, NOBODY), (0x10, 7, NOBODY), (0x20, 5, NOBODY)]
        raw = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(entries))
        try:
            os.setxattr(script, "system.posix_acl_access", raw)
        except OSError as err:
            if err.errno != errno.EOPNOTSUPP:
                raise
            pytest.skip(f"no access control lists here: {err.strerror}")

    def told(**given):
        return Judge(VIRTUAL, **given).problem(str(script))

    # the mask lets write, the owning group and eve may read only
    grant(5, (2, 5, 4242))
    assert script.stat().st_mode & 0o777 == 0o775
    assert told(strangers=strangers) == ""
    grant(5, (2, 7, 4242))
    assert told(strangers=strangers).endswith(f"can be written by user 4242; type: chmod g-w {script}")
    script.chmod(0o755)
    assert told(strangers=strangers) == ""
    grant(5, (8, 7, 4243))
    assert "can be written by group games (eve)" in told(strangers=lambda gid: strangers(gid) if gid == 4243 else "")


def test_what_is_another_accounts_is_told(script):
    said = Judge(VIRTUAL, owners=frozenset({4242})).problem(str(script))
    assert said.startswith("/ (mode ")
    if os.geteuid() == 0:
        os.chown(script, 4242, -1)
        said = trust.why_not_trusted(str(script), VIRTUAL)
        assert said == f"{script} (mode 0755) belongs to user 4242; type: chown root {script}"


def test_links_are_followed_and_each_directory_on_the_way_counts(script, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "create").symlink_to("../os/linux/create")
    (tmp_path / "alias").symlink_to(elsewhere)
    path = f"{tmp_path}/alias/create"
    assert trust.why_not_trusted(path, VIRTUAL) == ""
    # who can write where the link is can make another one
    elsewhere.chmod(0o757)
    assert f"{elsewhere} (mode 0757)" in trust.why_not_trusted(path, VIRTUAL)
    elsewhere.chmod(0o755)
    script.parent.chmod(0o757)
    assert f"{script.parent} (mode 0757)" in trust.why_not_trusted(path, VIRTUAL)


def test_a_sticky_directory_is_fine_for_a_virtual_node_only(script):
    script.parent.chmod(0o1777)
    assert trust.why_not_trusted(str(script), VIRTUAL) == ""
    said = Judge(REAL, owners=ME, strangers=lambda gid: "").problem(str(script))
    assert "(mode 1777) can be written by everybody; move it to a directory of root's" in said


def test_what_is_not_there_and_links_in_a_circle_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        trust.why_not_trusted(f"{tmp_path}/nothing", VIRTUAL)
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="links"):
        trust.why_not_trusted(f"{tmp_path}/a", VIRTUAL)


def test_the_programs_of_the_system_may_be_run():
    assert trust.why_not_trusted("/bin/sh", REAL) == ""


def test_problems_are_told_once_and_what_is_not_there_has_none(script):
    script.parent.chmod(0o777)
    (script.parent / "export").symlink_to("create")
    names = [f"{script.parent}/{name}" for name in ("create", "export", "import")]
    (said,) = trust.distrusted(names, VIRTUAL)
    assert said.startswith(str(script.parent))
