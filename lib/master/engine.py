"""The job engine: starts jobs, brings each to its end, recovers them after a crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.master import private, schedule, sizes
from ganeti.master.endings import CANCELED, Endings
from ganeti.master.env import JobEnv, Parts
from ganeti.master.job_filters import Gate
from ganeti.master.jobs import Obstacle, Wish
from ganeti.master.processor import Processor
from ganeti.master.schedule import JobSchedule
from ganeti.master.state import job_key, row
from ganeti.master.submissions import Submissions
from ganeti.model.jobs import ArchivedJob, Job, Status
from ganeti.model.locks import Level, LockKey, LockPlan
from ganeti.model.types import JobId, Uuid
from ganeti.ops import base as ops
from ganeti.ops import hidden
from ganeti.store import parcel
from ganeti.store.api import Leadership, Note, Write
from ganeti.wire import codec

log = logging.getLogger(__name__)


class Engine:
    def __init__(
        self,
        parts: Parts,
        processor: Processor,
        leadership: Leadership,
        *,
        new_env: type[JobEnv] = JobEnv,
        endings: type[Endings] = Endings,
    ) -> None:
        """The classes are for simulations."""
        self._parts = parts
        self._new_env = new_env
        self._processor = processor
        self._leadership = leadership
        self._schedule = JobSchedule(max_running=20)
        self._gate = Gate()
        self._tasks: dict[JobId, asyncio.Task[None]] = {}
        self._endings = endings(parts)
        self._is_stopping = False
        self.submissions = Submissions(parts, leadership, take=self._take, is_refused=self._gate.is_refused)

    # Scheduling

    async def _take(self, jobs: Sequence[Job]) -> None:
        """They are stored."""
        for job in jobs:
            self._parts.jobs.put(job)
        archived = await self._archived_dependencies(jobs)
        for job in jobs:
            self._enqueue(self._parts.jobs.get(job.id), archived)
        self.pump()

    async def _archived_dependencies(self, jobs: Sequence[Job]) -> dict[JobId, str | None]:
        """How those ended on which these jobs depend and which were archived since; None: there is no such job."""
        last = self._parts.committer.flags.last_job
        numbers = (int(other) for job in jobs for op in job.ops for other, _ in op.input.get("depends") or ())
        wanted = {JobId(number) for number in numbers if 0 < number <= last}
        found: dict[JobId, str | None] = {}
        # while one is looked up, others may be archived
        while missing := [
            other for other in sorted(wanted) if other not in found and other not in self._parts.state.jobs
        ]:
            for other in missing:
                rows = await self._leadership.rows("archive", prefix=job_key(other))
                ended = [codec.unpack(value.encode(), ArchivedJob).job.status.value for _, value in rows]
                found[other] = ended[0] if ended else None
        return found

    def _enqueue(self, job: Job, archived: Mapping[JobId, str | None]) -> None:
        if self._parts.jobs.wish(job.id) is not Wish.NONE:  # canceled before it came here
            self._doom(job.id, "")
            return
        try:
            depends = schedule.dependencies(op.input.get("depends") or () for op in job.ops)
        except errors.PrereqError as err:  # an older version took it
            self._doom(job.id, f"Dependency error: {err.message}")
            return

        def status_of(other: JobId) -> str | None:
            known = self._parts.state.jobs.get(other)
            return known.status.value if known is not None else archived.get(other)

        verdict = self._schedule.add(job.id, job.priority, depends, status_of)
        if verdict is not None:
            self._doom(job.id, verdict)

    def pump(self) -> None:
        """Start what may start."""
        if self._is_stopping:
            return
        self._schedule.set_limit(self._parts.state.config.cluster.max_running_jobs)
        if self._gate.follow(self._parts.state.filters):
            self._schedule.reconsider()
            self._refuse()
        for job_id in self._schedule.ready(self._may_start):
            self._tasks[job_id] = asyncio.create_task(self._run(job_id), name=f"job {job_id}")

    def _may_start(self, job_id: JobId) -> bool:
        return self._gate.admit(self._parts.jobs.get(job_id))

    def _refuse(self) -> None:
        """New rules refuse jobs that are queued already, too: they are canceled."""
        for job_id in self._schedule.queued():
            if self._gate.is_refused(self._parts.jobs.get(job_id)):
                self._schedule.remove(job_id)
                self._doom(job_id, "")

    async def _run(self, job_id: JobId) -> None:
        """The job task: the border where nothing may escape."""
        try:
            await self._run_ops(job_id)
        except errors.GanetiError as err:
            # the store takes no commits any more: another master, or the end of this process, will recover the job
            log.error("job %s is left as it is: %s", job_id, err)
            return
        except Exception:
            log.exception("job %s is left as it is", job_id)
            return
        finally:
            self._tasks.pop(job_id, None)
        self._finished(job_id)

    def _finished(self, job_id: JobId) -> None:
        self._parts.locks.release(job_id)
        self._parts.reservations.release(job_id)
        self._parts.jobs.forget(job_id)
        if self._gate.ended(job_id):
            self._schedule.reconsider()
        verdicts = self._schedule.finished(job_id, self._parts.jobs.get(job_id).status.value)
        for other, verdict in verdicts:
            self._doom(other, verdict)
        self.pump()

    def _doom(self, job_id: JobId, why: str) -> None:
        """End a queued job whose dependency did not end as it wanted; `why` empty: canceled."""
        status, result = (Status.ERROR, ["OpExecError", [why]]) if why else (Status.CANCELED, CANCELED)
        work = self._store_end(job_id, status, result)
        self._tasks[job_id] = asyncio.create_task(work, name=f"end of job {job_id}")

    async def _store_end(self, job_id: JobId, status: Status, result: Any) -> None:
        try:
            await self._endings.end_rest(job_id, 0, status, result)
        except errors.GanetiError as err:
            log.error("the end of job %s is not stored: %s", job_id, err)
            return
        finally:
            self._tasks.pop(job_id, None)
        self._finished(job_id)

    # One job

    async def _run_ops(self, job_id: JobId) -> None:
        for index, state in enumerate(self._parts.jobs.get(job_id).ops):
            if state.status is Status.SUCCESS:
                continue
            if self._parts.jobs.wish(job_id) is not Wish.NONE:
                await self._endings.end_rest(job_id, index, Status.CANCELED, CANCELED)
                return
            if not await self._run_op(job_id, index):
                return

    async def _run_op(self, job_id: JobId, index: int) -> bool:
        """True: success, go on with the next."""
        jobs = self._parts.jobs
        state = jobs.change_op(job_id, index, status=Status.WAITING, result=None, start_timestamp=jobs.stamp()).ops[
            index
        ]
        if jobs.get(job_id).start_timestamp is None:
            jobs.replace(job_id, start_timestamp=state.start_timestamp)
        env = self._new_env(self._parts, job_id, index, str(state.input.get("OP_ID", "")))
        try:
            op = ops.decode(await self._whole(job_id, index, state.input))
            if jobs.wish(job_id) is not Wish.NONE:
                raise errors.JobCanceled(CANCELED)  # while nothing was waited for that could be cancelled
            env.report_summary = op.summary
            self._warn_of_missing_copies(env)
            result = codec.to_builtins(await self._processor.execute(env, op, state.priority))
        except errors.JobCanceled:
            await self._endings.fail(env, job_id, index, Status.CANCELED, CANCELED)
            return False
        except errors.StaleTermError:
            raise
        except errors.GanetiError as err:
            log.info("job %s: %s failed: %s", job_id, state.input.get("OP_ID"), err)
            await self._endings.fail(env, job_id, index, Status.ERROR, errors.encode(_for_clients(err)))
            return False
        except Exception as err:
            log.exception("job %s: %s failed by an error in the program", job_id, state.input.get("OP_ID"))
            text = f"internal error ({type(err).__name__}); the master's log has the details"
            await self._endings.fail(env, job_id, index, Status.ERROR, ["OpExecError", [text]])
            return False
        await self._endings.succeed(env, job_id, index, result)
        return True

    async def _whole(self, job_id: JobId, index: int, form: dict[str, Any]) -> dict[str, Any]:
        """An opcode's wire form with the values that are not stored in it. Raises PrereqError."""
        if not hidden.has_hidden(form):
            return form
        values = await self._leadership.secret(private.of_opcode(job_id, index))
        if values is None:
            raise errors.PrereqError(
                "wrong_state",
                "the private or secret OS parameters that were given to the job are not there any more",
                hint="submit it again with them",
            )
        return hidden.joined(form, values)

    def _warn_of_missing_copies(self, env: JobEnv) -> None:
        missing = self._leadership.missing_voters()
        if not missing:
            return
        nodes = self._parts.state.config.nodes
        names = sorted(nodes[Uuid(node)].name if node in nodes else node for node in missing)
        env.warn(f"the latest changes are not stored on the master candidate(s) {', '.join(names)}")
        if self._leadership.is_solo:
            env.warn("no other candidate stores them: if this node's disk is lost now, so are they")

    # Recovery after a crash or by a new master

    async def recover(self) -> None:
        """Give recovered jobs their locks, then let the schedule start; what was half-way is taken back."""
        self._parts.state.hold_jobs()
        jobs = self._parts.state.jobs
        half_way: list[tuple[JobId, int]] = []
        self._gate.follow(self._parts.state.filters)
        archived = await self._archived_dependencies([job for job in jobs.values() if not job.status.is_final])
        for job_id in sorted(jobs):
            job = jobs[job_id]
            if job.status.is_final:
                continue
            index = next((i for i, op in enumerate(job.ops) if op.status is Status.RUNNING), None)
            records = self._parts.state.journal.get(job_id, ())
            if index is None and records:
                index = records[0].op
            if index is not None:
                held = {
                    LockKey(Level[level], name): is_exclusive
                    for record in records
                    for level, name, is_exclusive in record.locks
                }
                self._parts.locks.force(job_id, LockPlan(held))
                self._schedule.started(job_id)
                self._gate.started(job)
                half_way.append((job_id, index))
            else:
                for i, op in enumerate(job.ops):
                    if op.status is Status.WAITING:
                        self._parts.jobs.change_op(job_id, i, status=Status.QUEUED)
                self._enqueue(job, archived)
        for job_id, index in half_way:
            self._tasks[job_id] = asyncio.create_task(self._recover(job_id, index), name=f"recovery of job {job_id}")
        self.pump()

    async def _recover(self, job_id: JobId, index: int) -> None:
        jobs = self._parts.jobs
        op = jobs.get(job_id).ops[index]
        env = self._new_env(self._parts, job_id, index, "recovery")
        env.open_requests = None
        log.info("job %s was running when the last mastership ended", job_id)
        try:
            if op.decided:
                await self._endings.succeed(env, job_id, index, op.result)
                if index + 1 < len(jobs.get(job_id).ops):
                    await self._run_ops(job_id)
            else:
                where = f" (at step {op.steps_done + 1} of {op.steps_total} or later)" if op.steps_total else ""
                text = f"the master stopped while the job ran{where}"
                await self._endings.fail(env, job_id, index, Status.ERROR, ["OpExecError", [text]], tell=True)
        except errors.GanetiError as err:
            log.error("job %s is not recovered: %s", job_id, err)
            return
        except Exception:
            log.exception("job %s is not recovered", job_id)
            return
        finally:
            self._tasks.pop(job_id, None)
        self._finished(job_id)

    # What clients ask of jobs

    async def cancel(self, job_id: JobId, *, kill: bool) -> tuple[bool, str]:
        job = self._parts.state.jobs.get(job_id)
        if job is None:
            return False, f"Job {job_id} not found"
        if job.status.is_final or self._endings.is_last(job_id):
            return False, f"Job {job_id} is no longer waiting in the queue"
        if self._schedule.is_queued(job_id):
            self._schedule.remove(job_id)
            await self._endings.end_rest(job_id, 0, Status.CANCELED, CANCELED)
            self._finished(job_id)
            return True, f"Job {job_id} canceled"
        index = next((i for i, op in enumerate(job.ops) if not op.status.is_final), 0)
        is_running = job.ops[index].status is Status.RUNNING
        if is_running and not kill:
            return False, f"Job {job_id} is no longer waiting in the queue"
        self._parts.jobs.set_wish(job_id, Wish.KILL if kill else Wish.CANCEL)
        if not is_running:
            self._parts.jobs.change_op(job_id, index, status=Status.CANCELING)
            self._parts.locks.cancel(job_id)
        return True, f"Job {job_id} will be canceled"

    async def change_priority(self, job_id: JobId, priority: int) -> tuple[bool, str]:
        job = self._parts.state.jobs.get(job_id)
        if job is None:
            return False, f"Job {job_id} not found"
        if self._endings.is_under_way(job_id):
            return False, f"Job {job_id} is just ending an opcode; try again"
        if job.status.is_final:
            return False, f"Job {job_id} is finished"
        ops_now = tuple(op if op.status.is_final else msgspec.structs.replace(op, priority=priority) for op in job.ops)
        self._parts.jobs.replace(job_id, ops=ops_now)
        self._schedule.set_priority(job_id, priority)
        self._parts.locks.set_priority(job_id, priority)
        note = Note(actor="job", job=job_id, reason="priority")
        await self._parts.committer.commit(note, writes=self._parts.jobs.whole(self._parts.jobs.get(job_id)))
        return True, f"Priorities of pending opcodes for job {job_id} have been changed to {priority}"

    def obstacles(self, job_id: JobId) -> list[Obstacle]:
        """Why it does not go on; empty: it does, or has ended."""
        found = [Obstacle(kind="dependency", job=other) for other in self._schedule.waits_for(job_id)]
        if not found and self._schedule.is_queued(job_id):
            found.append(Obstacle(kind="filter" if self._schedule.is_held(job_id) else "limit"))
        blocking = self._parts.locks.obstacle(job_id)
        if blocking is not None:
            found.append(Obstacle(kind="lock", lock=blocking[0], job=blocking[1]))
        return found

    async def archive(self, job_ids: Sequence[JobId]) -> int:
        """How many finished jobs were moved to the archive."""
        count = 0
        left = list(job_ids)
        while left:
            writes: list[Write] = []
            moved = []
            size = 0
            while left and size < sizes.ARCHIVED:
                job_id = left.pop(0)
                job = self._parts.state.jobs.get(job_id)
                if job is None or not job.status.is_final or job_id in self._tasks:
                    continue
                entries = tuple(self._parts.state.logs.get(job_id, ()))
                key = job_key(job_id)
                kept = row("archive", key, ArchivedJob(job=job, log=entries))
                size += parcel.sent_size((kept,))
                writes += [kept, row("job", key, None)]
                writes += [row("joblog", f"{key}/{entry.serial:06d}", None) for entry in entries]
                moved.append(job_id)
            if moved:
                await self._parts.committer.commit(Note(actor="archive", reason=f"{len(moved)} jobs"), writes=writes)
                for job_id in moved:
                    self._parts.state.jobs.pop(job_id, None)
                    self._parts.state.logs.pop(job_id, None)
                    self._schedule.forget(job_id)
            count += len(moved)
        return count

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Start nothing more; give running jobs a moment to end. Those that do not are recovered at the next start."""
        self._is_stopping = True
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=timeout_s)


def _for_clients(err: errors.GanetiError) -> errors.GanetiError:
    """Node-side classes that existing clients do not know travel as execution errors."""
    return errors.ExecError(str(err)) if isinstance(err, errors.CommandFailed | errors.NodeFailure) else err
