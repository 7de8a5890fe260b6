"""Allocators that are programs: found by the search path, given a file, cut off when they take too long."""

from __future__ import annotations

import os
import threading

import pytest

from ganeti import errors, paths
from ganeti.calls.iallocator import IallocatorRun
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.node import iallocator
from ganeti.node.base import Context, NodeEnv
from ganeti.paths import Paths


@pytest.fixture
def env(tmp_path) -> NodeEnv:
    where = Paths(str(tmp_path), "node1.example.com")
    return NodeEnv(paths=where, runner=HostRunner(where), clock=SystemClock(), hypervisors={}, storage={})


def install(env: NodeEnv, name: str, body: str, place: int = 0, mode: int = 0o755) -> None:
    directory = env.paths.local(env.paths.iallocator_search_path[place])
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{name}", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n" + body)
    os.chmod(f"{directory}/{name}", mode)


def test_it_gets_the_request_as_a_file_and_both_outputs_are_kept_apart(env):
    install(env, "mine", 'echo warning >&2; cat "$1"; shift; echo " $@"; exit 3\n')
    reply = iallocator.run(IallocatorRun(name="mine", request='{"a": 1}', options=("--b=c", "--d")), env, Context())
    assert (reply.status, reply.output, reply.complaints) == (3, '{"a": 1} --b=c --d\n', "warning")


def test_the_request_is_gone_afterwards_and_was_for_its_owner_alone(env):
    install(env, "mine", 'basename "$1"; stat -c %a "$1"\n')
    name, mode = iallocator.run(IallocatorRun(name="mine", request="{}"), env, Context()).output.split()
    assert name.startswith("ganeti-iallocator.")
    assert mode == "600"
    assert os.listdir(env.paths.local(paths.RUN_DIR)) == []


def test_one_that_everybody_could_have_changed_is_not_run(env):
    install(env, "mine", "echo ran\n", mode=0o777)
    with pytest.raises(errors.NodeFailure, match="can be written by everybody"):
        iallocator.run(IallocatorRun(name="mine", request="{}"), env, Context())


def test_the_environment_is_clean(env, monkeypatch):
    monkeypatch.setenv("SECRET", "of the daemon")
    install(env, "mine", "env | cut -d= -f1\n")
    names = set(iallocator.run(IallocatorRun(name="mine", request="{}"), env, Context()).output.split())
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "LC_ALL", "GANETI_ROOTDIR", "GANETI_HOSTNAME"}


def test_the_first_in_the_search_path_that_can_run_is_taken(env):
    install(env, "mine", "echo second\n", place=1)
    assert iallocator.run(IallocatorRun(name="mine", request="{}"), env, Context()).output == "second\n"
    install(env, "mine", "echo not executable\n", mode=0o644)
    assert iallocator.run(IallocatorRun(name="mine", request="{}"), env, Context()).output == "second\n"
    install(env, "mine", "echo first\n")
    assert iallocator.run(IallocatorRun(name="mine", request="{}"), env, Context()).output == "first\n"


def test_one_that_is_not_there_is_told_with_the_places(env):
    with pytest.raises(errors.NodeFailure) as caught:
        iallocator.run(IallocatorRun(name="nobody", request="{}"), env, Context())
    assert "no allocator 'nobody'" in str(caught.value)
    assert env.paths.iallocator_search_path[1] in caught.value.hint


@pytest.mark.parametrize("name", ["", "../hail", "a/b", "a.b", "-x/", "a\n"])
def test_names_that_are_paths_are_refused(env, name):
    with pytest.raises(errors.NodeFailure, match="not the name"):
        iallocator.run(IallocatorRun(name=name, request="{}"), env, Context())


@pytest.mark.parametrize("option", ["x", "-x", "--", "--a\n", "--a b"])
def test_words_that_are_no_options_are_refused(env, option):
    install(env, "mine", "true\n")
    with pytest.raises(errors.NodeFailure, match="not an option"):
        iallocator.run(IallocatorRun(name="mine", request="{}", options=(option,)), env, Context())


def test_stop_ends_it(env):
    install(env, "mine", "sleep 60\n")
    context = Context()
    threading.Timer(0.05, context.stop.set).start()
    with pytest.raises(errors.NodeFailure, match="stopped on request"):
        iallocator.run(IallocatorRun(name="mine", request="{}"), env, context)
