"""What filters keep, and what they refuse."""

import pytest

from ganeti import errors
from ganeti.master.queries import resources
from ganeti.model.types import JobId
from ganeti.query.match import Filter
from ganeti.query.view import JobRow, View


@pytest.mark.parametrize(
    ("qfilter", "kept"),
    [
        (None, ["db1", "web2", "web10"]),
        (["?", "admin_up"], ["db1", "web10"]),
        (["!", ["?", "admin_up"]], ["web2"]),
        (["==", "os", "noop"], ["db1", "web2", "web10"]),
        (["=", "pnode", "NODE1"], ["web10"]),
        (["!=", "pnode", "node1"], ["db1", "web2"]),
        (["<", "be/vcpus", 4], ["db1", "web10"]),
        ([">=", "be/vcpus", 4], ["web2"]),
        (["=~", "name", "^web"], ["web2", "web10"]),
        (["=~", "name", r"^web2.*\.com\Z"], ["web2"]),
        # would take for ever where patterns are tried one way after another
        (["=~", "name", "((((w|e|b|.)+)+)+)+X$"], []),
        (["=[]", "tags", "blue"], ["web10"]),
        (["=[]", "disk.sizes", 1024], ["web10"]),
        (["&"], ["db1", "web2", "web10"]),
        (["|"], []),
        (["&", ["=~", "name", "^web"], ["?", "admin_up"]], ["web10"]),
        (["|", ["==", "be/vcpus", 4], ["=[]", "tags", "blue"]], ["web2", "web10"]),
        (["==", "network_port", 11000], ["db1", "web2", "web10"]),  # where there is no port, it cannot be said
        (["&", ["==", "network_port", 1], ["=~", "name", "web2"]], []),
        (["!", ["==", "disk.size/0", 1]], ["db1", "web2", "web10"]),
    ],
)
def test_filter_keeps(world, qfilter, kept):
    assert world.names(qfilter) == kept


def test_a_prefix_must_end_at_a_dot(world):
    assert world.names(["==", "pnode", "node"]) == []


def test_names_alone_are_looked_up_in_the_order_of_the_request(world):
    assert world.names(["|", ["==", "name", "web10"], ["|", ["==", "name", "db1.example.com"]]]) == ["web10", "db1"]
    assert world.names(["|", ["==", "name", "db1"], ["==", "name", "db1"]]) == ["db1"]


@pytest.mark.parametrize("wrong", [7, True, None, ["web10"]])
def test_names_alone_are_checked_each(world, wrong):
    with pytest.raises(errors.ParameterError, match="cannot be"):
        world.names(["|", ["==", "name", "web10"], ["==", "name", wrong]])


def test_a_list_of_names_can_be_asked_of_one_object():
    numbers = Filter(resources()["job"], ["|", ["==", "id", 4], ["=", "id", 9]])
    rows = [JobRow(JobId(number), None) for number in (4, 5, 9)]
    view = View(None, None)
    assert [numbers.holds(view, row) for row in rows] == [True, False, True]
    assert [numbers.keeps(view, row, with_live=False) for row in rows] == [True, False, True]


def test_an_unknown_name_is_an_error(world):
    with pytest.raises(errors.PrereqError, match="'nosuch' is not known") as caught:
        world.names(["==", "name", "nosuch"])
    assert caught.value.code == "unknown_entity"


@pytest.mark.parametrize(
    ("qfilter", "says"),
    [
        ("name", "not a filter"),
        ([], "not a filter"),
        ([1], "not a filter"),
        (["&", "name"], "not a filter"),
        (["??", "name"], "unknown filter operator"),
        (["==", "name"], "takes 2 operands"),
        (["!"], "takes 1 operand"),
        (["?"], "takes 1 operand"),
        (["==", "nosuch", 1], "unknown field 'nosuch'"),
        (["==", ["name"], 1], "unknown field"),
        (["==", "name", 1], "cannot be compared"),
        (["==", "be/vcpus", "4"], "cannot be compared"),
        (["==", "be/vcpus", True], "cannot be compared"),
        (["==", "admin_up", 1], "cannot be compared"),
        (["<", "admin_up", True], "cannot be compared"),
        (["==", "be/vcpus", 1.5], "whole number"),
        (["==", "name", None], "whole number"),
        (["?", "name"], "not true or false"),
        (["=~", "be/vcpus", "4"], "cannot be matched"),
        (["=~", "name", "("], "not a regular expression"),
        (["=~", "name", "(?=web)"], "look-around"),
        (["=~", "name", "a" * 2000], "longer than"),
        (["=[]", "name", "a"], "not a list"),
        (["=[]", "beparams", "a"], "not a list"),
        (["==", "network_port", "a"], "cannot be compared"),
    ],
)
def test_wrong_filter_is_refused(world, qfilter, says):
    with pytest.raises(errors.ParameterError, match=says):
        world.names(qfilter)


def test_a_filter_nested_without_end_is_refused(world):
    qfilter = ["?", "admin_up"]
    for _ in range(500):
        qfilter = ["!", qfilter]
    with pytest.raises(errors.ParameterError, match="nested"):
        world.names(qfilter)


def test_live_conditions_narrow_down_after_the_nodes_were_asked(world):
    world.guests["n1"] = (world.running("web10"),)
    assert world.names(["&", ["==", "status", "running"], ["=~", "name", "^web"]]) == ["web10"]
    asked = [node for node, _ in world.rpc.asked]
    assert asked == ["n1", "n2"]  # db1's node was out of the question


def test_live_conditions_under_not_do_not_drop_rows_too_early(world):
    world.guests["n1"] = (world.running("web10"),)
    assert world.names(["!", ["==", "status", "running"]]) == ["db1", "web2"]


def test_times_of_jobs_compare_by_seconds(world):
    from ganeti.model.jobs import Job, OpState

    world.jobs += [
        Job(id=1, ops=(OpState(input={"OP_ID": "OP_TEST_DELAY"}),), received_timestamp=(100, 5)),
        Job(id=2, ops=(OpState(input={"OP_ID": "OP_TEST_DELAY"}),), received_timestamp=(200, 5)),
    ]
    assert world.ask("job", ["id"], ["==", "received_ts", 100]) == [[[0, 1]]]
    assert world.ask("job", ["id"], [">", "received_ts", 100]) == [[[0, 2]]]
    with pytest.raises(errors.ParameterError):
        world.ask("job", ["id"], ["==", "received_ts", "100"])
