"""gnt-node modify, list-drbd, evacuate, migrate and failover; the summary of gnt-group evacuate."""

from __future__ import annotations

import pytest
from unit.cli.kit import Keyboard, Master, job_master, rows, run


def master(*, primary=("a", "b"), secondary=("c",), jobs=(8, 9), ends=("success", "success"), knows=True) -> Master:
    """The operation is job 7; it submits `jobs`, which end so."""
    held = {"name": "n1", "pinst_list": list(primary), "sinst_list": list(secondary)}
    status = {7: "success"} | dict(zip(jobs, ends, strict=True))

    def told(ids, fields):
        result = {"jobs": [[True, job] for job in jobs]}
        values = {
            job: {"status": status[job], "opstatus": [status[job]], "opresult": [result if job == 7 else "it broke"]}
            for job in ids
        }
        return [[values[job][field] for field in fields] for job in ids]

    return Master(
        Query=lambda what, fields, wanted: rows(
            [(name, name, "other") for name in fields], *([[held[name] for name in fields]] if knows else [])
        ),
        SubmitJob=7,
        SubmitManyJobs=[[True, job] for job in jobs],
        WaitForJobChange=lambda job, *_: [[status[job]], []],
        QueryJobs=told,
    )


def sent(known: Master) -> dict[str, object]:
    ((ops,),) = known.sent("SubmitJob")
    return {key: value for key, value in ops[0].items() if key != "reason"}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), {"mode": "all"}),
        (("-p", "-I", "hail"), {"mode": "primary-only", "iallocator": "hail"}),
        (("-s", "--early-release"), {"mode": "secondary-only", "early_release": True}),
        (("-n", "n2"), {"mode": "secondary-only", "remote_node": "n2"}),
        (("--ignore-soft-errors",), {"mode": "all", "ignore_soft_errors": True}),
    ],
)
def test_evacuate_sends_what_was_said(words, wanted):
    known = master()
    ended = run("gnt-node", "evacuate", "-f", *words, "n1", master=known)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "All instances evacuated successfully.")
    assert sent(known) == {"OP_ID": "OP_NODE_EVACUATE", "node_name": "n1", **wanted}


def test_evacuate_tells_of_jobs_that_failed():
    ended = run("gnt-node", "evacuate", "-f", "n1", master=master(ends=("success", "error")))
    assert ended.code == 1
    assert "There were 1 errors during the evacuation." in ended.err


def test_evacuate_asks_first_and_names_the_instances():
    keyboard = Keyboard("n")
    known = master()
    assert run("gnt-node", "evacuate", "n1", master=known, keyboard=keyboard).code == 13
    assert "a, b, c" in " ".join(keyboard.shown.split())
    assert known.sent("SubmitJob") == []
    assert run("gnt-node", "evacuate", "-p", "-s", "n1", master=master()).code == 2


@pytest.mark.parametrize("verb", ["evacuate", "migrate", "failover"])
def test_nothing_to_do(verb):
    ended = run("gnt-node", verb, "-f", "n1", master=master(primary=(), secondary=()))
    assert (ended.code, "nothing to do" in ended.err) == (0, True)


@pytest.mark.parametrize("verb", ["evacuate", "migrate", "failover"])
def test_an_unknown_node_is_no_empty_one(verb):
    known = master(knows=False, jobs=(), ends=())
    ended = run("gnt-node", verb, "-f", "n9", master=known)
    assert (ended.code, "node 'n9' is not known" in ended.err) == (1, True)
    assert known.sent("SubmitJob") == []


def test_migrate():
    known = master()
    ended = run("gnt-node", "migrate", "-f", "--non-live", "-n", "n2", "n1", master=known)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "All instances migrated successfully.")
    assert sent(known) == {"OP_ID": "OP_NODE_MIGRATE", "node_name": "n1", "live": False, "target_node": "n2"}
    assert run("gnt-node", "migrate", "-f", "n1", master=master(ends=("error", "error"))).code == 1
    assert run("gnt-node", "migrate", "n1", master=master(), keyboard=Keyboard("n")).code == 13
    assert "JobID: 7" in run("gnt-node", "migrate", "-f", "--submit", "n1", master=master()).err


def test_failover_is_one_job_for_each_instance():
    known = master()
    ended = run("gnt-node", "failover", "-f", "--ignore-consistency", "-I", ".", "n1", master=known)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == "All 2 instance(s) failed over successfully."
    ((jobs,),) = known.sent("SubmitManyJobs")
    assert [{key: value for key, value in ops[0].items() if key != "reason"} for ops in jobs] == [
        {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": name, "ignore_consistency": True, "iallocator": "."}
        for name in ("a", "b")
    ]
    ended = run("gnt-node", "failover", "-f", "n1", master=master(ends=("success", "error")))
    assert (ended.code, "1 errors" in ended.err) == (0, True)
    assert run("gnt-node", "failover", "n1", master=master(), keyboard=Keyboard("n")).code == 2


@pytest.mark.parametrize(("tool", "verb"), [("gnt-group", "evacuate"), ("gnt-instance", "change-group")])
def test_changes_of_group_follow_their_jobs(tool, verb):
    known = master()
    ended = run(tool, verb, "--to", "rack2", "--to", "rack3", "x", master=known)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "All instances were moved (2 jobs).")
    assert sent(known)["target_groups"] == ["rack2", "rack3"]
    assert run(tool, verb, "x", master=master(ends=("error", "success"))).code == 1


def test_modify_asks_before_a_node_comes_back():
    keyboard = Keyboard("n")
    known = job_master([["offline", "False"]])
    assert run("gnt-node", "modify", "-O", "no", "n1", master=known, keyboard=keyboard).code == 1
    assert "may still run there" in " ".join(keyboard.shown.split())
    assert known.sent("SubmitJob") == []
    ended = run("gnt-node", "modify", "-f", "-O", "no", "n1", master=known)
    assert (ended.code, ended.out) == (0, "Modified node n1\n - offline -> False\n")
    words = ("-s", "198.51.100.2", "--node-powered=yes", "--node-parameters=spindle_count=2", "-D", "yes")
    known = job_master([])
    assert run("gnt-node", "modify", *words, "n1", master=known).code == 0
    assert sent(known) == {
        "OP_ID": "OP_NODE_SET_PARAMS",
        "node_name": "n1",
        "secondary_ip": "198.51.100.2",
        "powered": True,
        "ndparams": {"spindle_count": "2"},
        "drained": True,
    }
    assert run("gnt-node", "modify", "n1", master=job_master()).code == 1


def test_list_drbd_shows_both_roles_of_the_node():
    def disk(first, second, minor_a, minor_b):
        return {"dev_type": "drbd", "logical_id": [first, second, 11000, minor_a, minor_b, "-"]}

    def facts(name, pnode, snode, *disks):
        return {"name": name, "pnode": pnode, "pnode_uuid": f"{pnode}-u", "snodes": [snode], "disks": list(disks)}

    plain = {"dev_type": "plain", "logical_id": ["xenvg", "x"]}
    details = {
        "a": facts("a", "n1", "n2", plain, disk("n1-u", "n2-u", 4, 0)),
        "b": facts("b", "n2", "n1", disk("n1-u", "n2-u", 1, 7)),
    }
    known = job_master(details)
    held = ["n1", "n1-u", ["a"], ["b"]]
    known.answers["Query"] = lambda what, fields, wanted: rows([(name, name, "other") for name in fields], held)
    assert run("gnt-node", "list-drbd", "n1", master=known).out == (
        "Node Minor Instance Disk   Role      PeerNode\n"
        "n1       1 b        disk/0 secondary n2\n"
        "n1       4 a        disk/1 primary   n2\n"
    )
    assert sent(known)["instances"] == ["a", "b"]
    known = job_master()
    known.answers["Query"] = rows([("name", "name", "other")])
    assert run("gnt-node", "list-drbd", "n9", master=known).code == 1
