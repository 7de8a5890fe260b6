"""One run of a master daemon: the real engine and store on a simulated node, put together as `master.daemon` does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ganeti import errors
from ganeti.master.daemon import cluster_hvparams
from ganeti.master.debts import DebtPayer
from ganeti.master.env import Parts
from ganeti.master.jobs import Jobs
from ganeti.master.links import LinkedRpc
from ganeti.master.lockmanager import LockManager
from ganeti.master.membership import Members
from ganeti.master.processor import Processor
from ganeti.master.queries import Queries
from ganeti.master.requests import Requests
from ganeti.master.reservations import Reservations
from ganeti.master.ssconf import Distributor
from ganeti.master.state import State, job_key
from ganeti.model.jobs import ArchivedJob
from ganeti.model.objects import Node, Put
from ganeti.model.types import JobId, Uuid
from ganeti.ops.base import OpCode
from ganeti.store.api import Batch, Note
from ganeti.store.db import Database
from ganeti.store.leader import Leader
from ganeti.testing.sim import blocking
from ganeti.testing.sim.loop import Process, VirtualClock, the_loop
from ganeti.testing.sim.network import SimClient
from ganeti.testing.sim.node import FULL
from ganeti.wire import codec

if TYPE_CHECKING:
    from ganeti.testing.sim.node import SimNode
    from ganeti.testing.sim.world import World

RETRY_S = 1.0


class MasterProcess:
    """`takes_over`: the operator makes this node the master; else it starts only where the configuration says so."""

    def __init__(self, world: World, node: SimNode, *, takes_over: bool) -> None:
        self._world, self._node, self._takes_over = world, node, takes_over
        self.process = Process(f"masterd@{node.short}#{world.new_number()}")
        self.database: Database | None = None
        self.is_serving = False  # answers clients, takes jobs
        self.why_ended = ""

    def start(self) -> None:
        the_loop().start(self.process, self._main())

    async def _main(self) -> None:
        try:
            self.database = self._world.database.open(
                self._node.state_path, wait_s=0.0, check=False, max_pages=FULL if self._node.is_full else 0
            )
        except errors.GanetiError as err:
            self._end(f"cannot open its state: {err}")
            return
        database = self.database
        self.process.at_end.append(database.close)
        self._build(database)
        try:
            await self.leader.open()
            self.state.load(await self.leader.all_rows())
            self.leader.on_publish(self.state.publish)
            self.leader.on_publish(self._published)
            if not self._takes_over and self.state.config.cluster.master_node != self._node.uuid:
                self._end("the master is another node")
                return
            await self._win()
            await self._serve()
        except errors.GanetiError as err:
            self._end(str(err))

    def _end(self, why: str) -> None:
        """The process ends by itself."""
        self.why_ended = why
        self._world.chance.trace(f"master on {self._node.short} ends: {why}")
        if self._node.master is self:
            self._node.master = None
        self._world.kill(self.process)

    def _build(self, database: Database) -> None:
        world, clock = self._world, VirtualClock()
        moment = lambda: world.chance.between(0.0001, 0.002)  # noqa: E731
        self.state = State()
        self.leader: Leader
        self.rpc = SimClient(world, self.process, self._node.identity, nodes=self._find, term=lambda: self.leader.term)
        self.debts = DebtPayer(self.state, LinkedRpc(self.rpc, lambda: self.state.config))
        self.leader = world.kinds.leader(
            database,
            self._node.uuid,
            self.rpc,
            clock,
            name_of=self._name_of,
            limits=world.limits,
            executor=blocking.Executor(moment),
            readers=blocking.Executor(moment),
        )
        self.committer = world.kinds.committer(self.state, self.leader, clock)
        self.jobs = Jobs(self.state, clock)
        self.locks = LockManager(clock)
        self.members = Members(self.state, self.committer, self.leader, self.rpc)
        self.distributor = Distributor(
            lambda: self.state.config,
            lambda: self.state.serial,
            self.rpc,
            cluster_hvparams,
            pause=lambda: self.state.flags.watcher_pause,
        )
        rng = random.Random(world.chance.rng.getrandbits(64))
        parts = Parts(
            state=self.state,
            committer=self.committer,
            jobs=self.jobs,
            locks=self.locks,
            rpc=self.debts,
            membership=self.members,
            reservations=Reservations(lambda: self.committer.tip, rng, self.debts.mirrors),
            clock=clock,
            rng=rng,
            resolve=self._resolve,
            submit=self._submit_children,
            settle=self.debts.settle,
            questions=lambda: self.queries,
        )
        self.engine = world.kinds.engine(
            parts, Processor(parts, self.distributor), self.leader, new_env=world.kinds.env
        )
        self.queries = Queries(
            self.state,
            self.rpc,
            self.locks.rows,
            clock,
            archive=self._archived,
            obstacles=self.engine.obstacles,
            waiting_s=self.locks.waiting_s,
        )
        self.requests = Requests(
            state=self.state,
            jobs=self.jobs,
            engine=self.engine,
            committer=self.committer,
            leadership=self.leader,
            queries=self.queries,
        )

    def _find(self, uuid: Uuid) -> Node | None:
        return self.state.config.nodes.get(uuid)

    def _name_of(self, uuid: str) -> str:
        node = self._world.nodes.get(Uuid(uuid))
        return node.name if node is not None else uuid

    async def _resolve(self, name: str) -> tuple[str, str]:
        return name, f"198.51.100.{sum(name.encode()) % 250}"

    async def _submit_children(self, parent: JobId, jobs: Sequence[Sequence[OpCode]]) -> list[tuple[bool, JobId | str]]:
        return await self.engine.submit_children(parent, jobs)

    async def _archived(self, wanted: Sequence[JobId] | None) -> Sequence[ArchivedJob]:
        prefixes = [""] if wanted is None else [job_key(job_id) for job_id in wanted]
        rows = [row for prefix in prefixes for row in await self.leader.rows("archive", prefix=prefix)]
        return [codec.unpack(value.encode(), ArchivedJob) for _, value in rows]

    def _published(self, batch: Batch) -> None:
        self._world.witness.publishes(self.process, self.leader.term, batch)

    async def _win(self) -> None:
        """Raises GanetiError when it is not to be."""
        while True:
            try:
                await self.leader.claim([node.uuid for node in self.state.config.online_nodes])
            except errors.QuorumError as err:
                if self._takes_over:
                    raise
                self._world.chance.trace(f"master on {self._node.short} waits: {err}")
                await asyncio.sleep(RETRY_S)
            else:
                break
        self._world.chance.trace(f"master on {self._node.short} wins term {self.leader.term}")
        cluster = self.state.config.cluster
        if cluster.master_node != self._node.uuid:
            note = Note(actor="mastership", reason=f"{self._node.name} takes over")
            changed = msgspec.structs.replace(cluster, master_node=self._node.uuid)
            await self.committer.commit(note, changes=[Put(changed)])

    async def _serve(self) -> None:
        self.debts.attach(self.committer)
        await self.engine.recover()
        self.is_serving = True
        background = [
            asyncio.create_task(self._announce()),
            asyncio.create_task(self.debts.keep_trying()),
            asyncio.create_task(self.distributor.keep_trying()),
        ]
        await self.leader.lost.wait()
        self.is_serving = False
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self.engine.stop()
        await self.leader.close()
        self._end("its mastership is over")

    async def _announce(self) -> None:
        async def push() -> None:
            try:
                await self.members.push_trust()
            except errors.GanetiError as err:
                self._world.chance.trace(f"trust is not pushed: {err}")

        await asyncio.gather(push(), self.distributor.distribute())

    def ask(self, method: str, args: list[Any], key: str) -> asyncio.Task[Any]:
        """A client's request, run in this process. Any: LUXI's values."""
        extra = {"key": key} if key else {}
        return the_loop().start(self.process, self.requests.handle(method, args, extra))
