"""Jobs from the outside: submit, follow, cancel, archive."""

from functional.kit import wait_until


def _status(cluster, job):
    return cluster.field("gnt-job", str(job), "status")


def test_a_job_runs_to_its_end(cluster):
    job = cluster.submit("gnt-debug", "delay", "0.1")
    cluster.ok("gnt-job", "watch", str(job))
    assert _status(cluster, job) == "success"
    assert "OP_TEST_DELAY" in cluster.ok("gnt-job", "info", str(job))


def test_ids_grow_and_are_never_used_twice(cluster):
    jobs = [cluster.submit("gnt-debug", "delay", "0") for _ in range(5)]
    assert jobs == sorted(set(jobs))


def test_a_waiting_job_is_canceled(cluster):
    first = cluster.submit("gnt-debug", "delay", "-n", "node3", "--no-master", "3")
    wait_until("the first job runs", lambda: _status(cluster, first) == "running")
    second = cluster.submit("gnt-node", "modify", "-D", "yes", "node3")
    wait_until("the second job waits for the node", lambda: _status(cluster, second) == "waiting")
    cluster.ok("gnt-job", "cancel", str(second))
    wait_until("it is canceled", lambda: _status(cluster, second) == "canceled")
    cluster.ok("gnt-job", "watch", str(first))
    assert cluster.field("gnt-node", "node3", "drained") == "N"


def test_archived_jobs_leave_the_list(cluster):
    job = cluster.submit("gnt-debug", "delay", "0")
    cluster.ok("gnt-job", "watch", str(job))
    cluster.ok("gnt-job", "archive", str(job))
    assert [str(job)] not in cluster.rows("gnt-job", "id")
    cluster.ok("gnt-job", "autoarchive", "all")
    assert cluster.rows("gnt-job", "id") == []


def test_archive_of_a_running_job_is_refused(cluster):
    job = cluster.submit("gnt-debug", "delay", "2")
    assert str(job) in cluster.fails("gnt-job", "archive", str(job))
    cluster.ok("gnt-job", "watch", str(job))


def test_a_drained_queue_takes_nothing(cluster):
    cluster.ok("gnt-cluster", "queue", "drain")
    try:
        assert "drain" in cluster.fails("gnt-debug", "delay", "0")
    finally:
        cluster.ok("gnt-cluster", "queue", "undrain")
    cluster.ok("gnt-debug", "delay", "0")


def test_a_submission_with_a_key_counts_once(cluster):
    body = [{"OP_ID": "OP_TEST_DELAY", "duration": 0}]
    import simplejson

    def send(ops):
        request = {"method": "SubmitJob", "args": [ops], "key": "functional-key-1"}
        return cluster.luxi_raw(simplejson.dumps(request).encode())

    first, second = send(body), send(body)
    assert first["success"]
    assert first["result"] == second["result"]
    other = send([{"OP_ID": "OP_TEST_DELAY", "duration": 1}])
    assert not other["success"]
    assert "functional-key-1" in str(other["result"])
