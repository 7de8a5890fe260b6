"""gnt-group."""

from __future__ import annotations

import pytest
from unit.cli.kit import Master, check_golden, job_master, rows, run

SPEC = {"memory-size": 128, "cpu-count": 1, "disk-count": 1, "disk-size": 1024, "nic-count": 1, "spindle-use": 1}
POLICY = {"minmax": [{"min": SPEC, "max": SPEC}], "disk-templates": ["plain", "drbd"], "vcpu-ratio": 4.0}
FACTS = {
    "name": "rack2",
    "alloc_policy": "preferred",
    "node_list": ["n1", "n2"],
    "custom_ndparams": {"spindle_count": 3},
    "ndparams": {"spindle_count": 3, "ovs": False},
    "custom_diskparams": {"plain": {"stripes": 2}},
    "diskparams": {"plain": {"stripes": 2}, "file": {}},
    "custom_ipolicy": {"vcpu-ratio": 4.0},
    "ipolicy": {**POLICY, "spindle-ratio": 32.0},
}
TEXT = "cpu-count=1,disk-count=1,disk-size=1024,memory-size=128,nic-count=1,spindle-use=1"


def sent(master: Master) -> dict[str, object]:
    ((ops,),) = master.sent("SubmitJob")
    return {key: value for key, value in ops[0].items() if key != "reason"}


def answer(facts):
    return lambda what, fields, wanted: rows(
        [(name, name, "other") for name in fields], [facts[name] for name in fields]
    )


def test_policy_options_make_one_policy():
    master = job_master()
    words = ("--ipolicy-bounds-specs", f"min:{TEXT}/max:{TEXT}", "--ipolicy-disk-templates", "plain,drbd")
    ended = run("gnt-group", "add", *words, "--ipolicy-vcpu-ratio=default", "rack2", master=master)
    assert ended.code == 0, ended.err
    texts = {key: str(value) for key, value in SPEC.items()}
    assert sent(master) == {
        "OP_ID": "OP_GROUP_ADD",
        "group_name": "rack2",
        "ipolicy": {
            "minmax": [{"min": texts, "max": texts}],
            "disk-templates": ["plain", "drbd"],
            "vcpu-ratio": "default",
        },
    }


@pytest.mark.parametrize("text", ["min:a=1/min:a=1", "low:a=1/max:a=1", "x"])
def test_bounds_that_cannot_be_read_are_refused(text):
    assert run("gnt-group", "modify", "--ipolicy-bounds-specs", text, "rack2", master=job_master()).code != 0


def test_modify_tells_what_it_changed():
    master = job_master([["alloc_policy", "last_resort"], ["ndparams/spindle_count", 4]])
    ended = run("gnt-group", "modify", "--alloc-policy=last_resort", "rack2", master=master)
    assert ended.out == "Modified node group rack2\n - alloc_policy -> last_resort\n - ndparams/spindle_count -> 4\n"
    assert run("gnt-group", "modify", "rack2", master=job_master()).code == 1


def test_assign_nodes_is_one_job():
    master = job_master()
    assert run("gnt-group", "assign-nodes", "-f", "rack2", "n1", "n2", master=master).code == 0
    assert sent(master) == {
        "OP_ID": "OP_GROUP_ASSIGN_NODES",
        "group_name": "rack2",
        "nodes": ["n1", "n2"],
        "force": True,
    }


@pytest.mark.parametrize(("verb", "words", "op_id"), [
    ("remove", ("rack2",), "OP_GROUP_REMOVE"), ("rename", ("rack2", "rack3"), "OP_GROUP_RENAME"),
])  # fmt: skip
def test_other_changes(verb, words, op_id):
    master = job_master("rack3")
    assert run("gnt-group", verb, *words, master=master).code == 0
    assert sent(master)["OP_ID"] == op_id


def test_list_shows_parameters_as_words():
    fields = ["name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams"]
    values = ["rack2", 2, 0, "preferred", {"ovs": False, "spindle_count": 3}]
    master = Master(Query=lambda what, names, wanted: rows([(name, name, "other") for name in names], values))
    ended = run("gnt-group", "list", "--separator=|", "--no-headers", master=master)
    assert ended.out == "rack2|2|0|preferred|ovs=False, spindle_count=3\n"
    assert master.sent("Query")[0][1] == fields


def test_info():
    check_golden("info-group", run("gnt-group", "info", "rack2", master=Master(Query=answer(FACTS))).out)


def test_the_printed_command_makes_the_same_policy():
    master = Master(Query=answer(FACTS))
    assert run("gnt-group", "show-ispecs-cmd", master=master).out == "gnt-group add --ipolicy-vcpu-ratio 4.0 rack2\n"
    ended = run("gnt-group", "show-ispecs-cmd", "--include-defaults", master=master)
    assert ended.out == (
        f"gnt-group add --ipolicy-bounds-specs min:{TEXT}/max:{TEXT} --ipolicy-disk-templates plain,drbd"
        " --ipolicy-vcpu-ratio 4.0 --ipolicy-spindle-ratio 32.0 rack2\n"
    )
