"""What every hypervisor's migration has to do. On the fake always; on real QEMU where there is one (mark `live`), on
real Xen between two nodes of the testbed (mark `testbed`).
"""

import os
import socket
import threading

import msgspec
import pytest
from driver import migration_kit
from driver.migration_kit import ID, NAME, TUNING, UUID

from ganeti import errors, settings
from ganeti.calls.instance import GuestState
from ganeti.calls.migration import Side, Tuning
from ganeti.node.base import Context

needs_qemu = [pytest.mark.live, pytest.mark.skipif(not os.path.exists(settings.KVM_PATH), reason="there is no QEMU")]


@pytest.fixture(params=["fake", *migration_kit.XEN, pytest.param("kvm", marks=needs_qemu)])
def pair(request):
    made = migration_kit.make(request.param)
    yield made
    made.end()


@pytest.fixture(params=[pytest.param("kvm", marks=needs_qemu)])
def kvm(request):
    made = migration_kit.make(request.param)
    yield made
    made.end()


def test_a_guest_moves_there_and_back_and_leaves_nothing(pair):
    pair.start()
    for number in range(2):
        migration = f"m{number}"
        departure = pair.source.migration.departure(NAME, UUID)
        assert departure.is_running
        assert pair.target.migration.check(departure, TUNING).problems == ()
        endpoint = pair.prepare(migration)
        assert pair.sides() == (Side.RUNNING, Side.INCOMING)
        pair.send(endpoint, migration)
        assert pair.sides() == (pair.gone, Side.ARRIVED)
        assert (pair.source.state(), pair.target.state()) == (pair.gone_state, GuestState.MIGRATING)
        pair.target.migration.finish(migration, NAME, UUID)
        pair.source.migration.depart(migration, NAME, UUID)
        assert pair.sides() == (Side.NONE, Side.RUNNING)
        assert pair.target.state() is GuestState.RUNNING
        assert pair.leftovers() == ()
        pair.swap()


def test_every_step_may_be_repeated(pair):
    pair.start()
    pair.prepare()
    endpoint = pair.prepare()
    pair.send(endpoint)
    if pair.gone is not Side.NONE:
        pair.send(endpoint)
    for _ in range(2):
        pair.target.migration.finish(ID, NAME, UUID)
    for _ in range(2):
        pair.source.migration.depart(ID, NAME, UUID)
    assert pair.sides() == (Side.NONE, Side.RUNNING)
    assert pair.leftovers() == ()


def test_what_was_prepared_can_be_taken_back(pair):
    pair.start()
    pair.prepare()
    for _ in range(2):
        assert pair.target.migration.abort(ID, NAME, UUID, resume=False).side is Side.NONE
    assert pair.source.migration.abort(ID, NAME, UUID, resume=True).side is Side.RUNNING
    assert pair.leftovers() == ()


def test_what_has_arrived_is_given_up_and_goes_on_at_a_source_that_still_has_it(pair):
    pair.start()
    pair.send(pair.prepare())
    assert pair.source.migration.abort(ID, NAME, UUID, resume=False).side is pair.gone
    pair.target.migration.abort(ID, NAME, UUID, resume=False)
    assert pair.target.side() is Side.NONE
    came_back = pair.source.migration.abort(ID, NAME, UUID, resume=True).side
    if pair.gone is Side.NONE:
        assert came_back is Side.NONE
        assert pair.leftovers() == ()
        return
    assert came_back is Side.RUNNING
    pair.send(pair.prepare("m2"), "m2")
    pair.target.migration.finish("m2", NAME, UUID)
    assert pair.target.side() is Side.RUNNING


def test_a_guest_that_goes_on_at_the_target_is_not_taken_back(pair):
    pair.start()
    pair.send(pair.prepare())
    pair.target.migration.finish(ID, NAME, UUID)
    pair.target.migration.abort(ID, NAME, UUID, resume=False)
    assert pair.target.side() is Side.RUNNING


def test_another_migrations_halves_are_left_alone(pair):
    pair.start()
    endpoint = pair.prepare()
    pair.target.migration.abort("m0", NAME, UUID, resume=True)
    with pytest.raises(errors.HypervisorError):
        pair.target.migration.finish("m0", NAME, UUID)
    pair.source.migration.depart("m0", NAME, UUID)
    pair.send(endpoint)
    pair.source.migration.depart("m0", NAME, UUID)
    pair.source.migration.abort("m0", NAME, UUID, resume=True)
    assert pair.sides() == (pair.gone, Side.ARRIVED)


def test_what_has_not_departed_is_not_ended(pair):
    pair.start()
    pair.source.migration.depart(ID, NAME, UUID)
    assert pair.source.side() is Side.RUNNING


def test_what_has_not_arrived_does_not_go_on(pair):
    pair.start()
    pair.target.migration.abort(ID, NAME, UUID, resume=False)
    with pytest.raises(errors.HypervisorError):
        pair.target.migration.finish(ID, NAME, UUID)


def test_sending_to_nobody_fails_and_the_guest_runs_on(pair):
    pair.start()
    endpoint = pair.prepare()
    pair.target.migration.abort(ID, NAME, UUID, resume=False)
    with pytest.raises(errors.HypervisorError, match="did not migrate"):
        pair.send(endpoint)
    assert pair.sides() == (Side.RUNNING, Side.NONE)


def test_halves_of_a_migration_are_neither_started_nor_rebooted(pair):
    pair.start()
    pair.send(pair.prepare())
    for node in (pair.target,) if pair.gone is Side.NONE else (pair.source, pair.target):
        with pytest.raises(errors.HypervisorError, match="--cleanup"):
            node.hypervisor.start(pair.spec(), pair.disk_paths, paused=False)
        with pytest.raises(errors.HypervisorError, match="not running"):
            node.hypervisor.reboot(pair.spec(), hard=True)
        assert node.hypervisor.leftovers()
        node.hypervisor.stop(NAME, UUID, force=True)
        node.hypervisor.clean_up(NAME, UUID)
        assert node.hypervisor.leftovers() == ()


def test_a_node_where_something_of_that_name_runs_takes_no_guest(pair):
    pair.start()
    pair.prepare("m0")
    departure = pair.source.migration.departure(NAME, UUID)
    assert "already" in "".join(pair.target.migration.check(departure, TUNING).problems)
    with pytest.raises(errors.HypervisorError, match="already"):
        pair.prepare()


def test_a_paused_guest_says_so(pair):
    pair.start(paused=True)
    assert not pair.source.migration.departure(NAME, UUID).is_running


def test_what_does_not_run_has_no_departure(pair):
    assert pair.source.migration.departure(NAME, UUID) is None


# Only with real QEMU


def test_a_guest_is_sent_paused_when_that_is_wanted(kvm):
    kvm.start()
    tuning = msgspec.structs.replace(TUNING, live=False)
    kvm.send(kvm.prepare(tuning=tuning), tuning=tuning)
    kvm.target.migration.finish(ID, NAME, UUID)
    assert kvm.target.side() is Side.RUNNING


def test_a_cancelled_migration_leaves_the_guest_running(kvm):
    kvm.start(**noise(kvm))
    for live in (True, False):
        tuning = Tuning(live=live, bandwidth=1, downtime=1)
        endpoint = kvm.prepare(tuning=tuning)
        watch = Context()
        threading.Timer(0.5, watch.stop.set).start()
        with pytest.raises(errors.HypervisorError, match="stopped on request"):
            kvm.send(endpoint, tuning=tuning, watch=watch)
        assert 0 < watch.progress["percent"] < 100
        assert kvm.source.side() is Side.RUNNING
        assert kvm.target.side() in (Side.INCOMING, Side.NONE)
        kvm.target.migration.abort(ID, NAME, UUID, resume=False)
        assert kvm.leftovers() == ()


def test_a_migration_that_takes_too_long_is_given_up(kvm):
    kvm.start(**noise(kvm))
    tuning = Tuning(bandwidth=1, downtime=1, limit=1)
    with pytest.raises(errors.HypervisorError, match="raise migration_bandwidth"):
        kvm.send(kvm.prepare(tuning=tuning), tuning=tuning)
    assert kvm.source.side() is Side.RUNNING


def test_capabilities_that_are_not_known_are_told(kvm):
    kvm.start()
    departure = kvm.source.migration.departure(NAME, UUID)
    found = kvm.target.migration.check(departure, Tuning(capabilities=("xbzrle", "postcopy-ram")))
    assert "postcopy-ram" in found.problems[0]
    tuning = Tuning(capabilities=("xbzrle", "auto-converge"))
    kvm.send(kvm.prepare(tuning=tuning), tuning=tuning)
    assert kvm.sides() == (Side.DEPARTED, Side.ARRIVED)


def test_a_guest_is_started_like_it_is_although_its_parameters_changed(kvm):
    kvm.start(machine_version="pc")
    departure = kvm.source.migration.departure(NAME, UUID)
    assert departure.machine.startswith("pc-i440fx-")
    assert (departure.accelerator, departure.memory) == ("tcg", 64)
    kvm.send(kvm.prepare())
    kvm.target.migration.finish(ID, NAME, UUID)
    again = kvm.target.migration.departure(NAME, UUID)
    assert (again.machine, again.spec) == (departure.machine, departure.spec)


def test_the_port_is_of_the_range_and_free_again_afterwards(kvm):
    kvm.start()
    first = kvm.prepare()
    assert 8102 <= first.port < 8102 + 64
    with socket.socket() as probe, pytest.raises(OSError):
        probe.bind((first.address, first.port))
    kvm.send(first)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((first.address, first.port))


def noise(kvm):
    """Something in memory that takes time to send, as an argument of QEMU."""
    path = f"{kvm.shared}/noise"
    with open(path, "wb") as file:
        file.write(os.urandom(8 << 20))
    return {"kvm_extra": f"-device loader,file={path},addr=0x1000000,force-raw=on"}
