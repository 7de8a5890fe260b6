"""Exports and imports with real daemons: Debian's own OS definitions, a running guest, daemons killed in a stream."""

import hashlib
import os
import random
import shutil
import subprocess
import tempfile

import pytest
from functional import migration_kit as kit
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import paths, settings
from ganeti.bootstrap import daemons
from ganeti.testing.vcluster import newest_kernel

PACKAGES = ("ganeti-os-noop", "ganeti-instance-debootstrap")
SHARE = "/usr/share/ganeti/os"
NAME = "web1.vc.example"
DUMP_ENVIRONMENT = '#!/bin/sh\nenv >"${0%/*}/../env.$INSTANCE_NAME.${0##*/}.${EXPORT_INDEX}${IMPORT_INDEX}"\n'
#: OS definitions of our own, by name
DEFINITIONS = {
    "environment": {
        "ganeti_api_version": "20\n15\n10\n",
        "variants.list": "plain\nother\n",
        "parameters.list": "a-word some word\n",
        "create": DUMP_ENVIRONMENT,
        "rename": DUMP_ENVIRONMENT,
        "verify": "#!/bin/sh\nexit 0\n",
        "export": DUMP_ENVIRONMENT + 'echo 5 >"/proc/self/fd/$EXP_SIZE_FD"\necho data\n',
        "import": DUMP_ENVIRONMENT + 'test "$(cat)" = data\n',
    },
    "secretive": {
        "ganeti_api_version": "20\n",
        "parameters.list": "key shown to nobody\npassword kept nowhere\n",
        "create": '#!/bin/sh\nprintf %s "$OSP_KEY $OSP_PASSWORD" | sha256sum\n'
        'while test -e "$0.wait"; do sleep 0.1; done\n',
        "verify": '#!/bin/sh\ntest -n "$OSP_KEY" || { echo "a key is needed" >&2; exit 1; }\n',
    },
    "noscripts": {"ganeti_api_version": "10\n", "create": "#!/bin/sh\n"},
    "slow": {
        "ganeti_api_version": "10\n",
        "create": "#!/bin/sh\nexit 0\n",
        "export": '#!/bin/sh\necho "it begins" >&2\nwhile head -c 1200000 /dev/urandom; do sleep 0.2; done\n',
        "import": "#!/bin/sh\ncat >/dev/null\n",
    },
}


def install(shell, name, files):
    for node in shell.nodes:
        directory = node.paths.local(f"/srv/ganeti/os/{name}")
        os.makedirs(directory, exist_ok=True)
        for file, text in files.items():
            path = f"{directory}/{file}"
            with open(path, "w", encoding="utf-8") as made:
                made.write(text)
            os.chmod(path, 0o755)


@pytest.fixture(scope="module")
def backup_cluster():
    """Three nodes."""
    shell = make_cluster(3, hypervisors=("fake", "kvm"))
    try:
        for name, files in DEFINITIONS.items():
            install(shell, name, files)
        yield shell
    finally:
        destroy(os.path.dirname(shell.cluster.layout.directory))


@pytest.fixture(scope="module")
def debian(backup_cluster):
    """The two packages' definitions on all nodes, as they are."""
    directory = tempfile.mkdtemp(prefix="gnt-deb-")
    try:
        for package in PACKAGES:
            fetched = subprocess.run(
                ["apt-get", "download", package],
                cwd=directory,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if fetched.returncode:
                pytest.skip(f"the Debian package {package} cannot be had: {fetched.stderr.strip()[-200:]}")
        for archive in os.listdir(directory):
            subprocess.run(["dpkg-deb", "-x", f"{directory}/{archive}", directory], check=True, timeout=60)
        for node in backup_cluster.nodes:
            for part in (SHARE, "/etc/ganeti/instance-debootstrap"):
                shutil.copytree(directory + part, node.root + part, symlinks=True, dirs_exist_ok=True)
            # the package's link leads to the node's own /etc
            link = f"{node.root}{SHARE}/debootstrap/variants.list"
            target = os.readlink(link)
            os.unlink(link)
            os.symlink(node.root + target, link)
        yield backup_cluster
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def clean(backup_cluster):
    """No instances and no exports afterwards."""
    shell = backup_cluster
    yield shell
    for (name,) in shell.rows("gnt-instance", "name"):
        shell.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)
    for name in {row[1] for row in exports(shell)}:
        shell.ok("gnt-backup", "remove", name)
    assert leftovers(shell) == []


def add(shell, os_name, *more, node="node2", disks=(4,), name=NAME, hypervisor="fake"):
    sizes = [word for index, size in enumerate(disks) for word in ("--disk", f"{index}:size={size}")]
    shell.ok(
        *("gnt-instance", "add", "-t", "file", "-o", os_name, "-H", hypervisor, "--ignore-ipolicy", "-n", node),
        *(*sizes, *more, name),
    )


def exports(shell):
    """[node, export]; nodes without any are left out."""
    return shell.rows("gnt-backup", "node,export")


def leftovers(shell):
    """Of exports that are not there: files below the export directories, and snapshots."""
    found = []
    for node in shell.nodes:
        directory = node.paths.local(paths.EXPORT_DIR)
        found += [f"{node.short_name}: {name}" for name in (os.listdir(directory) if os.path.isdir(directory) else ())]
        for folder, _, names in os.walk(node.paths.local(settings.FILE_STORAGE_DIR)):
            found += [f"{folder}/{name}" for name in names if name.endswith(".snap")]
    return found


def disk(shell, node, name, index):
    number = next(each for each in shell.nodes if each.short_name == node)
    return number.paths.local(f"{settings.FILE_STORAGE_DIR}/{name}/disk{index}")


def digest(path, length=None):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()


def test_the_debian_definitions_are_valid(debian, clean):
    told = debian.ok("gnt-os", "list", "--no-headers").split()
    assert {"noop", "debootstrap+default"} <= set(told)
    report = debian.cluster.call(debian.master, ("gnt-os", "diagnose")).stdout
    states = [line for line in report.splitlines() if line.startswith(("OS: noop ", "OS: debootstrap "))]
    assert len(states) == 2
    assert all("[global status: valid]" in line for line in states), states
    assert "must include a variant" in debian.fails(
        *("gnt-instance", "add", "-t", "file", "-o", "debootstrap", "--disk", "0:size=1g", "-n", "node2", NAME)
    )


def test_noop_brings_three_disks_back_byte_for_byte(debian, clean):
    shell = debian
    add(shell, "noop", "--no-start", disks=(4, 8, 12))
    for index in range(3):
        with open(disk(shell, "node2", NAME, index), "r+b") as file:
            file.seek(12345 * index)
            file.write(random.randbytes(3 << 20))
    shell.ok("gnt-backup", "export", "-n", "node3", "--transport-compression=gzip", NAME)
    assert exports(shell) == [["node3.vc.example", NAME]]
    assert NAME in shell.ok("gnt-backup", "info", NAME)
    shell.ok(
        *("gnt-backup", "import", "-n", "node1", "--src-node", "node3", "--src-dir", NAME, "--compress=gzip-fast"),
        *("--disk", "0:size=4", "--disk", "1:size=16", "--disk", "2:size=12", "--disk", "3:size=4"),
        *("--ignore-ipolicy", "web2.vc.example"),
    )
    for index, size in enumerate((4, 8, 12)):
        came = disk(shell, "node1", "web2.vc.example", index)
        assert digest(came, size << 20) == digest(disk(shell, "node2", NAME, index))
    assert shell.rows("gnt-instance", "disk.sizes,os,status", "web2.vc.example") == [
        ["4,16,12,4", "noop", "ADMIN_down"]
    ]
    told = shell.fails("gnt-backup", "import", "-n", "node1", "--src-dir", NAME, "-s", "100", "web3.vc.example")
    assert "the export has 3 disks" in told


COMMON = {
    "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
    "OS_API_VERSION": "20",
    "OS_NAME": "environment",
    "OS_VARIANT": "other",
    "INSTANCE_OS": "environment+other",
    "HYPERVISOR": "fake",
    "DEBUG_LEVEL": "0",
    "DISK_COUNT": "2",
    "DISK_0_ACCESS": "rw",
    "DISK_1_ACCESS": "ro",
    "DISK_0_SIZE": "4",
    "DISK_1_SIZE": "8",
    "DISK_1_NAME": "data",
    "DISK_0_BACKEND_TYPE": "file:loop",
    "DISK_1_BACKEND_TYPE": "file:loop",
    "NIC_COUNT": "1",
    "NIC_0_MAC": "aa:00:00:00:00:77",
    "NIC_0_IP": "192.0.2.7",
    "NIC_0_MODE": "bridged",
    "NIC_0_LINK": "br7",
    "NIC_0_BRIDGE": "br7",
    "OSP_A_WORD": "yes",
    "INSTANCE_BE_vcpus": "2",
    "INSTANCE_BE_maxmem": "256",
    "INSTANCE_BE_minmem": "256",
    "INSTANCE_BE_auto_balance": "True",
    "INSTANCE_BE_always_failover": "False",
    "INSTANCE_BE_spindle_use": "1",
    "INSTANCE_HV_migration_mode": "live",
    "INSTANCE_SECONDARY_NODES": "",
}
#: variables whose values the test cannot know, only that they are there
THERE = {
    *("INSTANCE_UUID", "INSTANCE_CTIME", "INSTANCE_MTIME", "INSTANCE_PRIMARY_NODE", "DISK_0_UUID", "DISK_1_UUID"),
    *("DISK_0_PATH", "DISK_1_PATH", "NIC_0_UUID"),
}
#: the shell's own, and those that a virtual node's processes are known by
NOT_OURS = {"PWD", "OLDPWD", "SHLVL", "_", "GANETI_ROOTDIR", "GANETI_HOSTNAME"}


def environment(shell, node, name, script, index=""):
    """What a script was given, but for `COMMON` and `THERE`, which are checked."""
    found = next(each for each in shell.nodes if each.short_name == node)
    with open(found.paths.local(f"/srv/ganeti/os/env.{name}.{script}.{index}"), encoding="utf-8") as file:
        given = dict(line.rstrip("\n").partition("=")[::2] for line in file)
    given = {key: value for key, value in given.items() if key not in NOT_OURS}
    wanted = COMMON | {"INSTANCE_NAME": name}
    assert {key: given.get(key) for key in wanted} == wanted
    assert set(given) >= THERE, THERE - set(given)
    for index_ in (0, 1):
        assert os.path.isfile(given[f"DISK_{index_}_PATH"])
    return {key: value for key, value in given.items() if key not in wanted and key not in THERE}


def test_scripts_are_given_their_environment_and_nothing_else(clean):
    shell = clean
    add(
        shell,
        *("environment+other", "--no-start", "-B", "memory=256,vcpus=2", "-O", "a-word=yes"),
        *("--net", "0:mac=aa:00:00:00:00:77,ip=192.0.2.7,link=br7"),
        disks=(4, "8,mode=ro,name=data"),
    )
    assert environment(shell, "node2", NAME, "create") == {}
    shell.ok("gnt-backup", "export", "-n", "node3", NAME)
    for index in ("0", "1"):
        more = environment(shell, "node2", NAME, "export", index)
        assert more.pop("EXP_SIZE_FD").isdigit()
        device = disk(shell, "node2", NAME, index)
        assert more == {"EXPORT_DEVICE": device, "EXPORT_DISK_PATH": device, "EXPORT_INDEX": index}
    shell.ok("gnt-instance", "rename", NAME, "web5.vc.example")
    assert environment(shell, "node2", "web5.vc.example", "rename") == {"OLD_INSTANCE_NAME": NAME}
    shell.ok("gnt-instance", "remove", "-f", "web5.vc.example")
    shell.ok(
        *("gnt-backup", "import", "-n", "node1", "--ignore-ipolicy"),
        *("--disk", "0:size=4", "--disk", "1:size=8,mode=ro,name=data", NAME),
    )
    for index in ("0", "1"):
        more = environment(shell, "node1", NAME, "import", index)
        device = disk(shell, "node1", NAME, index)
        assert more == {"IMPORT_DEVICE": device, "IMPORT_DISK_PATH": device, "IMPORT_INDEX": index}


def holders(shell, *values):
    """Files of all nodes and processes of the host that have one of these."""
    found = []
    for node in shell.nodes:
        for folder, _, names in os.walk(node.root):
            for name in names:
                path = f"{folder}/{name}"
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        content = file.read()
                    found += [path for value in values if value.encode() in content]
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return found + [line for line in listed.splitlines() if any(value in line for value in values)]


def test_private_and_secret_parameters_are_shown_nowhere(clean):
    shell = clean
    key, password = "k" + os.urandom(12).hex(), "p" + os.urandom(12).hex()
    told = shell.fails(*("gnt-instance", "add", "-t", "diskless", "-o", "secretive", "-n", "node2", NAME))
    assert "a key is needed" in told
    (waiting,) = [
        f"{node.paths.local('/srv/ganeti/os/secretive')}/create.wait"
        for node in shell.nodes
        if node.short_name == "node2"
    ]
    with open(waiting, "w", encoding="utf-8"):
        pass
    job = shell.submit(
        *("gnt-instance", "add", "-t", "file", "-s", "4", "-o", "secretive", "--ignore-ipolicy", "--no-start"),
        *("-n", "node2", f"--os-parameters-private=key={key}", f"--os-parameters-secret=password={password}", NAME),
    )
    wait_until("the script runs", lambda: "running" in shell.field("gnt-job", str(job), "status"))
    shell.stop_daemon(shell.master, daemons.MASTERD)
    os.unlink(waiting)
    shell.start_daemon(shell.master, daemons.MASTERD)
    shell.wait_for_answers()
    wait_until("the job ends", lambda: shell.field("gnt-job", str(job), "status") in ("success", "error"))
    if shell.field("gnt-job", str(job), "status") == "error":  # it was not given the time to end
        shell.ok(
            *("gnt-instance", "add", "-t", "file", "-s", "4", "-o", "secretive", "--ignore-ipolicy", "--no-start"),
            *("-n", "node2", f"--os-parameters-private=key={key}", f"--os-parameters-secret=password={password}", NAME),
        )
    said = shell.ok("gnt-job", "info", str(job)) + shell.ok("gnt-instance", "info", NAME)
    said += shell.ok("gnt-instance", "list", "--no-headers", "-o", "osparams,custom_osparams", NAME)
    assert "<redacted>" in said
    assert key not in said and password not in said
    (node,) = [node for node in shell.nodes if node.short_name == "node2"]
    logs = node.paths.local("/var/log/ganeti/os")
    (log,) = sorted(name for name in os.listdir(logs) if name.startswith("add-secretive"))[-1:]
    with open(f"{logs}/{log}", encoding="utf-8") as file:
        assert hashlib.sha256(f"{key} {password}".encode()).hexdigest() in file.read()
    wait_until("the secret is gone", lambda: holders(shell, password) == [])
    # the private one is kept for the next run, by the copies of the state alone
    assert {os.path.basename(path).partition("-")[0] for path in holders(shell, key)} == {"state.db"}
    shell.ok("gnt-instance", "remove", "-f", NAME)
    wait_until("the private one is gone", lambda: holders(shell, key, password) == [])


def test_disks_that_are_not_exportable_are_skipped_and_listed(clean):
    shell = clean
    shell.ok(
        *("gnt-instance", "add", "-t", "file", "-o", "noscripts", "--no-install", "--ignore-ipolicy", "-n", "node2"),
        *("-H", "fake", "--disk", "0:size=4", "--disk", "1:size=4,exportable=no", "--disk", "2:size=4", NAME),
    )
    told = shell.ok("gnt-backup", "export", "-n", "node3", "--os-mode=raw", NAME)
    assert "not exportable, so left out: disk 1" in told
    shell.ok("gnt-instance", "modify", "--disk", "1:exportable=yes", "--disk", "0:exportable=no", NAME)
    told = shell.ok("gnt-backup", "export", "-n", "node3", "--os-mode=raw", NAME)
    assert "not exportable, so left out: disk 0" in told
    with open(shell.nodes[2].paths.local(f"{paths.EXPORT_DIR.path}/{NAME}/config.ini"), encoding="utf-8") as file:
        text = file.read()
    assert "disk0_dump" not in text.replace("disk0_dump_size", "")
    assert "disk1_dump = " in text


@pytest.mark.parametrize("daemon", [daemons.MASTERD, daemons.NODED])
def test_a_daemon_that_is_killed_in_the_middle_of_a_stream_leaves_nothing(clean, daemon):
    shell = clean
    add(shell, "slow", disks=(64,))
    job = shell.submit("gnt-backup", "export", "-n", "node3", "--noshutdown", NAME)
    wait_until("the stream is under way", lambda: "MiB sent" in shell.ok("gnt-job", "info", str(job)))
    assert leftovers(shell) != []
    kit.kill_daemon(shell, shell.master if daemon == daemons.MASTERD else shell.nodes[1], daemon)
    shell.wait_for_answers()
    assert kit.wait_for_end(shell, job) == "error"
    assert exports(shell) == []
    wait_until("nothing is left", lambda: leftovers(shell) == [])
    assert shell.field("gnt-instance", NAME, "status") == "running"


@pytest.mark.live
@pytest.mark.skipif(
    not (os.path.exists(settings.KVM_PATH) and newest_kernel() and shutil.which("busybox")),
    reason="needs QEMU, a kernel in /boot and busybox",
)
def test_a_guest_is_exported_while_it_writes_and_boots_elsewhere_under_another_name(clean):
    shell = clean
    add(shell, "busybox-linux", "-B", "memory=128", disks=("1g",), hypervisor="kvm")
    with kit.Heartbeat(shell, NAME) as heart:
        heart.wait_for_more(3)
        shell.ok("gnt-backup", "export", "-n", "node3", "--noshutdown", "--transport-compression=gzip-fast", NAME)
        heart.wait_for_more(3)
        heart.assert_unbroken()
    shell.ok("gnt-backup", "import", "-n", "node1", "--src-dir", NAME, "web9.vc.example")
    shell.ok("gnt-instance", "start", "web9.vc.example")
    log = shell.nodes[0].paths.local(f"{paths.CONSOLE_LOG_DIR.path}/web9.vc.example.log")

    def beats():
        """It has the exported guest's disk, and so its name."""
        if not os.path.exists(log):
            return False
        with open(log, encoding="utf-8", errors="replace") as file:
            return f"heartbeat {NAME} 2" in file.read()

    wait_until("it boots", beats, timeout_s=120)
