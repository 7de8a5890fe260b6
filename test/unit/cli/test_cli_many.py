"""Commands on several instances: selection, question, jobs."""

import pytest
from unit.cli.kit import Keyboard, Master, rows, run

NODES = rows(
    [("pinst_list", "PriInstances", "other"), ("sinst_list", "SecInstances", "other")],
    [["web10", "web2"], ["db1"]],
    [["mail"], (4, None)],
)


def many_master(**more) -> Master:
    answers = {
        "SubmitManyJobs": lambda jobs: [[True, 11 + index] for index in range(len(jobs))],
        "WaitForJobChange": [["success"], []],
        "QueryJobs": lambda ids, fields: [
            ["success"] if fields == ["status"] else ["success", ["success"], [None]] for _ in ids
        ],
        "Query": NODES,
    }
    return Master(**(answers | more))


def names(master: Master) -> list[str]:
    ((jobs,),) = master.sent("SubmitManyJobs")
    return [job[0]["instance_name"] for job in jobs]


def test_one_instance_is_started_without_question_and_chatter():
    master = many_master()
    assert run("gnt-instance", "start", "-f", "web1", master=master) == (0, "", "")
    ((jobs,),) = master.sent("SubmitManyJobs")
    assert [{key: value for key, value in jobs[0][0].items() if key != "reason"}] == [
        {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1", "force": True}
    ]


def test_two_instances_need_a_yes():
    master = many_master()
    assert run("gnt-instance", "stop", "web1", "web2", master=master).code == 1
    assert master.calls == []
    keyboard = Keyboard("y")
    ended = run("gnt-instance", "stop", "web1", "web2", master=master, keyboard=keyboard)
    assert "The shutdown will operate on 2 instance(s)." in keyboard.shown
    assert "\n  web1\n  web2\n" in keyboard.shown
    assert ended.out == ("Submitted jobs 11, 12\nWaiting for job 11 for web1 ...\nWaiting for job 12 for web2 ...\n")


def test_force_multiple_does_not_ask():
    master = many_master()
    assert run("gnt-instance", "reboot", "--force-multiple", "-t", "full", "a", "b", master=master).code == 0
    assert names(master) == ["a", "b"]


def test_the_same_name_twice_is_one_job():
    master = many_master()
    assert run("gnt-instance", "stop", "a", "a", master=master).code == 0
    assert names(master) == ["a"]


@pytest.mark.parametrize(
    ("mode", "fields", "condition"),
    [
        ("--node", ["pinst_list", "sinst_list"], ["==", "name", "n1"]),
        ("--primary", ["pinst_list"], ["==", "name", "n1"]),
        ("--secondary", ["sinst_list"], ["==", "name", "n1"]),
        ("--node-tags", ["pinst_list", "sinst_list"], ["=[]", "tags", "n1"]),
        ("--pri-node-tags", ["pinst_list"], ["=[]", "tags", "n1"]),
        ("--sec-node-tags", ["sinst_list"], ["=[]", "tags", "n1"]),
    ],
)
def test_selection_by_nodes(mode, fields, condition):
    master = many_master()
    run("gnt-instance", "stop", mode, "--force-multiple", "n1", master=master)
    assert master.sent("Query") == [["node", fields, ["|", condition]]]
    assert names(master) == ["db1", "mail", "web2", "web10"]


def test_selection_by_tags_and_all():
    found = rows([("name", "Instance", "text")], ["b"], ["a"])
    tagged, everything = many_master(Query=found), many_master(Query=found)
    run("gnt-instance", "start", "--tags", "--force-multiple", "prod", "test", master=tagged)
    run("gnt-instance", "start", "--all", "--force-multiple", master=everything)
    assert tagged.sent("Query") == [["instance", ["name"], ["|", ["=[]", "tags", "prod"], ["=[]", "tags", "test"]]]]
    assert everything.sent("Query") == [["instance", ["name"], None]]
    assert names(tagged) == names(everything) == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--all", "web1"), "--all takes no arguments"),
        (("--node", "--tags", "x"), "--node and --tags exclude each other"),
        ((), "give the names of the instances"),
        (("--primary",), "give arguments for --primary"),
    ],
)
def test_selection_refuses(words, message):
    master = many_master()
    ended = run("gnt-instance", "start", *words, master=master)
    assert ended.code == 1
    assert message in ended.err
    assert master.sent("SubmitManyJobs") == []


def test_selection_that_matches_nothing():
    empty = rows([("pinst_list", "PriInstances", "other")], [[]])
    assert run("gnt-instance", "start", "--primary", "n1", master=many_master(Query=empty)).code == 1
    nothing = rows([("name", "Instance", "text")])
    ended = run("gnt-instance", "start", "--all", master=many_master(Query=nothing))
    assert ended == (0, "", "No instances match the selection.\n")


def test_submit_prints_one_line_for_each_job():
    master = many_master(SubmitManyJobs=[[True, 5], [False, "queue is full"]])
    ended = run("gnt-instance", "stop", "--force-multiple", "--submit", "a", "b", master=master)
    assert ended == (1, "5: a\n", "Failed to submit job for b: queue is full\n")


def test_one_failed_job_does_not_end_the_others():
    master = many_master(
        QueryJobs=lambda ids, fields: [
            ["success"]
            if fields == ["status"]
            else ["error", ["error"], [["OpPrereqError", ["it is offline", "wrong_state"]]]]
            if job == 11
            else ["success", ["success"], [None]]
            for job in ids
        ]
    )
    ended = run("gnt-instance", "start", "--force-multiple", "a", "b", master=master)
    assert ended.code == 1
    assert ended.err == "Job 11 for a has failed: it is offline\n"
    assert "Waiting for job 12 for b" in ended.out


def test_ended_jobs_are_told_first():
    states = {11: "waiting", 12: "running", 13: "success"}
    master = many_master(
        QueryJobs=lambda ids, fields: [
            [states[job]] if fields == ["status"] else ["success", ["success"], [None]] for job in ids
        ]
    )
    ended = run("gnt-instance", "start", "--force-multiple", "a", "b", "c", master=master)
    assert [line.split()[3] for line in ended.out.splitlines()[1:]] == ["13", "12", "11"]


def test_more_than_twenty_are_listed_on_request():
    many = [f"web{index}" for index in range(21)]
    keyboard = Keyboard("v", "n")
    assert run("gnt-instance", "stop", *many, master=many_master(), keyboard=keyboard).code == 1
    question, shown = keyboard.shown.split("y/v/[n]/?: ")
    assert "web7" not in question
    assert "  web7\n" in shown


def test_without_a_terminal_it_says_which_option_answers():
    master = many_master()
    ended = run("gnt-instance", "remove", "web1", master=master)
    assert ended.code == 1
    assert ended.err == "no terminal to ask on; -f answers yes\n"
    assert master.calls == []
    several = run("gnt-instance", "stop", "web1", "web2", master=master)
    assert several.err == "no terminal to ask on; --force-multiple answers yes\n"
