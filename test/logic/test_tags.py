"""Tags of the cluster and its objects."""

from __future__ import annotations

import time

import pytest
from logic.plan_env import GROUP, PlanEnv, execute, make_config, make_instance, node_uuid, plan, refused, unit_of

from ganeti import errors
from ganeti.logic import checks, patterns
from ganeti.model.locks import CLUSTER_OBJECT, Level, LockKey
from ganeti.ops.tags import OpTagsDel, OpTagsGet, OpTagsSearch, OpTagsSet

WEB1 = "web1.example.com"
KINDS = [("cluster", ""), ("node", "node1"), ("instance", "web1"), ("nodegroup", "default")]


def make_env() -> PlanEnv:
    return PlanEnv(make_config(make_instance(tags=("old",))))


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_set_get_and_remove(kind, name):
    env = make_env()
    before = execute(OpTagsGet(kind=kind, name=name), env)
    execute(OpTagsSet(kind=kind, name=name, tags=("b", "a", "b")), env)
    assert execute(OpTagsGet(kind=kind, name=name), env) == sorted({"a", "b", *before})
    execute(OpTagsDel(kind=kind, name=name, tags=("b", "a")), env)
    assert execute(OpTagsGet(kind=kind, name=name), env) == before


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("cluster", "", LockKey(Level.CLUSTER, CLUSTER_OBJECT)),
        ("node", "node1", LockKey(Level.NODE, node_uuid(1))),
        ("instance", "web1", LockKey(Level.INSTANCE, f"uuid-{WEB1}")),
        ("nodegroup", "default", LockKey(Level.GROUP, GROUP)),
    ],
)
def test_changes_hold_the_object(kind, name, key):
    for op in (OpTagsSet(kind=kind, name=name, tags=("a",)), OpTagsDel(kind=kind, name=name, tags=("a",))):
        assert unit_of(op).locks(make_env().config).wanted[key] is True


def test_set_what_is_there_changes_nothing():
    assert plan(OpTagsSet(kind="instance", name="web1", tags=("old",)), make_env()) == []


@pytest.mark.parametrize("tag", ["", "with blank", "ä", "x" * 129, "a\n"])
def test_set_refuses_what_cannot_be_a_tag(tag):
    assert refused(OpTagsSet(kind="cluster", tags=(tag,)), make_env()).code == "wrong_input"


def test_set_refuses_too_many():
    env = PlanEnv(make_config(make_instance(tags=tuple(f"t{n}" for n in range(checks.MAX_TAGS)))))
    err = refused(OpTagsSet(kind="instance", name="web1", tags=("one-more",)), env)
    assert str(checks.MAX_TAGS) in err.hint


def test_remove_refuses_what_is_not_there_and_names_it():
    err = refused(OpTagsDel(kind="instance", name="web1", tags=("old", "new")), make_env())
    assert err.message == f"Tag(s) 'new' not found at instance {WEB1}"


def test_objects_need_a_name_that_is_known():
    assert refused(OpTagsGet(kind="node"), make_env()).code == "wrong_input"
    for kind in ("node", "instance", "nodegroup", "network"):
        assert refused(OpTagsGet(kind=kind, name="none"), make_env()).code == "unknown_entity"


def test_search_finds_parts_of_tags_everywhere():
    env = make_env()
    for kind, name in KINDS:
        execute(OpTagsSet(kind=kind, name=name, tags=("role:web", "other")), env)
    assert execute(OpTagsSearch(pattern="e:w"), env) == [
        ("/cluster", "role:web"),
        (f"/instances/{WEB1}", "role:web"),
        ("/nodegroup/default", "role:web"),
        ("/nodes/node1.example.com", "role:web"),
    ]
    assert execute(OpTagsSearch(pattern="^web"), env) == []


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "web",
        "^role:(web|db)$",
        "a.*b+c?",
        "(ab){3}",
        r"[a*+(]{2}\*\+",
        "(?:x|y)z",
        "(?i)WEB",
        "a+?b",
        "(a+)?",
        "[]a]+",
        "a{2",
    ],
)
def test_pattern_that_is_simple_is_taken(pattern):
    assert patterns.compile_safe(pattern).pattern == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "*",
        "[",
        "(a+)+$",
        "(a|a)*$",
        "(a|aa)+",
        "((a?))*",
        "(a?){20}",
        r"(a)\1",
        "(?P<x>a)(?P=x)",
        "a*a*a*a*b",
        "x" * 300,
        "a?" * 20,
    ],
)
def test_pattern_that_is_wrong_or_slow_is_refused(pattern):
    with pytest.raises(errors.PrereqError):
        patterns.compile_safe(pattern)


@pytest.mark.parametrize("pattern", [".*a.*a.*b", "a+a+a+b", "a?" * 12 + "b", "(?:a+)?(?:a+)?a+b"])
def test_slowest_pattern_that_is_taken_ends_soon(pattern):
    compiled = patterns.compile_safe(pattern)
    begin = time.process_time()
    assert compiled.search("a" * 128) is None
    assert time.process_time() - begin < 0.5
