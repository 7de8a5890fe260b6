"""A Xen domain whose sender was killed in the middle of handing it over."""

import pytest

from ganeti.calls.instance import GuestSpec
from ganeti.calls.migration import Side
from ganeti.hypervisor.xen.migration import XenMigration
from ganeti.hypervisor.xen.record import Record, Records
from ganeti.hypervisor.xen.toolstack import Toolstack
from ganeti.model.objects import Instance
from ganeti.paths import Paths
from ganeti.testing.clock import SteppedClock
from ganeti.testing.script import Script

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


BACK = [
    listed("---ss-", "web1--migratedaway"),
    ("xl rename web1--migratedaway web1", ""),
    ("xl unpause web1", ""),
]


def test_one_that_goes_on_is_kept(tmp_path):
    running = listed("-b----")
    made, records, script = migration(tmp_path, *BACK, listed("---ss-"), running, running, running)
    assert made.abort("m1", "web1", UUID, resume=True).side is Side.RUNNING
    assert records.read("web1").outgoing == ""
    script.assert_finished()


def test_one_that_stands_still_for_ever_is_ended_and_does_not_count_as_running(tmp_path):
    gone = ("xl list -v", HEAD)
    still = [listed("---ss-")] * 11
    made, records, script = migration(tmp_path, *BACK, *still, ("xl destroy web1", ""), gone, gone, gone)
    assert made.abort("m1", "web1", UUID, resume=True).side is Side.NONE
    assert records.names() == ()
    script.assert_finished()


@pytest.mark.parametrize("name", ["web1", "web1--migratedaway"])
def test_nothing_is_taken_back_before_the_other_half_is_gone(tmp_path, name):
    there = listed("---ss-", name)
    made, _, script = migration(tmp_path, there, there)
    side = made.abort("m1", "web1", UUID, resume=False).side
    assert side is (Side.RUNNING if name == "web1" else Side.DEPARTED)
    script.assert_finished()
