"""Figures as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families
from unit.rapi.kit import Master, answer

from ganeti import errors
from ganeti.host.timings import BOUNDS, Timings

TOLD = {
    "jobs": {"queued": 2, "running": 1}, "jobs_submitted": 17, "queue_drained": False,
    "locks": {"waiting": 2, "longest_s": 1.5}, "nodes": {"master": 1}, "instances": {"up": 3},
    "store": {
        "term": 4, "serial": 99, "is_solo": False,
        "voters": {"node1": {"is_current": True, "lag": 0}, "node2": {"is_current": False, "lag": 7}},
    },
    "bounds_s": list(BOUNDS),
}  # fmt: skip


def samples(master):
    found = answer(master, "GET", "/metrics")
    assert found.content_type.startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(found.text.decode())
        for sample in family.samples
    }


def test_what_the_master_tells_is_shown():
    calls = Timings()
    calls.add("node_info", 0.003)
    calls.add("node_info", 99.0, failed=True)
    found = samples(Master(QueryMetrics={**TOLD, "timings": {"rpc": calls.tell(), "commit": {}}}))
    assert found["ganeti_master_up",] == 1
    assert found["ganeti_jobs", "queued"] == 2
    assert found["ganeti_store_lag_batches", "node2"] == 7
    assert found["ganeti_lock_longest_wait_seconds",] == 1.5
    assert found["ganeti_rpc_seconds_count", "node_info"] == 2
    assert found["ganeti_rpc_seconds_bucket", "0.005", "node_info"] == 1
    assert found["ganeti_rpc_seconds_bucket", "+Inf", "node_info"] == 2
    assert found["ganeti_rpc_failures", "node_info"] == 1


def test_master_that_does_not_answer_is_down_and_no_error():
    assert samples(Master(QueryMetrics=errors.NoMasterError("no")))["ganeti_master_up",] == 0
