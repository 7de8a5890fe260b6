"""Figures for Prometheus: what this daemon counts of itself, and what the master tells of its work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, exposition
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ganeti import errors
from ganeti.rapi import schemas
from ganeti.rapi.ask import Answer, Ask
from ganeti.rapi.routes import Route

Told = Mapping[str, Any]  # Any: JSON of QueryMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = ("GET", "PUT", "POST", "DELETE")


class Measures:
    """Counters of this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ganeti_rest_requests",
            "REST requests by resource, method and status",
            ("resource", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ganeti_rest_request_seconds",
            "Time to answer a REST request",
            ("resource",),
            registry=self._registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        )

    def answered(self, resource: str, method: str, status: int, seconds: float) -> None:
        known = method if method in _METHODS else "other"
        self._requests.labels(resource or "unknown", known, str(status)).inc()
        self._seconds.labels(resource or "unknown").observe(seconds)

    def route(self) -> Route:
        async def run(ask: Ask) -> Answer:
            try:
                told: Told = await ask.luxi.call("QueryMetrics")
            except errors.GanetiError:
                told = {}
            return Answer(text=self.text(told), content_type=CONTENT_TYPE)

        return Route(
            method="GET",
            path="/metrics",
            name="metrics",
            summary="Figures of the cluster and of this interface, for Prometheus.",
            run=run,
            result=schemas.TEXT,
            content_type="text/plain",
        )

    def text(self, told: Told) -> bytes:
        """`told` is empty when the master does not answer."""
        shown = CollectorRegistry()
        shown.register(_Families(told))
        return exposition.generate_latest(shown) + exposition.generate_latest(self._registry)


class _Families(Collector):
    def __init__(self, told: Told) -> None:
        self._told = told

    def collect(self) -> Iterable[Metric]:
        return families(self._told)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    found = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        found.add_metric([key], value)
    return found


def families(told: Told) -> Iterator[Metric]:
    """The master's figures."""
    yield GaugeMetricFamily("ganeti_master_up", "Whether the master daemon answers", value=1 if told else 0)
    if not told:
        return
    yield _gauge("ganeti_jobs", "Jobs that are not archived, by state", "state", told["jobs"])
    yield GaugeMetricFamily("ganeti_jobs_submitted", "Number of the last job", value=told["jobs_submitted"])
    yield GaugeMetricFamily("ganeti_queue_drained", "Whether the queue takes no jobs", value=told["queue_drained"])
    locks, store = told["locks"], told["store"]
    yield GaugeMetricFamily("ganeti_lock_waiters", "Jobs that wait for locks", value=locks["waiting"])
    yield GaugeMetricFamily(
        "ganeti_lock_longest_wait_seconds", "Of the job that waits longest", value=locks["longest_s"]
    )
    yield _gauge("ganeti_nodes", "Nodes by role", "role", told["nodes"])
    yield _gauge("ganeti_instances", "Instances by wanted state", "state", told["instances"])
    yield GaugeMetricFamily("ganeti_store_term", "Number of the mastership", value=store["term"])
    yield GaugeMetricFamily("ganeti_store_serial", "Number of the last batch of changes", value=store["serial"])
    yield GaugeMetricFamily("ganeti_store_solo", "Whether no other candidate has the state", value=store["is_solo"])
    voters: Mapping[str, Told] = store["voters"]
    lags = {name: voter["lag"] for name, voter in voters.items()}
    current = {name: float(voter["is_current"]) for name, voter in voters.items()}
    yield _gauge("ganeti_store_lag_batches", "Batches that a candidate lacks", "candidate", lags)
    yield _gauge("ganeti_store_current", "Whether a candidate has everything", "candidate", current)
    timings, bounds = told["timings"], told["bounds_s"]
    yield _histogram(
        "ganeti_store_commit_seconds", "Until a batch is on the own disk, on a majority", "place",
        timings.get("commit", {}), bounds,
    )  # fmt: skip
    calls = timings.get("rpc", {})
    yield _histogram("ganeti_rpc_seconds", "Calls to node daemons", "call", calls, bounds)
    failed = {name: float(entry["failed"]) for name, entry in calls.items()}
    yield _gauge("ganeti_rpc_failures", "Calls to node daemons that failed, since the start", "call", failed)


def _histogram(name: str, text: str, label: str, entries: Mapping[str, Told], bounds: Sequence[float]) -> Metric:
    found = HistogramMetricFamily(name, text, labels=[label])
    for key, entry in entries.items():
        total, buckets = 0, []
        for bound, count in zip((*map(str, bounds), "+Inf"), entry["classes"], strict=True):
            total += count
            buckets.append((bound, total))
        found.add_metric([key], buckets, sum_value=entry["seconds"])
    return found
