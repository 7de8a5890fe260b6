"""A Xen domain whose sender was killed in the middle of handing it over."""

from pathlib import Path

import pytest

from ganeti import errors
from ganeti.calls.instance import GuestSpec
from ganeti.calls.migration import Endpoint, Side, Tuning
from ganeti.hypervisor.xen.migration import XenMigration
from ganeti.hypervisor.xen.record import Record, Records
from ganeti.hypervisor.xen.toolstack import Toolstack
from ganeti.model.objects import Instance
from ganeti.paths import Paths
from ganeti.testing.clock import SteppedClock
from ganeti.testing.script import Answer, Script

UUID = "11111111-2222-4333-8444-555555555555"
HEAD = "Name                     ID   Mem VCPUs      State   Time(s)   UUID\n"
SPEC = GuestSpec(
    instance=Instance(uuid=UUID, name="web1", primary_node="n1", os="noop", hypervisor="xen-pvm"),
    hvparams={}, beparams={"maxmem": 256, "minmem": 256, "vcpus": 1},
)  # fmt: skip


def listed(state, name="web1"):
    return ("xl list -v", f"{HEAD}{name}   7   256     1     {state}       3.2 {UUID}\n")


def migration(tmp_path, *steps):
    node = Paths(str(tmp_path))
    records = Records(node)
    with records.locked("web1"):
        records.write(Record(spec=SPEC, disk_paths=(), outgoing="m1"), "")
    script, clock = Script(*steps), SteppedClock()
    made = XenMigration(Toolstack(script, clock), records, script, clock, plan=None, validate=None)
    return made, records, script


SUSPENDED = listed("---ss-")
RESUME = ("xl resume web1", "")
#: releases before 4.19 have no such command
NO_RESUME = ("xl resume web1", Answer(status=1, stderr="command not found"))
GONE = ("xl list -v", HEAD)
BACK = [
    listed("---ss-", "web1--migratedaway"),
    ("xl rename web1--migratedaway web1", ""),
    ("xl unpause web1", ""),
]


def test_one_that_goes_on_is_kept(tmp_path):
    running = listed("-b----")
    made, records, script = migration(tmp_path, *BACK, SUSPENDED, RESUME, SUSPENDED, running, running, running)
    assert made.abort("m1", "web1", UUID, resume=True).side is Side.RUNNING
    assert records.read("web1").outgoing == ""
    script.assert_finished()


def test_one_that_stands_still_for_ever_is_ended_and_does_not_count_as_running(tmp_path):
    still = [SUSPENDED] * 11
    steps = [*BACK, SUSPENDED, NO_RESUME, *still, ("xl destroy web1", ""), GONE, GONE]
    made, records, script = migration(tmp_path, *steps)
    assert made.abort("m1", "web1", UUID, resume=True).side is Side.NONE
    assert records.names() == ()
    script.assert_finished()


def test_nothing_is_taken_back_before_the_other_half_is_gone(tmp_path):
    there = listed("---ss-", "web1--migratedaway")
    made, _, script = migration(tmp_path, there, there)
    assert made.abort("m1", "web1", UUID, resume=False).side is Side.DEPARTED
    script.assert_finished()


@pytest.mark.parametrize("resume", [True, False])
def test_one_whose_sender_was_killed_before_the_target_was_told_to_go_is_woken(tmp_path, resume):
    """The target gets its permission after the renaming only, so nobody else can have it."""
    running = listed("-b----")
    names = [SUSPENDED] if resume else []  # a look for the other name
    made, records, script = migration(tmp_path, *names, SUSPENDED, RESUME, running, running, running)
    assert made.abort("m1", "web1", UUID, resume=resume).side is Side.RUNNING
    assert records.read("web1").outgoing == ""
    script.assert_finished()


def killed_sender(records):
    """The number is nobody's, and there is no status."""
    Path(records.migration_file("web1", "pid")).write_text("999999999\n")


def test_the_end_of_a_killed_sender_does_not_leave_a_suspended_guest_behind(tmp_path):
    running = listed("-b----")
    made, records, script = migration(tmp_path, SUSPENDED, RESUME, running)
    killed_sender(records)
    with pytest.raises(errors.HypervisorError, match="did not migrate"):
        made._settle("web1", 255)
    assert records.read("web1").outgoing == ""
    script.assert_finished()


def test_a_guest_that_cannot_be_woken_is_said_to_be_ended(tmp_path):
    steps = [SUSPENDED, NO_RESUME, *[SUSPENDED] * 11, ("xl destroy web1", ""), GONE]
    made, records, script = migration(tmp_path, *steps)
    killed_sender(records)
    with pytest.raises(errors.HypervisorError, match="stood still and was ended"):
        made._settle("web1", 255)
    assert records.names() == ()
    script.assert_finished()


def test_a_suspended_guest_without_a_sender_does_not_count_as_running(tmp_path):
    made, _, _ = migration(tmp_path, SUSPENDED)
    assert made.half("web1", UUID).side is Side.PAUSED


def test_what_was_handed_over_and_never_destroyed_is_ended_when_it_runs_elsewhere(tmp_path):
    away = listed("---ss-", "web1--migratedaway")
    steps = [away, ("xl destroy web1--migratedaway", ""), GONE, GONE]
    made, records, script = migration(tmp_path, *steps)
    made.depart("m1", "web1", UUID)
    assert records.names() == ()
    script.assert_finished()


def test_a_guest_that_shall_stand_still_is_not_paused_before_it_can_suspend_itself(tmp_path):
    """A paused guest does not answer the request to suspend, and xl gives up after a minute."""
    made, _, script = migration(tmp_path, listed("-b----"), ("/bin/sh -c ...", ""))
    endpoint = Endpoint(address="192.0.2.1", port=8002)
    made._begin("m2", "web1", UUID, endpoint, Tuning(live=False))
    script.assert_finished()
