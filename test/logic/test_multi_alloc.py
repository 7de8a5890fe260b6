"""Several instances at once, and trying allocators."""

from __future__ import annotations

import json
from typing import Any

import pytest
from logic.plan_env import PlanEnv, check, execute, make_config, make_instance, make_node, node_uuid, refused, unit_of

from ganeti import errors
from ganeti.calls.iallocator import IallocatorReply, IallocatorRun
from ganeti.calls.node import HypervisorInfo, NodeInfo, NodeInfoReply
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import DiskTemplate
from ganeti.ops.allocation import OpInstanceMultiAlloc, OpTestAllocator


def form(name: str, **changes: Any) -> dict[str, Any]:
    return {"instance_name": name, "os_type": "busybox", "disk_template": "diskless", **changes}


def op(*forms: dict[str, Any], **changes: Any) -> OpInstanceMultiAlloc:
    return OpInstanceMultiAlloc(instances=forms, **{"iallocator": "builtin", **changes})


def test_no_place_is_chosen_for_what_lies_on_a_node_already():
    adopting = form("i1", disk_template="plain", disks=[{"adopt": "root"}])
    env = PlanEnv(make_config(enabled_disk_templates=(DiskTemplate.PLAIN, DiskTemplate.DISKLESS)))
    assert "the node that holds what shall be adopted was not given" in str(refused(op(adopting), env))


def test_each_that_has_a_place_becomes_a_job_with_its_node():
    env = PlanEnv(make_config(nodes=[make_node(1), make_node(2)]))
    env.rpc.answers[NodeInfo] = lambda node, call: NodeInfoReply(
        boot_id="b", hypervisors={"fake": HypervisorInfo(memory_total=4000, memory_free=1000)}, storage={}
    )
    forms = [form(f"i{number}", beparams={"memory": size}) for number, size in enumerate((900, 900, 800))]
    result = execute(op(*forms), env)
    assert (result["allocatable"], result["failed"]) == (["i0", "i1"], ["i2"])
    assert [is_good for is_good, _ in result["jobs"]] == [True, True]
    jobs = [job[0] for job in env.submitted]
    assert {job.pnode for job in jobs} == {"node1.example.com", "node2.example.com"}
    assert [job.iallocator for job in jobs] == ["", ""]
    assert "no place for i2" in env.warnings[0]
    assert env.reserved == {}, "each reserves for itself when it runs"


def test_given_nodes_need_no_allocator():
    env = PlanEnv(make_config())
    result = execute(op(form("a", pnode="node1"), form("b", pnode="node2"), iallocator=""), env)
    assert result["allocatable"] == ["a", "b"]
    assert env.rpc.calls == []


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (op(), "no instances"),
        (op(form("a"), form("A")), "given twice"),
        (op(form("a", iallocator="hail")), "an allocator of its own"),
        (op(form("a"), form("b", pnode="node1")), "some have not"),
        (op(form("a", pnode="node1")), "nothing for an allocator"),
        (op(form("a"), iallocator=""), "no default allocator"),
        (op(form("a", colour="red")), "unknown field"),
        (op({"OP_ID": "OP_CLUSTER_DESTROY"}), "does not create"),
        (op(form("old")), "already"),
    ],
)
def test_is_refused(made, text):
    assert text in refused(made, PlanEnv(make_config(make_instance("old")))).message


def test_locks_are_taken_as_they_come_when_that_is_wished():
    assert unit_of(op(form("a"))).locks(make_config()).wanted[LockKey(Level.NODE, ALL)] is False
    plan = unit_of(op(form("a"), opportunistic_locking=True)).locks(make_config())
    assert plan.wanted[LockKey(Level.NODE, node_uuid(1))] is False
    assert LockKey(Level.NODE, node_uuid(1)) in plan.optional


def trial(mode: str, **changes: Any) -> OpTestAllocator:
    return OpTestAllocator(**{"direction": "in", "mode": mode, "name": "new", "nics": ({},), **changes})


def world() -> PlanEnv:
    return PlanEnv(make_config(make_instance("old"), nodes=[make_node(1), make_node(2)]))


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (trial("allocate", memory=99, disk_template=DiskTemplate.DISKLESS), {"name": "new", "memory": 99}),
        (trial("relocate", name="old"), {"relocate_from": ["node1.example.com"]}),
        (trial("allocate-secondary", name="old"), {"name": "old"}),
        (trial("node-evacuate", instances=("old",), evac_mode="all"), {"instances": ["old"], "evac_mode": "all"}),
        (trial("change-group", instances=("old",)), {"instances": ["old"], "target_groups": []}),
    ],
)
def test_the_input_is_shown(made, wanted):
    shown = json.loads(execute(made, world()))["request"]
    assert shown["type"] == made.mode
    assert {key: shown[key] for key in wanted} == wanted


def test_the_input_of_many_names_each():
    made = trial("multi-allocate", count=3, disk_template=DiskTemplate.DISKLESS)
    shown = json.loads(execute(made, world()))["request"]
    assert [each["name"] for each in shown["instances"]] == ["new0", "new1", "new2"]


def test_the_builtin_allocator_answers_as_programs_do():
    made = trial("allocate", direction="out", iallocator="builtin", disk_template=DiskTemplate.DISKLESS)
    answer = json.loads(execute(made, world()))
    assert answer["success"] is True
    assert len(answer["result"]) == 1
    answer = json.loads(execute(trial("relocate", name="old", direction="out", iallocator="builtin"), world()))
    assert answer["result"] == ["node2.example.com"]
    made = trial("multi-allocate", direction="out", iallocator="builtin", count=2, disk_template=DiskTemplate.DISKLESS)
    assert len(json.loads(execute(made, world()))["result"][0]) == 2
    made = trial("node-evacuate", direction="out", iallocator="builtin", instances=("old",))
    assert json.loads(execute(made, world()))["result"][1][0][0] == "old"
    made = trial("allocate-secondary", direction="out", iallocator="builtin", name="old")
    assert json.loads(execute(made, world()))["result"] == "node2.example.com"
    made = trial("allocate", direction="out", iallocator="builtin", memory=10**6, disk_template=DiskTemplate.DISKLESS)
    assert json.loads(execute(made, world()))["success"] is False


def test_what_a_program_says_is_shown_as_it_is():
    env = world()
    env.rpc.answers[IallocatorRun] = IallocatorReply(status=0, output="hello", complaints="")
    made = trial("relocate", direction="out", iallocator="mine", name="old")
    assert execute(made, env) == "hello"
    env.rpc.answers[IallocatorRun] = IallocatorReply(status=1, output="", complaints="no such option")
    with pytest.raises(errors.ExecError, match="status 1: no such option"):
        execute(made, env)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (trial("allocate", iallocator="hail"), "only its input is wanted"),
        (trial("allocate", direction="out"), "no default allocator"),
        (trial("allocate", name="old"), "already"),
        (trial("allocate", name=""), "needs the name"),
        (trial("node-evacuate", name=""), "no instances"),
        (trial("relocate"), "not known"),
    ],
)
def test_trials_that_are_refused(made, text):
    assert text in refused(made, world()).message
    assert check(trial("relocate", name="old"), world()).allocator == ""
