"""An upgrade that is killed in its phases, and a taking back that is: the same command brings it to an end."""

import os
import tarfile

import pytest
from functional.conftest import destroy
from functional.test_ft_upgrade import format_on
from functional.upgrade_kit import (
    RESUME,
    UPGRADE,
    backups,
    dies,
    intent,
    is_well,
    make_shell,
    no_place_for_backups,
    run_older,
)

from ganeti import paths
from ganeti.bootstrap import upgrade
from ganeti.bootstrap.upgrade_site import BEFORE_ARCHIVE
from ganeti.host import files
from ganeti.store import formats, reading
from ganeti.store.db import AFTER_APPLY


@pytest.fixture(scope="module")
def shell():
    made = make_shell()
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


def has_format(shell, archive, number, directory):
    with tarfile.open(archive) as opened:
        opened.extract("./state/state.db", directory, filter="data")
    rows = dict(reading.look_rows(f"{directory}/state/state.db", formats.KEY[0], prefix=formats.KEY[1]))
    return formats.parse(rows.get(formats.KEY[1])).number == number


def test_upgrade_is_killed_again_and_again_and_goes_on(shell, tmp_path):
    run_older(shell, number=formats.FIRST)
    for old in backups(shell):
        os.unlink(old)
    points = upgrade.POINTS
    dies(shell, points["drain"][1])
    # nothing is taken meanwhile, and who is refused is told why
    assert "gnt-cluster upgrade --resume" in shell.fails("gnt-debug", "delay", "0")
    dies(shell, f"{points['stop'][1]}:2")
    assert format_on(shell.master).number == formats.FIRST
    dies(shell, BEFORE_ARCHIVE, RESUME)
    assert any(path.endswith(".new") for path in backups(shell))
    dies(shell, AFTER_APPLY, RESUME)
    assert format_on(shell.master).number == formats.CURRENT
    dies(shell, f"{points['start'][1]}:2")
    shell.stop_daemon(shell.nodes[1])
    dies(shell, points["undrain"][1])
    shell.ok(*UPGRADE)
    is_well(shell)
    (archive,) = backups(shell)
    assert has_format(shell, archive, formats.FIRST, tmp_path)
    assert "already" in shell.cluster.call(shell.master, UPGRADE).stderr


def test_taking_back_is_killed_and_done_by_the_next_one(shell):
    run_older(shell, number=formats.CURRENT)
    with no_place_for_backups(shell):
        dies(shell, f"{upgrade.POINTS['back'][1]}:3")
        # whatever daemons run: nothing is taken before it is decided
        assert "gnt-cluster upgrade --resume" in shell.fails("gnt-debug", "delay", "0")
        # a second try fails too, and is taken back as a whole
        assert "backup" in shell.fails(*UPGRADE)
        shell.ok("gnt-debug", "delay", "0")
        assert intent(shell) is None
    # its daemons were started by this version
    is_well(shell)


def test_two_at_one_moment_are_refused(shell):
    with files.locked(shell.master.paths.local(paths.UPGRADE_LOCK)):
        assert "runs already" in shell.fails(*UPGRADE)
