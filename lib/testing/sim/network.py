"""The network between simulated nodes: the master's real RPC client on this side, real dispatchers on that side."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp

from ganeti.calls.base import Call
from ganeti.model.objects import Node
from ganeti.model.types import Uuid
from ganeti.rpc.client import Client
from ganeti.rpc.connector import DEFAULT_LIMITS
from ganeti.rpc.dispatch import Peer
from ganeti.rpc.identity import Identity
from ganeti.testing.sim.loop import Process, the_loop
from ganeti.wire import codec

if TYPE_CHECKING:
    from ganeti.testing.sim.world import World


class NoConnection(aiohttp.ClientConnectorError):
    def __init__(self, number: int, text: str) -> None:
        self._os_error = OSError(number, text)
        OSError.__init__(self, number, text)

    def __str__(self) -> str:
        return str(self._os_error)


class SimPeer(Peer, frozen=True):
    process: str = ""  # the master's


class SimClient(Client):
    """The real client over the simulated network."""

    def __init__(self, world: World, source: Process, me: Identity, **more: Any) -> None:
        """Any: as for `Client`."""
        self._world, self._source, self._own = world, source, me
        super().__init__(world.nodes[Uuid(me.uuid)].paths, me, **more)

    def _new_context(self) -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def _is_refused(self, node: Node) -> bool:
        return False

    async def _exchange(self, node: Node, call: Call[Any]) -> Any:
        self._world.witness.sends(self._source, node.uuid, call)
        return await super()._exchange(node, call)

    async def _post(self, node: Node, body: bytes) -> bytes:
        return await self._world.network.exchange(self._source, Uuid(self._own.uuid), node.uuid, body)


class Network:
    def __init__(self, world: World) -> None:
        self._world = world
        self.cut: set[frozenset[Uuid]] = set()  # pairs that do not reach each other

    def latency(self) -> float:
        chance = self._world.chance
        return chance.between(0.5, 30.0) if chance.strikes("delay") else chance.between(0.0002, 0.002)

    def reaches(self, source: Uuid, target: Uuid) -> bool:
        return source == target or frozenset((source, target)) not in self.cut

    async def exchange(self, caller: Process, source: Uuid, target: Uuid, body: bytes) -> bytes:
        """The answer. Raises what aiohttp raises; may never return: the client has its time limits."""
        world, chance, loop = self._world, self._world.chance, the_loop()
        node = world.nodes[target]
        await asyncio.sleep(self.latency())
        if not self.reaches(source, target) or not node.is_on:
            await asyncio.sleep(DEFAULT_LIMITS.connect_s)
            raise aiohttp.ServerTimeoutError("no connection")
        if node.noded is None:
            raise NoConnection(errno.ECONNREFUSED, "Connection refused")
        future: asyncio.Future[bytes] = loop.create_future()
        is_local = source == target
        if not is_local and chance.strikes("call lost"):
            return await future
        if not is_local and chance.strikes("call refused"):
            raise aiohttp.ServerDisconnectedError
        is_late = not is_local and chance.strikes("late arrival")
        arrivals = [chance.between(5.0, 200.0) if is_late else 0.0]
        if not is_local and chance.strikes("duplicate"):
            arrivals.append(chance.between(0.0, 60.0))
        peer = SimPeer(world.nodes[source].name, world.nodes[source].digest, caller.name)
        for delay in arrivals:
            loop.call_in(
                None, delay, self._arrive, source, target, body, peer, self._replier(caller, source, target, future)
            )
        if is_late and chance.rng.random() < 0.5:
            # the connection broke while the request lies in a queue somewhere
            raise aiohttp.ServerDisconnectedError
        return await future

    def _replier(
        self, caller: Process, source: Uuid, target: Uuid, future: asyncio.Future[bytes]
    ) -> Callable[[bytes | None], None]:
        def reply(answer: bytes | None) -> None:
            """None: the connection broke."""
            if (source != target and self._world.chance.strikes("reply lost")) or not self.reaches(source, target):
                if self._world.chance.rng.random() < 0.5:
                    return
                answer = None
            the_loop().call_in(caller, self.latency(), _end, future, answer)

        return reply

    def _arrive(
        self, source: Uuid, target: Uuid, body: bytes, peer: SimPeer, reply: Callable[[bytes | None], None]
    ) -> None:
        node = self._world.nodes[target]
        if not self.reaches(source, target) or not node.is_on:
            return
        if node.noded is None:
            reply(None)
            return
        self._world.calls += 1
        node.noded.take(body, peer, reply)


def _end(future: asyncio.Future[bytes], answer: bytes | None) -> None:
    if future.done():
        return
    if answer is None:
        future.set_exception(aiohttp.ServerDisconnectedError())
    else:
        future.set_result(answer)


def name_of_call(body: bytes) -> str:
    """For traces: with the request that tells the job."""
    call = codec.loads(body)["call"]
    request = str(call.get("request", "")).split("-")[:2]
    return " ".join([str(call["call"]), *(["of job " + "/".join(request)] if request[0].isdecimal() else [])])
