"""An upgrade and a taking back, killed at each point; played with GANETI_UPGRADE_KILLS=all (see conftest.py)."""

import os
import subprocess

import pytest
from functional.conftest import destroy
from functional.upgrade_kit import (
    RESUME,
    UPGRADE,
    dies,
    is_well,
    killed_at,
    make_shell,
    no_place_for_backups,
    run_older,
)

from ganeti.bootstrap import daemons, upgrade
from ganeti.bootstrap.upgrade_site import AFTER_ARCHIVE, BEFORE_ARCHIVE
from ganeti.store import formats
from ganeti.store.db import AFTER_APPLY, BEFORE_APPLY

#: each point at each passing of it, of an upgrade and of a taking back
EVERY = [
    (point, nth)
    for phase, times in {**dict.fromkeys(upgrade.POINTS, 1), "stop": 3, "start": 3, "note": 10, "back": 5}.items()
    for point in upgrade.POINTS[phase]
    for nth in range(1, times + 1)
]


@pytest.fixture(scope="module")
def shell():
    made = make_shell()
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


@pytest.mark.parametrize("number", [formats.FIRST, formats.CURRENT])
@pytest.mark.parametrize(("point", "nth"), [*EVERY, (BEFORE_ARCHIVE, 1), (AFTER_ARCHIVE, 1)])
def test_each_point_of_an_upgrade(shell, point, nth, number):
    if point in upgrade.POINTS["back"]:
        pytest.skip("passed only while something is taken back")
    run_older(shell, number=number)
    dies(shell, f"{point}:{nth}")
    shell.ok(*UPGRADE)
    is_well(shell)


@pytest.mark.parametrize("side", [BEFORE_APPLY, AFTER_APPLY])
def test_conversion_is_killed(shell, side):
    run_older(shell, number=formats.FIRST)
    dies(shell, side)
    shell.ok(*RESUME)
    is_well(shell)


@pytest.mark.parametrize("nth", range(1, 8))
def test_new_master_daemon_dies(shell, nth):
    """The command ends, says how to go on, and does."""
    run_older(shell, number=formats.CURRENT)
    done = killed_at(shell, f"{BEFORE_APPLY}:{nth}")
    assert done.returncode == 1, done
    assert "gnt-cluster upgrade --resume goes on" in done.stderr
    assert "gnt-cluster upgrade --resume" in shell.fails("gnt-instance", "list")
    shell.ok(*RESUME)
    is_well(shell)


@pytest.mark.parametrize("nth", [1, 2])
def test_old_master_daemon_dies(shell, nth):
    """In the first phases: what was done is taken back."""
    run_older(shell, number=formats.CURRENT)
    daemons.stop(shell.master.paths, daemons.MASTERD)
    environment = {**shell.cluster.layout.environment(shell.master), "GANETI_FAULT": f"{BEFORE_APPLY}:{nth + 1}"}
    subprocess.run([f"{shell.older}/{daemons.MASTERD}"], env=environment, check=True)
    shell.wait_for_answers()
    shell.cluster.call(shell.master, UPGRADE)
    shell.ok(*UPGRADE)
    is_well(shell)


@pytest.mark.parametrize(("point", "nth"), [place for place in EVERY if place[0] in upgrade.POINTS["back"]])
def test_each_point_of_a_taking_back(shell, point, nth):
    run_older(shell, number=formats.CURRENT)
    with no_place_for_backups(shell):
        dies(shell, f"{point}:{nth}")
    shell.ok(*RESUME)
    is_well(shell)
