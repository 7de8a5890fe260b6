"""Migrations of Xen whose node daemon was killed, or whose target has something of the name already."""

import os

import pytest

from ganeti import errors
from ganeti.calls.instance import GuestSpec
from ganeti.calls.migration import Departure, Endpoint, Tuning
from ganeti.hypervisor.xen.migration import XenMigration
from ganeti.hypervisor.xen.record import Record, Records
from ganeti.hypervisor.xen.toolstack import Toolstack
from ganeti.model.objects import Instance
from ganeti.node.base import Context
from ganeti.paths import Paths
from ganeti.testing.clock import SteppedClock
from ganeti.testing.script import Script

UUID = "11111111-2222-4333-8444-555555555555"
HEAD = "Name                     ID   Mem VCPUs      State   Time(s)   UUID\n"
ROW = f"web1   7   256     1     -b----       3.2 {UUID}\n"
SPEC = GuestSpec(
    instance=Instance(uuid=UUID, name="web1", primary_node="n1", os="noop", hypervisor="xen-pvm"),
    hvparams={}, beparams={"maxmem": 256, "minmem": 256, "vcpus": 1},
)  # fmt: skip
NO_PROCESS = "4194305"  # one more than any system has


def migration(tmp_path, record, *steps):
    records = Records(Paths(str(tmp_path)))
    with records.locked("web1"):
        records.write(record, "")
    script, clock = Script(*steps), SteppedClock()
    made = XenMigration(Toolstack(script, clock), records, script, clock, plan=None, validate=lambda hvparams: "")
    return made, records, script


def send(made):
    endpoint = Endpoint(address="192.0.2.2", port=8002)
    made.send("m1", "web1", UUID, endpoint=endpoint, tuning=Tuning(), watch=Context())


def note(records, kind, text):
    with open(records.migration_file("web1", kind), "w", encoding="ascii") as file:
        file.write(text)


def test_a_sender_that_ended_while_no_node_daemon_ran_has_sent_the_guest(tmp_path):
    gone = ("xl list -v", HEAD)
    made, records, script = migration(tmp_path, Record(spec=SPEC, disk_paths=(), outgoing="m1"), gone, gone)
    note(records, "pid", NO_PROCESS)
    note(records, "status", "0")
    send(made)
    assert records.names() == ()
    script.assert_finished()


@pytest.mark.parametrize("status", ["1", ""])
def test_a_sender_that_failed_or_died_while_no_node_daemon_ran_has_not(tmp_path, status):
    there = ("xl list -v", HEAD + ROW)
    made, records, script = migration(tmp_path, Record(spec=SPEC, disk_paths=(), outgoing="m1"), there, there)
    note(records, "pid", NO_PROCESS)
    note(records, "status", status)
    with pytest.raises(errors.HypervisorError, match="did not migrate"):
        send(made)
    assert records.read("web1").outgoing == ""
    assert not os.path.exists(records.migration_file("web1", "pid"))
    script.assert_finished()


def test_a_target_that_waits_for_another_migration_says_so_before_anything_begins(tmp_path):
    made, _, script = migration(
        tmp_path,
        Record(spec=SPEC, disk_paths=(), incoming="m0"),
        ("xl list -v", HEAD),
        ("xl info", "free_memory            : 4096\n"),
    )
    found = made.check(Departure(spec=SPEC, memory=256), Tuning())
    assert found.problems == ("this node has already something of a guest named web1",)
    script.assert_finished()
