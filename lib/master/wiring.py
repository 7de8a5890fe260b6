"""The parts that run jobs, put together: over a store, a way to the nodes, and what tells time, chance and names."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ganeti.calls.port import Rpc
from ganeti.host.clock import Clock
from ganeti.logic.guests import cluster_hvparams
from ganeti.master.commits import Committer
from ganeti.master.debts import DebtPayer
from ganeti.master.endings import Endings
from ganeti.master.engine import Engine
from ganeti.master.env import JobEnv, Parts
from ganeti.master.jobs import Jobs
from ganeti.master.links import LinkedRpc
from ganeti.master.lockmanager import LockManager
from ganeti.master.membership import Members
from ganeti.master.processor import Processor
from ganeti.master.queries import Queries
from ganeti.master.reservations import Reservations
from ganeti.master.ssconf import Distributor
from ganeti.master.state import State, job_key
from ganeti.model.jobs import ArchivedJob
from ganeti.model.types import JobId
from ganeti.ops.base import OpCode
from ganeti.store.api import Leadership
from ganeti.wire import codec


class Classes(msgspec.Struct, frozen=True, kw_only=True):
    """What some of the parts are made of; simulations put in their own."""

    committer: type[Committer] = Committer
    endings: type[Endings] = Endings
    env: type[JobEnv] = JobEnv


REAL = Classes()


class Wiring:
    """Reads the state when asked to: it may be loaded later. `debts` pays from when on the committer is attached."""

    def __init__(
        self,
        state: State,
        leadership: Leadership,
        rpc: Rpc,
        *,
        clock: Clock,
        rng: random.Random,
        resolve: Callable[[str], Awaitable[tuple[str, str]]],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        classes: Classes = REAL,
    ) -> None:
        self.state, self.rpc, self._leadership = state, rpc, leadership
        self.debts = DebtPayer(state, LinkedRpc(rpc, lambda: state.config))
        self.committer = classes.committer(state, leadership, clock)
        self.jobs = Jobs(state, clock)
        self.locks = LockManager(clock)
        self.members = Members(state, self.committer, leadership, rpc)
        self.distributor = Distributor(
            lambda: state.config,
            lambda: state.serial,
            rpc,
            cluster_hvparams,
            pause=lambda: state.flags.watcher_pause,
        )
        parts = Parts(
            state=state,
            committer=self.committer,
            jobs=self.jobs,
            locks=self.locks,
            rpc=self.debts,
            membership=self.members,
            reservations=Reservations(lambda: self.committer.tip, rng, self.debts.mirrors),
            clock=clock,
            rng=rng,
            resolve=resolve,
            submit=self._submit_children,
            pause=pause,
            settle=self.debts.settle,
            questions=lambda: self.queries,
        )
        self.engine = Engine(
            parts, Processor(parts, self.distributor), leadership, new_env=classes.env, endings=classes.endings
        )
        self.queries = Queries(
            state,
            rpc,
            self.locks.rows,
            clock,
            archive=self._archived,
            obstacles=self.engine.obstacles,
            waiting_s=self.locks.waiting_s,
        )

    async def _submit_children(self, parent: JobId, jobs: Sequence[Sequence[OpCode]]) -> list[tuple[bool, JobId | str]]:
        return await self.engine.submissions.submit_children(parent, jobs)

    async def _archived(self, wanted: Sequence[JobId] | None) -> Sequence[ArchivedJob]:
        prefixes = [""] if wanted is None else [job_key(job_id) for job_id in wanted]
        rows = [row for prefix in prefixes for row in await self._leadership.rows("archive", prefix=prefix)]
        return [codec.unpack(value.encode(), ArchivedJob) for _, value in rows]
