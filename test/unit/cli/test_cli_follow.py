"""Following one job."""

import pytest
from unit.cli.kit import Master, Steps, job_master, run

from ganeti import errors
from ganeti.cli import follow


def watch(master: Master):
    return run("gnt-job", "watch", "7", master=master)


def test_log_lines_have_local_time_and_are_printable():
    ended = run("gnt-debug", "delay", "0", master=job_master(log=(" - INFO: a\tb\x07", "ünï\nx")))
    assert ended.out == ("Tue Nov 14 22:13:20 2023  - INFO: a\\tb\\x07\nTue Nov 14 22:13:20 2023 ünï\\nx\n")


def test_each_request_says_what_is_known_already():
    master = job_master(
        WaitForJobChange=Steps(
            [
                [["queued"], []],
                [["running"], [[1, [1_700_000_000, 0], "message", "one"]]],
                [["running"], [[2, [1_700_000_000, 0], "delay-test", {"socket": "x"}]]],
                [["success"], []],
            ]
        )
    )
    ended = watch(master)
    assert master.sent("WaitForJobChange") == [
        [7, ["status"], None, None, 60],
        [7, ["status"], ["queued"], None, 60],
        [7, ["status"], ["running"], 1, 60],
        [7, ["status"], ["running"], 2, 60],
    ]
    assert ended.code == 0
    assert ended.out.splitlines()[:2] == ["Output from job 7 follows", "-" * 25]
    assert ended.out.splitlines()[3].endswith(' {"socket":"x"}')


def test_patience_is_told_once_for_each_state():
    master = job_master(
        WaitForJobChange=Steps(
            [
                "nochange",
                [["queued"], []],
                "nochange",
                "nochange",
                [["waiting"], []],
                "nochange",
                [["success"], []],
            ]
        )
    )
    assert watch(master).err == ("Job 7 is waiting in queue\nJob 7 is trying to acquire all necessary locks\n")


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        (
            ["error", ["error"], [["OpPrereqError", ["no such node", "unknown_entity"]]]],
            1,
            "Failure: prerequisites not met for this operation:\n"
            "error type: unknown_entity, error details:\nno such node\n",
        ),
        (["error", ["error"], [["OpExecError", ["disk full"]]]], 1, "Failure: command execution error:\ndisk full\n"),
        (
            ["error", ["success", "error"], [None, "text"]],
            1,
            "Failure: command execution error:\npartial failure (opcode 1): text\n",
        ),
        (
            [
                "error",
                ["error", "error"],
                [["ConfigurationError", ["bad"]], ["OpExecError", ["Preceding opcode failed"]]],
            ],
            2,
            "Corrupt configuration file: bad\nAborting.\n",
        ),
        (
            ["error", ["error"], [["HooksAbort", [[["n1", "10check", "no"], ["n2", "20x", ""]]]]]],
            1,
            "Failure: hooks execution failed:\n  node: n1, script: 10check, output: no\n"
            "  node: n2, script: 20x, (no output)\n",
        ),
        (
            ["error", ["error"], [["BlockDeviceError", ["lv is gone"]]]],
            1,
            "Unhandled Ganeti error: lv is gone\n",
        ),
        (["canceled", ["canceled"], ["Job canceled by request"]], 1, "Job was canceled\n"),
        ([None, None, None], 1, "Error checking job status: job 7 not found\n"),
        (None, 1, "Error checking job status: job 7 not found\n"),
    ],
)
def test_failed_job_is_told_as_its_own_error(row, code, message):
    status = row[0] if row and row[0] else "error"
    master = job_master(WaitForJobChange=[[status], []], QueryJobs=[row])
    ended = run("gnt-debug", "delay", "0", master=master)
    assert (ended.code, ended.err) == (code, message)


def test_lost_job():
    ended = watch(Master(WaitForJobChange=None))
    assert (ended.code, ended.err) == (1, "job 7 is archived or not known\n")


def test_watch_has_the_exit_code_of_the_error():
    master = job_master(
        WaitForJobChange=[["error"], []], QueryJobs=[["error", ["error"], [["ConfigurationError", ["bad"]]]]]
    )
    assert (watch(master).code, watch(master).err) == (2, "Job 7 failed: bad\n")


def test_wait_says_nothing():
    good = job_master(log=("hello",))
    bad = job_master(WaitForJobChange=[["error"], []], QueryJobs=[["error", ["error"], [["OpExecError", ["x"]]]]])
    assert run("gnt-job", "wait", "7", master=good) == (0, "", "")
    assert run("gnt-job", "wait", "7", master=bad) == (1, "", "")


def test_wait_tells_when_the_master_is_gone():
    ended = run("gnt-job", "wait", "7", master=Master(WaitForJobChange=errors.LuxiError("connection lost")))
    assert (ended.code, ended.err) == (1, "Communication with the master daemon failed: connection lost\n")


def test_jobs_of_a_result():
    found = follow.jobs_in({"jobs": [[True, 5], [False, "queue is full"]]})
    assert found == [follow.Submitted("job 5", 5), follow.Submitted("", None, "queue is full")]
    assert follow.jobs_in([["jobs"]]) is None
    assert follow.jobs_in(None) is None
