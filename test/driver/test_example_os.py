"""What the example OS writes to a disk and what it refuses; nothing boots."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "doc/examples/os/busybox-linux"
ENVIRONMENT = {
    "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
    "INSTANCE_NAME": "web1.example.com",
    "DISK_COUNT": "1",
    "INSTANCE_HV_root_path": "/dev/vda",
    "NIC_COUNT": "0",
}
TWO_NICS = {
    "NIC_COUNT": "2",
    "NIC_0_MAC": "aa:00:00:00:00:01",
    "NIC_0_IP": "192.0.2.7",
    "NIC_1_MAC": "aa:00:00:00:00:02",
    "NIC_1_IP": "198.51.100.7",
}

needs_tools = pytest.mark.skipif(
    not (shutil.which("busybox") and shutil.which("mke2fs") and shutil.which("debugfs")),
    reason="needs a static busybox and e2fsprogs",
)


def run(script, environment):
    return subprocess.run(
        [f"./{script}"], cwd=EXAMPLE, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False
    )


def in_disk(disk, command):
    return subprocess.run(["debugfs", "-R", command, disk], capture_output=True, text=True, check=True).stdout


@needs_tools
@pytest.mark.parametrize(
    ("environment", "lines"),
    [
        ({}, []),
        (TWO_NICS, ["aa:00:00:00:00:01 192.0.2.7", "aa:00:00:00:00:02 198.51.100.7"]),
        (
            TWO_NICS | {"OSP_PREFIX": "24", "OSP_GATEWAY": "192.0.2.1"},
            ["aa:00:00:00:00:01 192.0.2.7/24 192.0.2.1", "aa:00:00:00:00:02 198.51.100.7"],
        ),
        (
            TWO_NICS
            | {"NIC_0_IP": "", "NIC_1_NETWORK_SUBNET": "198.51.100.0/25", "NIC_1_NETWORK_GATEWAY": "198.51.100.1"},
            ["aa:00:00:00:00:02 198.51.100.7/25 198.51.100.1"],
        ),
        # the administrator's parameters win over the network's
        (
            TWO_NICS
            | {"NIC_COUNT": "1", "NIC_0_NETWORK_SUBNET": "192.0.2.0/24", "NIC_0_NETWORK_GATEWAY": "192.0.2.1"}
            | {"OSP_PREFIX": "28", "OSP_GATEWAY": "192.0.2.2"},
            ["aa:00:00:00:00:01 192.0.2.7/28 192.0.2.2"],
        ),
        # nothing in the values is run by the shell
        (
            {"NIC_COUNT": "1", "NIC_0_MAC": "aa:00:00:00:00:01", "NIC_0_IP": "$(id);`id`"},
            ["aa:00:00:00:00:01 $(id);`id`"],
        ),
    ],
)
def test_create_writes_the_addresses_that_are_known(tmp_path, environment, lines):
    disk = tmp_path / "disk"
    with open(disk, "wb") as file:
        os.truncate(file.fileno(), 32 << 20)
    done = run("create", environment | {"DISK_0_PATH": str(disk)})
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in in_disk(disk, "cat /etc/network.conf").splitlines()] == lines
    for program in ("/bin/console", "/bin/heartbeat", "/etc/init.d/network", "/etc/init.d/stop", "/etc/udhcpc.script"):
        assert "Mode:  0755" in in_disk(disk, f"stat {program}"), program


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OSP_HEARTBEAT": "often"}, "parameter heartbeat is 'often'"),
        ({"OSP_PREFIX": "255.255.255.0"}, "parameter prefix is '255.255.255.0', not a number of bits such as 24"),
        ({"OSP_GATEWAY": "192.0.2.1;reboot"}, "parameter gateway is '192.0.2.1;reboot', not an IP address"),
    ],
)
def test_verify_refuses_parameters_that_cannot_be(environment, said):
    done = run("verify", environment)
    assert done.returncode == 1
    assert said in done.stderr


def test_verify_accepts_good_parameters():
    good = {"OSP_HEARTBEAT": "0.05", "OSP_PREFIX": "24", "OSP_GATEWAY": "192.0.2.1", "OSP_MESSAGE": "Hello."}
    assert run("verify", good).returncode == 0


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox")
@pytest.mark.parametrize(
    "script",
    ["bin/console", "bin/heartbeat", "etc/init.d/network", "etc/init.d/rcS", "etc/init.d/stop", "etc/udhcpc.script"],
)
def test_the_guests_shell_can_read_its_scripts(script):
    done = subprocess.run(
        ["busybox", "sh", "-n", EXAMPLE / "files" / script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
