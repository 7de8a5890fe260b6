"""All parts of one mastership, put together; what they touch of the world is handed in."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from ganeti import errors
from ganeti.calls.master_ip import MasterIpUp
from ganeti.calls.port import Rpc
from ganeti.host.clock import Clock
from ganeti.logic.master_ip import address_of
from ganeti.master.measures import Measures
from ganeti.master.requests import Requests
from ganeti.master.state import State
from ganeti.master.wiring import REAL, Classes, Wiring
from ganeti.model.objects import Node, Put
from ganeti.model.types import RequestId, Uuid
from ganeti.store.api import Note
from ganeti.store.leader import Leader

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


class Mastership(Wiring):
    """`load` it, `claim` it, `begin`; then keep its `background` going until `leader.lost`."""

    def __init__(self, around: Surroundings, classes: Classes = REAL) -> None:
        clock, rng = around.clock, around.rng
        self.state = State()
        self.leader: Leader
        self.rpc = around.new_rpc(self._node, lambda: self.leader.term)
        self.leader = around.new_leader(self.rpc, clock, self._name_of)
        super().__init__(
            self.state, self.leader, self.rpc, clock=clock, rng=rng, resolve=around.resolve, classes=classes
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

    async def take_over(self, me: Uuid, *, seen_term: int, no_voting: bool = False) -> None:
        """Win, and make this node the master in the configuration before anything else is done.

        `seen_term`: highest term when the operator decided it, 0: not known. Raises as `claim`; StaleTermError also
        when another mastership has begun since then.
        """
        leader = self.leader
        # of this node's own last try there may be a batch
        if 0 < seen_term < leader.position.term and not leader.led_last:
            raise errors.StaleTermError(
                f"another node has become the master meanwhile, in term {leader.position.term}",
                hint="gnt-cluster getmaster names it",
            )
        await self.claim(no_voting=no_voting, takes_over=True)
        cluster = self.state.config.cluster
        if cluster.master_node == me:
            return
        note = Note(actor="mastership", reason=f"{self._name_of(me)} takes over")
        try:
            await self.committer.commit(note, changes=[Put(msgspec.structs.replace(cluster, master_node=me))])
        except errors.StaleTermError as err:
            raise errors.ContendedError(err.message, hint=err.hint) from err

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
