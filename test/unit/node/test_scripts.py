"""Scripts that an earlier daemon left running: recognised and ended, and nobody else."""

import os
import signal
import subprocess
import sys
import threading

import msgspec
import pytest

from ganeti import errors, paths
from ganeti.host import groups
from ganeti.host.run import HostRunner
from ganeti.node import scripts
from ganeti.paths import Paths


def started(*argv):
    return subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


@pytest.fixture
def where(tmp_path):
    return Paths(str(tmp_path / "root"), "node1")


def run(where, script, *, request="1-0-a", begun=None):
    os.makedirs(where.root, exist_ok=True)
    path = f"{where.root}/script"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o755)
    with open(f"{where.root}/log", "wb") as output, scripts.recorded(where, request) as record:
        return HostRunner(where).run_logged(
            (path, "one word"),
            output=output,
            timeout_s=20,
            environment={"PATH": "/usr/bin:/bin"},
            cwd="/",
            stop=threading.Event(),
            begun=begun or record,
        )


def records(where):
    return os.listdir(where.local(paths.SCRIPTS_DIR))


def test_script_gets_its_words_no_input_and_gives_its_status(where):
    assert run(where, 'test "$1" = "one word" && test -z "$(cat)" && exit 3') == 3
    assert records(where) == []


def test_script_is_written_down_before_it_begins(where):
    assert run(where, f"cat {where.local(paths.SCRIPTS_DIR)}/1-0-a.json") == 0
    with open(f"{where.root}/log", encoding="utf-8") as file:
        assert str(groups.boot_id()) in file.read()


def test_script_that_cannot_be_written_down_does_not_begin(where):
    def fails(pid):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        run(where, f"touch {where.root}/ran", begun=fails)
    assert not os.path.exists(f"{where.root}/ran")


def test_script_does_not_begin_when_the_daemon_is_killed_first(where):
    """The daemon of this test kills itself between writing the script down and letting it begin."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {os.path.dirname(os.path.dirname(os.path.realpath(__file__)))!r})
from node.test_scripts import Paths, run, groups
where = Paths({where.root!r}, "node1")
def die(pid):
    print(pid, groups.identify(pid).start, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
run(where, "touch {where.root}/ran", begun=die)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, start = map(int, done.stdout.split())
    leader = groups.Leader(pid=pid, start=start, boot=groups.boot_id())
    deadline = threading.Event()
    while groups.lives(leader):
        assert not deadline.wait(0.01)
    assert not os.path.exists(f"{where.root}/ran")


def leave(where, request, process):
    """As a killed daemon leaves it."""
    os.makedirs(where.local(paths.SCRIPTS_DIR), exist_ok=True)
    with scripts.recorded(where, "other") as begun:
        begun(process.pid)
        os.link(f"{where.local(paths.SCRIPTS_DIR)}/other.json", f"{where.local(paths.SCRIPTS_DIR)}/{request}.json")


def test_left_script_ends_with_all_its_children(where):
    process = started("/bin/sh", "-c", "sleep 100 & echo $!; sleep 100")
    child = int(process.stdout.readline())
    leave(where, "1-0-a", process)
    scripts.end(where, "1-0-b")
    assert process.poll() is None
    scripts.end(where, "1-0-a")
    assert process.wait() == -signal.SIGKILL
    assert groups._stat(child) is None or groups._stat(child).state == "Z"
    assert records(where) == []
    process.stdout.close()


def test_children_end_too_when_the_script_itself_is_gone(where):
    process = started("/bin/sh", "-c", "sleep 100 & echo $!; read x")
    child = int(process.stdout.readline())
    leader = groups.identify(process.pid)
    process.wait()
    assert groups.lives(leader)
    assert groups.end(leader)
    assert not groups.lives(leader)
    assert groups._stat(child) is None or groups._stat(child).state == "Z"
    process.stdout.close()


@pytest.mark.parametrize("changes", [{"start": 1}, {"boot": "another"}])
def test_another_process_with_that_number_is_left_alone(changes):
    process = started("sleep", "100")
    other = msgspec.structs.replace(groups.identify(process.pid), **changes)
    assert not groups.end(other)
    assert process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()


def test_everything_that_was_left_ends_at_the_start(where):
    processes = [started("sleep", "100") for _ in range(2)]
    for number, process in enumerate(processes):
        leave(where, f"1-0-{number}", process)
    with open(f"{where.local(paths.SCRIPTS_DIR)}/broken.json", "w", encoding="utf-8") as file:
        file.write("{")
    with open(f"{where.local(paths.SCRIPTS_DIR)}/.1-0-9.json.x", "w", encoding="utf-8") as file:
        file.write("{")
    scripts.end_all(where)
    for process in processes:
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert records(where) == ["broken.json"]
    with pytest.raises(errors.ExecError, match="cannot be read"):
        scripts.end(where, "broken")


def test_a_request_id_is_no_path(where):
    for wrong in ("../x", ".x"):
        with pytest.raises(errors.NodeFailure, match="not a request id"):
            scripts.end(where, wrong)
