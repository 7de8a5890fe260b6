"""The jobs as the engine holds them: the newest state of each, who waits for a change, what is asked of it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

import msgspec

from ganeti import errors
from ganeti.host.clock import Clock
from ganeti.master import sizes
from ganeti.master.state import State, job_key, op_key, op_row, row
from ganeti.model.jobs import Job, LogEntry, OpState, Status, Timestamp, timestamp
from ganeti.model.locks import LockKey
from ganeti.model.types import JobId
from ganeti.store import parcel
from ganeti.store.api import Write


class Wish(enum.Enum):
    """What a client asked of a running job; read between its steps."""

    NONE = 0
    CANCEL = 1  # before it runs
    KILL = 2  # also while it runs


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job does not go on."""

    kind: str  # lock, dependency, filter or limit
    lock: LockKey | None = None
    job: JobId | None = None  # who must give way or end first


class Jobs:
    """Newest job objects, ahead of the stored ones by changes that need not survive a crash."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._wishes: dict[JobId, Wish] = {}
        self._log_sizes: dict[JobId, int] = {}
        self._row_sizes: dict[JobId, int] = {}  # of jobs of many opcodes
        self._waiters: dict[JobId, set[asyncio.Future[None]]] = {}

    def get(self, job: JobId) -> Job:
        """Raises JobLost."""
        found = self._state.jobs.get(job)
        if found is None:
            raise errors.JobLost(f"job {job} is not known", hint="it may have been archived")
        return found

    def stamp(self) -> Timestamp:
        return timestamp(self._clock.time())

    def put(self, job: Job) -> None:
        """The newest form; those who wait for a change are woken."""
        self._state.hold_jobs()
        self._state.jobs[job.id] = job
        self.wake(job.id)

    def change_op(self, job: JobId, index: int, **changes: Any) -> Job:
        """Any: fields of OpState."""
        old = self.get(job)
        ops = list(old.ops)
        ops[index] = msgspec.structs.replace(ops[index], **changes)
        new = msgspec.structs.replace(old, ops=tuple(ops))
        self.put(new)
        return new

    def replace(self, job: JobId, **changes: Any) -> Job:
        """Any: fields of Job."""
        new = msgspec.structs.replace(self.get(job), **changes)
        self.put(new)
        return new

    def ended(self, job: JobId, start: int, status: Status, result: Any) -> Job:
        """The job with every opcode from `start` on finished so; it is not put. Any: JSON result."""
        old = self.get(job)
        now = self.stamp()

        def ended(op: OpState) -> OpState:
            return msgspec.structs.replace(op, status=status, result=result, end_timestamp=now)

        ops = [op if index < start or op.status.is_final else ended(op) for index, op in enumerate(old.ops)]
        return msgspec.structs.replace(old, ops=tuple(ops), end_timestamp=now)

    # Its rows. A job of many opcodes is written whole when it is submitted and when it ends. In between each opcode has
    # a row of its own: what is written at its begin and end must not grow with the number of the others.

    def writes_of(self, job: Job, index: int) -> list[Write]:
        """To be committed: that opcode, or all if there is no other."""
        if len(job.ops) == 1:
            return self.whole(job)
        self._state.ops_apart.setdefault(job.id, set()).add(index)
        return [op_row(job, index)]

    def whole(self, job: Job) -> list[Write]:
        """To be committed: all of it in one row, those of opcodes go."""
        apart = sorted(self._state.ops_apart.get(job.id, ()))
        return [row("job", job_key(job.id), job), *(Write("jobop", op_key(job.id, index), None) for index in apart)]

    def has_room(self, job: Job, index: int) -> bool:
        """Whether the job can be kept with that opcode's result."""
        if len(job.ops) == 1 or job.status.is_final:
            return sizes.fits(row("job", job_key(job.id), job), sizes.ENDED)
        before = self._row_sizes.get(job.id)
        if before is None:
            before = parcel.sent_size([row("job", job_key(job.id), self.get(job.id))])
        after = before + parcel.sent_size([op_row(job, index)])
        if after > sizes.ENDED:
            return False
        self._row_sizes[job.id] = after
        return True

    # The log: shown at once, stored with the job's next commit.

    def log(self, job: JobId, message: Any, kind: str = "message") -> list[Write]:
        """Add an entry, unless the log is full; the caller stores the row soon. Any: text, or an object for typed
        entries."""
        entries = self._state.logs.setdefault(job, [])
        message = sizes.cut(message)
        before = self._log_sizes.get(job)
        if before is None:
            before = sum(sizes.of_entry(entry.message) for entry in entries)
        if before > sizes.LOG:
            return []
        self._log_sizes[job] = after = before + sizes.of_entry(message)
        if after > sizes.LOG:
            message = " - WARNING: the log of this job is full: further lines are not kept"
        entry = LogEntry(
            serial=entries[-1].serial + 1 if entries else 1,
            time=self.stamp(),
            type=kind,
            message=message,
        )
        entries.append(entry)
        self.wake(job)
        return [row("joblog", f"{job_key(job)}/{entry.serial:06d}", entry)]

    def log_after(self, job: JobId, serial: int) -> list[LogEntry]:
        return [entry for entry in self._state.logs.get(job, ()) if entry.serial > serial]

    # Wishes

    def wish(self, job: JobId) -> Wish:
        return self._wishes.get(job, Wish.NONE)

    def set_wish(self, job: JobId, wish: Wish) -> None:
        self._wishes[job] = wish
        self.wake(job)

    def forget(self, job: JobId) -> None:
        """It has ended: nothing more is asked of it."""
        self._wishes.pop(job, None)
        self._log_sizes.pop(job, None)
        self._row_sizes.pop(job, None)
        self._state.ops_apart.pop(job, None)

    # Waiting for a change costs nothing while nothing changes.

    def wake(self, job: JobId) -> None:
        for waiter in self._waiters.pop(job, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self, job: JobId, seen: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `seen()` holds, looked at on each change of the job. False: the time passed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not seen():
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.setdefault(job, set()).add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                return False
            finally:
                waiters = self._waiters.get(job)
                if waiters is not None:
                    waiters.discard(waiter)
                    if not waiters:
                        del self._waiters[job]
        return True
