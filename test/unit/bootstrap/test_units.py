"""Units of systemd and the file for logrotate."""

import configparser

import pytest

from ganeti.bootstrap import units
from ganeti.host import starting

TEXTS = units.texts(sbindir="/usr/sbin")


def read(text):
    # a key may stand more than once
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("daemon", starting.DAEMONS, ids=lambda daemon: daemon.name)
def test_unit_runs_its_daemon_under_its_account(daemon):
    service = read(TEXTS[f"systemd/{daemon.name}.service"])["Service"]
    assert service["ExecStart"] == f"/usr/sbin/{daemon.name} --foreground $ARGUMENTS"
    assert service["User"] == daemon.user
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 3 * 10, "three tellings, and a loaded machine"
    assert set(service["RestartPreventExitStatus"].split()) == {"5", "11"}


def test_guests_outlive_the_node_daemon_and_nothing_outlives_the_others():
    kept = {
        daemon.name: read(TEXTS[f"systemd/{daemon.name}.service"])["Service"]["KillMode"] for daemon in starting.DAEMONS
    }
    assert kept.pop("ganeti-noded") == "process"
    assert set(kept.values()) == {"mixed"}


def test_target_has_every_daemon_and_a_unit_for_each():
    wanted = read(TEXTS["systemd/ganeti.target"])["Unit"]["Wants"].split()
    assert wanted == [f"{daemon.name}.service" for daemon in starting.DAEMONS]
    assert {f"systemd/{name}" for name in wanted} < set(TEXTS)


def test_logs_are_opened_anew_by_the_program_that_knows_the_daemons():
    text = TEXTS["logrotate/ganeti"]
    assert text.startswith("#")
    assert "/var/log/ganeti/*.log {" in text
    assert "/usr/sbin/ganeti-daemons reopen" in text
    assert text.count("{") == text.count("}")
