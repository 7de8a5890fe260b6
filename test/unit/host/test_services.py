"""Daemons as services: what systemctl is asked."""

import os

import pytest

from ganeti import errors, paths
from ganeti.host import files
from ganeti.host.run import Finished
from ganeti.host.services import RUNS, Services
from ganeti.paths import Paths

UNITS = {RUNS, "/usr/lib/systemd/system/ganeti-masterd.service", "/usr/lib/systemd/system/ganeti.target"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is served by systemctl")


class Systemctl:
    """Answers as told; remembers each call and the file with the arguments as it was then."""

    def __init__(self, where, **said):
        self.where, self.said = where, {"start": "", **said}
        self.calls = []

    def run(self, argv, *, timeout_s=60, stdin="", environment=None, cwd="/", ok=(0,)):
        once = self.where.local(paths.once_file("ganeti-masterd"))
        self.calls.append((*argv[1:], files.read_text(once) or ""))
        said = self.said.get(argv[1], "")
        if isinstance(said, int):
            raise errors.CommandFailed(tuple(argv), said, "Job failed. See journalctl.")
        return Finished(tuple(argv), 0, said, "")


class Elsewhere(Paths):
    """A node below a directory that is no virtual one."""

    is_virtual = False


def make(root, **said):
    where = Elsewhere(str(root))
    tool = Systemctl(where, **said)
    return tool, Services(where, tool, exists=UNITS.__contains__)


@needs_root
def test_service_is_known_where_systemd_runs_and_has_the_unit(tmp_path):
    _, services = make(tmp_path)
    assert services.has("ganeti-masterd.service")
    assert not services.has("ganeti-noded.service")
    assert not Services(Paths(str(tmp_path), "node1"), _, exists=UNITS.__contains__).has("ganeti-masterd.service")
    without = Services(Elsewhere(str(tmp_path)), _, exists=(UNITS - {RUNS}).__contains__)
    assert not without.has("ganeti-masterd.service")


def test_arguments_are_there_for_one_start_only(tmp_path):
    tool, services = make(tmp_path)
    services.start("ganeti-masterd", ["--take-over", "--seen-term=5"], timeout_s=9)
    assert tool.calls == [
        ("reset-failed", "ganeti-masterd.service", ""),
        ("start", "ganeti-masterd.service", "ARGUMENTS=--take-over --seen-term=5\n"),
    ]
    assert not os.path.exists(services._paths.local(paths.once_file("ganeti-masterd")))


def test_failed_start_has_the_status_of_the_daemon(tmp_path):
    _, services = make(tmp_path, start=1, show="11\n")
    with pytest.raises(errors.CommandFailed) as caught:
        services.start("ganeti-masterd", ["--no-voting"], timeout_s=9)
    assert caught.value.status == 11
    assert not os.path.exists(services._paths.local(paths.once_file("ganeti-masterd")))


def test_failed_start_of_what_systemd_knows_nothing_about_has_its_own_status(tmp_path):
    _, services = make(tmp_path, start=5, show="\n")
    with pytest.raises(errors.CommandFailed) as caught:
        services.start("ganeti-masterd", (), timeout_s=9)
    assert caught.value.status == 5


@pytest.mark.parametrize(
    ("said", "its"), [("active\n", True), ("deactivating\n", False), ("inactive\n", False), ("failed\n", False)]
)
def test_service_that_is_about_to_end_is_not_active(tmp_path, said, its):
    _, services = make(tmp_path, show=said)
    assert services.is_active("ganeti-masterd") is its


@needs_root
@pytest.mark.parametrize(("said", "its"), [("77\n", True), ("0\n", False), ("78\n", False), (1, False)])
def test_process_is_the_service_only_if_systemd_says_so(tmp_path, said, its):
    _, services = make(tmp_path, show=said)
    assert services.runs("ganeti-masterd", 77) is its


@needs_root
def test_enable_and_disable_concern_the_target(tmp_path):
    tool, services = make(tmp_path)
    services.enable()
    services.disable()
    assert [call[:-1] for call in tool.calls] == [
        ("enable", "--quiet", "ganeti.target"),
        ("start", "--no-block", "ganeti.target"),
        ("disable", "--quiet", "ganeti.target"),
    ]
