"""Which queued job starts next. Pure: no clock, no I/O.

A job starts when all jobs that it depends on have ended as it wants, in order of (priority, id), while fewer than
`max_running` run and nothing holds it back. A dependency must be on an earlier job, so jobs cannot wait for each other
in a circle.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping

from ganeti import errors
from ganeti.model.jobs import Status
from ganeti.model.types import JobId

#: what the other job must have ended with; empty: any end will do
Wanted = frozenset[str]
_ANY: Wanted = frozenset()

_FINAL = frozenset(status.value for status in Status if status.is_final)


class _Queued:
    __slots__ = ("depends", "priority")

    def __init__(self, priority: int, depends: dict[JobId, Wanted]) -> None:
        self.priority = priority
        self.depends = depends  # those that have not ended yet


class JobSchedule:
    """A verdict is why a job must fail without being started; an empty one says that it is canceled."""

    def __init__(self, max_running: int) -> None:
        self._limit = max_running
        self._queued: dict[JobId, _Queued] = {}
        self._running: set[JobId] = set()
        self._held: dict[JobId, None] = {}  # startable, but not let through
        self._dependents: dict[JobId, dict[JobId, None]] = {}
        # startable jobs; an entry whose job is gone or has another priority now is skipped
        self._heap: list[tuple[int, JobId]] = []

    def add(
        self,
        job: JobId,
        priority: int,
        depends: Mapping[JobId, Wanted],
        status_of: Callable[[JobId], str | None],
    ) -> str | None:
        """Queue a job. A verdict: it is not queued, because of how a dependency ended already.

        `status_of` tells the present status of another job; None: there is no such job.
        """
        unfinished: dict[JobId, Wanted] = {}
        for other, wanted in depends.items():
            verdict = None
            if other >= job:
                verdict = f"Dependency error: job {job} cannot depend on job {other}, which is not an earlier one"
            elif (status := status_of(other)) is None:
                verdict = f"Dependency error: job {other} is not known"
            elif status in _FINAL:
                verdict = _judge(other, status, wanted)
            else:
                unfinished[other] = wanted
            if verdict is not None:
                return verdict
        self._queued[job] = _Queued(priority, unfinished)
        for other in unfinished:
            self._dependents.setdefault(other, {})[job] = None
        if not unfinished:
            heapq.heappush(self._heap, (priority, job))
        return None

    def started(self, job: JobId) -> None:
        """Count a job as running that was not queued: it is recovered. The limit does not hold it back."""
        self._running.add(job)

    def ready(self, may_start: Callable[[JobId], bool] = lambda _: True) -> list[JobId]:
        """The jobs to start now; they count as running from here on.

        Those that may not start are held back until `reconsider`.
        """
        found: list[JobId] = []
        while self._heap and len(self._running) < self._limit:
            priority, job = heapq.heappop(self._heap)
            queued = self._queued.get(job)
            if queued is None or queued.priority != priority:
                continue
            if not may_start(job):
                self._held[job] = None
                continue
            self._held.pop(job, None)
            del self._queued[job]
            self._running.add(job)
            found.append(job)
        return found

    def reconsider(self) -> None:
        """What was held back may be startable now."""
        for job in self._held:
            heapq.heappush(self._heap, (self._queued[job].priority, job))
        self._held.clear()

    def is_held(self, job: JobId) -> bool:
        return job in self._held

    def finished(self, job: JobId, status: str) -> list[tuple[JobId, str]]:
        """A job has ended, started or not. Returns the dependents that must not start, with their verdicts.

        They are out of the queue; call this for each of them in turn when its end is stored.
        """
        self._running.discard(job)
        self.remove(job)
        verdicts: list[tuple[JobId, str]] = []
        for other in self._dependents.pop(job, {}):
            queued = self._queued[other]
            verdict = _judge(job, status, queued.depends.pop(job))
            if verdict is not None:
                self.remove(other)
                verdicts.append((other, verdict))
            elif not queued.depends:
                heapq.heappush(self._heap, (queued.priority, other))
        return verdicts

    def remove(self, job: JobId) -> None:
        """Take a job out of the queue; its dependents wait on until it is `finished`. Not queued: fine."""
        queued = self._queued.pop(job, None)
        self._held.pop(job, None)
        if queued is None:
            return
        for other in queued.depends:
            dependents = self._dependents[other]
            del dependents[job]
            if not dependents:
                del self._dependents[other]

    def forget(self, job: JobId) -> None:
        """The job is archived; those that wait for it, if any, wait for a job that is lost."""
        self.remove(job)
        self._running.discard(job)

    def set_priority(self, job: JobId, priority: int) -> None:
        """Of a queued job; any other: nothing happens."""
        queued = self._queued.get(job)
        if queued is None or queued.priority == priority:
            return
        queued.priority = priority
        if not queued.depends:
            heapq.heappush(self._heap, (priority, job))

    def set_limit(self, max_running: int) -> None:
        """Jobs that run already go on."""
        self._limit = max_running

    def is_queued(self, job: JobId) -> bool:
        return job in self._queued

    def queued(self) -> list[JobId]:
        """In order of start, were there no dependencies."""
        return sorted(self._queued, key=lambda job: (self._queued[job].priority, job))

    def running(self) -> list[JobId]:
        return sorted(self._running)

    def waits_for(self, job: JobId) -> list[JobId]:
        """The jobs that must end before this one may start."""
        queued = self._queued.get(job)
        return sorted(queued.depends) if queued is not None else []


def dependencies(of_opcodes: Iterable[Iterable[tuple[int | str, Iterable[str]]]]) -> dict[JobId, Wanted]:
    """What a job depends on, of what its opcodes say, which is all to be fulfilled.

    Raises PrereqError when that cannot be: no end of a job is among those that are wanted of it.
    """
    found: dict[JobId, Wanted] = {}
    for depends in of_opcodes:
        for number, statuses in depends:
            other, wanted = JobId(int(number)), frozenset(statuses)
            before = found.get(other, _ANY)
            both = before & wanted if before and wanted else before | wanted
            if wanted and not both:
                raise errors.PrereqError(
                    "wrong_input",
                    f"job {other} cannot end both with {' or '.join(sorted(before))}"
                    f" and with {' or '.join(sorted(wanted))}, as it is wanted of it",
                )
            found[other] = both
    return found


def _judge(other: JobId, status: str, wanted: Wanted) -> str | None:
    """None: the dependency is fulfilled."""
    if not wanted or status in wanted:
        return None
    if status == Status.CANCELED.value:
        return ""
    return f"Dependency job {other} finished with status {status!r}, not one of {', '.join(sorted(wanted))}"
