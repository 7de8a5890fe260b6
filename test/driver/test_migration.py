"""What every hypervisor's migration has to do. On the fake always; on real QEMU where there is one (mark `live`)."""

import os
import shutil
import socket
import tempfile
import threading

import msgspec
import pytest

from ganeti import errors, settings
from ganeti.calls.instance import GuestSpec, GuestState
from ganeti.calls.migration import Side, Tuning
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.hypervisor import parameters, registry
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.node.base import Context
from ganeti.paths import FAKE_DIR, Paths

UUID = "11111111-2222-4333-8444-555555555555"
DISK = "/srv/ganeti/shared-file-storage/web1/disk0"
NAME, ID = "web1", "migration-1"
TUNING = Tuning(bandwidth=32, downtime=30)
ADDRESS = "127.0.0.1"


class Node:
    def __init__(self, hypervisor, shared):
        self.root = tempfile.mkdtemp(prefix="node-")
        self.paths = Paths(self.root, "node.example.com")
        os.makedirs(self.paths.local(FAKE_DIR))
        os.makedirs(os.path.dirname(self.paths.local("/srv/ganeti/x")))
        os.symlink(shared, self.paths.local("/srv/ganeti/shared-file-storage"))
        driver = registry.drivers(self.paths, HostRunner(self.paths), SystemClock())[hypervisor]
        self.hypervisor, self.migration = driver, driver.migration

    @property
    def side(self):
        return self.migration.half(NAME, UUID).side

    @property
    def state(self):
        found = self.hypervisor.info(NAME, UUID)
        return None if found is None else found.state

    def end(self):
        for guest in self.hypervisor.list():
            self.hypervisor.stop(guest.name, guest.uuid, force=True)
        shutil.rmtree(self.root)


class Pair:
    """A guest that runs at the source, with a disk that both nodes see."""

    def __init__(self, hypervisor):
        self.name = hypervisor
        self.shared = tempfile.mkdtemp(prefix="shared-")
        os.makedirs(f"{self.shared}/web1")
        with open(f"{self.shared}/web1/disk0", "wb") as file:
            file.truncate(8 << 20)
        self.source, self.target = Node(hypervisor, self.shared), Node(hypervisor, self.shared)

    def spec(self, **hv):
        disk = Disk(uuid="disk-1-2-3", template=DiskTemplate.SHAREDFILE, size=8, logical_id=("loop", DISK))
        instance = Instance(uuid=UUID, name=NAME, primary_node="n1", os="noop", hypervisor=self.name, disks=(disk,))
        # a bare machine: its BIOS finds nothing to boot and waits
        overrides = {"kernel_path": "", "kvm_flag": "disabled"} | hv if self.name == "kvm" else {}
        return GuestSpec(
            instance=instance,
            hvparams=parameters.fill(self.name, overrides),
            beparams={"maxmem": 64, "minmem": 64, "vcpus": 1},
        )

    def start(self, *, paused=False, **hv):
        self.source.hypervisor.start(self.spec(**hv), (DISK,), paused=paused)

    def prepare(self, migration=ID, tuning=TUNING):
        departure = self.source.migration.departure(NAME, UUID)
        return self.target.migration.prepare(migration, departure, (DISK,), address=ADDRESS, tuning=tuning)

    def send(self, endpoint, migration=ID, tuning=TUNING, watch=None):
        watch = watch or Context()
        self.source.migration.send(migration, NAME, UUID, endpoint=endpoint, tuning=tuning, watch=watch)

    def sides(self):
        return self.source.side, self.target.side

    def leftovers(self):
        return self.source.hypervisor.leftovers() + self.target.hypervisor.leftovers()

    def swap(self):
        self.source, self.target = self.target, self.source

    def end(self):
        self.source.end()
        self.target.end()
        shutil.rmtree(self.shared)


needs_qemu = [pytest.mark.live, pytest.mark.skipif(not os.path.exists(settings.KVM_PATH), reason="there is no QEMU")]


@pytest.fixture(params=["fake", pytest.param("kvm", marks=needs_qemu)])
def pair(request):
    made = Pair(request.param)
    yield made
    made.end()


@pytest.fixture(params=[pytest.param("kvm", marks=needs_qemu)])
def kvm(request):
    made = Pair(request.param)
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
        assert pair.sides() == (Side.DEPARTED, Side.ARRIVED)
        assert (pair.source.state, pair.target.state) == (GuestState.MIGRATING, GuestState.MIGRATING)
        pair.target.migration.finish(migration, NAME, UUID)
        pair.source.migration.depart(migration, NAME, UUID)
        assert pair.sides() == (Side.NONE, Side.RUNNING)
        assert pair.target.state is GuestState.RUNNING
        assert pair.leftovers() == ()
        pair.swap()


def test_every_step_may_be_repeated(pair):
    pair.start()
    pair.prepare()
    endpoint = pair.prepare()
    for _ in range(2):
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


def test_a_departed_guest_comes_back_only_when_it_may(pair):
    pair.start()
    pair.send(pair.prepare())
    assert pair.source.migration.abort(ID, NAME, UUID, resume=False).side is Side.DEPARTED
    pair.target.migration.abort(ID, NAME, UUID, resume=False)
    assert pair.source.migration.abort(ID, NAME, UUID, resume=True).side is Side.RUNNING
    assert pair.target.side is Side.NONE
    pair.send(pair.prepare("m2"), "m2")
    pair.target.migration.finish("m2", NAME, UUID)
    assert pair.target.side is Side.RUNNING


def test_a_guest_that_goes_on_at_the_target_is_not_taken_back(pair):
    pair.start()
    pair.send(pair.prepare())
    pair.target.migration.finish(ID, NAME, UUID)
    pair.target.migration.abort(ID, NAME, UUID, resume=False)
    assert pair.target.side is Side.RUNNING


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
    assert pair.sides() == (Side.DEPARTED, Side.ARRIVED)


def test_what_has_not_departed_is_not_ended(pair):
    pair.start()
    pair.source.migration.depart(ID, NAME, UUID)
    assert pair.source.side is Side.RUNNING


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
    for node in (pair.source, pair.target):
        with pytest.raises(errors.HypervisorError, match="--cleanup"):
            node.hypervisor.start(pair.spec(), (DISK,), paused=False)
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
    assert kvm.target.side is Side.RUNNING


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
        assert kvm.source.side is Side.RUNNING
        assert kvm.target.side in (Side.INCOMING, Side.NONE)
        kvm.target.migration.abort(ID, NAME, UUID, resume=False)
        assert kvm.leftovers() == ()


def test_a_migration_that_takes_too_long_is_given_up(kvm):
    kvm.start(**noise(kvm))
    tuning = Tuning(bandwidth=1, downtime=1, limit=1)
    with pytest.raises(errors.HypervisorError, match="raise migration_bandwidth"):
        kvm.send(kvm.prepare(tuning=tuning), tuning=tuning)
    assert kvm.source.side is Side.RUNNING


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
