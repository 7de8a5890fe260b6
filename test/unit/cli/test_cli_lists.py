"""Lists: filters, fields, units, signs, exit codes."""

import re

import pytest
from unit.cli.kit import FixedClock, Master, check_golden, rows, run

from ganeti import errors
from ganeti.cli import tables
from ganeti.cli.lists import wanted_fields

INSTANCES = rows(
    [
        ("name", "Instance", "text"),
        ("oper_ram", "Memory", "unit"),
        ("oper_state", "Running", "bool"),
        ("ctime", "CTime", "timestamp"),
        ("snodes", "Secondary_Nodes", "other"),
    ],
    ["web1.example.com", 512, True, 1_700_000_000.7, ["n2", "n3"]],
    ["db", (4, None), (2, None), (3, None), []],
    ["mail", 2048, False, 0, (1, None)],
)
DEFAULT = ["name", "hypervisor", "os", "pnode", "status", "oper_ram"]


def listed(*words: str, answer=INSTANCES, tool: str = "gnt-instance", environ=None):
    master = Master(Query=answer)
    return run(tool, "list", *words, master=master, environ=environ), master


def test_table():
    ended, master = listed()
    assert ended.code == 0
    assert master.sent("Query") == [["instance", DEFAULT, None]]
    check_golden("table-instances", ended.out)


def test_table_with_words_for_what_is_missing():
    check_golden("table-instances-verbose", listed("-v")[0].out)


def test_separator_means_mebibytes_and_no_padding():
    ended, _ = listed("--no-headers", "--separator=:")
    assert ended.out.splitlines()[0] == "web1.example.com:512:Y:2023-11-14 22:13:20:n2,n3"


def test_units():
    assert "0.5 Y" in listed("--units", "g", "--no-headers")[0].out
    assert "2.0G" in listed("--units", "h", "--separator", "|")[0].out
    assert listed("--units", "x")[0].code == 2


def test_numbers_are_right_aligned_and_a_left_aligned_last_column_is_not_padded():
    answer = rows([("id", "ID", "number"), ("status", "Status", "text")], [9, "ok"], [10, "error"])
    assert run("gnt-job", "list", master=Master(Query=answer)).out == "ID Status\n 9 ok\n10 error\n"


def test_nothing_found_still_has_titles():
    assert listed(answer=rows([("name", "Instance", "text")]))[0].out == "Instance\n"
    assert listed("--no-headers", answer=rows([("name", "Instance", "text")]))[0].out == ""


def test_unknown_field_is_a_warning_and_14():
    answer = rows([("name", "Instance", "text"), ("colour", "colour", "unknown")], ["web1", (1, None)])
    ended, master = listed("-o", "name,colour", answer=answer)
    assert ended.code == 14
    assert ended.out == "Instance colour\nweb1     ??\n"
    assert "unknown field(s): colour" in ended.err
    assert master.sent("Query") == [["instance", ["name", "colour"], None]]


@pytest.mark.parametrize(
    ("text", "wanted"), [(None, ["a", "b"]), ("", ["a", "b"]), ("c,d", ["c", "d"]), ("+c", ["a", "b", "c"])]
)
def test_output_replaces_or_adds(text, wanted):
    assert wanted_fields(text, ("a", "b")) == wanted


@pytest.mark.parametrize(
    ("words", "condition"),
    [
        (("web1",), ["==", "name", "web1"]),
        (("web1", "db"), ["|", ["==", "name", "web1"], ["==", "name", "db"]]),
        (("web*",), ["=~", "name", r"^web.*(\..*)?$"]),
        (("pnode == 'n1'",), ["==", "pnode", "n1"]),
        (("-F", "oper_state"), ["?", "oper_state"]),
    ],
)
def test_arguments_are_names_globs_or_a_filter(words, condition):
    _, master = listed(*words)
    assert master.sent("Query") == [["instance", DEFAULT, condition]]


def test_bad_filter_shows_the_place():
    ended, master = listed("pnode ==")
    assert ended.code == 1
    assert ended.err.startswith("Error while parsing query filter: ")
    assert "^" in ended.err
    assert master.calls == []


@pytest.mark.parametrize(
    ("words", "message", "caret"),
    [
        (("os == 'a' and colour == 'red'",), "unknown field 'colour' in the filter of instances", "colour"),
        (("-F", "colour"), "unknown field 'colour' in the filter of instances", "colour"),
        (('os == "colour" or be/memory == "x"',), "field 'be/memory' (unit) cannot be compared with 'x'", "be/memory"),
        (("os =~ m/be/ or be/memory =~ /x/",), "field 'be/memory' (unit) cannot be matched by 'x'", "be/memory"),
    ],
)
def test_what_the_master_dislikes_is_shown_at_its_place(words, message, caret):
    ended, _ = listed(*words, answer=errors.ParameterError(message))
    text, line, mark, *_ = ended.err.splitlines()
    assert ended.code == 1
    assert text.startswith(f"Error while parsing query filter: {message} at column ")
    assert line == f"  {words[-1]}"
    assert line[mark.index("^") :].startswith(caret)


def test_what_the_master_dislikes_about_names_is_told_as_it_is():
    ended, _ = listed("web1", answer=errors.ParameterError("field 'name' is odd"))
    assert (ended.code, ended.err) == (1, "Failure: unknown/wrong parameter: field 'name' is odd\n")


# -- on a terminal

COLOURED = rows(
    [("name", "Instance", "text"), ("status", "Status", "text"), ("oper_ram", "Memory", "unit")],
    ["web1", "running", 512],
    ["web2", "ERROR_down", (2, None)],
    ["db", "ADMIN_down", (3, None)],
)


def test_a_terminal_gets_colours_and_the_same_table():
    plain, _ = listed(answer=COLOURED)
    painted = run("gnt-instance", "list", master=Master(Query=COLOURED), environ={"TERM": "xterm"}, is_terminal=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted.out) == plain.out
    assert "\x1b[32mrunning\x1b[0m   " in painted.out
    assert "\x1b[31mERROR_down\x1b[0m" in painted.out
    assert "\x1b" not in plain.out


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TERM": "dumb"}, ()),
        ({}, ()),
        ({"TERM": "xterm", "NO_COLOR": "1"}, ()),
        ({"TERM": "xterm"}, ("--separator=:",)),
    ],
)
def test_no_colours_where_they_would_harm(environ, words):
    ended = run("gnt-instance", "list", *words, master=Master(Query=COLOURED), environ=environ, is_terminal=True)
    assert "\x1b" not in ended.out


def test_words_from_the_environment_go_first():
    _, master = listed("web1", environ={"GNT_INSTANCE_LIST": "--no-headers -o 'name,os'"})
    assert master.sent("Query") == [["instance", ["name", "os"], ["==", "name", "web1"]]]
    other = Master(Query=INSTANCES)
    run("gnt-node", "list", "-o", "name", master=other, environ={"GNT_INSTANCE_LIST": "--bad"})
    assert other.sent("Query") == [["node", ["name"], None]]


def test_unknown_name_is_told():
    ended, _ = listed("nosuch", answer=errors.PrereqError("unknown_entity", "instance 'nosuch' is not known"))
    assert ended.code == 1
    assert "instance 'nosuch' is not known" in ended.err


def test_job_states_become_a_filter():
    master = Master(Query=rows([("id", "ID", "number")], [1]))
    run("gnt-job", "list", "--error", "--running", "5", master=master)
    run("gnt-job", "list", "--archived", master=master)
    assert master.sent("Query") == [
        [
            "job",
            ["id", "status", "summary"],
            ["&", ["==", "id", 5], ["|", ["==", "status", "running"], ["==", "status", "error"]]],
        ],
        ["job", ["id", "status", "summary", "archived"], None],
    ]


def test_job_times_have_microseconds():
    answer = rows(
        [
            ("id", "ID", "number"),
            ("summary", "Summary", "other"),
            ("received_ts", "Received", "other"),
            ("opstart", "OpCode_start", "other"),
        ],
        [1, ["TEST_DELAY(1)", "X"], [1_700_000_000, 42], [[1_700_000_000, 5], None]],
    )
    ended = run("gnt-job", "list", "-o", "id,summary,received_ts,opstart", "--no-headers", master=Master(Query=answer))
    assert ended.out == " ".join(
        ["1", "TEST_DELAY(1),X", "2023-11-14 22:13:20.000042", "2023-11-14 22:13:20.000005,?\n"]
    )


def test_bad_job_id():
    ended = run("gnt-job", "list", "x1")
    assert ended.code == 1
    assert "invalid job id 'x1'" in ended.err


def test_locks_show_owners_and_waiters():
    answer = rows(
        [
            ("name", "Name", "other"),
            ("mode", "Mode", "other"),
            ("owner", "Owner", "other"),
            ("pending", "Pending", "other"),
        ],
        ["node/n1", "shared", [3, 4], [["exclusive", [5]], ["shared", [6, 7]]]],
        ["cluster/BGL", None, None, None],
    )
    ended = run("gnt-debug", "locks", master=Master(Query=answer))
    check_golden("table-locks", ended.out)
    waited = rows([("waited", "Waited", "other")], [[1.25, 70.0]], [None])
    shown = run("gnt-debug", "locks", "-o", "waited", "--no-headers", master=Master(Query=waited)).out
    assert shown == "1.2s,70.0s\n-\n"


def test_locks_again_and_again_until_interrupted():
    answer = rows([("name", "Name", "other")], ["x"])
    ended = run("gnt-debug", "locks", "--interval", "2", "-o", "name", master=Master(Query=answer))
    assert ended.code == 1  # the clock of the test interrupts at the third sleep
    assert ended.out == "Name\nx\n" * 3
    assert run("gnt-debug", "locks", "--interval", "0").code == 1
    unknown = rows([("bogus", "bogus", "unknown")], [None])
    ended = run("gnt-debug", "locks", "--interval", "2", "-o", "bogus", master=Master(Query=unknown))
    assert (ended.code, ended.err.count("bogus")) == (14, 1)  # said once
    assert FixedClock().slept == []


def test_list_fields():
    answer = {"fields": [{"name": "name", "title": "Instance", "kind": "text", "doc": "its name"}]}
    master = Master(QueryFields=answer)
    ended = run("gnt-instance", "list-fields", master=master)
    assert ended == (0, "Name Type Title    Description\nname Text Instance its name\n", "")
    unknown = {"fields": [{"name": "x", "title": "x", "kind": "unknown", "doc": ""}]}
    assert run("gnt-instance", "list-fields", "x", master=Master(QueryFields=unknown)).code == 14
    assert master.sent("QueryFields") == [["instance", None]]


def test_every_kind_of_field_has_a_title():
    assert set(tables.KIND_TITLES) == {"unknown", "text", "bool", "number", "float", "unit", "timestamp", "other"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(None, "-"), (True, "Y"), ([1, None, "x"], "1,-,x"), ({"b": 1, "a": False}, "a=N,b=1"), (1.5, "1.5"), ([], "")],
)
def test_plain_text_of_any_value(value, wanted):
    assert tables.plain(value) == wanted


@pytest.mark.parametrize("text", [",,", "+", "+,"])
def test_no_field_name_is_a_usage_error(text):
    ended, master = listed("-o", text)
    assert ended.code == 1
    assert f"no field is named in {text!r}" in ended.err
    assert master.calls == []
