"""Hook scripts: which run, in which order, with what around them."""

from __future__ import annotations

import contextlib
import os
import select
import threading

import pytest

from ganeti import errors, paths
from ganeti.calls.node import HookResult, HooksRun
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.model.types import RequestId
from ganeti.node import hooks
from ganeti.node.base import Context, NodeEnv
from ganeti.paths import Paths
from ganeti.testing.clock import SteppedClock

NAME = "instance-add-pre.d"


@pytest.fixture
def env(tmp_path) -> NodeEnv:
    where = Paths(str(tmp_path), "node1.example.com")
    return NodeEnv(paths=where, runner=HostRunner(where), clock=SystemClock(), hypervisors={}, storage={})


def install(env: NodeEnv, name: str, body: str, mode: int = 0o755) -> None:
    directory = f"{env.paths.local(paths.HOOKS_DIR)}/{NAME}"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{name}", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n" + body)
    os.chmod(f"{directory}/{name}", mode)


def call(**environment: str) -> HooksRun:
    return HooksRun(path="instance-add", phase="pre", environment=environment, request=RequestId("r"))


def run(env: NodeEnv, made: HooksRun | None = None, context: Context | None = None) -> tuple[HookResult, ...]:
    return hooks.run(made or call(), env, context or Context())


def test_no_directory_is_nothing_to_do(env):
    assert run(env) == ()


def test_scripts_run_in_byte_order_and_others_are_skipped(env):
    for name in ("b-2", "A", "a", "10_x"):
        install(env, name, "echo ran")
    install(env, "with.dot", "echo no")
    install(env, "backup~", "echo no")
    install(env, "not-executable", "echo no", 0o644)
    install(env, ".hidden", "echo no")
    os.mkdir(f"{env.paths.local(paths.HOOKS_DIR)}/{NAME}/directory")
    os.symlink("nowhere", f"{env.paths.local(paths.HOOKS_DIR)}/{NAME}/dangling")
    results = [(result.script.removeprefix(NAME + "/"), result.status) for result in run(env)]
    assert results == [
        ("10_x", 2),
        ("A", 2),
        ("a", 2),
        ("b-2", 2),
        ("backup~", 0),
        ("dangling", 0),
        ("directory", 0),
        ("not-executable", 0),
        ("with.dot", 0),
    ]


def test_failure_keeps_the_output_and_the_others_run(env):
    install(env, "1", "echo out; echo err >&2; exit 3")
    install(env, "2", "kill -9 $$")
    install(env, "3", "echo '  fine  '")
    assert run(env) == (
        HookResult(script=f"{NAME}/1", status=1, output="out\nerr"),
        HookResult(script=f"{NAME}/2", status=1, output=""),
        HookResult(script=f"{NAME}/3", status=2, output="fine"),
    )


def test_unrunnable_script_is_a_failure_that_says_why(env):
    install(env, "1", "")
    path = f"{env.paths.local(paths.HOOKS_DIR)}/{NAME}/1"
    with open(path, "w", encoding="ascii") as file:
        file.write("#!/no/such/interpreter\n")
    (result,) = run(env)
    assert result.status == 1
    assert "not found" in result.output


def test_environment_is_what_was_given_with_path_and_the_virtual_node(env):
    install(env, "1", "env; pwd; cat")
    (result,) = run(env, call(GANETI_OP_CODE="OP_X", GANETI_DATA_DIR="/var/lib/ganeti"))
    lines = set(result.output.splitlines()) - {"PWD=/", "SHLVL=1", "SHLVL=0", "_=/usr/bin/env", "_=/bin/env"}
    assert lines == {
        "PATH=/sbin:/bin:/usr/sbin:/usr/bin",
        "GANETI_OP_CODE=OP_X",
        f"GANETI_DATA_DIR={env.paths.root}/var/lib/ganeti",
        f"GANETI_ROOTDIR={env.paths.root}",
        "GANETI_HOSTNAME=node1.example.com",
        "/",
    }


def test_output_is_cut_at_4096_bytes(env):
    install(env, "1", "head -c 10000 /dev/zero | tr '\\0' x")
    (result,) = run(env)
    assert (result.status, result.output) == (2, "x" * 4096)


def test_stop_ends_the_running_script_and_the_rest(env):
    install(env, "1", "sleep 60")
    install(env, "2", "sleep 60")
    context = Context()
    threading.Timer(0.05, context.stop.set).start()
    results = run(env, context=context)
    assert [result.status for result in results] == [1, 1]
    assert "stopped on request" in results[0].output


class Hours(SteppedClock):
    """Each look at it comes at the next of these times."""

    def __init__(self, *times):
        super().__init__()
        self._times = list(times)

    def monotonic(self):
        return self._times.pop(0)


def test_the_time_limit_is_of_all_scripts_together_and_ends_each_with_its_children(env):
    install(env, "1", "sleep 20 & echo $!; wait")
    install(env, "2", "sleep 20")
    env.clock = Hours(0.0, hooks.LIMIT_S - 0.2, hooks.LIMIT_S)
    results = run(env)
    assert [result.status for result in results] == [1, 1]
    assert "0.2 s" in results[0].output
    assert "no time left of 880 s" in results[1].output
    child = int(results[0].output.split()[0])
    with contextlib.suppress(ProcessLookupError):  # buried already
        handle = os.pidfd_open(child)
        try:
            # killed, though it may take a moment to die
            assert select.select([handle], [], [], 60)[0]
        finally:
            os.close(handle)


@pytest.mark.parametrize(("path", "phase"), [("../x", "pre"), ("a/b", "pre"), ("instance-add", "during"), ("", "pre")])
def test_bad_paths_and_phases_are_refused(env, path, phase):
    with pytest.raises(errors.NodeFailure, match="no such hooks"):
        run(env, HooksRun(path=path, phase=phase, environment={}, request=RequestId("r")))


def test_script_is_written_down_while_it_runs(env):
    """So a daemon that is killed finds it at its next start and ends it (`scripts.end_all`)."""
    records = env.paths.local(paths.SCRIPTS_DIR)
    install(env, "a", f"ls {records}")
    (result,) = run(env)
    assert result.output == "r.json"
    assert os.listdir(records) == []


def test_scripts_after_those_that_were_stopped_are_not_run(env):
    install(env, "a", "echo ran")
    context = Context()
    context.stop.set()
    (result,) = run(env, context=context)
    assert result.status == 1
    assert "stopped" in result.output
    assert "ran" not in result.output


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "BASH_ENV", "PATH", "GANETI_A=B", "GANETI_X\n", "GANETI_", "", "ganeti_x"]
)
def test_only_variables_of_hooks_are_taken(env, name):
    install(env, "a", "touch ran\n")
    with pytest.raises(errors.NodeFailure, match="not a variable"):
        run(env, HooksRun(path="instance-add", phase="pre", environment={name: "x"}, request=RequestId("r")))


def test_values_that_no_environment_can_hold_are_refused(env):
    install(env, "a", "true\n")
    with pytest.raises(errors.NodeFailure, match="not a variable"):
        run(env, call(GANETI_A="x\0y"))
    with pytest.raises(errors.NodeFailure, match="too many"):
        run(env, call(**{f"GANETI_{number}": "" for number in range(hooks.MAX_VARIABLES + 1)}))


def test_a_script_that_everybody_can_write_is_not_run(env):
    install(env, "a", f"touch {env.paths.root}/ran\n", 0o777)
    install(env, "b", "true\n")
    first, second = run(env)
    assert (first.status, second.status) == (hooks.FAILED, hooks.SUCCEEDED)
    assert "can be written by everybody" in first.output
    assert not os.path.exists(f"{env.paths.root}/ran")
    os.chmod(f"{env.paths.local(paths.HOOKS_DIR)}/{NAME}/a", 0o755)
    os.chmod(f"{env.paths.local(paths.HOOKS_DIR)}/{NAME}", 0o777)
    assert [result.status for result in run(env)] == [hooks.FAILED, hooks.FAILED]
