import os
import subprocess
import sys

import msgspec
import pytest

from ganeti.testing import vprocess


@pytest.fixture
def sleeper(tmp_path):
    started = []

    def start(**more):
        process = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"],
            env={"GANETI_ROOTDIR": str(tmp_path), **more},
            stdout=subprocess.PIPE,
        )
        process.stdout.read(1)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_kill_all_ends_the_nodes_processes_and_no_others(tmp_path, sleeper):
    mine = sleeper()
    visitor = sleeper(**{vprocess.SHELL_VARIABLE: "1"})
    other = sleeper(GANETI_ROOTDIR=str(tmp_path) + "2")
    ended = vprocess.kill_all(str(tmp_path))
    assert [process.pid for process in ended] == [mine.pid]
    assert mine.wait(timeout=10) == -9
    assert visitor.poll() is None
    assert other.poll() is None


def test_kill_spares_a_process_that_only_has_the_number(tmp_path, sleeper):
    process = sleeper()
    (found,) = vprocess.of_root(str(tmp_path))
    assert not vprocess.kill(msgspec.structs.replace(found, started=found.started + 1), str(tmp_path))
    assert process.poll() is None


def test_we_and_our_parents_are_never_found(tmp_path):
    script = f"from ganeti.testing import vprocess; print([p.pid for p in vprocess.of_root({str(tmp_path)!r})])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "GANETI_ROOTDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_title_is_the_script_of_an_interpreter():
    assert vprocess.Process(1, 1, ("/usr/bin/python3.11", "-I", "/x/bin/ganeti-noded")).title == "ganeti-noded"
    assert vprocess.Process(1, 1, ("/usr/bin/qemu-system-x86_64", "-name", "web1")).title == "qemu-system-x86_64"
