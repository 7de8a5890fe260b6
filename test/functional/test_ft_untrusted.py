"""An OS script that is not trusted runs in a real helper machine, and nothing of that stays."""

import json
import os
import signal
import time

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import paths, settings
from ganeti.bootstrap import daemons, helper_image
from ganeti.testing import vprocess
from ganeti.testing.vcluster import newest_kernel, usable

NAME = "web1.example.com"
#: the same for both scripts: its environment goes to the first disk, then it does what it is told to
SCRIPT = """#!/bin/sh
dd if=/proc/$$/environ of="$DISK_0_PATH" conv=notrunc 2>/dev/null
printf '%s\\033[31m %s\\n' "$(pwd | sed 's,.*/,,')" "$(ls)" | tr '\\n' ' '
echo
case $OSP_ACT in
  fail) echo "no room for it"; echo "sleep 3600" >>/job/start; exit 7 ;;
  hang) exec sleep 3600 ;;
esac
"""
WORD = "word=it's\n$HOME"
REINSTALL = ("gnt-instance", "reinstall", "-f")

pytestmark = pytest.mark.skipif(
    "kvm" not in usable() or not newest_kernel(), reason="there is no QEMU, or no kernel for a helper machine"
)


@pytest.fixture(scope="module")
def one():
    """A node with an OS that has both scripts, an instance of it that `create` has made, and an install image."""
    shell = make_cluster(1)
    node = shell.nodes[0]
    directory = node.paths.local(f"{settings.OS_SEARCH_PATH[0]}/boxed")
    os.makedirs(directory)
    texts = {"ganeti_api_version": "20\n", "create_untrusted": SCRIPT, "parameters.list": "act what\nword any\n"}
    for name, text in texts.items():
        with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{directory}/{name}", 0o755)
    os.symlink("create_untrusted", f"{directory}/create")
    helper_image.build(node.paths.local("/srv/image"))
    with open(node.paths.local("/srv/blank"), "wb") as file:
        file.truncate(1 << 20)
    disks = ("--disk", "0:size=1g", "--disk", "1:size=1g,mode=ro")
    shell.ok(
        "gnt-instance", "add", "-t", "file", *disks, "--no-start", "-o", "boxed", "-O", "act=none", "-n", "node1", NAME
    )
    shell.ok(*REINSTALL, "--os-parameters-secret", WORD, NAME)
    shell.trusted = environment(node)
    shell.ok("gnt-cluster", "modify", "--install-image", "/srv/image")
    yield shell
    destroy(os.path.dirname(shell.cluster.layout.directory))


def environment(node):
    """What the script that ran last has written to the first disk."""
    (disk,) = [
        f"{folder}/{name}"
        for folder, _, names in os.walk(node.paths.local(settings.FILE_STORAGE_DIR))
        for name in names
        if name == "disk0"
    ]
    with open(disk, "r+b") as file:
        raw = file.read(65536).rstrip(b"\0")
        file.seek(0)
        file.write(b"\0" * 65536)
    return dict(item.decode().split("=", 1) for item in raw.split(b"\0"))


def emulators(node):
    return [process.pid for process in vprocess.of_root(node.root) if "qemu" in process.title]


def assert_nothing_is_left(node):
    assert emulators(node) == []
    assert os.listdir(node.paths.local(paths.SCRIPTS_DIR)) == []
    assert os.listdir(node.paths.local(paths.HELPER_JAIL)) == []


def newest_log(node):
    directory = node.paths.local(paths.OS_LOG_DIR)
    newest = max(os.listdir(directory), key=lambda name: os.stat(f"{directory}/{name}").st_mtime_ns)
    with open(f"{directory}/{newest}", encoding="utf-8") as file:
        return file.read().splitlines()


def test_it_gets_the_environment_and_the_disks_of_create_and_leaves_nothing(one):
    node, trusted = one.nodes[0], dict(one.trusted)
    began = time.monotonic()
    one.ok(*REINSTALL, "--os-parameters-secret", WORD, NAME)
    print(f"a helper machine takes {time.monotonic() - began:.1f} s")
    untrusted = environment(node)
    for name in ("GANETI_ROOTDIR", "GANETI_HOSTNAME"):  # of a virtual node
        del trusted[name]
    for index, name in enumerate(("DISK_0_PATH", "DISK_1_PATH")):
        assert trusted.pop(name).endswith(f"/disk{index}")
        assert untrusted.pop(name).startswith("/dev/vd")
    assert untrusted == trusted
    assert untrusted["OSP_WORD"] == "it's\n$HOME"
    # without what a terminal would act upon
    assert newest_log(node)[-1] == "os?[31m create create_untrusted ganeti_api_version parameters.list "
    assert_nothing_is_left(node)


def test_an_image_that_is_not_there_is_told_at_once(one):
    assert "No such file" in one.fails("gnt-cluster", "modify", "--install-image", "/srv/nowhere")
    one.ok("gnt-cluster", "verify")
    image = one.nodes[0].paths.local("/srv/image")
    os.rename(image, image + ".away")
    try:
        assert "untrusted OS scripts cannot run there" in one.cluster.call(one.master, ("gnt-cluster", "verify")).stdout
        assert "cannot run create_untrusted of OS boxed" in one.fails(*REINSTALL, NAME)
    finally:
        os.rename(image + ".away", image)


def test_a_script_that_fails_is_told_and_a_machine_that_does_not_switch_off_is_ended(one):
    said = one.fails(*REINSTALL, "--os-parameters-secret", "act=fail", "--helper-shutdown-timeout", "1", NAME)
    assert "the script ended with exit status 7, but the helper machine was not off 1 s later" in said
    assert said.count("no room for it") == 1
    assert_nothing_is_left(one.nodes[0])


def test_an_image_that_does_not_say_hello_is_ended(one):
    one.ok("gnt-cluster", "modify", "--install-image", "/srv/blank")
    said = one.fails(*REINSTALL, "--helper-startup-timeout", "2", NAME)
    one.ok("gnt-cluster", "modify", "--install-image", "/srv/image")
    assert "the helper machine did not begin create_untrusted within 2 s" in said
    assert_nothing_is_left(one.nodes[0])


def test_a_new_node_daemon_ends_the_machine_of_one_that_was_killed(one):
    node = one.nodes[0]
    job = one.submit(*REINSTALL, "--os-parameters-secret", "act=hang", NAME)
    records = node.paths.local(paths.SCRIPTS_DIR)
    wait_until("the machine runs", lambda: emulators(node) and os.listdir(records))
    (first,) = emulators(node)
    (record,) = os.listdir(records)
    with open(f"{records}/{record}", encoding="utf-8") as file:
        assert json.load(file)["pid"] == first
    os.kill(daemons.pid_of(node.paths, daemons.NODED), signal.SIGKILL)
    wait_until("it is dead", lambda: not daemons.is_running(node.paths, daemons.NODED), every_s=0.01)
    assert emulators(node) == [first], "the machine shall outlive its daemon, else this test shows nothing"
    one.start_daemon(node)
    assert first not in emulators(node)
    one.ok("gnt-job", "cancel", "--kill", "--yes-do-it", str(job))
    wait_until("the job ends", lambda: one.field("gnt-job", str(job), "status") == "canceled")
    assert_nothing_is_left(node)
