"""The client of one file: how it waits for a job."""

import pytest

from ganeti.rapi.client import Client, JobError, RestError


class Scripted(Client):
    """Each answer is a value, or an exception."""

    def __init__(self, *answers):
        super().__init__("cluster.example.com", verify=False)
        self.answers, self.pause_s = list(answers), 0.0

    def call(self, method, path, query=None, body=None, *, has_body=False, headers=None):
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


RUNNING, GOOD = {"id": 7, "status": "running"}, {"id": 7, "status": "success", "opresult": [None, 5]}
BAD = {"id": 7, "status": "error", "opresult": [["OpExecError", ["no"]]]}


def test_wait_outlives_a_master_that_is_away():
    away = (ConnectionRefusedError(), TimeoutError(), RestError(502, "no master"), RestError(503, "busy"))
    client = Scripted(RUNNING, None, *away, RUNNING, RestError(502, "no master"), GOOD)
    assert client.wait(7) == [None, 5]
    assert client.answers == []


def test_wait_goes_on_without_the_right_to_be_told_of_news():
    assert Scripted(RUNNING, RestError(403, "no right"), GOOD).wait(7) == [None, 5]


def test_wait_ends_for_what_will_not_get_better():
    with pytest.raises(RestError):
        Scripted(RestError(404, "no such job")).wait(7)
    with pytest.raises(JobError):
        Scripted(BAD).wait(7)
    with pytest.raises(TimeoutError, match="is running"):
        Scripted(RUNNING, None).wait(7, limit_s=-1.0)
