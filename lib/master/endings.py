"""How opcodes and jobs end: what is taken back, what is stored, before anybody is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.master import private
from ganeti.master.debts import new_debts
from ganeti.master.env import JobEnv, Parts
from ganeti.model.jobs import Flags, Job, Status
from ganeti.model.types import JobId
from ganeti.store.api import Note, Write

CANCELED = "Job canceled by request"
PRECEDING = ["OpExecError", ["Preceding opcode failed"]]


class Endings:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._under_way: dict[JobId, Job] = {}  # their new state, which is on its way to the store

    def is_under_way(self, job_id: JobId) -> bool:
        """How an opcode of the job, or all of it, ended is being stored: it cannot be changed any more."""
        return job_id in self._under_way

    def is_last(self, job_id: JobId) -> bool:
        """What is being stored is the end of the whole job."""
        after = self._under_way.get(job_id)
        return after is not None and after.status.is_final

    async def succeed(self, env: JobEnv, job_id: JobId, index: int, result: Any) -> None:
        jobs = self._parts.jobs
        before = jobs.get(job_id)
        now = jobs.stamp()
        is_last = index == len(before.ops) - 1
        stored = list(before.ops)
        stored[index] = msgspec.structs.replace(
            stored[index], status=Status.SUCCESS, result=result, end_timestamp=now, decided=False
        )
        after = msgspec.structs.replace(before, ops=tuple(stored), end_timestamp=now if is_last else None)
        if not jobs.has_room(after, index):
            env.warn("the result is too large to be kept")
            stored[index] = msgspec.structs.replace(stored[index], result=None)
            after = msgspec.structs.replace(after, ops=tuple(stored))
        late = env.journal_records.fences(env.open_requests)
        owed, count = new_debts(late, job_id, self._parts.committer.flags, self._parts.clock.time())
        note = Note(actor="job", job=job_id, reason="end")
        # committed before anybody is told
        await self._store(after, index, [*env.journal_records.drop(), *owed], note, count)
        if not is_last:
            self._parts.locks.release(job_id)
            self._parts.reservations.release(job_id)

    async def fail(
        self, env: JobEnv, job_id: JobId, index: int, status: Status, result: Any, *, tell: bool = False
    ) -> None:
        """Take effects back, then end the job. What cannot be taken back now is a debt or was reported.

        `tell`: the error says what became of each thing that was begun; what is committed already, stands.
        """
        jobs = self._parts.jobs
        writes: list[Write] = []
        undone = await env.journal_records.undo(env, env.open_requests)
        for line in undone.lines:
            env.report(line)
        writes += undone.writes
        if tell:
            fate = "; ".join(undone.lines) if undone.lines else "nothing of it had to be taken back"
            result = [result[0], [f"{result[1][0]}: {fate}"]]
        before = jobs.get(job_id)
        if before.ops[index].decided:
            # its change is committed and stands: that is the opcode's success
            env.warn(f"failed after its change was committed: {_text_of(result)}")
            status, result = Status.SUCCESS, before.ops[index].result
        now = jobs.stamp()
        after = msgspec.structs.replace(before, end_timestamp=now)
        ended = list(after.ops)
        ended[index] = msgspec.structs.replace(ended[index], status=status, result=result, end_timestamp=now)
        rest_status = Status.CANCELED if status is Status.CANCELED else Status.ERROR
        rest_result = CANCELED if status is Status.CANCELED else PRECEDING
        for later in range(index + 1, len(ended)):
            ended[later] = msgspec.structs.replace(
                ended[later], status=rest_status, result=rest_result, end_timestamp=now
            )
        after = msgspec.structs.replace(after, ops=tuple(ended))
        note = Note(actor="job", job=job_id, reason=f"{status.value}: {env.report_summary}")
        committer = self._parts.committer
        owed, count = new_debts(undone.debts, job_id, committer.flags, self._parts.clock.time())
        await self._store(after, index, [*writes, *owed], note, count)

    async def end_rest(self, job_id: JobId, start: int, status: Status, result: Any) -> None:
        """Every opcode from `start` on ends so, and with them the job."""
        after = self._parts.jobs.ended(job_id, start, status, result)
        await self._store(after, start, (), Note(actor="job", job=job_id, reason="end"))

    async def _store(
        self, after: Job, start: int, writes: Sequence[Write], note: Note, flags: Callable[[Flags], Flags] | None = None
    ) -> None:
        """Commit how an opcode (`start`), or it and with it the job, ended; nobody is told before it is stored, nobody
        changes the job meanwhile."""
        jobs = self._parts.jobs
        is_end = after.status.is_final
        ended = range(start, len(after.ops) if is_end else start + 1)
        self._under_way[after.id] = after
        try:
            await self._parts.committer.commit(
                note,
                writes=[*(jobs.whole(after) if is_end else jobs.writes_of(after, start)), *writes],
                flags=flags,
                secrets=private.of_ended(after, ended),
            )
        finally:
            del self._under_way[after.id]
        self._parts.jobs.put(after)


def _text_of(result: Any) -> str:
    """An encoded error as people read it."""
    return str(errors.decode(result)) if isinstance(result, list) else str(result)
