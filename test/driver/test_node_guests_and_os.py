"""Handlers of calls about guests, volumes and OS definitions, on a node with fake guests and real files."""

import os
from pathlib import Path

import msgspec
import pytest

from ganeti import errors
from ganeti.calls.instance import (
    GuestSpec,
    HypervisorValidate,
    InstanceConsoleLog,
    InstanceInfo,
    InstanceList,
    InstanceReboot,
    InstanceStart,
    InstanceStop,
)
from ganeti.calls.os import OsCreate, OsDiagnose, OsRename, OsVerify
from ganeti.calls.volume import VolumeCreate, VolumeRemove
from ganeti.host.run import HostRunner
from ganeti.hypervisor import parameters
from ganeti.hypervisor import registry as hypervisors
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.node import guests, volumes
from ganeti.node import os as node_os
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.paths import Paths
from ganeti.storage import registry as storage
from ganeti.storage.base import NotOurs
from ganeti.testing.clock import SteppedClock
from ganeti.testing.drivers import FailingHypervisor, FailingStorage

DISK = Disk(
    uuid="disk-1",
    template=DiskTemplate.FILE,
    size=2,
    logical_id=("loop", "/srv/ganeti/file-storage/web1/disk0"),
)
INSTANCE = Instance(
    uuid="uuid-1", name="web1", primary_node="n1", os="linux", hypervisor="fake", disks=(DISK,), osparams={}
)
SPEC = GuestSpec(instance=INSTANCE, hvparams=parameters.defaults("fake"), beparams={"maxmem": 32, "vcpus": 1})


class Stubborn(FailingHypervisor):
    """Its guests do not hear when they are asked to shut down."""

    def stop(self, name, uuid, *, force):
        self.calls.append(f"stop force={force}")
        if force:
            self.inner.stop(name, uuid, force=True)


class Node:
    def __init__(self, root):
        self.paths = Paths(str(root), "node1.example.com")
        self.clock = SteppedClock(1_000_000.0)
        runner = HostRunner(self.paths)
        made = hypervisors.drivers(self.paths, runner, self.clock)
        self.fake = FailingHypervisor(made["fake"])
        self.files = FailingStorage(storage.drivers(self.paths, runner)[DiskTemplate.FILE])
        self.env = NodeEnv(
            paths=self.paths,
            runner=runner,
            clock=self.clock,
            hypervisors={"fake": self.fake},
            storage={DiskTemplate.FILE: self.files},
        )
        self.context = Context()

    def do(self, call):
        return HANDLERS[type(call)](call, self.env, self.context)

    def with_disk(self):
        self.do(VolumeCreate(request="r0", disk=DISK, owner=INSTANCE.uuid))
        return self

    def os_script(self, name, text, os_name="linux"):
        directory = Path(self.paths.local("/srv/ganeti/os")) / os_name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ganeti_api_version").write_text("20\n")
        script = directory / name
        script.write_text("#!/bin/sh\n" + text)
        script.chmod(0o755)
        return directory

    def logs(self):
        return sorted(os.listdir(self.paths.local("/var/log/ganeti/os")))


@pytest.fixture
def node(tmp_path):
    assert guests and volumes and node_os  # their handlers are registered by import
    return Node(tmp_path)


def start(**change):
    return InstanceStart(request="r1", spec=msgspec.structs.replace(SPEC, **change))


def stop(timeout=120):
    return InstanceStop(
        request="r2", name="web1", uuid=INSTANCE.uuid, hypervisor="fake", timeout=timeout, disks=INSTANCE.disks
    )


def is_running(node):
    return node.do(InstanceInfo(name="web1", uuid=INSTANCE.uuid, hypervisor="fake")) is not None


def test_start_opens_the_disks_first(node):
    node.with_disk().do(start())
    assert is_running(node)
    assert node.files.calls == ["create", "open"]


def test_start_without_the_disk_starts_nothing(node):
    with pytest.raises(errors.StorageError, match="is not there"):
        node.do(start())
    assert not is_running(node)


def test_a_start_that_fails_closes_the_disks(node):
    node.with_disk()
    node.fake.fail_next("start", errors.HypervisorError("no memory"))
    with pytest.raises(errors.HypervisorError, match="no memory"):
        node.do(start())
    assert node.files.calls[-1] == "close"


def test_when_the_second_disk_does_not_open_the_first_is_closed(node):
    second = msgspec.structs.replace(DISK, uuid="disk-2", logical_id=("loop", "/srv/ganeti/file-storage/web1/disk1"))
    node.with_disk()
    with pytest.raises(errors.StorageError, match="disk1 of disk disk-2 is not there"):
        node.do(start(instance=msgspec.structs.replace(INSTANCE, disks=(DISK, second))))
    assert node.files.calls == ["create", "open", "open", "close"]


def test_a_name_that_runs_under_another_hypervisor_is_not_started_again(node):
    node.with_disk().do(start())
    node.env.hypervisors = {"fake": node.fake, "other": node.fake}
    other = msgspec.structs.replace(INSTANCE, hypervisor="other")
    with pytest.raises(errors.NodeFailure, match="runs already under fake"):
        node.do(start(instance=other))


def test_stop_asks_then_cleans_up_and_closes(node):
    node.with_disk().do(start())
    node.do(stop())
    assert not is_running(node)
    assert node.files.calls[-1] == "close"


def test_stop_of_what_does_not_run_is_fine(node):
    node.do(stop())
    node.do(stop(timeout=0))


def test_a_guest_that_does_not_hear_is_asked_again_and_then_ended(node):
    node.with_disk().do(start())
    stubborn = Stubborn(node.fake.inner)
    node.env.hypervisors = {"fake": stubborn}
    begin = node.clock.now
    node.do(stop(timeout=12))
    assert [call for call in stubborn.calls if call.startswith("stop")] == ["stop force=False"] * 3 + [
        "stop force=True"
    ]
    assert node.clock.now - begin == pytest.approx(12)
    assert not is_running(node)


def test_whoever_waits_for_a_guest_that_does_not_end_is_told(node):
    node.with_disk().do(start())
    node.env.hypervisors = {"fake": Stubborn(node.fake.inner)}
    node.do(stop(timeout=14))
    assert "text" not in node.context.progress
    node.do(start())
    node.do(stop(timeout=50))
    text = node.context.progress["text"]
    assert text.endswith("to shut down 45 s ago; after 50 s it is ended by force")


def test_stop_with_no_time_is_by_force_at_once(node):
    node.with_disk().do(start())
    stubborn = Stubborn(node.fake.inner)
    node.env.hypervisors = {"fake": stubborn}
    node.do(stop(timeout=0))
    assert "stop force=False" not in stubborn.calls


def test_a_guest_that_cannot_be_asked_is_ended(node):
    node.with_disk().do(start())
    node.fake.fail_next("stop", errors.HypervisorError("no answer"))
    node.do(stop())
    assert not is_running(node)


def test_a_stop_that_is_cancelled_does_not_end_the_guest_by_force(node):
    node.with_disk().do(start())
    stubborn = Stubborn(node.fake.inner)
    node.env.hypervisors = {"fake": stubborn}
    node.context.stop.set()
    with pytest.raises(errors.NodeFailure, match="stopped on request"):
        node.do(stop())
    assert "stop force=True" not in stubborn.calls


def test_the_list_tells_which_hypervisors_could_not_be_asked(node):
    node.with_disk().do(start())
    node.env.hypervisors = {"fake": node.fake, "broken": FailingHypervisor(node.fake.inner)}
    node.env.hypervisors["broken"].fail_next("list", errors.HypervisorError("tool missing"))
    reply = node.do(InstanceList(hypervisors=("fake", "broken", "absent")))
    assert [guest.name for guest in reply.guests] == ["web1"]
    assert reply.errors["broken"] == "tool missing"
    assert "has no hypervisor 'absent'" in reply.errors["absent"]


def test_reboot_and_validate_reach_the_driver(node):
    assert node.do(HypervisorValidate(hypervisor="fake", hvparams=SPEC.hvparams)) == ""
    with pytest.raises(errors.HypervisorError, match="not running"):
        node.do(InstanceReboot(request="r3", spec=SPEC))


def test_taking_a_refused_creation_back_leaves_the_foreign_file(node):
    local = node.paths.local(DISK.logical_id[1])
    os.makedirs(os.path.dirname(local))
    Path(local).write_text("precious")
    with pytest.raises(NotOurs):
        node.do(VolumeCreate(request="r1", disk=DISK, owner=INSTANCE.uuid))
    node.do(VolumeRemove(request="r2", disk=DISK, owner=INSTANCE.uuid, undoes="r1"))
    with pytest.raises(NotOurs):
        node.do(VolumeRemove(request="r3", disk=DISK, owner=INSTANCE.uuid))
    assert Path(local).read_text() == "precious"


def test_a_template_that_the_node_cannot_serve_is_refused(node):
    plain = msgspec.structs.replace(DISK, template=DiskTemplate.PLAIN)
    with pytest.raises(errors.NodeFailure, match="no storage for template plain"):
        node.do(VolumeCreate(request="r1", disk=plain, owner=INSTANCE.uuid))


def test_diagnose_lists_good_and_broken_definitions_and_the_first_directory_wins(node):
    node.os_script("create", "true", "good")
    node.os_script("export", "true", "broken")
    hidden = Path(node.paths.local("/usr/share/ganeti/os/good"))
    hidden.mkdir(parents=True)
    Path(node.paths.local("/srv/ganeti/os/.git")).mkdir()
    Path(node.paths.local("/srv/ganeti/os/file")).write_text("")
    found = {definition.name: definition for definition in node.do(OsDiagnose())}
    assert found["good"].valid
    assert found["good"].path == "/srv/ganeti/os/good"
    assert found["broken"].reason == "there is no script create"
    assert not {".git", "file"} & set(found)


def test_a_script_that_is_not_executable_or_a_dangling_link_is_told(node):
    directory = node.os_script("create", "true")
    (directory / "create").chmod(0o644)
    (directory / "export").symlink_to("/nowhere")
    (directory / "verify").mkdir()
    (definition,) = [d for d in node.do(OsDiagnose()) if d.name == "linux"]
    assert definition.reason == (
        "script create is not executable; script export is a link to nothing; script verify is not a regular file"
    )


def test_create_runs_in_the_definitions_directory_with_the_local_disk_path(node):
    directory = node.os_script("create", 'pwd; echo "$INSTANCE_NAME $HOME"; echo data >"$DISK_0_PATH"')
    node.with_disk().do(OsCreate(request="r1", spec=SPEC))
    assert Path(node.paths.local(DISK.logical_id[1])).read_text() == "data\n"
    (log,) = node.logs()
    assert log.startswith("add-linux-web1-")
    text = Path(node.paths.local(f"/var/log/ganeti/os/{log}")).read_text()
    assert text == f"{directory}\nweb1 \n"


def test_create_that_fails_shows_the_last_twenty_lines(node):
    node.os_script("create", "seq 1 30; echo broken >&2; exit 3")
    with pytest.raises(errors.NodeFailure, match=r"OS create script of linux failed: exit status 3") as caught:
        node.with_disk().do(OsCreate(request="r1", spec=SPEC))
    lines = str(caught.value).splitlines()
    assert lines[1:] == [str(number) for number in range(12, 31)] + ["broken"]


def test_create_is_stopped_on_request(node):
    node.os_script("create", "echo begun; exec sleep 600")
    node.context.stop.set()
    with pytest.raises(errors.NodeFailure, match="stopped on request"):
        node.with_disk().do(OsCreate(request="r1", spec=SPEC))


def test_create_of_an_unknown_os_names_it_and_the_places(node):
    with pytest.raises(errors.NodeFailure, match="Directory for OS linux not found in search path; looked in /srv/"):
        node.with_disk().do(OsCreate(request="r1", spec=SPEC))


def test_an_invalid_definition_runs_nothing(node):
    node.os_script("export", "true")
    with pytest.raises(errors.NodeFailure, match="OS linux is not valid here: there is no script create"):
        node.with_disk().do(OsCreate(request="r1", spec=SPEC))


@pytest.mark.parametrize("name", ["create", "variants.list", "."])
def test_a_definition_that_others_could_have_changed_runs_nothing_and_is_told(node, name):
    directory = node.os_script("create", "true")
    (directory / "variants.list").write_text("small\n")
    (directory / name).chmod(0o777)
    (definition,) = [found for found in node.do(OsDiagnose()) if found.name == "linux"]
    assert not definition.valid
    assert definition.reason.endswith(f"(mode 0777) can be written by everybody; type: chmod o-w {directory / name}")
    with pytest.raises(errors.NodeFailure, match="can be written by everybody"):
        node.with_disk().do(OsCreate(request="r1", spec=SPEC))


def test_rename_replies_what_went_wrong_as_a_warning(node):
    node.with_disk()
    node.os_script("create", "true")
    assert "has no script rename" in node.do(OsRename(request="r1", spec=SPEC, old_name="old"))
    node.os_script("rename", 'echo "$OLD_INSTANCE_NAME"; exit 1')
    assert "exit status 1" in node.do(OsRename(request="r2", spec=SPEC, old_name="old"))
    node.os_script("rename", '[ "$OLD_INSTANCE_NAME" = old ]')
    assert node.do(OsRename(request="r3", spec=SPEC, old_name="old")) == ""


def test_verify_tells_what_the_script_says(node):
    node.os_script("create", "true")
    node.os_script("verify", 'echo "$* $OSP_COLOUR $INSTANCE_NAME"; [ "$OSP_COLOUR" = red ]')
    assert node.do(OsVerify(os="linux", osparams={"colour": "red"})) == ""
    assert "ended with exit status 1: parameters blue" in node.do(OsVerify(os="linux", osparams={"colour": "blue"}))


def test_verify_that_floods_is_ended(node):
    node.os_script("create", "true")
    node.os_script("verify", "exec yes")
    assert len(node.do(OsVerify(os="linux", osparams={}))) < 40_000


@pytest.mark.parametrize(
    "changes", [{"hvparams": {"a=b": 1}}, {"osparams": {"x\n": "1"}}, {"osparams": {"size": "\0"}}]
)
def test_what_no_environment_can_hold_never_reaches_a_script(node, changes):
    node.os_script("create", f"touch {node.paths.root}/ran\n")
    spec = msgspec.structs.replace(SPEC, **changes)
    with pytest.raises(errors.NodeFailure, match="not a variable"):
        node.with_disk().do(OsCreate(request="r1", spec=spec))
    assert not os.path.exists(f"{node.paths.root}/ran")


@pytest.mark.parametrize(
    "name", ["../linux", "linux/../linux", "/srv/ganeti/os/linux", ".", "..", "li nux", "linux\n", ""]
)
def test_names_of_definitions_lead_nowhere_else(node, name):
    node.os_script("create", f"touch {node.paths.root}/ran\n")
    spec = msgspec.structs.replace(SPEC, instance=msgspec.structs.replace(INSTANCE, os=name))
    with pytest.raises(errors.NodeFailure, match="not found"):
        node.with_disk().do(OsCreate(request="r1", spec=spec))
    assert not os.path.exists(f"{node.paths.root}/ran")


def test_definitions_with_odd_names_are_not_listed(node):
    for name in ("linux", "a b", "-x;id", "$(id)", "é", ".hidden", "x\ny"):
        node.os_script("create", "true\n", os_name=name)
    assert [each.name for each in node.do(OsDiagnose())] == ["linux"]


def test_no_more_of_a_console_is_told_than_is_sensible(node):
    asked = []
    node.fake.console_log = lambda name, uuid, *, max_bytes: asked.append(max_bytes) or ""
    for wanted in (-1, 100, 1 << 40):
        node.do(InstanceConsoleLog(name="web1", uuid="uuid-1", hypervisor="fake", max_bytes=wanted))
    assert asked == [0, 100, guests.MAX_CONSOLE_LOG]
