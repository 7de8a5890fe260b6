"""Scripts that are not trusted, run by the node's handler in a helper machine that a small program plays."""

import os
import sys
import time
from pathlib import Path

import msgspec
import pytest

from ganeti import errors, paths
from ganeti.calls.helper import Helper, HelperVerify
from ganeti.calls.instance import GuestSpec
from ganeti.calls.os import OsCreate
from ganeti.calls.volume import VolumeCreate
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.hypervisor import parameters
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.node import helper, volumes
from ganeti.node import os as node_os
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.paths import Paths
from ganeti.storage import registry as storage

DISK = Disk(
    uuid="disk-1", template=DiskTemplate.FILE, size=2, logical_id=("loop", "/srv/ganeti/file-storage/web1/disk0")
)
INSTANCE = Instance(
    uuid="uuid-1", name="web1", primary_node="n1", os="linux", hypervisor="fake", disks=(DISK,), osparams={}
)
SPEC = GuestSpec(
    instance=INSTANCE,
    hvparams=parameters.defaults("fake"),
    beparams={"maxmem": 64, "vcpus": 8},
    osparams={"password": "once-tulip"},
)
IMAGE, EMULATOR = "/srv/image", "/opt/emulator"
#: what the emulator does first: it finds the job that it was given, and what its lines begin with
PREFACE = f"""#!{sys.executable}
import os, re, sys, tarfile, time
if "--version" in sys.argv:
    print("QEMU emulator version 7.2.22")
    sys.exit(0)
words = " ".join(sys.argv)
job = tarfile.open(fileobj=open(re.search(r"filename=(/proc/self/fd/\\d+)", words)[1], "rb"))
start = job.extractfile("start").read().decode()
console = open(re.search(r"id=console,path=(\\S+)", words)[1], "wb", 0)
mark = re.search(r"echo \\"(ganeti-helper \\w+)", start)[1]
port = open(1, "wb", 0, closefd=False)
say = lambda text: port.write((mark + " " + text + "\\n").encode())
"""


class Node:
    def __init__(self, root):
        self.paths = Paths(str(root), "node1.example.com")
        runner, clock = HostRunner(self.paths), SystemClock()
        self.env = NodeEnv(
            paths=self.paths,
            runner=runner,
            clock=clock,
            hypervisors={},
            storage={DiskTemplate.FILE: storage.drivers(self.paths, runner)[DiskTemplate.FILE]},
        )
        self.context = Context()
        self.helper = Helper(image=IMAGE, emulator=EMULATOR, kvm_flag="disabled", startup_s=20, shutdown_s=20)
        for name in ("vmlinuz", "initrd"):
            self.write(f"{IMAGE}/{name}", "x")
        self.write("/srv/ganeti/os/linux/ganeti_api_version", "20\n")
        self.write("/srv/ganeti/os/linux/create_untrusted", "#!/bin/sh\n", 0o755)
        self.do(VolumeCreate(request="r0", disk=DISK, owner=INSTANCE.uuid))

    def write(self, path, text, mode=0o644):
        local = Path(self.paths.local(path))
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text(text)
        local.chmod(mode)

    def plays(self, text):
        """The helper machine does that."""
        self.write(EMULATOR, PREFACE + text, 0o755)
        return self

    def do(self, call):
        return HANDLERS[type(call)](call, self.env, self.context)

    def create(self, **change):
        self.do(OsCreate(request="r1", spec=SPEC, helper=msgspec.structs.replace(self.helper, **change)))

    def log(self):
        (path,) = Path(self.paths.local(paths.OS_LOG_DIR)).iterdir()
        return path.read_text()


@pytest.fixture
def node(tmp_path):
    assert volumes and node_os  # their handlers are registered by import
    made = Node(tmp_path)
    yield made
    scripts = made.paths.local(paths.SCRIPTS_DIR)
    assert not os.path.isdir(scripts) or os.listdir(scripts) == []
    assert emulators(made) == []


def emulators(node):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if node.paths.local(EMULATOR).encode() in words:
            found.append(words)
    return found


def test_the_machine_gets_the_job_and_the_disks_and_no_secret_on_its_command_line(node):
    node.plays(
        """
say("hello")
assert "once-tulip" in start and "once-tulip" not in words
print(sorted(job.getnames()), flush=True)
path = re.search(r"node-name=disk0,file.driver=file,file.filename=([^ ,]+)", words)[1]
open(path, "r+b").write(b"data")
say("end 0")
"""
    ).create()
    assert Path(node.paths.local(DISK.logical_id[1])).read_bytes()[:4] == b"data"
    assert node.log() == "['os', 'os/create_untrusted', 'os/ganeti_api_version', 'start']\n"


def test_the_machine_ends_first_when_memory_runs_out_and_does_not_begin_without(node):
    node.plays(
        "say('hello'); print(open('/proc/self/oom_score_adj').read(), end='', flush=True); say('end 0')"
    ).create()
    assert node.log() == "1000\n"
    assert [helper.room(wanted, free=4096) for wanted in (1, 300, 9999)] == [256, 300, 2048]
    with pytest.raises(errors.NodeFailure, match="needs 512 MiB of memory, the node has 400 MiB free"):
        helper.room(512, free=400)


def test_what_a_script_says_is_told_when_it_fails(node):
    node.plays('say("hello"); print("no \\x1b[31mroom", flush=True); say("end 3")')
    with pytest.raises(errors.NodeFailure, match=r"create_untrusted script of linux failed: exit status 3") as caught:
        node.create()
    assert str(caught.value).splitlines()[1:] == ["no ?[31mroom"]


def test_a_trusted_script_runs_on_the_node_where_there_is_no_image_and_never_where_there_is_one(node):
    node.write("/srv/ganeti/os/linux/create", '#!/bin/sh\necho here >"$DISK_0_PATH"\n', 0o755)
    node.do(OsCreate(request="r1", spec=SPEC))
    disk = Path(node.paths.local(DISK.logical_id[1]))
    assert disk.read_bytes().startswith(b"here")
    disk.write_bytes(b"\0" * (2 << 20))
    node.plays('say("hello"); say("end 9")')
    with pytest.raises(errors.NodeFailure, match="exit status 9"):
        node.create()
    assert not disk.read_bytes().strip(b"\0")


def test_without_an_image_it_does_not_run(node):
    with pytest.raises(errors.NodeFailure, match="needs an install image to run in"):
        node.do(OsCreate(request="r1", spec=SPEC))


@pytest.mark.parametrize(
    ("plays", "said"),
    [
        ("console.write(b'no such\\x1b device')", "switched off without having begun"),
        ("say('hello'); print('half')", "switched off before create_untrusted ended"),
        ("say('hello'); say('end 0'); sys.exit(1)", "the emulator of the helper machine ended with exit status 1"),
        ("say('end 0')", "switched off without having begun"),
        ("say('hello'); say('end many')", "switched off before create_untrusted ended"),
        ("sys.stderr.write('bad disk'); sys.exit(2)", "ended with exit status 2; last lines"),
        ("time.sleep(600)", "did not begin create_untrusted within 1 s"),
        ("say('hello'); say('end 0'); time.sleep(600)", "but the helper machine was not off 1 s later"),
    ],
)
def test_each_way_to_go_wrong_is_told(node, plays, said):
    with pytest.raises(errors.NodeFailure) as caught:
        node.plays(plays).create(startup_s=1 if "600" in plays else 20, shutdown_s=1)
    assert said in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_the_kernels_last_words_help_to_find_out_why(node):
    with pytest.raises(errors.NodeFailure, match=r"said last:\n[^$]*\nno such\? device"):
        node.plays("console.write(b'x' * 100000 + b'\\nno such\\x1b device\\n')").create()
    assert len(node.log()) < 6000


@pytest.mark.parametrize("plays", ["time.sleep(600)", "while True: time.sleep(0.1); print('still here', flush=True)"])
def test_it_may_hang_for_no_longer_than_a_script(node, plays):
    node.env.script_limit_s = 2
    with pytest.raises(errors.NodeFailure, match=r"end within 2 s"):
        node.plays(f"say('hello')\n{plays}").create()


@pytest.mark.parametrize("osparams", [{"a b": "x"}, {"a": "x\0y"}])
def test_parameters_that_make_no_variables_are_refused(node, osparams):
    node.plays("sys.exit(0)")
    with pytest.raises(errors.NodeFailure, match="not a variable"):
        spec = msgspec.structs.replace(SPEC, osparams=osparams)
        node.do(OsCreate(request="r1", spec=spec, helper=node.helper))


def test_a_flood_ends_it(node):
    with pytest.raises(errors.NodeFailure, match=f"more than {helper.MAX_OUTPUT} bytes of output"):
        node.plays("say('hello')\nwhile True: port.write(b'x' * 65536)").create()
    assert len(node.log()) <= helper.MAX_OUTPUT + 200_000


def test_a_request_to_stop_ends_it(node):
    node.context.stop.set()
    began = time.monotonic()
    with pytest.raises(errors.NodeFailure, match="stopped on request"):
        node.plays("say('hello'); time.sleep(600)").create()
    assert time.monotonic() - began < 20


def test_what_keeps_a_machine_from_starting_is_told_before(node):
    assert "the emulator /opt/emulator is not installed" in node.do(HelperVerify(helper=node.helper))
    node.plays("")
    assert node.do(HelperVerify(helper=node.helper)) == ""
    for path, said in (("/srv/nowhere", "No such file"), ("relative", "not an absolute")):
        assert said in node.do(HelperVerify(helper=msgspec.structs.replace(node.helper, image=path)))
    node.write("/srv/old", "#!/bin/sh\necho QEMU emulator version 5.2.0\n", 0o755)
    assert "6.0 is needed" in node.do(HelperVerify(helper=msgspec.structs.replace(node.helper, emulator="/srv/old")))
    Path(node.paths.local(EMULATOR)).chmod(0o777)
    assert "written by everybody" in node.do(HelperVerify(helper=node.helper))
    Path(node.paths.local(EMULATOR)).chmod(0o755)
    unknown = msgspec.structs.replace(node.helper, account="no-such-account")
    assert bool(node.do(HelperVerify(helper=unknown))) == (os.geteuid() == 0)
    with pytest.raises(errors.NodeFailure, match="No such file"):
        node.create(image="/srv/nowhere")
