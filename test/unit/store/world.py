"""Voters in one process: real files behind an RPC that can fail, on a loop whose time is virtual."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import random
import selectors
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ganeti import errors
from ganeti.calls.node import NodeVersion, TermPush, TermReply, VersionReply
from ganeti.calls.store import StoreAppend, StoreDrop, StoreFetch, StorePromise, StoreSnapshot, StoreState
from ganeti.host.clock import Clock
from ganeti.store import db, reading
from ganeti.store.api import Note, Write
from ganeti.store.batch import unseal_all
from ganeti.store.db import DEFAULT_RETENTION, Database, Retention
from ganeti.store.leader import Leader
from ganeti.store.quorum import DEFAULT_LIMITS, Limits
from ganeti.store.replica import Replica


class _Selector(selectors.SelectSelector):
    """Never waits: time jumps to the next timer instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits and no timer runs")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = _Selector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


class LoopClock(Clock):
    def time(self) -> float:
        return 1e9 + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Inline(concurrent.futures.Executor):
    """Runs what it is given at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as err:  # noqa: BLE001 - as an executor does
            future.set_exception(err)
        return future


class Crash(Exception):
    """The process of a node dies here."""


class World:
    """Nodes n0, n1, …; the first `voters` of them hold the state."""

    def __init__(
        self,
        where: str,
        *,
        nodes: int = 3,
        voters: int = 3,
        seed: int = 0,
        limits: Limits = DEFAULT_LIMITS,
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:
        self.limits, self.retention = limits, retention
        self.rng = random.Random(seed)
        self.nodes = [f"n{number}" for number in range(nodes)]
        self.where = where
        self.replicas: dict[str, Replica] = {}
        self.terms = dict.fromkeys(self.nodes, 0)
        self.down: set[str] = set()
        self.cut: set[frozenset[str]] = set()
        self.masters: dict[str, tuple[Leader, Database]] = {}
        self.max_pages: dict[str, int] = {}  # a disk that small
        self.delay_s = 0.001
        self.checks_terms = True  # the node daemons refuse calls of lower terms
        self.lose_calls = self.lose_replies = 0.0  # probabilities
        self.calls: list[tuple[str, str]] = []  # (node, call)
        self.before_call: Callable[[str, Any], None] = lambda node, call: None
        for node in self.nodes:
            os.mkdir(f"{where}/{node}")
            self.replicas[node] = Replica(self.path(node), retention=retention)
        members = self.nodes[:voters]
        db.create(self.path("n0"), [Write("meta", "first", "1")], voters=members, now=1e9)
        for node in members[1:]:
            source, target = Database.open(self.path("n0")), Database.open(self.path(node))
            target.apply(unseal_all(tuple(source.history(0)), ""), promise=source.promise)
            source.close()
            target.close()

    def path(self, node: str) -> str:
        return f"{self.where}/{node}/state.db"

    # Masters

    async def start(self, node: str, *, max_pages: int = 0) -> Leader:
        """A master daemon that has opened its state and not claimed yet."""
        database = Database.open(self.path(node), wait_s=0, retention=self.retention, max_pages=max_pages)
        leader = Leader(
            database,
            node,
            _Rpc(self, node),
            LoopClock(),
            name_of=lambda uuid: f"{uuid}.example.com",
            limits=self.limits,
            executor=Inline(),
            readers=Inline(),
        )
        self.masters[node] = leader, database
        try:
            await leader.open()
        except errors.GanetiError:
            await self.stop(node)
            raise
        return leader

    async def master(self, node: str = "n0", *, no_voting: bool = False, max_pages: int = 0) -> Leader:
        leader = await self.start(node, max_pages=max_pages)
        try:
            await leader.claim(self.nodes, no_voting=no_voting)
        except errors.GanetiError:
            await self.stop(node)
            raise
        return leader

    async def stop(self, node: str) -> None:
        leader, database = self.masters.pop(node)
        await leader.close()
        database.close()

    async def kill_master(self, node: str) -> None:
        """kill -9: what is on the disk stays, nothing more gets there."""
        leader, database = self.masters.pop(node)
        database.close()
        await leader.close()

    async def crash(self, node: str) -> None:
        self.down.add(node)
        self.replicas[node].close()
        if node in self.masters:
            await self.kill_master(node)

    def boot(self, node: str) -> None:
        self.replicas[node].close()
        self.replicas[node] = Replica(self.path(node), max_pages=self.max_pages.get(node, 0), retention=self.retention)
        self.down.discard(node)

    def grow(self, node: str) -> None:
        """Make room on a master's disk."""
        self.masters[node][1].limit_pages(0)

    async def close(self) -> None:
        for node in list(self.masters):
            await self.stop(node)
        for replica in self.replicas.values():
            replica.close()

    # What lies on the disks

    def position(self, node: str) -> tuple[int, int, str]:
        state = Replica(self.path(node)).state()
        return state.term, state.serial, state.hash

    def content(self, node: str) -> dict[str, Any]:
        """Everything in a copy; its node must be quiet."""
        snapshot = reading.Snapshot(self.path(node))
        rows = snapshot.part(1 << 40)
        snapshot.close()
        return {"position": snapshot.position, "secrets": snapshot.secrets, "rows": rows}

    async def until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                await asyncio.sleep(0.01)

    async def until_equal(self, nodes: Iterable[str]) -> None:
        """All these copies have the same position."""
        names = list(nodes)
        await self.until(lambda: len({self.position(node) for node in names}) == 1)


class _Rpc:
    """The calls of one node."""

    def __init__(self, world: World, own: str) -> None:
        self._world, self._own = world, own

    async def one(self, node: str, call: Any) -> Any:
        world, rng = self._world, self._world.rng
        await asyncio.sleep(world.delay_s * (1 + rng.random()))
        self._check(node, lost=rng.random() < world.lose_calls)
        world.calls.append((node, call.call_name))
        term = world.masters[self._own][0].term
        if world.checks_terms and 0 < term < world.terms[node]:
            raise errors.RpcError(node, "stale_term", f"term {term} is over, this node saw {world.terms[node]}")
        world.terms[node] = max(term, world.terms[node])
        try:
            world.before_call(node, call)
            reply = self._serve(world.replicas[node], node, call)
        except Crash as err:
            await world.crash(node)
            raise errors.RpcError(node, "unreachable", "connection reset") from err
        except errors.GanetiError as err:
            raise errors.RpcError(node, "failed", str(err)) from err
        await asyncio.sleep(world.delay_s * rng.random())
        self._check(node, lost=rng.random() < world.lose_replies)
        return reply

    async def many(self, nodes: Iterable[str], call: Any) -> dict[str, Any]:
        raise AssertionError("the store asks each node on its own")

    def _check(self, node: str, *, lost: bool) -> None:
        world = self._world
        if (
            {self._own, node} & world.down
            or frozenset((self._own, node)) in world.cut
            or self._own not in world.masters
        ):
            raise errors.RpcError(node, "unreachable", "no connection")
        if lost:
            raise errors.RpcError(node, "timeout", "no answer in time")

    def _serve(self, replica: Replica, node: str, call: Any) -> Any:
        match call:
            case StoreState():
                return replica.state()
            case StorePromise():
                return replica.promise(call)
            case StoreAppend():
                return replica.append(call)
            case StoreSnapshot():
                return replica.snapshot(call)
            case StoreFetch():
                return replica.fetch(call)
            case StoreDrop():
                return replica.drop(call)
            case TermPush():
                return TermReply(self._world.terms[node])
            case NodeVersion():
                names = {"software": "", "node": node, "uuid": node, "cluster": "", "master": "", "boot_id": ""}
                return VersionReply(protocol=1, term=self._world.terms[node], time=0.0, **names)
        raise AssertionError(call)


NOTE = Note(actor="test", reason="because")


def put(key: str, value: str = "x") -> list[Write]:
    return [Write("object", key, value)]
