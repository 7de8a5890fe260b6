"""The course of an upgrade, on a cluster that is only played."""

import pytest

from ganeti import errors
from ganeti.bootstrap import upgrade
from ganeti.bootstrap.upgrade import Intent
from ganeti.host import faults
from ganeti.store import formats
from ganeti.store.formats import Format


class Site:
    """Remembers what was done; `fails` names what fails, once."""

    installed = "0.2.0"

    def __init__(self, **changes):
        self.intent, self.saved = None, []
        self.number, self.drained, self.up, self.paused = 1, False, {"", "node2", "node3"}, None
        self.running, self.versions, self.away = "0.1.0", {}, ()
        self.jobs, self.now, self.is_well = [2, 1, 0], 1000.0, True
        self.fails, self.done, self.said = set(), [], []
        self.is_master = True
        for name, value in changes.items():
            setattr(self, name, value)

    def _do(self, what):
        self.done.append(what)
        if what in self.fails:
            self.fails.discard(what)
            raise errors.ExecError(f"{what} went wrong")

    def load(self):
        return self.intent

    def save(self, intent):
        self.intent = intent

    def forget(self):
        self.intent = None

    def check_is_master(self):
        if not self.is_master:
            raise errors.PrereqError("wrong_state", "this node is not the master")

    def others(self):
        return ("node2", "node3")

    def offline(self):
        return self.away

    def version_on(self, node):
        return self.versions.get(node, self.installed)

    def running_version(self):
        return self.running if "" in self.up else ""

    def format(self):
        return Format(number=self.number)

    def is_drained(self):
        return self.drained

    def set_drained(self, wanted):
        assert "" in self.up, "the master daemon is asked"
        self.drained = wanted

    def unfinished(self):
        return self.jobs.pop(0) if self.jobs else 0

    def pause_watcher(self, seconds):
        assert "" in self.up, "the master daemon is asked"
        self.paused = seconds

    def stop(self, node):
        self._do(f"stop {node}")
        self.up.discard(node)

    def start(self, node):
        self._do(f"start {node}")
        self.up.add(node)
        if not node:
            self.running = self.installed

    def back_up(self, intent):
        assert not self.up & {"", "node2"}, "a copy while somebody writes"
        self._do("backup")
        return "/backup.tar"

    def convert(self, steps):
        assert not self.up
        self._do("convert")
        self.number = steps[-1].to if steps else self.number

    def redistribute(self):
        self._do("redistribute")

    def verify(self):
        self._do("verify")
        return self.is_well

    def sleep(self, seconds):
        self.now += seconds

    def time(self):
        return self.now

    def tell(self, text):
        self.said.append(text)


ALL = [
    "stop ", "stop node2", "stop node3", "backup", "convert", "start node2", "start node3", "start ", "redistribute",
    "verify",
]  # fmt: skip


def is_well_and_new(site):
    return (
        site.number == formats.CURRENT
        and site.up == {"", "node2", "node3"}
        and not site.drained
        and site.paused is None
        and site.intent is None
    )


def test_upgrade_waits_for_jobs_and_does_all_in_order():
    site = Site()
    assert upgrade.begin(site, "0.2")
    assert site.done == ALL
    assert is_well_and_new(site)
    assert site.now == 1000.0 + 2 * upgrade.POLL_S, "two looks found jobs"


def test_verify_that_is_not_content_is_told():
    assert not upgrade.begin(Site(is_well=False), "0.2.0")


@pytest.mark.parametrize("step", ["stop ", "stop node3", "backup"])
def test_failure_before_the_switch_is_taken_back(step):
    site = Site(fails={step})
    with pytest.raises(errors.ExecError, match="went wrong"):
        upgrade.begin(site, "0.2.0")
    assert site.number == 1
    assert site.up == {"", "node2", "node3"}
    assert (site.drained, site.paused, site.intent) == (False, None, None)


AGAIN = (upgrade.resume, lambda site: upgrade.begin(site, "0.2"))


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("step", ["convert", "start node3", "start ", "redistribute"])
def test_failure_after_it_is_noted_and_resumed(step, again):
    site = Site(fails={step})
    with pytest.raises(errors.ExecError, match="went wrong"):
        upgrade.begin(site, "0.2.0")
    assert site.intent is not None
    before = len(site.done)
    assert again(site)
    assert site.done[before:] == (ALL if step == "convert" else ALL[5:])
    assert is_well_and_new(site)


def test_queue_that_was_drained_stays_so():
    site = Site(drained=True)
    assert upgrade.begin(site, "0.2.0")
    assert site.drained


def test_jobs_that_never_end_are_named_and_all_is_taken_back():
    site = Site(jobs=[3] * 100_000)
    with pytest.raises(errors.ExecError, match="3 jobs did not end within 36 hours"):
        upgrade.begin(site, "0.2.0")
    assert not [what for what in site.done if what.startswith("stop")]
    assert (site.drained, site.intent) == (False, None)


def test_master_daemon_that_does_not_run_is_no_obstacle():
    site = Site(up={"node2", "node3"})
    assert upgrade.begin(site, "0.2.0")
    assert is_well_and_new(site)


def test_version_that_is_not_installed_here_is_refused():
    site = Site()
    with pytest.raises(errors.PrereqError, match=r"version 0\.3 is wanted, 0\.2\.0 is installed"):
        upgrade.begin(site, "0.3")
    assert site.intent is None


def test_nodes_without_the_version_are_named():
    site = Site(versions={"node3": "0.1.0", "node2": ""})
    with pytest.raises(errors.PrereqError, match=r"node2 \(nothing\), node3 \(0\.1\.0\)"):
        upgrade.begin(site, "0.2.0")
    assert (site.done, site.intent) == ([], None)


def test_nothing_is_done_twice():
    site = Site(running="0.2.0", number=formats.CURRENT)
    assert upgrade.begin(site, "0.2.0")
    assert site.done == []


def test_newer_state_is_refused():
    site = Site(number=formats.CURRENT + 1)
    with pytest.raises(errors.StoreError, match="knows formats up to"):
        upgrade.begin(site, "0.2.0")
    assert site.done == []


def test_other_nodes_than_the_master_refuse():
    with pytest.raises(errors.PrereqError, match="not the master"):
        upgrade.begin(Site(is_master=False), "0.2.0")


def test_resume_without_an_upgrade_is_fine():
    site = Site(is_master=False)
    assert upgrade.resume(site)
    assert site.done == []


def test_resume_needs_the_version_of_the_upgrade():
    site = Site(intent=Intent(version="0.9", before="0.1.0", begun=1.0, format=1))
    with pytest.raises(errors.PrereqError, match=r"one to 0\.9, 0\.2\.0 is installed"):
        upgrade.resume(site)


@pytest.mark.parametrize(
    ("wanted", "is_it"), [("0.2.0", True), ("0.2", True), ("0", True), ("0.2.1", False), ("0.20", False)]
)
def test_wanted_version_may_leave_the_last_numbers_out(wanted, is_it):
    assert upgrade.matches(wanted, "0.2.0") is is_it


def test_offline_nodes_are_told_of():
    site = Site(away=("node9",))
    upgrade.begin(site, "0.2.0")
    assert any("node9 is offline" in line for line in site.said)


class Killed(BaseException):
    """As kill -9: nobody catches it."""


def run_until(point, act):
    """Whether the point was passed at which it is killed; `point`: its name and at which passing."""
    name, count = point
    left = [count]

    def hit(passed):
        left[0] -= passed == name
        if left[0] == 0:
            faults.arm(None)
            raise Killed

    faults.arm(hit)
    try:
        act()
    except (Killed, errors.GanetiError) as err:
        return isinstance(err, Killed)
    finally:
        faults.arm(None)
    return False


#: in an upgrade of three nodes: each point and each time that it is passed
FORWARD = [
    (point, nth)
    for phase, times in {**dict.fromkeys(upgrade.POINTS, 1), "stop": 3, "start": 3, "note": 10, "back": 0}.items()
    for point in upgrade.POINTS[phase]
    for nth in range(1, times + 1)
]


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("point", FORWARD)
def test_upgrade_that_is_killed_anywhere_is_finished_by_the_next_one(point, again):
    site = Site()
    assert run_until(point, lambda: upgrade.begin(site, "0.2")), "it was not passed"
    assert again(site)
    if site.done:  # killed before it was noted: nothing is resumed
        assert is_well_and_new(site) or (again is upgrade.resume and site.done == ["verify"])


@pytest.mark.parametrize("is_drained", [False, True])
@pytest.mark.parametrize("point", FORWARD)
def test_queue_is_as_it_was_wherever_the_upgrade_was_killed(point, is_drained):
    site = Site(drained=is_drained)
    assert run_until(point, lambda: upgrade.begin(site, "0.2"))
    assert upgrade.begin(site, "0.2")
    assert site.drained is is_drained
    assert site.intent is None


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("nth", range(1, 6))
@pytest.mark.parametrize("side", [0, 1])
def test_taking_back_that_is_killed_anywhere_is_followed_by_a_whole_upgrade(side, nth, again):
    """Daemons run again, jobs may be taken: all is done from its beginning, with a backup of what is there then."""
    site = Site(fails={"backup"})
    assert run_until((upgrade.POINTS["back"][side], nth), lambda: upgrade.begin(site, "0.2"))
    done = len(site.done)
    assert again(site)
    assert site.done[done:] == ALL
    assert is_well_and_new(site)


def test_backup_of_the_state_before_is_not_replaced_once_it_was_converted():
    site = Site()
    assert run_until((upgrade.POINTS["convert"][1], 1), lambda: upgrade.begin(site, "0.2"))
    assert upgrade.resume(site)
    assert site.done.count("backup") == 1


def test_older_version_that_is_installed_again_takes_the_place_of_the_upgrade():
    site = Site(number=formats.CURRENT, drained=False)
    assert run_until((upgrade.POINTS["backup"][0], 1), lambda: upgrade.begin(site, "0.2"))
    site.installed = "0.1.0"
    with pytest.raises(errors.PrereqError, match=r"one to 0\.2\.0, 0\.1\.0 is installed") as caught:
        upgrade.resume(site)
    assert "--to 0.1.0" in caught.value.hint
    assert upgrade.begin(site, "0.1")
    assert site.running == "0.1.0"
    assert is_well_and_new(site)


def test_nodes_that_died_during_an_upgrade_do_not_hold_it_up():
    """Nobody could mark them offline: the master daemon does not run."""
    site = Site()
    assert run_until((upgrade.POINTS["backup"][0], 1), lambda: upgrade.begin(site, "0.2"))
    site.versions = {"node3": None}
    assert upgrade.resume(site)
    assert site.up == {"", "node2"}
    assert any("node3 cannot be reached and is left out" in line for line in site.said)


def test_nodes_that_cannot_be_reached_are_to_be_marked_while_the_master_runs():
    site = Site(versions={"node3": None})
    with pytest.raises(errors.PrereqError, match="cannot be reached by ssh: node3") as caught:
        upgrade.begin(site, "0.2.0")
    assert "-O yes" in caught.value.hint
    assert site.done == []


def test_what_the_file_system_refuses_is_told_with_the_step_and_taken_back():
    class Full(Site):
        def back_up(self, intent):
            raise OSError(28, "No space left on device", "/var/lib/ganeti/backup/x.tar")

    site = Full()
    with pytest.raises(errors.ExecError, match=r"backup: .*No space left"):
        upgrade.begin(site, "0.2.0")
    assert site.up == {"", "node2", "node3"}
    assert site.intent is None
