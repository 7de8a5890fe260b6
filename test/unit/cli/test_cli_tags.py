"""list-tags, add-tags, remove-tags, search-tags."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from unit.cli.kit import FixedClock, Master, job_master, run

from ganeti.cli.main import main
from ganeti.cli.world import World
from ganeti.paths import Paths

OBJECTS = [
    ("gnt-cluster", "cluster", ()),
    ("gnt-node", "node", ("n1",)),
    ("gnt-instance", "instance", ("web1",)),
    ("gnt-group", "nodegroup", ("rack2",)),
    ("gnt-network", "network", ("lan",)),
]


@pytest.mark.parametrize(("tool", "kind", "name"), OBJECTS)
def test_list_asks_directly_and_sorts(tool, kind, name):
    master = Master(QueryTags=["b", "a"])
    assert run(tool, "list-tags", *name, master=master) == (0, "a\nb\n", "")
    assert master.sent("QueryTags") == [[kind, name[0] if name else ""]]


@pytest.mark.parametrize(("verb", "op_id"), [("add-tags", "OP_TAGS_SET"), ("remove-tags", "OP_TAGS_DEL")])
@pytest.mark.parametrize(("tool", "kind", "name"), OBJECTS)
def test_change_is_one_job(tool, kind, name, verb, op_id):
    master = job_master()
    assert run(tool, verb, *name, "x", "y", "x", master=master).code == 0
    ((ops,),) = master.sent("SubmitJob")
    wanted = {"OP_ID": op_id, "kind": kind, "tags": ["x", "y"]} | ({"name": name[0]} if name else {})
    assert {key: value for key, value in ops[0].items() if key != "reason"} == wanted


def test_change_without_tags_is_refused():
    ended = run("gnt-node", "add-tags", "n1", master=job_master())
    assert ended.code == 1
    assert "no tags were given" in ended.err


def test_tags_from_a_file_come_after_those_of_the_line(tmp_path: Path):
    file = tmp_path / "tags"
    file.write_text("  b \n\nc\n")
    master = job_master()
    assert run("gnt-cluster", "add-tags", f"--from={file}", "a", master=master).code == 0
    assert master.sent("SubmitJob")[0][0][0]["tags"] == ["a", "b", "c"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_file_that_cannot_be_read_is_told(tmp_path: Path, content):
    file = tmp_path / "tags"
    if content is not None:
        file.write_bytes(content)
    ended = run("gnt-cluster", "remove-tags", "--from", str(file), master=job_master())
    assert ended.code == 1
    assert str(file) in ended.err


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for tool, *words in (
        ("gnt-cluster", "remove-tags", "--from"),
        ("gnt-instance", "batch-create"),
        ("gnt-debug", "submit-job"),
    ):
        ended = run(tool, *words, str(tmp_path / "pipe"), master=job_master())
        assert ended.code == 1
        assert f"{tmp_path}/pipe" in ended.err
        assert "it is a pipe, not a regular file" in ended.err


def test_tags_from_standard_input():
    master = job_master()
    world = World(
        out=io.StringIO(),
        err=io.StringIO(),
        environ={},
        paths=Paths("/nonexistent", "node1"),
        clock=FixedClock(),
        connect=lambda paths, environment: master,
        stdin=io.StringIO("a\nb\n"),
    )
    assert main("gnt-instance", ["remove-tags", "--from", "-", "web1"], world) == 0
    assert master.sent("SubmitJob")[0][0][0]["tags"] == ["a", "b"]


def test_submit_only_tells_the_job():
    ended = run("gnt-cluster", "add-tags", "--submit", "a", master=job_master())
    assert (ended.code, ended.err) == (0, "JobID: 7\n")


def test_search_prints_paths_sorted():
    master = job_master([["/nodes/n1", "b"], ["/cluster", "a"]])
    assert run("gnt-cluster", "search-tags", "a|b", master=master) == (0, "/cluster a\n/nodes/n1 b\n", "")


def test_search_that_finds_nothing_ends_with_1_and_no_output():
    assert run("gnt-cluster", "search-tags", "a", master=job_master([])) == (1, "", "")
