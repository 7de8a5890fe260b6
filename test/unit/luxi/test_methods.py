"""What existing clients of all ages send."""

from __future__ import annotations

from typing import Any

import pytest

from ganeti.luxi import methods
from ganeti.wire.codec import CodecError

OP = {"OP_ID": "OP_TEST_DELAY"}


@pytest.mark.parametrize(
    ("method", "args", "expected"),
    [
        ("SubmitJob", [[OP]], [[OP]]),
        ("SubmitJob", [[OP, OP]], [[OP, OP]]),
        ("SubmitManyJobs", [[[OP], [OP]]], [[[OP], [OP]]]),
        ("SubmitManyJobs", [[]], [[]]),
        ("CancelJob", [17], [17, False]),
        ("CancelJob", ["17", True], [17, True]),
        ("ArchiveJob", ["5"], [5]),
        ("WaitForJobChange", [7, ["status"], None, None, 60], [7, ["status"], None, None, 60.0]),
        ("WaitForJobChange", ["7", ["status"], ["queued"], 3, 1.5], [7, ["status"], ["queued"], 3, 1.5]),
        ("Query", ["node", ["name"], None], ["node", ["name"], None]),
        ("Query", ["node", ["name"], ["==", "name", "a"]], ["node", ["name"], ["==", "name", "a"]]),
        ("QueryFields", ["node", None], ["node", None]),
        ("QueryJobs", [None, ["id"]], [[], ["id"]]),
        ("QueryJobs", [[1, "2"], ["id"]], [[1, 2], ["id"]]),
        ("QueryInstances", [[], ["name"], False], [[], ["name"], False]),
        ("QueryExports", [["n1"], False], [["n1"], False]),
        ("QueryFilters", [None, ["uuid"]], [[], ["uuid"]]),
        ("ReplaceFilter", [None, 0, [], ["RATE_LIMIT", 2], []], [None, 0, [], ["RATE_LIMIT", 2], []]),
        ("DeleteFilter", ["u1"], ["u1"]),
        ("QueryConfigValues", [["cluster_name"]], [["cluster_name"]]),
        ("QueryClusterInfo", [], []),
        ("QueryTags", ["cluster", None], ["cluster", ""]),
        ("AutoArchiveJobs", [-1, 89], [-1.0, 89.0]),
        ("SetDrainFlag", [True], [True]),
        ("SetWatcherPause", [None], [None]),
    ],
)
def test_normalise_when_in_todays_form(method: str, args: Any, expected: Any) -> None:
    assert methods.normalise(method, args) == expected


@pytest.mark.parametrize(
    ("method", "args", "expected"),
    [
        ("SubmitJob", [OP], [[OP]]),
        ("SubmitJob", [OP, OP], [[OP, OP]]),
        ("SubmitManyJobs", [[OP], [OP]], [[[OP], [OP]]]),
        ("SubmitManyJobs", [[OP]], [[[OP]]]),
        ("CancelJob", "17", [17, False]),
        ("ArchiveJob", 17, [17]),
        ("QueryConfigValues", ["cluster_name", "master_node"], [["cluster_name", "master_node"]]),
        ("QueryConfigValues", [], [[]]),
        ("SetDrainFlag", False, [False]),
        ("SetWatcherPause", None, [None]),
    ],
)
def test_normalise_when_in_the_form_of_2_0(method: str, args: Any, expected: Any) -> None:
    assert methods.normalise(method, args) == expected


@pytest.mark.parametrize(
    ("method", "args", "says"),
    [
        ("Nonsense", [], "unknown method 'Nonsense'"),
        ("SubmitJob", [], "they are: ops"),
        ("SubmitJob", ["x"], "a list is wanted"),
        ("SubmitJob", [[OP], "more"], "at most length 1"),
        ("CancelJob", [True], "not a job id"),
        ("CancelJob", [1.5], "not a job id"),
        ("CancelJob", ["1x"], "not a job id"),
        ("CancelJob", ["٣"], "not a job id"),
        ("CancelJob", [-1], "not a job id"),
        ("CancelJob", [10**12], "not a job id"),
        ("CancelJob", {"job": 1}, "not a job id"),
        ("WaitForJobChange", [7, ["status"]], "timeout_s"),
        ("Query", ["node", "name", None], "a list is wanted"),
        ("QueryClusterInfo", [1], "they are: none"),
        ("QueryClusterInfo", None, "a list is wanted"),
        ("SetDrainFlag", ["yes"], "true or false is wanted"),
        ("ChangeJobPriority", [1, 20], "at most 19 is wanted"),
        ("ChangeJobPriority", [1, -(10**29)], "at least -20 is wanted"),
        ("SetWatcherPause", [1e308], "less than 253402300800"),
        ("SetWatcherPause", [-1], "at least 0 is wanted"),
    ],
)
def test_normalise_when_the_shape_is_wrong_then_it_says_what_was_wanted(method: str, args: Any, says: str) -> None:
    with pytest.raises(CodecError) as caught:
        methods.normalise(method, args)
    assert says in str(caught.value)


def test_job_numbers_travel_on_as_plain_numbers() -> None:
    (job, _) = methods.normalise("CancelJob", ["017"])
    assert (job, type(job)) == (17, int)
    (jobs, _) = methods.normalise("QueryJobs", [["1", 2], ["id"]])
    assert {type(number) for number in jobs} == {int}


def test_is_question_only_for_what_changes_nothing() -> None:
    assert methods.is_question("WaitForJobChange")
    assert not methods.is_question("SubmitJob")
    assert not methods.is_question("CancelJob")
    assert not methods.is_question("Nonsense")
