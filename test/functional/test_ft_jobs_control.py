"""Jobs under control: priorities, selections by status, steps, what holds them up, locks."""

import subprocess

import pytest
from functional.kit import wait_until

from ganeti.cli.failure import NOT_CONFIRMED


def status(cluster, job):
    return cluster.field("gnt-job", str(job), "status")


@pytest.fixture
def blocked(cluster):
    """(a job that holds node3, one that waits for the node, one that depends on that)."""
    holder = cluster.submit("gnt-debug", "delay", "-n", "node3", "--no-master", "60")
    wait_until("the first job runs", lambda: status(cluster, holder) == "running")
    waiting = cluster.submit("gnt-node", "modify", "-D", "yes", "node3")
    wait_until("the second job waits for its locks", lambda: status(cluster, waiting) == "waiting")
    form = {"OP_ID": "OP_TEST_DELAY", "duration": 0, "depends": [[waiting, []]]}
    queued = cluster.luxi("SubmitJob", [form])["result"]
    yield holder, waiting, queued
    jobs = [str(job) for job in (queued, waiting, holder) if status(cluster, job) in ("queued", "waiting", "running")]
    if jobs:
        cluster.ok("gnt-job", "cancel", "--kill", "--yes-do-it", *jobs)
    for job in (holder, waiting, queued):
        wait_until("the jobs have ended", lambda job=job: status(cluster, job) in ("success", "error", "canceled"))


def test_what_holds_a_job_up_is_shown(cluster, blocked):
    holder, waiting, queued = blocked
    rows = dict(cluster.rows("gnt-job", "id,waits_for", *map(str, blocked)))
    assert rows[str(holder)] == "-"
    assert rows[str(waiting)].endswith(f"node3.vc.example:{holder}")
    assert rows[str(queued)] == f"dependency::{waiting}"
    assert f"which job {holder} holds" in cluster.ok("gnt-job", "info", str(waiting))
    locks = [
        line.split("|")
        for line in cluster.ok(
            "gnt-debug", "locks", "--no-headers", "--separator=|", "-o", "name,mode,owner,pending,waited"
        ).splitlines()
    ]
    mine = [row for row in locks if row[0] == "node/node3.vc.example"]
    assert [row[1:4] for row in mine] == [["shared", str(holder), f"exclusive:{waiting}"]]
    assert mine[0][4].endswith("s")


def test_change_of_priority(cluster, blocked):
    _, waiting, queued = blocked
    cluster.ok("gnt-job", "change-priority", "--priority=high", str(waiting), str(queued))
    assert cluster.rows("gnt-job", "priority", str(waiting), str(queued)) == [["-10"], ["-10"]]
    assert "priority" in cluster.fails("gnt-job", "change-priority", str(waiting))
    # without a terminal the answer is no
    cluster.fails("gnt-job", "change-priority", "--priority=low", "--queued", status=NOT_CONFIRMED)
    cluster.ok("gnt-job", "change-priority", "--priority=low", "--queued", "-f")
    assert cluster.rows("gnt-job", "priority", str(waiting), str(queued)) == [["-10"], ["10"]]


def test_cancel_by_status(cluster, blocked):
    holder, waiting, queued = blocked
    assert str(queued) in [row[0] for row in cluster.rows("gnt-job", "id", "--pending")]
    cluster.fails("gnt-job", "cancel", "--pending", status=NOT_CONFIRMED)
    assert status(cluster, queued) == "queued"
    cluster.ok("gnt-job", "cancel", "--queued", "-f")
    assert status(cluster, queued) == "canceled"
    cluster.ok("gnt-job", "cancel", "--waiting", "-f")
    wait_until("the waiting one is canceled", lambda: status(cluster, waiting) == "canceled")
    assert status(cluster, holder) == "running"
    assert cluster.fails("gnt-job", "cancel", str(holder)) == ""
    cluster.fails("gnt-job", "wait", str(queued))


def test_killed_job_ends_at_once(cluster, blocked):
    holder, waiting, _ = blocked
    assert "--yes-do-it" in cluster.fails("gnt-job", "cancel", "--kill", str(holder))
    cluster.ok("gnt-job", "cancel", "--kill", "--yes-do-it", str(holder))
    wait_until("it is canceled", lambda: status(cluster, holder) == "canceled")
    # those that it held up go on
    cluster.ok("gnt-job", "wait", str(waiting))
    cluster.ok("gnt-node", "modify", "-D", "no", "node3")


def test_locks_are_shown_again_and_again(cluster, blocked):
    argv = ("gnt-debug", "locks", "--interval=1", "-o", "name", "--no-headers")
    environment = cluster.cluster.layout.environment(cluster.master)
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as shown:
        try:
            lines = [shown.stdout.readline().strip() for _ in range(8)]
        finally:
            shown.kill()
    assert lines.count("node/node3.vc.example") >= 2


def test_dry_run_tells_the_steps_that_are_done_then(cluster):
    words = ("gnt-instance", "add", "-o", "busybox-linux", "--no-install", "-t", "file", "--disk", "0:size=1g")
    words += ("-n", "node2", "dry.example.com")
    told = cluster.ok(*words[:2], "--dry-run", *words[2:])
    planned = [line.split("would do: ")[1] for line in told.splitlines() if "would do: step" in line]
    assert cluster.rows("gnt-instance", "name") == []
    done = cluster.ok(*words)
    assert [line.split("* ")[1] for line in done.splitlines() if "* step" in line] == planned
    assert len(planned) >= 3
    cluster.ok("gnt-instance", "remove", "-f", "dry.example.com")


def test_job_tells_its_step_and_its_reason(cluster):
    job = cluster.submit("gnt-debug", "delay", "--reason=a look", "-n", "node2", "0.1")
    cluster.ok("gnt-job", "watch", str(job))
    shown = cluster.ok("gnt-job", "info", str(job))
    assert "gnt:user, a look" in shown
    assert "gnt:opcode:test_delay" in shown
    assert cluster.field("gnt-job", str(job), "opstep") == "1/1"
