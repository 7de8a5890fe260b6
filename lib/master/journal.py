"""What takes an operation's effects back: committed before each effect, run backwards when it does not end well."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.base import decode as decode_call
from ganeti.calls.port import Rpc
from ganeti.calls.task import RequestFence
from ganeti.logic.base import RESOLVERS, Env
from ganeti.master import links
from ganeti.master.state import State, job_key, row
from ganeti.model.disks import VolumeName
from ganeti.model.jobs import JournalRecord, Recovery, Resolve, Undo
from ganeti.model.locks import LockKey
from ganeti.model.types import JobId, RequestId, Uuid
from ganeti.store.api import Write
from ganeti.wire import codec

log = logging.getLogger(__name__)

#: a node that gives this answer to one call has kept us waiting, and would do so at the next
_SILENT = ("unreachable", "timeout")


def is_fence(recovery: Recovery) -> bool:
    """Whether it only sees to it that a call which may still be on its way does nothing."""
    return isinstance(recovery, Undo) and recovery.call.get("call") == RequestFence.__struct_config__.tag


class _Stuck:
    """What cannot go on, because something that comes before it could not be done."""

    def __init__(self) -> None:
        self._nodes: dict[Uuid, errors.RpcError] = {}
        self._volumes: dict[tuple[Uuid, VolumeName], errors.RpcError] = {}

    def before(self, node: Uuid, call: Call[Any]) -> errors.RpcError | None:  # Any: the reply does not matter
        """What it has to wait for."""
        about = [(node, volume) for volume in links.volumes(call)]
        found = self._nodes.get(node) or next((self._volumes[each] for each in about if each in self._volumes), None)
        if found is not None:
            self.add(node, call, found)
        return found

    def add(self, node: Uuid, call: Call[Any], err: errors.RpcError) -> None:
        # while a call may still run there, nothing can be taken back
        if err.kind in _SILENT or isinstance(call, RequestFence):
            self._nodes[node] = err
        self._volumes.update(dict.fromkeys(((node, volume) for volume in links.volumes(call)), err))


class Undone:
    """What the way back came to."""

    def __init__(self) -> None:
        self.lines: list[str] = []  # for the job's log
        self.writes: list[Write] = []  # rows to commit with the job's end
        self.debts: list[Undo] = []  # what could not be taken back now


class Journal:
    """The records of one job. The rows are written by the caller together with what they belong to."""

    def __init__(self, state: State, job: JobId, rpc: Rpc) -> None:
        self._state = state
        self._job = job
        self._rpc = rpc

    @property
    def records(self) -> Sequence[JournalRecord]:
        return tuple(self._state.journal.get(self._job, ()))

    def add(self, op: int, recoveries: Sequence[Recovery], held: dict[LockKey, bool]) -> list[Write]:
        """Rows of new records, to be committed before the effects."""
        present = self.records
        serial = max((record.serial for record in present), default=0)
        locks = tuple((key.level.name, key.name, exclusive) for key, exclusive in held.items())
        writes = []
        for offset, recovery in enumerate(recoveries, start=1):
            record = JournalRecord(
                job=self._job,
                op=op,
                serial=serial + offset,
                recovery=recovery,
                locks=locks if offset == 1 else (),
            )
            writes.append(row("journal", self._key(record), record))
        return writes

    def drop(self) -> list[Write]:
        """Rows that forget all records: what was done, stays."""
        return [row("journal", self._key(record), None) for record in self.records]

    def _key(self, record: JournalRecord) -> str:
        return f"{job_key(self._job)}/{record.serial}"

    def fences(self, open_requests: Collection[RequestId] | None) -> list[Undo]:
        """Those of these requests; None: of all."""
        return [
            record.recovery
            for record in self.records
            if isinstance(record.recovery, Undo)
            and is_fence(record.recovery)
            and (open_requests is None or record.recovery.effect in open_requests)
        ]

    async def undo(self, env: Env, open_requests: Collection[RequestId] | None = None) -> Undone:
        """Run the records backwards, after those that keep late calls out. What a node cannot do now is to become a
        debt of that node; one that does not answer is asked once.

        `open_requests` are those whose end is not known; None: of none is it known.
        """
        done = Undone()
        stuck = _Stuck()
        records = sorted(self.records, key=lambda record: (not is_fence(record.recovery), -record.serial))
        for record in records:
            recovery = record.recovery
            done.writes.append(row("journal", self._key(record), None))
            if isinstance(recovery, Resolve):
                done.lines += await self._resolve(recovery, env)
                continue
            if is_fence(recovery):
                is_open = open_requests is None or recovery.effect in open_requests
                if is_open and await self._take_back(recovery, stuck) is not None:
                    done.debts.append(recovery)
                continue
            failure = await self._take_back(recovery, stuck)
            if failure is None:
                done.lines.append(f"undone: {recovery.title}")
                continue
            done.debts.append(recovery)
            done.lines.append(f"not undone yet, will be when the node can: {recovery.title} ({failure})")
        return done

    async def _take_back(self, undo: Undo, stuck: _Stuck) -> errors.GanetiError | None:
        try:
            call = decode_call(undo.call)
            before = stuck.before(undo.node, call)
            if before is not None:
                return before
            await self._rpc.one(undo.node, call)
        except errors.RpcError as err:
            stuck.add(undo.node, call, err)
            return err
        except (codec.CodecError, errors.StorageError, KeyError) as err:
            # written by another version of the program, or the node left the cluster meanwhile
            log.error("job %s: cannot run the undo %r: %s", self._job, undo.title, err)
            return errors.ExecError(f"the undo cannot be run: {err}")
        return None

    async def _resolve(self, resolve: Resolve, env: Env) -> list[str]:
        resolver = RESOLVERS.get(resolve.procedure)
        if resolver is None:
            return [f"cannot decide about {resolve.title}: no procedure {resolve.procedure!r} in this version"]
        try:
            return list(await resolver(resolve.arguments, env))
        except errors.GanetiError as err:
            return [f"cannot decide about {resolve.title}: {err}"]
        except Exception:
            # a part of the border that the job task is: its locks would be held for ever, by every master after this
            log.exception("job %s: cannot decide about %s", self._job, resolve.title)
            return [f"cannot decide about {resolve.title}: an error in the program; the master's log has the details"]
