"""What every hypervisor driver has to do. On the fake and on simulated Xen always; on real QEMU where there is one
(mark `live`), on real Xen on a node of the testbed (mark `testbed`).
"""

import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import pytest
from driver import xen_kit
from driver.xen_kit import OTHER_UUID, UUID

from ganeti import errors, paths, settings
from ganeti.calls.instance import GuestSpec, GuestState
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.hypervisor import parameters, registry
from ganeti.hypervisor.kvm.driver import KvmHypervisor
from ganeti.hypervisor.kvm.runtime import Layout
from ganeti.model.objects import Disk, DiskTemplate, Instance, Nic
from ganeti.paths import FAKE_DIR, Paths
from ganeti.testing.drivers import FailingHypervisor

# a bare machine: its BIOS finds nothing to boot and waits; emulated, so that nothing has to be tried first
BARE = {"kernel_path": "", "kvm_flag": "disabled"}


class Node:
    """One node with one hypervisor, in a root of its own."""

    def __init__(self, kind):
        self.kind, self.name = kind, xen_kit.REAL.get(kind, kind)
        self.is_xen = self.name in xen_kit.SIMULATED
        self.memory = xen_kit.memory(kind)
        self.root = tempfile.mkdtemp(prefix="node-")
        self.paths = Paths(self.root, "node1.example.com")
        os.makedirs(self.paths.local(FAKE_DIR))
        self.runner = xen_kit.runner(kind, self.paths) if self.is_xen else HostRunner(self.paths)
        self.clock = xen_kit.clock(kind) if self.is_xen else SystemClock()
        self.hypervisor = self.restarted()

    def restarted(self):
        """The driver of a new node daemon."""
        return registry.drivers(self.paths, self.runner, self.clock)[self.name]

    def spec(self, name="web1", uuid=UUID, **hv):
        instance = Instance(uuid=uuid, name=name, primary_node="n1", os="noop", hypervisor=self.name)
        overrides = BARE | hv if self.name == "kvm" else xen_kit.parameters(self.kind) if self.is_xen else {}
        return GuestSpec(
            instance=instance,
            hvparams=parameters.fill(self.name, overrides),
            beparams={"maxmem": self.memory, "minmem": self.memory, "vcpus": 1},
            primary_name="node1.example.com",
        )

    def start(self, name="web1", uuid=UUID, *, paused=False, **hv):
        self.hypervisor.start(self.spec(name, uuid, **hv), (), paused=paused)

    def state(self):
        found = self.hypervisor.info("web1", UUID)
        return None if found is None else found.state

    def end(self):
        for guest in self.hypervisor.list():
            self.hypervisor.stop(guest.name, guest.uuid, force=True)
        if self.name == "kvm":
            self.hypervisor.stop("web1", UUID, force=True)  # not listed where its files were lost
        if self.kind in xen_kit.REAL:
            xen_kit.destroy_guests()
        shutil.rmtree(self.root)


needs_qemu = [pytest.mark.live, pytest.mark.skipif(not os.path.exists(settings.KVM_PATH), reason="there is no QEMU")]


@pytest.fixture(params=["fake", *xen_kit.KINDS, pytest.param("kvm", marks=needs_qemu)])
def node(request):
    made = Node(request.param)
    yield made
    made.end()


@pytest.fixture(params=[pytest.param("kvm", marks=needs_qemu)])
def kvm(request):
    made = Node(request.param)
    yield made
    made.end()


def runtime_of(kvm):
    return Layout(kvm.paths).read("web1")


def test_a_started_guest_is_listed_with_its_size(node):
    node.start()
    (guest,) = node.hypervisor.list()
    assert (guest.name, guest.uuid, guest.hypervisor) == ("web1", UUID, node.name)
    assert (guest.memory, guest.vcpus, guest.state) == (node.memory, 1, GuestState.RUNNING)
    found = node.hypervisor.info("web1", UUID)
    assert msgspec.structs.replace(found, cpu_seconds=0) == msgspec.structs.replace(guest, cpu_seconds=0)
    assert node.hypervisor.leftovers() == ()


def test_starting_a_running_guest_changes_nothing(node):
    node.start()
    node.start()
    assert len(node.hypervisor.list()) == 1


def test_a_guest_can_be_started_paused(node):
    node.start(paused=True)
    assert node.state() is GuestState.PAUSED


def test_stopping_or_cleaning_up_an_unknown_guest_is_fine(node):
    for force in (False, True):
        node.hypervisor.stop("web1", UUID, force=force)
    node.hypervisor.clean_up("web1", UUID)
    assert node.hypervisor.info("web1", UUID) is None
    assert node.hypervisor.list() == ()


def test_a_forced_stop_ends_the_guest_and_clean_up_leaves_nothing(node):
    node.start()
    node.hypervisor.stop("web1", UUID, force=True)
    assert node.state() is None
    node.hypervisor.clean_up("web1", UUID)
    assert node.hypervisor.leftovers() == ()


def test_a_stopped_guest_can_be_started_again_without_clean_up(node):
    node.start()
    node.hypervisor.stop("web1", UUID, force=True)
    node.start()
    assert node.state() is GuestState.RUNNING


def test_a_running_guest_is_not_cleaned_up(node):
    node.start()
    with pytest.raises(errors.HypervisorError, match="is running"):
        node.hypervisor.clean_up("web1", UUID)
    assert node.state() is GuestState.RUNNING


def test_another_instance_of_the_same_name_is_left_alone(node):
    node.start()
    with pytest.raises(errors.HypervisorError, match=f"it is instance {UUID}"):
        node.start(uuid="other")
    node.hypervisor.stop("web1", "other", force=True)
    node.hypervisor.clean_up("web1", "other")
    assert node.hypervisor.info("web1", "other") is None
    assert node.state() is GuestState.RUNNING


def test_guests_survive_a_restart_of_the_node_daemon(node):
    node.start()
    node.hypervisor = node.restarted()
    assert node.state() is GuestState.RUNNING
    node.hypervisor.stop("web1", UUID, force=True)
    assert node.state() is None


def test_what_does_not_run_cannot_be_rebooted(node):
    for hard in (False, True):
        with pytest.raises(errors.HypervisorError, match="cannot reboot instance web1 that is not running"):
            node.hypervisor.reboot(node.spec(), hard=hard)


def test_a_hard_reboot_keeps_the_guest_running(node):
    node.start()
    node.hypervisor.reboot(node.spec(), hard=True)
    assert node.state() is GuestState.RUNNING


def test_a_paused_guest_goes_on_when_it_is_asked_to_shut_down(node):
    """It could not hear the request, and would be ended by force when the time is over."""
    node.start(paused=True)
    node.hypervisor.stop("web1", UUID, force=False)
    assert node.state() is not GuestState.PAUSED


@pytest.mark.parametrize("name", ["../web1", "a/b", ".hidden"])
def test_a_name_that_is_a_path_is_refused(node, name):
    with pytest.raises(errors.HypervisorError, match="not the name of an instance"):
        node.start(name)


def test_the_node_has_memory_and_processors(node):
    found = node.hypervisor.node_info()
    assert 0 < found.memory_free <= found.memory_total
    assert found.cpu_total >= 1


def test_the_console_is_a_command_or_says_why_not(node):
    found = node.hypervisor.console(node.spec())
    assert (found.kind == "ssh" and found.command[0] in ("ganeti-kvm-console", "xl")) or (
        found.kind == "msg" and found.message
    )


def test_the_fake_counts_its_guests_memory_as_used(tmp_path):
    node = Node("fake")
    before = node.hypervisor.node_info().memory_free
    spec = node.spec()
    node.hypervisor.start(
        msgspec.structs.replace(spec, beparams={"maxmem": before + 1024, "vcpus": 1}), (), paused=False
    )
    assert node.hypervisor.node_info().memory_free == 0
    node.end()


def test_a_damaged_state_file_of_the_fake_is_an_error_that_names_it():
    node = Node("fake")
    node.start()
    path = f"{node.paths.local(FAKE_DIR)}/web1.json"
    Path(path).write_text("{")
    with pytest.raises(errors.HypervisorError, match=path):
        node.state()
    shutil.rmtree(node.root)


def test_a_soft_stop_ends_a_fake_guest_at_once():
    node = Node("fake")
    node.start()
    node.hypervisor.stop("web1", UUID, force=False)
    assert node.state() is None
    node.end()


def test_a_failing_hypervisor_fails_as_planned():
    node = Node("fake")
    failing = FailingHypervisor(node.hypervisor)
    failing.fail_next("start", errors.HypervisorError("no"))
    with pytest.raises(errors.HypervisorError, match="no"):
        failing.start(node.spec(), (), paused=False)
    assert failing.list() == ()
    failing.fail_next("start", errors.HypervisorError("too late"), after=True)
    with pytest.raises(errors.HypervisorError, match="too late"):
        failing.start(node.spec(), (), paused=False)
    assert len(failing.list()) == 1
    failing.assert_failed()
    assert failing.calls == ["start", "list", "start", "list"]
    node.end()


# Only with real QEMU


def test_the_guest_is_no_child_and_has_a_session_of_its_own(kvm):
    kvm.start()
    pid = runtime_of(kvm).pid
    assert os.getsid(pid) != os.getsid(0)
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert f"GANETI_ROOTDIR={kvm.root}".encode() in environment


def test_a_hard_reboot_of_one_whose_own_reboots_end_it_keeps_it_running(kvm):
    kvm.start(reboot_behavior="exit")
    before = runtime_of(kvm).pid
    kvm.hypervisor.reboot(kvm.spec(), hard=True)
    assert kvm.state() is GuestState.RUNNING
    assert runtime_of(kvm).pid != before


def test_a_soft_reboot_gives_the_guest_the_time_that_was_asked_for(kvm):
    """A machine without a system never shuts down."""
    kvm.start()
    begun = time.monotonic()
    kvm.hypervisor.reboot(kvm.spec(), hard=False, timeout_s=3)
    assert 3 <= time.monotonic() - begun < 25
    assert kvm.state() is GuestState.RUNNING


def test_a_start_that_fails_tells_what_qemu_said_and_leaves_nothing(kvm):
    with pytest.raises(errors.HypervisorError, match="-bogus: invalid option"):
        kvm.start(kvm_extra="-bogus")
    assert kvm.hypervisor.list() == ()
    assert kvm.hypervisor.leftovers() == ()


def test_missing_files_are_told_before_anything_starts(kvm):
    hv = kvm.spec(kernel_path="/boot/nothing", kvm_path="/usr/bin/no-qemu", machine_version="").hvparams
    assert kvm.hypervisor.validate(hv) == (
        "kvm_path: there is no file /usr/bin/no-qemu; kernel_path: there is no file /boot/nothing"
    )
    with pytest.raises(errors.HypervisorError, match="there is no file /boot/nothing"):
        kvm.start(kernel_path="/boot/nothing")


def test_what_others_could_have_changed_is_not_run_for_a_guest(kvm):
    hv = kvm.spec(machine_version="").hvparams
    script = Path(kvm.paths.local("/etc/ganeti/kvm-vif-bridge"))
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert kvm.hypervisor.validate(hv) == kvm.hypervisor.verify() == ""
    script.chmod(0o757)
    for said in (kvm.hypervisor.validate(hv), kvm.hypervisor.verify()):
        assert "kvm-vif-bridge (mode 0757) can be written by everybody; type: chmod o-w" in said
    script.chmod(0o755)
    emulator = Path(kvm.paths.local("/usr/bin/other-qemu"))
    emulator.parent.mkdir(parents=True, exist_ok=True)
    emulator.write_text("#!/bin/sh\nexit 1\n")
    emulator.chmod(0o757)
    said = kvm.hypervisor.validate(hv | {"kvm_path": "/usr/bin/other-qemu"})
    assert "other-qemu (mode 0757) can be written by everybody" in said


def test_a_machine_type_that_qemu_does_not_have_is_told(kvm):
    assert "no machine type pc-99" in kvm.hypervisor.validate(kvm.spec(machine_version="pc-99").hvparams)
    assert kvm.hypervisor.validate(kvm.spec(machine_version="q35").hvparams) == ""


def test_a_killed_emulator_is_not_running_and_left_over_until_cleaned_up(kvm):
    kvm.start()
    pid = runtime_of(kvm).pid
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([handle], [], [], 10)
    os.close(handle)
    assert kvm.state() is None
    assert kvm.hypervisor.leftovers() == ("run-time file of web1, which does not run",)
    kvm.hypervisor.clean_up("web1", UUID)
    assert kvm.hypervisor.leftovers() == ()


def test_a_process_that_got_the_number_is_not_signalled(kvm):
    kvm.start()
    kvm.hypervisor.stop("web1", UUID, force=True)
    layout = Layout(kvm.paths)
    layout.write(msgspec.structs.replace(layout.read("web1"), pid=os.getpid()))
    assert kvm.state() is None
    kvm.hypervisor.stop("web1", UUID, force=True)
    kvm.hypervisor.clean_up("web1", UUID)


def test_a_guest_whose_starter_died_before_noting_its_process_is_known_by_its_arguments(kvm):
    kvm.start()
    layout = Layout(kvm.paths)
    pid = layout.read("web1").pid
    layout.write(msgspec.structs.replace(layout.read("web1"), pid=0, process_started=0))
    assert kvm.state() is GuestState.RUNNING
    assert kvm.hypervisor.leftovers() == ()
    kvm.hypervisor.stop("web1", UUID, force=True)
    assert not os.path.exists(f"/proc/{pid}/exe")


def test_a_run_time_file_of_another_boot_is_no_guest(kvm):
    kvm.start()
    layout = Layout(kvm.paths)
    kept = layout.read("web1")
    layout.write(msgspec.structs.replace(kept, boot_id="before"))
    assert kvm.state() is None
    layout.write(kept)
    assert kvm.state() is GuestState.RUNNING


def test_an_emulator_without_run_time_file_is_left_over(kvm):
    kvm.start()
    layout = Layout(kvm.paths)
    kept = layout.read("web1")
    conf = f"{layout.base}/conf/web1.runtime"
    os.unlink(conf)
    assert f"process {kept.pid} with {layout.base}/pid/web1" in kvm.hypervisor.leftovers()
    layout.write(kept)


def test_an_emulator_whose_files_are_all_lost_is_known_by_its_uuid_and_never_started_beside(kvm):
    """Who took it for ended would start it on another node, on the same disks."""
    kvm.start()
    for part in ("conf", "ctrl", "pid"):
        shutil.rmtree(f"{Layout(kvm.paths).base}/{part}")
    hypervisor = KvmHypervisor(kvm.paths, HostRunner(kvm.paths), SystemClock(), patience_s=0.5)
    found = hypervisor.info("web1", UUID)
    assert (found.state, found.uuid, found.memory, found.vcpus) == (GuestState.RUNNING, UUID, 32, 1)
    assert hypervisor.info("web1", UUID.replace("1", "2")) is None
    hypervisor.start(kvm.spec(), (), paused=False)
    now = hypervisor.info("web1", UUID)
    assert msgspec.structs.replace(now, cpu_seconds=0.0) == msgspec.structs.replace(found, cpu_seconds=0.0)
    other = kvm.spec(uuid=UUID.replace("1", "2"))
    with pytest.raises(errors.HypervisorError, match=f"runs already, but it is instance {UUID}"):
        hypervisor.start(other, (), paused=False)
    with pytest.raises(errors.HypervisorError, match="is running"):
        hypervisor.clean_up("web1", UUID)
    hypervisor.stop("web1", UUID, force=True)
    assert hypervisor.info("web1", UUID) is None
    hypervisor.clean_up("web1", UUID)
    assert hypervisor.leftovers() == ()


def test_a_name_too_long_for_a_socket_is_refused_with_the_path(kvm):
    with pytest.raises(errors.HypervisorError, match=r"the system allows 107; make .* a link"):
        kvm.start("w" * 90)
    assert kvm.hypervisor.list() == ()


def test_a_long_root_works_through_a_link(kvm):
    short = tempfile.mkdtemp(prefix="g")
    kvm.paths = Paths(f"{kvm.root}/{'deep/' * 20}root", "node1.example.com")
    os.makedirs(kvm.paths.local("/var/run"))
    os.symlink(short, kvm.paths.local("/var/run/ganeti"))
    kvm.hypervisor = kvm.restarted()
    kvm.start()
    assert kvm.state() is GuestState.RUNNING
    kvm.hypervisor.stop("web1", UUID, force=True)
    shutil.rmtree(short)


def test_a_guest_that_does_not_answer_still_counts_as_running_and_can_be_ended(kvm):
    kvm.start()
    kvm.hypervisor = KvmHypervisor(kvm.paths, HostRunner(kvm.paths), SystemClock(), patience_s=0.3)
    os.kill(runtime_of(kvm).pid, signal.SIGSTOP)
    assert kvm.state() is GuestState.RUNNING
    kvm.hypervisor.stop("web1", UUID, force=True)
    assert kvm.state() is None


@pytest.mark.parametrize(
    "hv",
    [
        {"vnc_bind_address": "/tmp", "use_guest_agent": True, "usb_mouse": "tablet", "use_localtime": True},
        {"disk_type": "scsi-hd", "scsi_controller_type": "virtio-scsi-pci", "disk_cache": "none", "disk_aio": "native"},
        {"disk_type": "ide", "nic_type": "e1000", "disk_cache": "writethrough", "acpi": False, "cpu_type": "qemu64"},
        {"serial_console": False, "disk_discard": "unmap", "reboot_behavior": "exit", "cpu_cores": 1, "cpu_sockets": 1},
        {"machine_version": "q35", "cdrom2_image_path": "/tmp/image"},
        {"machine_version": "q35", "disk_type": "ide", "nic_type": "e1000"},
    ],
    ids="-".join,
)
def test_qemu_takes_every_form_of_option(kvm, hv):
    disk = Disk(uuid="d-1-2", template=DiskTemplate.FILE, size=1, logical_id=("loop", "/disk0"))
    Path(kvm.paths.local("/disk0")).write_bytes(bytes(1 << 20))
    os.makedirs(kvm.paths.local("/tmp"))
    Path(kvm.paths.local("/tmp/image")).write_bytes(bytes(1 << 20))
    spec = kvm.spec(**hv, cdrom_image_path="/tmp/image", floppy_image_path="/tmp/image")
    nics = (Nic(uuid="c-1-2", mac="aa:00:00:00:00:01"), Nic(uuid="c-1-3", mac="aa:00:00:00:00:02"))
    instance = msgspec.structs.replace(spec.instance, disks=(disk,), nics=nics)
    spec = msgspec.structs.replace(spec, instance=instance, nicparams=({}, {}))
    kvm.hypervisor.start(spec, ("/disk0",), paused=False)
    assert kvm.state() is GuestState.RUNNING
    if not spec.hvparams["acpi"]:
        kvm.hypervisor.stop("web1", UUID, force=False)  # it could not hear a request
        assert kvm.state() is None


def with_devices(spec, disks=(), nics=()):
    instance = msgspec.structs.replace(spec.instance, disks=disks, nics=nics)
    return msgspec.structs.replace(spec, instance=instance, nicparams=({"mode": "routed", "link": "1"},) * len(nics))


def a_disk(node, index=0):
    path = f"/srv/disk{index}"
    local = Path(node.paths.local(path))
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(bytes(1 << 20))
    uuid = f"dddddddd-{index:04d}-4000-8000-000000000001"
    return Disk(uuid=uuid, template=DiskTemplate.FILE, size=1, logical_id=("loop", path)), path


A_NIC = Nic(uuid="eeeeeeee-0001-4000-8000-000000000001", mac="aa:00:00:00:00:01")


def test_a_running_guest_gets_devices_and_knows_them(node):
    node.start()
    disk, path = a_disk(node)
    wanted = with_devices(node.spec(), (disk,), (A_NIC,))
    why_fixed = node.hypervisor.running("web1", UUID).why_fixed
    if why_fixed:
        assert node.name.startswith("xen")
        with pytest.raises(errors.HypervisorError, match=why_fixed):
            node.hypervisor.set_devices(wanted, (path,))
        return
    for _ in range(2):
        node.hypervisor.set_devices(wanted, (path,))
    found = node.restarted().running("web1", UUID)
    assert (found.spec.instance.disks, found.spec.instance.nics, found.why_fixed) == ((disk,), (A_NIC,), "")
    node.hypervisor.reboot(node.spec(), hard=True)
    assert node.hypervisor.running("web1", UUID) == found


def test_a_guest_that_is_not_there_has_no_devices_to_change(node):
    node.hypervisor.set_devices(node.spec(), ())
    assert node.hypervisor.running("web1", UUID) is None
    with pytest.raises(errors.HypervisorError, match="does not run"):
        node.hypervisor.set_memory("web1", UUID, 16)


def test_a_guest_without_a_system_keeps_its_devices_and_its_memory(kvm):
    hypervisor = KvmHypervisor(kvm.paths, HostRunner(kvm.paths), SystemClock(), patience_s=0.3)
    kvm.start()
    disk, path = a_disk(kvm)
    wanted = with_devices(kvm.spec(), (disk,), (A_NIC,))
    kvm.hypervisor.set_devices(wanted, (path,))
    with pytest.raises(errors.HypervisorError, match="does not give nic-eeeeeeee-0001-4000 back"):
        hypervisor.set_devices(kvm.spec(), ())
    kept = hypervisor.running("web1", UUID)
    assert (kept.spec.instance.disks, kept.spec.instance.nics) == ((disk,), (A_NIC,))
    with pytest.raises(errors.HypervisorError, match="stays at 32 MiB instead of 16 MiB"):
        hypervisor.set_memory("web1", UUID, 16)


def test_what_an_earlier_attempt_left_is_no_obstacle(kvm):
    kvm.start()
    disk, path = a_disk(kvm)
    emulators = kvm.hypervisor._emulators
    half = {
        "driver": "raw",
        "node-name": "disk-dddddddd-0000-4000",
        "file": {"driver": "file", "filename": kvm.paths.local(path)},
    }
    emulators.execute(runtime_of(kvm), "blockdev-add", half)
    kvm.hypervisor.set_devices(with_devices(kvm.spec(), (disk,)), (path,))
    assert kvm.hypervisor.running("web1", UUID).spec.instance.disks == (disk,)


def test_devices_of_other_kinds_stay_until_the_next_start(kvm):
    kvm.start(disk_type="ide")
    assert "disk_type=ide" in kvm.hypervisor.running("web1", UUID).why_fixed
    disk, path = a_disk(kvm)
    with pytest.raises(errors.HypervisorError, match="disk_type=ide"):
        kvm.hypervisor.set_devices(with_devices(kvm.spec(), (disk,)), (path,))


def test_new_devices_get_free_slots_and_old_ones_keep_theirs(kvm):
    kvm.start()
    first, first_path = a_disk(kvm, 1)
    second, second_path = a_disk(kvm, 2)
    kvm.hypervisor.set_devices(with_devices(kvm.spec(), (first,), (A_NIC,)), (first_path,))
    kvm.hypervisor.set_devices(with_devices(kvm.spec(), (second, first), (A_NIC,)), (second_path, first_path))
    assert runtime_of(kvm).slots == {first.uuid: 12, A_NIC.uuid: 13, second.uuid: 14}


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def status_of(pid, key):
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(line.split(":", 1)[1].split() for line in lines if line.startswith(key + ":"))


def test_virtual_cpus_stay_on_the_cpus_of_their_mask(kvm):
    kvm.start(cpu_mask="0")
    pid = runtime_of(kvm).pid
    assert {tuple(os.sched_getaffinity(int(task))) for task in os.listdir(f"/proc/{pid}/task")} == {(0,)}
    kvm.hypervisor.reboot(kvm.spec(), hard=True)
    assert os.sched_getaffinity(runtime_of(kvm).pid) == {0}


@needs_root
def test_a_confined_emulator_runs_as_the_pool_s_user_in_an_empty_directory(kvm):
    Path(kvm.paths.local(paths.ssconf("uid_pool"))).parent.mkdir(parents=True, exist_ok=True)
    Path(kvm.paths.local(paths.ssconf("uid_pool"))).write_text("54321-54322\n", encoding="ascii")
    kvm.start(security_model="pool", use_chroot=True)
    pid = runtime_of(kvm).pid
    assert set(status_of(pid, "Uid")) == {"54321"}
    assert os.readlink(f"/proc/{pid}/root").endswith("/jail/web1")
    assert kvm.state() is GuestState.RUNNING
    assert "confined" in kvm.hypervisor.running("web1", UUID).why_fixed
    kvm.hypervisor.stop("web1", UUID, force=True)
    kvm.hypervisor.clean_up("web1", UUID)
    assert kvm.hypervisor.leftovers() == ()
    kvm.start(security_model="user", security_domain="nobody")
    assert set(status_of(runtime_of(kvm).pid, "Uid")) == {str(pwd.getpwnam("nobody").pw_uid)}


def test_sound_usb_and_spice_are_what_the_emulator_understands(kvm):
    spec = kvm.spec(soundhw="ac97,es1370,hda,sb16", usb_devices="tablet,keyboard,mouse", spice_bind="127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec = msgspec.structs.replace(spec, instance=msgspec.structs.replace(spec.instance, network_port=port))
    kvm.hypervisor.start(spec, (), paused=False)
    assert kvm.state() is GuestState.RUNNING
    no_serial = msgspec.structs.replace(spec, hvparams=spec.hvparams | {"serial_console": False})
    console = kvm.hypervisor.console(no_serial)
    assert (console.kind, console.port) == ("spice", port)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        assert connection.getpeername()[1] == port


@pytest.fixture(params=xen_kit.SIMULATED)
def xen(request):
    """Simulated alone: its runner is told what happens."""
    made = Node(request.param)
    yield made
    made.end()


@pytest.fixture(params=xen_kit.KINDS)
def any_xen(request):
    made = Node(request.param)
    yield made
    made.end()


def lose(node, *directories):
    """What the node kept of web1 there."""
    for directory in directories:
        for place in Path(node.paths.local(directory)).iterdir():
            if place.is_file() and place.suffix != ".lock":
                place.unlink()


def test_a_domain_whose_file_for_xl_is_lost_is_listed_and_reboots(any_xen):
    any_xen.start()
    lose(any_xen, paths.XEN_CONFIG_DIR)
    assert [guest.name for guest in any_xen.hypervisor.list()] == ["web1"]
    assert any_xen.hypervisor.leftovers() == ()
    (before,) = Path(any_xen.paths.local(paths.XEN_DIR)).glob("*.json")
    any_xen.hypervisor.reboot(any_xen.spec(), hard=True)
    assert any_xen.state() is GuestState.RUNNING
    (file,) = Path(any_xen.paths.local(paths.XEN_CONFIG_DIR)).iterdir()
    assert UUID in file.read_text()
    assert before.exists()


def test_a_domain_whose_files_are_all_lost_is_found_by_its_uuid_and_never_started_beside(any_xen):
    any_xen.start()
    lose(any_xen, paths.XEN_CONFIG_DIR, paths.XEN_DIR)
    found = any_xen.restarted().info("web1", UUID)
    assert (found.state, found.memory, found.hypervisor) == (GuestState.RUNNING, any_xen.memory, any_xen.name)
    assert any_xen.hypervisor.info("web1", OTHER_UUID) is None
    assert any_xen.hypervisor.info("web1", "") is None  # it may be somebody else's
    with pytest.raises(errors.HypervisorError, match="files were lost"):
        any_xen.hypervisor.reboot(any_xen.spec(), hard=True)
    assert sum(call[1] == "create" for call in any_xen.runner.calls) == 1
    any_xen.start()
    assert sum(call[1] == "create" for call in any_xen.runner.calls) == 1
    assert [guest.uuid for guest in any_xen.hypervisor.list()] == [UUID]
    assert any_xen.hypervisor.running("web1", UUID) is not None


def test_a_domain_whose_files_are_all_lost_can_be_ended(any_xen):
    any_xen.start()
    lose(any_xen, paths.XEN_CONFIG_DIR, paths.XEN_DIR)
    with pytest.raises(errors.HypervisorError, match="is running"):
        any_xen.hypervisor.clean_up("web1", UUID)
    any_xen.hypervisor.stop("web1", UUID, force=True)
    assert any_xen.state() is None
    any_xen.hypervisor.clean_up("web1", UUID)
    any_xen.start("other", OTHER_UUID)


def test_a_guest_that_comes_back_from_its_own_reboot_during_a_start_is_left_alone(xen):
    """Between its old and its new domain there is none, so somebody may want to start it."""
    xen.start()
    xen.runner.reboots_before_create("web1")
    xen.start()
    assert xen.state() is GuestState.RUNNING
    assert [guest.uuid for guest in xen.hypervisor.list()] == [UUID]
    assert not any(call[1] == "destroy" for call in xen.runner.calls)


@pytest.mark.parametrize(
    ("defaults", "is_wrong"),
    [
        ("XENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\n", True),
        ('XENDOMAINS_SAVE="/var/lib/xen/save" # where\nXENDOMAINS_RESTORE="true"\n', True),
        ("XENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=false\n", False),
        ('XENDOMAINS_SAVE=""\nXENDOMAINS_RESTORE=true\n', False),
        ("#XENDOMAINS_SAVE=/x\n#XENDOMAINS_RESTORE=true\n", False),
        ("", False),
    ],
)
def test_a_service_that_restores_guests_at_boot_is_told(xen, defaults, is_wrong):
    """The guests may run elsewhere since."""

    def put(path, text=""):
        file = Path(xen.paths.local(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    put("/etc/default/xendomains", defaults)
    put("/run/systemd/system")
    assert xen.hypervisor.verify() == ""
    put("/etc/systemd/system/multi-user.target.wants/xendomains.service")
    assert ("xendomains restores guests" in xen.hypervisor.verify()) is is_wrong


@pytest.mark.parametrize("half", ["web1--migratedaway", "web1--incoming"])
def test_a_half_of_a_migration_is_never_started_beside_and_goes_with_its_guest(xen, half):
    xen.start()
    xen.hypervisor._xl.destroy("web1")
    xen.runner.add_foreign(half, UUID)
    xen.runner.add_foreign("web1--incoming2", UUID.replace("1", "2"))
    with pytest.raises(errors.HypervisorError, match=f"half-way on this node: domain {half}"):
        xen.start()
    xen.hypervisor.clean_up("web1", UUID)
    assert [domain.name for domain in xen.hypervisor._xl.domains()] == ["Domain-0", "web1--incoming2"]
    assert xen.hypervisor.leftovers() == ()


def test_a_xen_guest_that_switched_itself_off_stays_until_it_is_cleaned_up_where_users_may_do_so(xen):
    file = Path(xen.paths.local(paths.ssconf("enabled_user_shutdown")))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("True\n")
    xen.start()
    assert "on_poweroff = 'preserve'" in next(Path(xen.paths.local(paths.XEN_CONFIG_DIR)).iterdir()).read_text()
    xen.runner.set_state("web1", "---s--")
    (guest,) = xen.hypervisor.list()
    assert (guest.state, guest.has_switched_off) == (GuestState.SHUTDOWN, True)
    begun = xen.clock.monotonic()
    xen.hypervisor.clean_up("web1", UUID)
    assert xen.clock.monotonic() - begun < 10
    assert (xen.hypervisor.list(), xen.hypervisor.leftovers()) == ((), ())


@pytest.fixture(params=["web1", "web1--incoming"])
def rebooting(xen, request):
    """Its old domain is gone, and a process of xl that has its log open will make the new one."""
    xen.start()
    log = Path(xen.paths.local(f"/var/log/xen/xl-{request.param}.log"))
    log.parent.mkdir(parents=True)
    program = Path(xen.root) / "xl"
    shutil.copy("/bin/sleep", program)
    with log.open("w") as output, subprocess.Popen([program, "60"], stdout=output) as process:
        while Path(f"/proc/{process.pid}/comm").read_text() != "xl\n":
            os.sched_yield()  # its program is there, its name is not yet
        os.utime(log, times=(xen.clock.time(), xen.clock.time()))
        xen.runner.reboots_before_create("web1")
        yield log, process
        process.kill()


def test_a_guest_that_reboots_by_itself_runs_though_it_has_no_domain(xen, rebooting):
    _, process = rebooting
    (listed,) = xen.hypervisor.list()
    assert listed == xen.hypervisor.info("web1", UUID)
    assert xen.hypervisor.leftovers() == ()
    assert (listed.state, listed.uuid, listed.memory) == (GuestState.RUNNING, UUID, 32)
    assert xen.hypervisor.info("web1", UUID.replace("1", "2")) is None
    xen.start()
    assert sum(call[1] == "create" for call in xen.runner.calls) == 1
    with pytest.raises(errors.HypervisorError, match="is running"):
        xen.hypervisor.clean_up("web1", UUID)
    process.kill()
    process.wait()
    assert xen.hypervisor.list() == ()


def test_a_guest_that_reboots_does_not_come_back_once_it_was_ended(xen, rebooting):
    _, process = rebooting
    xen.hypervisor.stop("web1", UUID, force=True)
    assert process.wait(timeout=60) < 0
    xen.hypervisor.clean_up("web1", UUID)
    assert (xen.hypervisor.info("web1", UUID), xen.hypervisor.leftovers()) == (None, ())


def test_a_process_of_xl_that_has_said_nothing_for_long_brings_nobody_back(xen, rebooting):
    log, _ = rebooting
    os.utime(log, times=(xen.clock.time() - 900, xen.clock.time() - 900))
    assert xen.hypervisor.info("web1", UUID) is None
    xen.hypervisor.clean_up("web1", UUID)


@pytest.mark.parametrize(("status", "why"), [(None, "no end within 300 s"), (-9, "signal 9")])
def test_what_a_create_that_was_killed_has_made_is_ended(xen, status, why):
    xen.runner.dies_at_create = (status, why)
    with pytest.raises(errors.HypervisorError, match=why):
        xen.start()
    assert xen.hypervisor.info("web1", UUID) is None
    assert xen.hypervisor.leftovers() == ()


def test_vnc_of_xen_is_open_to_others_by_password_only(tmp_path):
    node = Node("xen-hvm")
    try:
        secret = tmp_path / "secret"
        hv = {"vnc_password_file": str(secret), "vnc_bind_address": "192.0.2.1"}
        spec = node.spec()
        node.start()
        (place,) = Path(node.paths.local(paths.XEN_CONFIG_DIR)).iterdir()
        assert "vnclisten = '127.0.0.1'" in place.read_text()
        assert "vncpasswd" not in place.read_text()
        asked = msgspec.structs.replace(spec, hvparams=spec.hvparams | hv)
        assert "vnc_password_file: there is no file" in node.hypervisor.validate(asked.hvparams)
        secret.write_text("open sesame\n")
        node.hypervisor.stop("web1", UUID, force=True)
        node.hypervisor.start(asked, (), paused=False)
        assert "vnclisten = '192.0.2.1'" in place.read_text()
        assert "vncpasswd = 'open sesame'" in place.read_text()
        assert place.stat().st_mode & 0o077 == 0
    finally:
        node.end()


@pytest.mark.parametrize(
    ("name", "hv", "word"),
    [
        ("xen-pvm", {"soundhw": "ac97"}, "soundhw=ac97"),
        ("xen-hvm", {"disk_type": "ioemu", "blockdev_prefix": "xvd"}, "disk_type=ioemu"),
        ("xen-hvm", {"device_model": "/nowhere"}, "device_model: there is no file"),
        ("xen-pvm", {"kernel_args": "a\\b"}, "kernel_args has a character"),
        ("xen-pvm", {"kernel_args": "quiet \"a\" 'b'"}, "kernel_args has a character"),
        ("xen-pvm", {"root_path": "/dev/a\nb"}, "root_path has a character"),
        ("xen-pvm", {"vif_script": "/etc/xen/everybodys"}, "vif_script: .* can be written by everybody"),
    ],
)
def test_what_xen_cannot_do_is_told_before_a_start(name, hv, word):
    node = Node(name)
    try:
        script = Path(node.paths.local("/etc/xen/everybodys"))
        script.parent.mkdir(parents=True, exist_ok=True)
        script.touch()
        script.chmod(0o757)
        spec = node.spec()
        assert node.hypervisor.validate(spec.hvparams) == ""
        assert re.search(word, node.hypervisor.validate(spec.hvparams | hv))
        with pytest.raises(errors.HypervisorError, match=word):
            node.hypervisor.start(msgspec.structs.replace(spec, hvparams=spec.hvparams | hv), (), paused=False)
    finally:
        node.end()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "/x", "..", "a\0b", ""])
def test_names_that_lead_to_other_files_are_refused(node, name):
    """Whoever calls the node daemon is not the one who says which files are read, written or removed."""
    Path(node.paths.local("/etc")).mkdir(exist_ok=True)
    Path(node.paths.local("/etc/passwd.log")).write_text("not for you")
    with pytest.raises(errors.HypervisorError):
        node.start(name)
    assert node.hypervisor.list() == ()
    try:
        assert node.hypervisor.console_log(name, UUID, max_bytes=100) == ""
    except errors.HypervisorError as err:
        assert "not the name of an instance" in str(err)
    for action in (
        lambda: node.hypervisor.clean_up(name, UUID),
        lambda: node.hypervisor.stop(name, UUID, force=True),
    ):
        try:
            action()
        except errors.HypervisorError as err:
            assert "not the name of an instance" in str(err)
    assert Path(node.paths.local("/etc/passwd.log")).exists()
