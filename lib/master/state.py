"""The master's decoded view of the published state: configuration, live jobs, logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ganeti import errors
from ganeti.master import private
from ganeti.model.config import Config
from ganeti.model.jobs import Debt, FilterRule, Flags, Job, JournalRecord, LogEntry, OpState, Submission
from ganeti.model.objects import KINDS, AnyObject, Change, Delete, Put
from ganeti.model.types import JobId, Uuid
from ganeti.store.api import Batch, Write
from ganeti.wire import codec

FLAGS_KEY = "flags"
FILTER_KEYS = "filter/"  # before the uuid of a job filter

#: tables that are read until the engine runs
_OF_JOBS = ("job", "joblog", "jobop")


def object_key(kind: str, uuid: str) -> str:
    return f"{kind}/{uuid}"


def job_key(job: JobId) -> str:
    """Sorts as the number does."""
    return f"{job:012d}"


def op_key(job: JobId, index: int) -> str:
    """Of an opcode's own row."""
    return f"{job_key(job)}/{index:06d}"


def op_row(job: Job, index: int) -> Write:
    """What has become of an opcode since the job's row was written; what it is to do is there."""
    return row("jobop", op_key(job.id, index), msgspec.structs.replace(job.ops[index], input={}))


def write_of(change: Change) -> Write:
    """The stored row of a configuration change."""
    if isinstance(change, Put):
        obj = private.without(change.object)
        return Write("object", object_key(obj.kind, obj.uuid), codec.pack(obj).decode())
    return Write("object", object_key(change.kind, change.uuid), None)


def change_of(write: Write) -> Change:
    kind, _, uuid = write.key.partition("/")
    if write.value is None:
        return Delete(kind, Uuid(uuid))
    return Put(codec.unpack(write.value.encode(), KINDS[kind]))


class State:
    """Follows the published batches. Read it from the loop only; values are immutable."""

    def __init__(self) -> None:
        self._config: Config | None = None
        self.jobs: dict[JobId, Job] = {}
        self.logs: dict[JobId, list[LogEntry]] = {}
        self.ops_apart: dict[JobId, set[int]] = {}  # opcodes that may have rows of their own
        self.journal: dict[JobId, list[JournalRecord]] = {}
        self.debts: dict[int, Debt] = {}
        self.submissions: dict[str, Submission] = {}
        self.flags = Flags()
        self.filters: tuple[FilterRule, ...] = ()  # another tuple after each change
        self.serial = 0
        self._secrets: dict[str, str] = {}  # of objects
        self._reads_jobs = True

    @property
    def config(self) -> Config:
        if self._config is None:
            raise errors.StoreError("the state was not loaded")
        return self._config

    def load(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """All live rows as (table, key, value); archived jobs are not among them."""
        objects: list[AnyObject] = []
        ops: dict[JobId, dict[int, OpState]] = {}
        for table, key, value in rows:
            head, _, tail = key.partition("/")
            if table == "object":
                objects.append(codec.unpack(value.encode(), KINDS[head]))
            elif table == "jobop":
                ops.setdefault(JobId(int(head)), {})[int(tail)] = codec.unpack(value.encode(), OpState)
            else:
                self._apply_row(Write(table, key, value))
        for job, changed in ops.items():
            self._apply_ops(job, changed)
        self._config = Config.load(objects)

    def know(self, secrets: Mapping[str, str | None]) -> None:
        """Values that are in no row; None: gone. To be told before the rows that they belong to are published."""
        for name, value in secrets.items():
            if value is None:
                self._secrets.pop(name, None)
            else:
                self._secrets[name] = value

    def reveal(self, secrets: Mapping[str, str]) -> None:
        """The whole table of secrets: objects that are loaded already get their private values."""
        self._secrets = dict(secrets)
        every = [*self.config.instances.values(), self.config.cluster]
        found = [(obj, private.complete(obj, secrets)) for obj in every]
        changed = [Put(whole) for obj, whole in found if whole != obj]
        if changed:
            self._config = self.config.apply(changed)

    def _complete(self, change: Change) -> Change:
        return Put(private.complete(change.object, self._secrets)) if isinstance(change, Put) else change

    def hold_jobs(self) -> None:
        """From now on `Jobs` has newer ones than the store."""
        self._reads_jobs = False

    def publish(self, batch: Batch) -> None:
        """Listener of the store. Jobs and their logs are read only until the engine runs: see `hold_jobs`."""
        changes = [self._complete(change_of(write)) for write in batch.writes if write.table == "object"]
        if changes:
            self._config = self.config.apply(changes)
        for write in batch.writes:
            if write.table != "object" and (self._reads_jobs or write.table not in _OF_JOBS):
                self._apply_row(write)
        self.serial = batch.serial

    def _apply_row(self, write: Write) -> None:
        head, _, tail = write.key.partition("/")
        raw = write.value.encode() if write.value is not None else None
        if write.table == "job":
            job = JobId(int(head))
            if raw is None:
                self.jobs.pop(job, None)
                self.logs.pop(job, None)
                self.ops_apart.pop(job, None)
            else:
                self.jobs[job] = codec.unpack(raw, Job)
        elif write.table == "joblog" and raw is not None:
            entries = self.logs.setdefault(JobId(int(head)), [])
            entry = codec.unpack(raw, LogEntry)
            if not entries or entry.serial > entries[-1].serial:
                entries.append(entry)
        elif write.table == "jobop" and raw is not None:
            self._apply_ops(JobId(int(head)), {int(tail): codec.unpack(raw, OpState)})
        elif write.table == "journal":
            self._apply_journal(JobId(int(head)), int(tail), raw)
        elif write.table == "debt":
            if raw is None:
                self.debts.pop(int(head), None)
            else:
                self.debts[int(head)] = codec.unpack(raw, Debt)
        elif write.table == "submission":
            if raw is None:
                self.submissions.pop(write.key, None)
            else:
                self.submissions[write.key] = codec.unpack(raw, Submission)
        elif write.table == "meta" and write.key == FLAGS_KEY and raw is not None:
            self.flags = codec.unpack(raw, Flags)
        elif write.table == "meta" and write.key.startswith(FILTER_KEYS):
            others = tuple(rule for rule in self.filters if rule.uuid != tail)
            self.filters = others if raw is None else (*others, codec.unpack(raw, FilterRule))

    def _apply_ops(self, job: JobId, changed: Mapping[int, OpState]) -> None:
        self.jobs[job] = self.jobs[job].with_stored(changed)
        self.ops_apart.setdefault(job, set()).update(changed)

    def _apply_journal(self, job: JobId, serial: int, raw: bytes | None) -> None:
        records = self.journal.setdefault(job, [])
        if raw is not None:
            records.append(codec.unpack(raw, JournalRecord))
        else:
            records[:] = [record for record in records if record.serial != serial]
        if not records:
            del self.journal[job]


def row(table: str, key: str, value: object | None) -> Write:
    """A stored row of a struct, or its deletion."""
    return Write(table, key, None if value is None else codec.pack(value).decode())
