"""What each LUXI method does. Everything here runs in the loop and answers from snapshots."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import msgspec

from ganeti import errors
from ganeti.hypervisor import parameters
from ganeti.master import job_filters
from ganeti.master.archive import Archive, age_time
from ganeti.master.commits import Committer
from ganeti.master.engine import Engine
from ganeti.master.jobs import Jobs
from ganeti.master.queries import Queries
from ganeti.master.state import FILTER_KEYS, State, job_key, row
from ganeti.model import classic
from ganeti.model.jobs import ArchivedJob, FilterRule, Flags
from ganeti.model.types import JobId
from ganeti.store.api import Leadership, Note
from ganeti.wire import codec

#: longest wait of one WaitForJobChange, in seconds
MAX_WAIT_S = 89.0

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

Handler = Callable[..., Awaitable[Any]]  # each method has its own arguments


async def _nothing() -> None:
    return None


class Requests:
    """`handle` is what the LUXI server calls."""

    def __init__(
        self,
        *,
        state: State,
        jobs: Jobs,
        engine: Engine,
        committer: Committer,
        leadership: Leadership,
        queries: Queries,
        distribute: Callable[[], Awaitable[None]] = _nothing,
        measures: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """`distribute` gives the nodes their files of now; `measures` tells what the master counts of its work."""
        self._measures = measures
        self._state = state
        self._jobs = jobs
        self._engine = engine
        self._committer = committer
        self._leadership = leadership
        self._queries = queries
        self._distribute = distribute
        self._archive = Archive(state, committer, leadership)
        self._methods: dict[str, Handler] = {
            "SubmitJob": self.submit_job,
            "SubmitJobToDrainedQueue": self.submit_job_to_drained_queue,
            "SubmitManyJobs": self.submit_many_jobs,
            "PickupJob": self.pickup_job,
            "WaitForJobChange": self.wait_for_job_change,
            "CancelJob": self.cancel_job,
            "ChangeJobPriority": self.change_job_priority,
            "ArchiveJob": self.archive_job,
            "AutoArchiveJobs": self.auto_archive_jobs,
            "PurgeArchive": self.purge_archive,
            "SetDrainFlag": self.set_drain_flag,
            "SetWatcherPause": self.set_watcher_pause,
            "Query": self.query,
            "QueryFields": self.query_fields,
            "QueryInstances": lambda names, fields, use_locking: self.classic("instance", names, fields, use_locking),
            "QueryNodes": lambda names, fields, use_locking: self.classic("node", names, fields, use_locking),
            "QueryGroups": lambda names, fields, use_locking: self.classic("group", names, fields, use_locking),
            "QueryNetworks": lambda names, fields, use_locking: self.classic("network", names, fields, use_locking),
            "QueryExports": self.query_exports,
            "QueryJobs": self.query_jobs,
            "QueryFilters": lambda uuids, fields: self._queries.classic("filter", uuids, fields),
            "ReplaceFilter": self.replace_filter,
            "DeleteFilter": self.delete_filter,
            "QueryConfigValues": self.query_config_values,
            "QueryClusterInfo": self.query_cluster_info,
            "CheckQuorum": self.check_quorum,
            "ExportConfig": self.export_config,
            "QueryTags": self.query_tags,
            "QueryMetrics": self.query_metrics,
        }

    async def handle(self, method: str, args: list[Any], extra: dict[str, Any]) -> Any:
        """`args` are checked and normalised by the server; `extra` holds other members of the request."""
        handler = self._methods.get(method)
        if handler is None:
            raise errors.RequestError(f"Unknown method {method!r}")
        if method in ("SubmitJob", "SubmitManyJobs", "SubmitJobToDrainedQueue"):
            key = extra.get("key") or ""
            if not isinstance(key, str) or len(key) > 200:
                raise errors.PrereqError("wrong_input", "a submission key is a text of at most 200 characters")
            return await handler(*args, key=key)
        return await handler(*args)

    # Submission

    async def submit_job(self, untrusted_ops: list[Any], key: str = "") -> JobId:
        return await self._engine.submissions.submit_one(untrusted_ops, key=key)

    async def submit_job_to_drained_queue(self, untrusted_ops: list[Any], key: str = "") -> JobId:
        return await self._engine.submissions.submit_one(untrusted_ops, key=key, ignore_drain=True)

    async def submit_many_jobs(self, untrusted_jobs: list[Any], key: str = "") -> list[tuple[bool, JobId | str]]:
        return await self._engine.submissions.submit(untrusted_jobs, key=key)

    async def pickup_job(self, job_id: JobId) -> None:
        raise errors.GanetiError(f"job {job_id} needs no pick-up: jobs run in the daemon that took them")

    # Following

    async def wait_for_job_change(
        self,
        job_id: JobId,
        fields: list[str],
        previous_info: list[Any] | None,
        previous_serial: int | None,
        timeout_s: float,
    ) -> Any:
        """`[values, log entries]`, or `nochange`."""
        job = self._state.jobs.get(job_id)
        if job is None:
            archived = await self._archived(job_id)
            return [self._queries.job_values(archived.job, archived.log, fields), []]
        serial = previous_serial or 0
        found: list[Any] = []

        def look() -> bool:
            now = self._state.jobs.get(job_id)
            if now is None:
                raise errors.JobLost(f"job {job_id} was archived")
            info = codec.to_builtins(self._queries.job_values(now, self._state.logs.get(job_id, ()), fields))
            info = msgspec.json.decode(msgspec.json.encode(info))  # as the client saw it: tuples are lists
            entries = self._jobs.log_after(job_id, serial)
            found[:] = [info, entries]
            return now.status.is_final or bool(entries) or info != previous_info

        if await self._jobs.changed(job_id, look, max(0.0, min(timeout_s, MAX_WAIT_S))):
            return found
        return "nochange"

    async def _archived(self, job_id: JobId) -> ArchivedJob:
        rows = await self._leadership.rows("archive", prefix=job_key(job_id))
        if not rows:
            raise errors.JobLost(f"job {job_id} is not known")
        return codec.unpack(rows[0][1].encode(), ArchivedJob)

    # Changing jobs

    async def cancel_job(self, job_id: JobId, kill: bool = False) -> tuple[bool, str]:
        return await self._engine.cancel(job_id, kill=kill)

    async def change_job_priority(self, job_id: JobId, priority: int) -> tuple[bool, str]:
        return await self._engine.change_priority(job_id, priority)

    async def archive_job(self, job_id: JobId) -> bool:
        return await self._engine.archive([job_id]) == 1

    async def auto_archive_jobs(self, age_s: float, timeout_s: float) -> tuple[int, int]:
        """(archived, not looked at). Age -1: all that have ended."""
        limit = self._jobs.stamp()[0] - age_s
        old = [
            job.id for job in self._state.jobs.values() if job.status.is_final and (age_s < 0 or age_time(job) < limit)
        ]
        archived = 0
        for start in range(0, len(old), 1000):
            archived += await self._engine.archive(sorted(old)[start : start + 1000])
        return archived, 0

    async def purge_archive(self, age_s: float) -> int:
        """Drop archived jobs that ended longer ago; how many."""
        self._leadership.check_quorum()
        return await self._archive.purge(self._jobs.stamp()[0] - age_s)

    # Switches

    async def set_drain_flag(self, drained: bool) -> bool:
        await self._set_flags(
            f"queue drained: {drained}", lambda flags: msgspec.structs.replace(flags, drained=drained)
        )
        return True

    async def set_watcher_pause(self, until: float | None) -> float | None:
        await self._set_flags(
            f"watcher pause: {until}", lambda flags: msgspec.structs.replace(flags, watcher_pause=until)
        )
        await self._distribute()
        return until

    async def replace_filter(
        self, uuid: str | None, priority: int, predicates: list[Any], action: Any, reason: list[Any]
    ) -> str:
        """Its uuid, a new one when none is given."""
        wanted = str(uuid4()) if uuid is None else uuid
        if not UUID.match(wanted):
            raise errors.PrereqError("wrong_input", f"{wanted[:80]!r} is not a uuid")

        if len(self._state.filters) >= job_filters.MAX_RULES:
            raise errors.PrereqError("insufficient_resources", f"there are already {len(self._state.filters)} filters")
        rule = job_filters.checked(
            wanted,
            priority=priority,
            predicates=predicates,
            action=action,
            reason=reason,
            watermark=self._committer.flags.last_job,
        )
        await self._store_filter(wanted, rule, "set")
        return wanted

    async def delete_filter(self, uuid: str) -> None:
        if all(rule.uuid != uuid for rule in self._state.filters):
            raise errors.PrereqError("unknown_entity", f"there is no job filter {uuid[:80]!r}")
        await self._store_filter(uuid, None, "removed")

    async def _store_filter(self, uuid: str, rule: FilterRule | None, what: str) -> None:
        self._leadership.check_quorum()
        note = Note(actor="luxi", reason=f"job filter {uuid} {what}")
        await self._committer.commit(note, writes=[row("meta", FILTER_KEYS + uuid, rule)])
        self._engine.pump()

    async def _set_flags(self, reason: str, change: Callable[[Flags], Flags]) -> None:
        self._leadership.check_quorum()
        await self._committer.commit(Note(actor="luxi", reason=reason), flags=change)

    # Reading

    async def query(self, what: str, fields: list[str], qfilter: Any) -> Any:
        return await self._queries.query(what, fields, qfilter)

    async def query_fields(self, what: str, fields: list[str] | None) -> Any:
        return self._queries.query_fields(what, fields)

    async def classic(self, what: str, names: list[str], fields: list[str], use_locking: bool) -> Any:
        if use_locking:
            raise errors.PrereqError("wrong_input", "Sync queries are not allowed")
        return await self._queries.classic(what, names, fields)

    async def query_jobs(self, ids: list[JobId] | None, fields: list[str]) -> Any:
        return await self._queries.classic("job", ids, fields)

    async def query_exports(self, nodes: list[str], use_locking: bool) -> Any:
        return await self.classic("export", nodes, ["node", "export"], use_locking)

    async def query_config_values(self, fields: list[str]) -> Any:
        return self._queries.config_values(fields)

    async def query_cluster_info(self) -> Any:
        return self._queries.cluster_info()

    async def check_quorum(self) -> bool:
        """Whether new work is taken; the error says why it is not."""
        self._leadership.check_quorum()
        return True

    async def export_config(self, with_secrets: bool = False) -> Any:
        """The configuration in the classic config.data form."""
        builtin = {name: parameters.defaults(name) for name in parameters.HYPERVISORS}
        # a snapshot never changes: another thread may read it while this loop goes on
        return await asyncio.to_thread(
            classic.export,
            self._state.config,
            serial=self._state.serial,
            builtin=builtin,
            rules=self._state.filters,
            with_secrets=with_secrets,
        )

    async def query_metrics(self) -> Any:
        return self._measures()

    async def query_tags(self, kind: str, name: str) -> Any:
        return self._queries.tags(kind, name)
