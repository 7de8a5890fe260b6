"""What this daemon counts of itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class Measures:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ganeti_rest_requests", "REST requests by resource, method and status", ("resource", "method", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "ganeti_rest_request_seconds", "Time to answer a REST request", ("resource",), registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        )  # fmt: skip

    def answered(self, resource: str, method: str, status: int, seconds: float) -> None:
        known = method if method in ("GET", "PUT", "POST", "DELETE") else "other"
        self._requests.labels(resource or "unknown", known, str(status)).inc()
        self._seconds.labels(resource or "unknown").observe(seconds)
