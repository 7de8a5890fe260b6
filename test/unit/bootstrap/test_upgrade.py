"""The course of an upgrade, on a cluster that is only played."""

import pytest

from ganeti import errors
from ganeti.bootstrap import upgrade
from ganeti.bootstrap.upgrade import Intent
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
        assert not self.up, "a copy while somebody writes"
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


@pytest.mark.parametrize("step", ["convert", "start node3", "start ", "redistribute"])
def test_failure_after_it_is_noted_and_resumed(step):
    site = Site(fails={step})
    with pytest.raises(errors.ExecError, match="went wrong"):
        upgrade.begin(site, "0.2.0")
    assert site.intent is not None
    with pytest.raises(errors.PrereqError, match="is under way already"):
        upgrade.begin(site, "0.2.0")
    before = len(site.done)
    assert upgrade.resume(site)
    assert site.done[before] == (step if step != "start " and step != "start node3" else "start node2")
    assert is_well_and_new(site)


def test_queue_that_was_drained_stays_so():
    site = Site(drained=True)
    assert upgrade.begin(site, "0.2.0")
    assert site.drained


def test_jobs_that_never_end_are_named_and_all_is_taken_back():
    site = Site(jobs=[3] * 100_000)
    with pytest.raises(errors.ExecError, match="3 jobs did not end within 36 hours"):
        upgrade.begin(site, "0.2.0")
    assert not site.done, "no daemon was stopped"
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
    site = Site(intent=Intent(version="0.9", before="0.1.0", begun=1.0))
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
