"""All parts of one mastership, put together; what they touch of the world is handed in."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec

from ganeti import errors
from ganeti.calls.master_ip import MasterIpUp
from ganeti.calls.port import Rpc
from ganeti.host.clock import Clock
from ganeti.logic.guests import cluster_hvparams
from ganeti.logic.master_ip import address_of
from ganeti.master.commits import Committer
from ganeti.master.debts import DebtPayer
from ganeti.master.endings import Endings
from ganeti.master.engine import Engine
from ganeti.master.env import JobEnv, Parts
from ganeti.master.jobs import Jobs
from ganeti.master.links import LinkedRpc
from ganeti.master.lockmanager import LockManager
from ganeti.master.measures import Measures
from ganeti.master.membership import Members
from ganeti.master.processor import Processor
from ganeti.master.queries import Queries
from ganeti.master.requests import Requests
from ganeti.master.reservations import Reservations
from ganeti.master.ssconf import Distributor
from ganeti.master.state import State, job_key
from ganeti.model.jobs import ArchivedJob
from ganeti.model.objects import Node, Put
from ganeti.model.types import JobId, RequestId, Uuid
from ganeti.ops.base import OpCode
from ganeti.store.api import Note
from ganeti.store.leader import Leader
from ganeti.wire import codec

log = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What a mastership needs of the machine it runs on, or of a simulation."""

    @property
    def clock(self) -> Clock: ...
    @property
    def rng(self) -> random.Random: ...

    def new_rpc(self, nodes: Callable[[Uuid], Node | None], term: Callable[[], int]) -> Rpc:
        """The way to the nodes; every call carries that term."""
        ...

    def new_leader(self, rpc: Rpc, clock: Clock, name_of: Callable[[str], str]) -> Leader: ...
    async def resolve(self, name: str) -> tuple[str, str]:
        """(full name, address). Raises ResolverError."""
        ...


class Classes(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts are made of; simulations put in their own."""

    committer: type[Committer] = Committer
    endings: type[Endings] = Endings
    env: type[JobEnv] = JobEnv


REAL = Classes()


class Mastership:
    """`load` it, `claim` it, `begin`; then keep its `background` going until `leader.lost`."""

    def __init__(self, around: Surroundings, classes: Classes = REAL) -> None:
        clock, rng = around.clock, around.rng
        self.state = State()
        self.leader: Leader
        self.rpc = around.new_rpc(self._node, lambda: self.leader.term)
        self.leader = around.new_leader(self.rpc, clock, self._name_of)
        self.debts = DebtPayer(self.state, LinkedRpc(self.rpc, lambda: self.state.config))
        self.committer = classes.committer(self.state, self.leader, clock)
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
            resolve=around.resolve,
            submit=self._submit_children,
            settle=self.debts.settle,
            questions=lambda: self.queries,
        )
        self.engine = Engine(
            parts, Processor(parts, self.distributor), self.leader, new_env=classes.env, endings=classes.endings
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
        self.measures = Measures(self.state, self.locks, self.leader, self._name_of)
        self.requests = Requests(
            state=self.state,
            jobs=self.jobs,
            engine=self.engine,
            committer=self.committer,
            leadership=self.leader,
            queries=self.queries,
            distribute=self.distributor.distribute,
            measures=self.measures.tell,
        )

    def _node(self, uuid: Uuid) -> Node | None:
        return self.state.config.nodes.get(uuid)

    def _name_of(self, uuid: str) -> str:
        node = self.state.config.nodes.get(Uuid(uuid))
        return node.name if node is not None else uuid

    async def _archived(self, wanted: Sequence[JobId] | None) -> Sequence[ArchivedJob]:
        prefixes = [""] if wanted is None else [job_key(job_id) for job_id in wanted]
        rows = [row for prefix in prefixes for row in await self.leader.rows("archive", prefix=prefix)]
        return [codec.unpack(value.encode(), ArchivedJob) for _, value in rows]

    async def _submit_children(self, parent: JobId, jobs: Sequence[Sequence[OpCode]]) -> list[tuple[bool, JobId | str]]:
        return await self.engine.submit_children(parent, jobs)

    # Its course

    async def load(self) -> None:
        """Read the state; from then on it follows what is published."""
        await self.leader.open()
        self.state.load(await self.leader.all_rows())
        self.state.reveal(await self.leader.secrets())
        self.leader.on_publish(self.state.publish)

    async def claim(self, **how: Any) -> None:
        """Win the mastership. Any: as for `Leader.claim`. Raises QuorumError, StaleTermError."""
        await self.leader.claim([node.uuid for node in self.state.config.online_nodes], **how)
        # what was fetched from others came with theirs
        self.state.reveal(await self.leader.secrets())

    async def record_master(self, me: Uuid) -> None:
        """Make this node the master in the configuration: before anything else is done."""
        cluster = self.state.config.cluster
        if cluster.master_node != me:
            note = Note(actor="mastership", reason=f"{self._name_of(me)} takes over")
            await self.committer.commit(note, changes=[Put(msgspec.structs.replace(cluster, master_node=me))])

    async def begin(self) -> None:
        """It is won: what the last master left half-way is taken up, then jobs start."""
        self.debts.attach(self.committer)
        await self.engine.recover()

    def background(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on beside the jobs, by name, until it is cancelled."""
        return {
            "announce": self._announce(),
            "debts": self.debts.keep_trying(),
            "ssconf": self.distributor.keep_trying(),
        }

    async def _announce(self) -> None:
        """What other nodes must learn of the new term: whose certificates to trust, and the ssconf files."""
        # each on its own: a node that is away holds up the one, not the other
        await asyncio.gather(self._push_trust(), self.distributor.distribute(), self._bring_up_address())

    async def _bring_up_address(self) -> None:
        """The cluster's own address is where the master is; without it everything else still works."""
        cluster = self.state.config.cluster
        request = RequestId(f"master-ip-{self.leader.term}")
        try:
            await self.rpc.one(cluster.master_node, MasterIpUp(address=address_of(cluster), request=request))
        except errors.RpcError as err:
            log.error("the cluster's address is not up: %s", err)

    async def _push_trust(self) -> None:
        try:
            await self.members.push_trust()
        except errors.GanetiError as err:
            log.warning("%s", err)
