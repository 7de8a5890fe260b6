"""How jobs come in: checked, stored, answered; with a key exactly once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.master import private, schedule, sizes
from ganeti.master.env import Parts
from ganeti.master.state import job_key, row
from ganeti.model.jobs import Flags, Job, OpState, Status, Submission
from ganeti.model.types import JobId
from ganeti.ops import base as ops
from ganeti.ops import hidden
from ganeti.store.api import Leadership, Note
from ganeti.wire import codec

log = logging.getLogger(__name__)

_JOB_ID = re.compile(r"-?[0-9]{1,12}\Z")
_STATUSES = tuple(status.value for status in Status)
#: jobs that are not archived; more are refused
MAX_JOBS = 50_000
#: how often a submission that waits for the store looks whether that makes sense, in seconds
STALL_S = 1.0
#: how long the record of an exactly-once submission is kept after its last job's end, in seconds
KEEP_SUBMISSION_S = 7 * 86400


class Submissions:
    def __init__(
        self,
        parts: Parts,
        leadership: Leadership,
        *,
        take: Callable[[Sequence[Job]], Awaitable[None]],
        is_refused: Callable[[Job], bool],
    ) -> None:
        """`take` gets jobs that are stored; `is_refused`: by a job filter."""
        self._parts, self._leadership = parts, leadership
        self._take, self._is_refused = take, is_refused
        # by key, until they are stored: digest of the body, answer, the commit
        self._submitting: dict[str, tuple[str, list[tuple[bool, JobId | str]], asyncio.Task[None]]] = {}

    async def submit_one(self, untrusted_ops: Any, *, key: str = "", ignore_drain: bool = False) -> JobId:
        """As `submit`; raises also when the job is refused."""
        ((ok, answer),) = await self._once([untrusted_ops], key, ignore_drain=ignore_drain, is_one=True)
        if not ok:  # with this key it was one of several before
            raise errors.PrereqError("wrong_input", str(answer))
        return JobId(int(answer))

    async def submit(self, untrusted_jobs: Sequence[Any], *, key: str = "") -> list[tuple[bool, JobId | str]]:
        """(true, id) or (false, why) for each job, in order. Raises when nothing can be taken at all.

        With a `key` a repeat of the same body gets the same answer and no second run.
        """
        return await self._once(untrusted_jobs, key)

    async def _once(
        self, untrusted_jobs: Sequence[Any], key: str, *, ignore_drain: bool = False, is_one: bool = False
    ) -> list[tuple[bool, JobId | str]]:
        if not key:
            return await self._submit(untrusted_jobs, "", "", ignore_drain=ignore_drain, is_one=is_one)
        # hidden values are no part of it: what is kept must not help to guess them
        asked = [_without_reasons(ops) for ops in untrusted_jobs]
        digest = hashlib.sha256(codec.encode(hidden.redacted(asked))).hexdigest()
        known = self._parts.state.submissions.get(key)
        under_way = None
        if known is None and key in self._submitting:
            before, results, under_way = self._submitting[key]
            known = Submission(digest=before, results=tuple(results), time=0.0)
        if known is not None:
            if known.digest != digest:
                raise errors.PrereqError(
                    "wrong_input", f"submission key {key!r} was used before with another body", hint="use a new key"
                )
            if under_way is not None:
                await self._patiently(under_way)
            return [(ok, JobId(int(answer)) if ok else str(answer)) for ok, answer in known.results]
        return await self._submit(untrusted_jobs, key, digest, ignore_drain=ignore_drain, is_one=is_one)

    async def _submit(
        self,
        untrusted_jobs: Sequence[Any],
        key: str,
        digest: str,
        *,
        ignore_drain: bool,
        parent: JobId | None = None,
        is_one: bool = False,
    ) -> list[tuple[bool, JobId | str]]:
        self._leadership.check_quorum()
        if self._parts.committer.flags.drained and not ignore_drain:
            raise errors.JobQueueDrainError(
                "the job queue is drained and takes no jobs", hint="gnt-cluster queue undrain lets it take them again"
            )
        if len(self._parts.state.jobs) + len(untrusted_jobs) > MAX_JOBS:
            raise errors.JobQueueFull(f"there are already {len(self._parts.state.jobs)} jobs", hint="archive old ones")
        first = self._parts.committer.flags.last_job + 1
        results: list[tuple[bool, JobId | str]] = []
        jobs: list[Job] = []
        secrets: private.Secrets = {}
        for offset, untrusted_ops in enumerate(untrusted_jobs):
            job_id = JobId(first + offset)
            try:
                jobs.append(self._build(job_id, untrusted_ops, key, parent, secrets))
            except errors.GanetiError as err:
                if is_one:
                    raise
                results.append((False, str(err)))
            else:
                results.append((True, job_id))
        last = first + len(untrusted_jobs) - 1

        def next_ids(flags: Flags) -> Flags:
            return msgspec.structs.replace(flags, last_job=last)

        writes = [row("job", job_key(job.id), job) for job in jobs]
        if key:
            record = Submission(digest=digest, results=tuple(results), time=self._parts.clock.time())
            writes.append(row("submission", key, record))
        note = Note(actor="submit", job=int(parent or 0), reason=f"{len(jobs)} jobs")
        # the ids are taken now, not when the task runs
        commit = self._parts.committer.commit(note, writes=writes, flags=next_ids, secrets=secrets)
        stored = asyncio.create_task(self._store(jobs, commit))
        if key:
            self._submitting[key] = (digest, results, stored)
            stored.add_done_callback(lambda _: self._submitting.pop(key))
        await self._patiently(stored)
        return results

    async def _store(self, jobs: Sequence[Job], commit: Awaitable[None]) -> None:
        await commit
        await self._take(jobs)

    async def _patiently(self, stored: asyncio.Task[None]) -> None:
        """Wait for a submission's commit, but not for candidates or disk space that are gone: raises why it waits.

        The commit itself goes on: when it is through after all, its jobs run, and a repeat with the same key gets them.
        """
        while True:
            done, _ = await asyncio.wait({stored}, timeout=STALL_S)
            if done:
                return stored.result()
            try:
                self._leadership.check_quorum()
            except errors.GanetiError as err:
                stored.add_done_callback(_told)
                raise errors.JobQueueError(
                    f"the submission is not stored yet: {err.message}",
                    hint="it may still be when that is mended; look at gnt-job list before you submit it again",
                ) from err

    def _build(
        self, job_id: JobId, untrusted_ops: Any, key: str, parent: JobId | None, secrets: private.Secrets
    ) -> Job:
        """Checked and normalised; hidden values go to `secrets`. Raises PrereqError or OpCodeUnknown."""
        if not isinstance(untrusted_ops, list | tuple) or not untrusted_ops:
            raise errors.PrereqError("wrong_input", "a job is a list of at least one opcode")
        states = []
        own: dict[str, str] = {}  # of a job that is refused nothing is kept
        for index, untrusted_op in enumerate(untrusted_ops):
            op = untrusted_op if isinstance(untrusted_op, ops.OpCode) else ops.decode(untrusted_op)
            name = op.op_id.removeprefix("OP_").lower()
            mark = (f"gnt:opcode:{name}", f"job={job_id};index={index}", int(self._parts.clock.time() * 1e9))
            op = msgspec.structs.replace(op, reason=(*op.reason, mark), depends=_absolute(op.depends, job_id))
            form, values = hidden.split(ops.encode(op))
            if values:
                own[private.of_opcode(job_id, index)] = values
            states.append(OpState(input=form, priority=op.priority))
        schedule.dependencies(op.input.get("depends") or () for op in states)
        if sum(map(len, own.values())) > sizes.HIDDEN:
            raise errors.PrereqError(
                "wrong_input", f"the private and secret OS parameters of a job are at most {sizes.HIDDEN >> 10} KiB"
            )
        job = Job(id=job_id, ops=tuple(states), received_timestamp=self._parts.jobs.stamp(), key=key)
        if not sizes.fits(row("job", job_key(job_id), job), sizes.SUBMITTED):
            raise errors.PrereqError(
                "wrong_input",
                f"the job is too large: with its {len(states)} opcodes it would take more than"
                f" {sizes.SUBMITTED >> 20} MiB of a message to the candidates",
                hint="submit it in parts; later ones may depend on earlier ones",
            )
        if parent is None and self._is_refused(job):
            raise errors.PrereqError(
                "wrong_state", "a job filter refuses the job", hint="gnt-filter list shows the filters"
            )
        secrets.update(own)
        return job

    async def submit_children(
        self, parent: JobId, jobs: Sequence[Sequence[ops.OpCode]]
    ) -> list[tuple[bool, JobId | str]]:
        """Jobs of a job: they inherit its priority and reason trail."""
        opcode = self._parts.jobs.get(parent).ops[0]
        trail = tuple(tuple(entry) for entry in opcode.input.get("reason", ()))
        name = str(opcode.input.get("OP_ID"))
        heirs = [
            [
                msgspec.structs.replace(
                    op, priority=opcode.priority, reason=(*trail, *op.reason), comment=f"Submitted by {name}"
                )
                for op in child
            ]
            for child in jobs
        ]
        return await self._submit(heirs, "", "", ignore_drain=True, parent=parent)

    async def forget_old(self) -> None:
        """Drop records of exactly-once submissions whose time has passed."""
        limit = self._parts.clock.time() - KEEP_SUBMISSION_S
        old = [
            key
            for key, record in self._parts.state.submissions.items()
            if record.time < limit and not self._is_alive(record)
        ]
        if old:
            note = Note(actor="submit", reason="old submission keys")
            await self._parts.committer.commit(note, writes=[row("submission", key, None) for key in old])

    def _is_alive(self, record: Submission) -> bool:
        limit = self._parts.clock.time() - KEEP_SUBMISSION_S
        for ok, answer in record.results:
            job = self._parts.state.jobs.get(JobId(int(answer))) if ok else None
            if job is not None and (job.end_timestamp is None or job.end_timestamp[0] > limit):
                return True
        return False


def _told(stored: asyncio.Task[None]) -> None:
    """The end of a submission that nobody waits for any more."""
    error = stored.exception()
    if error is not None:
        log.warning("a submission was not stored: %s", error)


def _absolute(
    depends: tuple[tuple[int | str, tuple[str, ...]], ...] | None, job_id: JobId
) -> tuple[tuple[int | str, tuple[str, ...]], ...] | None:
    """Relative job ids resolved. Raises PrereqError for what cannot be a job id."""
    if depends is None:
        return None
    found: list[tuple[int | str, tuple[str, ...]]] = []
    for other, wanted in depends:
        if isinstance(other, str) and not _JOB_ID.match(other):
            raise errors.PrereqError("wrong_input", f"{other[:40]!r} is not a job id")
        number = int(other)
        absolute = job_id + number if number < 0 else number
        if absolute <= 0 or absolute == job_id:
            raise errors.PrereqError("wrong_input", f"job {job_id} cannot depend on job {absolute}")
        for word in wanted:
            if word not in _STATUSES:
                raise errors.PrereqError(
                    "wrong_input",
                    f"job {job_id} cannot wait for the status {word[:40]!r} of job {absolute}",
                    hint=f"the statuses are {', '.join(_STATUSES)}",
                )
        found.append((absolute, wanted))
    return tuple(found)


def _without_reasons(untrusted_ops: Any) -> Any:
    """A submission as its key stands for it: when and why it was sent is no part of what is asked for."""
    if not isinstance(untrusted_ops, list):
        return untrusted_ops
    return [
        {name: value for name, value in op.items() if name != "reason"} if isinstance(op, dict) else op
        for op in untrusted_ops
    ]
