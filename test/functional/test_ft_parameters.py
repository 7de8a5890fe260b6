"""A mixed cluster: a fake and a KVM instance side by side, with devices and parameters that come, change and go."""

import os
import shutil

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import paths, settings
from ganeti.testing.vcluster import newest_kernel

ADD = ("gnt-instance", "add", "--no-name-check", "--no-ip-check", "-n", "node1", "--ignore-ipolicy")
FAKE, KVM = "fake1.vc.example", "kvm1.vc.example"

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (os.path.exists(settings.KVM_PATH) and newest_kernel() and shutil.which("busybox")),
        reason="needs QEMU, a kernel in /boot and busybox",
    ),
]


@pytest.fixture(scope="module")
def shell():
    made = make_cluster(2, hypervisors=("fake", "kvm"))
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


@pytest.fixture(scope="module")
def both(shell):
    """One of each, running: three disks, one read-only, and two NICs on the fake one."""
    shell.ok(*ADD, "-H", "fake", "-t", "file", "--no-install", "--disk", "0:size=64,name=root",
             "--disk", "1:size=64,mode=ro",
             "--disk", "2:size=64,exportable=no", "--net", "0:name=lan", "--net", "1:mode=routed,link=100,ip=192.0.2.7",
             FAKE)  # fmt: skip
    shell.ok("gnt-instance", "startup", FAKE)
    shell.ok(*ADD, "-H", "kvm", "-B", "memory=128", "-o", "busybox-linux", "-t", "sharedfile", "-s", "64", KVM)
    wait_until("the KVM guest runs", lambda: shell.field("gnt-instance", KVM, "status") == "running")
    wait_until("its system is up", lambda: f"heartbeat {KVM}" in console(shell), timeout_s=120)
    return shell


def console(shell):
    path = shell.nodes[0].paths.local(f"{paths.CONSOLE_LOG_DIR.path}/{KVM}.log")
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def fields(shell, name, names):
    return shell.rows("gnt-instance", names, name)[0]


def test_both_run_side_by_side(both):
    assert fields(both, FAKE, "hypervisor,status,disk.count,nic.count") == ["fake", "running", "3", "2"]
    assert fields(both, KVM, "hypervisor,status,disk.count,nic.count") == ["kvm", "running", "1", "1"]
    text = both.ok("gnt-instance", "info", FAKE)
    assert text.count("access mode: ro") == 1
    assert "mode: routed" in text
    both.ok("gnt-cluster", "verify")


@pytest.mark.parametrize("name", [FAKE, KVM])
def test_devices_of_a_running_guest_come_change_and_go(both, name):
    disks, nics = map(int, fields(both, name, "disk.count,nic.count"))
    text = both.ok(
        "gnt-instance",
        "modify",
        "-f",
        "--ignore-ipolicy",
        "--disk",
        "add:size=64,mode=ro,name=data",
        "--net",
        "add:name=second",
        name,
    )
    assert "disk/" in text
    assert fields(both, name, "disk.count,nic.count") == [str(disks + 1), str(nics + 1)]
    both.ok(
        "gnt-instance", "modify", "-f", "--net", "second:ip=192.0.2.9,mac=generate", "--disk", "data:name=more", name
    )
    info = both.ok("gnt-instance", "info", name)
    assert "192.0.2.9" in info
    assert "name: more" in info
    assert "Pending changes" not in info
    both.ok("gnt-instance", "modify", "-f", "--disk", "more:remove", "--net", "second:remove", name)
    assert fields(both, name, "disk.count,nic.count") == [str(disks), str(nics)]
    assert fields(both, name, "status") == ["running"]
    both.ok("gnt-cluster", "verify")


def test_a_guest_takes_its_devices_along(both):
    """Devices that came while it ran have the same place at the other end, and can be given back there."""
    both.ok("gnt-instance", "modify", "-f", "--ignore-ipolicy", "--disk", "add:size=64,name=data", "--net",
            "add:name=second", KVM)  # fmt: skip
    both.ok("gnt-instance", "modify", "-f", "--net", "0:remove", KVM)
    both.ok("gnt-instance", "migrate", "-f", "-n", "node2", KVM)
    assert fields(both, KVM, "pnode,status,disk.count,nic.count") == ["node2.vc.example", "running", "2", "1"]
    assert "Pending changes" not in both.ok("gnt-instance", "info", KVM)
    both.ok("gnt-instance", "modify", "-f", "--ignore-ipolicy", "--disk", "data:remove", "--net", "second:remove",
            "--net", "add", KVM)  # fmt: skip
    both.ok("gnt-instance", "migrate", "-f", "-n", "node1", KVM)
    assert fields(both, KVM, "pnode,status,disk.count,nic.count") == ["node1.vc.example", "running", "1", "1"]
    both.ok("gnt-cluster", "verify")


def test_what_waits_for_the_next_start_is_shown_until_then(both):
    both.ok("gnt-instance", "modify", "--no-hotplug", "--net", "0:ip=192.0.2.33", "-B", "vcpus=2", FAKE)
    info = both.ok("gnt-instance", "info", FAKE)
    assert "be/vcpus: 1 until the next start, then 2" in info
    assert "nic/0: changes with the next start" in info
    both.ok("gnt-instance", "reboot", "-t", "full", FAKE)
    assert "Pending changes" not in both.ok("gnt-instance", "info", FAKE)


def test_parameters_are_inherited_set_and_reset(both):
    def shown(name, field):
        return fields(both, name, field)[0]

    both.ok("gnt-cluster", "modify", "-B", "vcpus=3", "-H", "kvm:use_localtime=true")
    both.ok("gnt-os", "modify", "-H", "kvm:serial_speed=9600", "busybox-linux")
    inherited = "hv/use_localtime,hv/serial_speed,be/vcpus"
    assert fields(both, KVM, inherited) == ["Y", "9600", "3"]
    both.ok("gnt-instance", "modify", "-H", "serial_speed=115200", "-B", "vcpus=1", KVM)
    assert fields(both, KVM, inherited) == ["Y", "115200", "1"]
    assert "default (" not in info_line(both, KVM, "serial_speed")
    both.ok("gnt-instance", "modify", "-H", "serial_speed=default", "-B", "vcpus=default", KVM)
    assert fields(both, KVM, inherited) == ["Y", "9600", "3"]
    assert "default (9600)" in info_line(both, KVM, "serial_speed")
    both.ok("gnt-cluster", "modify", "-B", "vcpus=default", "-H", "kvm:use_localtime=default")
    both.ok("gnt-os", "modify", "-H", "kvm:serial_speed=default", "busybox-linux")
    assert fields(both, KVM, inherited) == ["N", "38400", "1"]
    assert shown(FAKE, "be/vcpus") == "2"


def info_line(shell, name, key):
    return next(line for line in shell.ok("gnt-instance", "info", name).splitlines() if f" {key}:" in line)


def test_what_is_in_use_cannot_be_disabled(both):
    assert KVM in both.fails("gnt-cluster", "modify", "--enabled-hypervisors=fake")
    assert FAKE in both.fails("gnt-cluster", "modify", "--enabled-disk-templates=diskless")
    assert "parameter memory" in both.fails("gnt-instance", "modify", "-B", "memory=1x", FAKE)
