"""One run of a master daemon: a real mastership on a simulated node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ganeti import errors
from ganeti.calls.port import Rpc
from ganeti.host.clock import Clock
from ganeti.master.lockmanager import LockManager
from ganeti.master.mastership import Mastership
from ganeti.master.state import State
from ganeti.master.wiring import Classes
from ganeti.model.objects import Node
from ganeti.model.types import Uuid
from ganeti.store.api import Batch
from ganeti.store.db import Database
from ganeti.store.leader import Leader
from ganeti.testing.sim import blocking
from ganeti.testing.sim.loop import Process, VirtualClock, the_loop
from ganeti.testing.sim.network import SimClient
from ganeti.testing.sim.node import FULL

if TYPE_CHECKING:
    from ganeti.testing.sim.node import SimNode
    from ganeti.testing.sim.world import World

RETRY_S = 1.0
#: counted among the faults
CONTENDED = "votes split between two that take over"


class MasterProcess:
    """`takes_over`: the operator makes this node the master; else it starts only where the configuration says so."""

    def __init__(self, world: World, node: SimNode, *, takes_over: bool) -> None:
        self._world, self._node, self._takes_over = world, node, takes_over
        self.process = Process(f"masterd@{node.short}#{world.new_number()}")
        self.database: Database | None = None
        self._seen_term = 0
        self.is_serving = False  # answers clients, takes jobs
        self.why_ended = ""

    def start(self) -> None:
        the_loop().start(self.process, self._main())

    async def _main(self) -> None:
        contest = self._world.kinds.contest(self.clock, self._world.chance.rng)
        self.process.at_end.append(self._close)
        try:
            pause_s: float | None
            while True:
                try:
                    await self._try()
                    why, pause_s = "its mastership is over", contest.after_loss_s()
                except errors.ContendedError as err:
                    self._world.chance.counts[CONTENDED] += 1
                    why, pause_s = str(err), contest.pause_s()
                if pause_s is None:
                    self._end(why)
                    return
                self._world.chance.trace(f"master on {self._node.short} is in another one's way: {why}")
                await the_loop().end_others()
                await self.leader.close()
                self._close()
                await asyncio.sleep(pause_s)
        except errors.GanetiError as err:
            self._end(str(err))

    def _close(self) -> None:
        if self.database is not None:
            self.database.close()
            self.database = None

    async def _try(self) -> None:
        """One mastership, from this node's copy to its end by the claim of another node."""
        self.database = self._world.database.open(
            self._node.state_path, wait_s=0.0, check=False, max_pages=FULL if self._node.is_full else 0
        )
        kinds = self._world.kinds
        self._mastership = Mastership(self, Classes(committer=kinds.committer, endings=kinds.endings, env=kinds.env))
        await self._mastership.load()
        self.leader.on_publish(self._published)
        if not self._takes_over and self.state.config.cluster.master_node != self._node.uuid:
            raise errors.PrereqError("wrong_state", "the master is another node")
        await self._win()
        await self._serve()
        self._takes_over = False

    def _end(self, why: str) -> None:
        """The process ends by itself."""
        self.why_ended = why
        self._world.chance.trace(f"master on {self._node.short} ends: {why}")
        if self._node.master is self:
            self._node.master = None
        self._world.kill(self.process)

    # What its mastership finds around it

    @property
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @property
    def rng(self) -> random.Random:
        return random.Random(self._world.chance.rng.getrandbits(64))

    def new_rpc(self, nodes: Callable[[Uuid], Node | None], term: Callable[[], int]) -> SimClient:
        return SimClient(self._world, self.process, self._node.identity, nodes=nodes, term=term)

    def new_leader(self, rpc: Rpc, clock: Clock, name_of: Callable[[str], str]) -> Leader:
        assert self.database is not None
        return self._world.kinds.leader(
            self.database,
            self._node.uuid,
            rpc,
            clock,
            name_of=name_of,
            limits=self._world.limits,
            executor=blocking.Executor(self._moment),
            readers=blocking.Executor(self._moment),
        )

    def _moment(self) -> float:
        return self._world.chance.between(0.0001, 0.002)

    async def resolve(self, name: str) -> tuple[str, str]:
        return name, f"198.51.100.{sum(name.encode()) % 250}"

    def _published(self, batch: Batch) -> None:
        self._world.witness.publishes(self.process, self.leader.term, batch)

    async def _win(self) -> None:
        """Raises GanetiError when it is not to be."""
        if self._takes_over:
            # what the operator finds out first
            self._seen_term = self._seen_term or self.leader.position.term
            await self._mastership.take_over(self._node.uuid, seen_term=self._seen_term)
        else:
            await self._win_again()
        self._world.chance.trace(f"master on {self._node.short} wins term {self.leader.term}")

    async def _win_again(self) -> None:
        """Where the configuration says that the master is."""
        while True:
            try:
                await self._mastership.claim()
                return
            except errors.QuorumError as err:
                if self.leader.lost.is_set():
                    raise
                self._world.chance.trace(f"master on {self._node.short} waits: {err}")
                await asyncio.sleep(RETRY_S)

    async def _serve(self) -> None:
        await self._mastership.begin()
        self.is_serving = True
        background = [asyncio.create_task(work) for work in self._mastership.background().values()]
        await self.leader.lost.wait()
        self.is_serving = False
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self._mastership.engine.stop()

    # What the story and the verdict look at

    @property
    def state(self) -> State:
        return self._mastership.state

    @property
    def leader(self) -> Leader:
        return self._mastership.leader

    @property
    def locks(self) -> LockManager:
        return self._mastership.locks

    def ask(self, method: str, args: list[Any], key: str) -> asyncio.Task[Any]:
        """A client's request, run in this process. Any: LUXI's values."""
        extra = {"key": key} if key else {}
        return the_loop().start(self.process, self._mastership.requests.handle(method, args, extra))
