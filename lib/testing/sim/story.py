"""One seed from its first call to its verdict: load and faults, then everything heals and is looked at."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from ganeti.host import faults
from ganeti.model.types import Uuid
from ganeti.testing.sim.chance import SCHEDULED, SCHEDULED_APART, Chance
from ganeti.testing.sim.clients import Clients
from ganeti.testing.sim.loop import Process, VirtualLoop, the_loop
from ganeti.testing.sim.master import MasterProcess
from ganeti.testing.sim.node import SimNode
from ganeti.testing.sim.verdict import Unhealed, Verdict
from ganeti.testing.sim.world import REAL, Kinds, World

#: in memory, where there is such a place
FAST_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
#: a run that takes so many steps of the loop is stuck in a circle
MAX_STEPS = 3_000_000


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one seed."""

    seed: int
    trace_hash: str
    violations: tuple[str, ...]
    faults: dict[str, int]
    jobs: int
    statuses: dict[str, int]
    calls: int
    batches: int
    virtual_s: float
    seconds: float
    trace: tuple[str, ...] = ()  # of a failing seed


class Story:
    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance
        self.clients = Clients(world)
        self._is_over = False
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def sizes(rng: random.Random) -> tuple[int, int]:
        """How many nodes and how many of them are master candidates."""
        size = rng.choice((3, 3, 4, 5))
        return size, rng.choice((2, 3, 3, 3, size))

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # an error of the simulation itself
            self.world.witness.blame(f"the story breaks: {task.exception()!r}")

    async def play(self) -> None:
        world, chance = self.world, self.chance
        for node in world.nodes.values():
            node.boot()
        world.start_master(next(iter(world.nodes.values())), takes_over=False)
        for _ in range(3):
            self._go(self._client())
        self._go(self._operator())
        for fault in (*SCHEDULED, *filter(chance.has, SCHEDULED_APART)):
            self._go(self._strike(fault))
        await asyncio.sleep(chance.rng.choice((60.0, 120.0, 200.0)))
        self._is_over = True
        await self._heal()

    # The load

    async def _client(self) -> None:
        rng = self.chance.rng
        while not self._is_over:
            await asyncio.sleep(rng.expovariate(1 / 4.0))
            serving = self.world.serving()
            if not serving:
                continue
            master = rng.choice(serving)
            if self.clients.acknowledged and rng.random() < 0.05:
                job = rng.choice(list(self.clients.acknowledged)[-10:])
                await self.clients.change_priority(master, job, rng.randint(-20, 19))
            again = [each for each in self.clients.submissions if each.key and each.is_sent]
            if self.clients.acknowledged and rng.random() < 0.3:
                await self.clients.look(master, rng.choice(list(self.clients.acknowledged)))
            elif again and rng.random() < 0.4:
                waiting = [each for each in again if each.is_open]
                await self.clients.submit(master, rng.choice(waiting or again))
            elif len(self.clients.submissions) < 40:
                await self.clients.submit(master, self.clients.new_submission())

    # The operator: brings back what fell, sees to it that there is a master

    async def _operator(self) -> None:
        rng = self.chance.rng
        while not self._is_over:
            await asyncio.sleep(rng.uniform(1.0, 15.0))
            for node in self.world.nodes.values():
                if not node.is_on and rng.random() < 0.5:
                    node.boot()
                elif node.is_on and node.noded is None and rng.random() < 0.8:
                    node.start_noded()
            if not self.world.masters():
                for node in self.world.nodes.values():
                    if node.is_on and node.master is None and rng.random() < 0.8:
                        self.world.start_master(node, takes_over=False)

    # Faults that strike by themselves

    async def _strike(self, fault: str) -> None:
        actions: dict[str, Callable[[], Awaitable[bool]]] = {
            "node power off": self._power_off,
            "node daemon killed": self._kill_noded,
            "master killed": self._kill_master,
            "failover": self._failover,
            "failovers at one moment": self._failovers,
            "partition": self._partition,
            "node daemon paused": self._pause_noded,
            "master paused": self._pause_master,
            "disk full": self._disk_full,
            "disk full at the master": self._master_disk_full,
            "job cancelled": lambda: self._cancel(kill=False),
            "job killed": lambda: self._cancel(kill=True),
        }
        while (delay := self.chance.wait_for(fault)) is not None:
            await asyncio.sleep(delay)
            if self._is_over:
                return
            if await actions[fault]():
                self.chance.counts[fault] += 1

    def _some_node(self, condition: Callable[[SimNode], bool]) -> SimNode | None:
        found = [node for node in self.world.nodes.values() if condition(node)]
        return self.chance.rng.choice(found) if found else None

    async def _power_off(self) -> bool:
        node = self._some_node(lambda node: node.is_on)
        if node is not None:
            node.power_off()
        return node is not None

    async def _kill_noded(self) -> bool:
        node = self._some_node(lambda node: node.noded is not None)
        if node is not None:
            node.kill_noded()
        return node is not None

    async def _kill_master(self) -> bool:
        node = self._some_node(lambda node: node.master is not None)
        if node is not None:
            node.kill_master()
        return node is not None

    async def _failover(self) -> bool:
        node = self._some_node(lambda node: node.is_on and node.master is None)
        if node is not None:
            self.world.start_master(node, takes_over=True)
        return node is not None

    async def _failovers(self) -> bool:
        """Of people who do not know of each other."""
        free = [node for node in self.world.nodes.values() if node.is_on and node.master is None]
        if len(free) < 2:
            return False
        for node in self.chance.rng.sample(free, min(len(free), self.chance.rng.choice((2, 2, 3)))):
            self.world.start_master(node, takes_over=True)
            await asyncio.sleep(self.chance.rng.choice((0.0, 0.01, 1.0)))
        return True

    async def _partition(self) -> bool:
        nodes = list(self.world.nodes)
        self.chance.rng.shuffle(nodes)
        middle = self.chance.rng.randint(1, len(nodes) - 1)
        self.world.network.cut = {frozenset((a, b)) for a in nodes[:middle] for b in nodes[middle:]}
        self.chance.trace("partition: " + self._names(nodes[:middle]) + " | " + self._names(nodes[middle:]))
        await asyncio.sleep(self.chance.rng.choice((2.0, 20.0, 90.0)))
        self.world.network.cut = set()
        self.chance.trace("partition ends")
        return True

    def _names(self, nodes: list[Uuid]) -> str:
        return ",".join(sorted(self.world.nodes[node].short for node in nodes))

    async def _pause_noded(self) -> bool:
        node = self._some_node(lambda node: node.noded is not None)
        if node is None or node.noded is None:
            return False
        await self._pause(node.noded.process)
        return True

    async def _pause_master(self) -> bool:
        node = self._some_node(lambda node: node.master is not None)
        if node is None or node.master is None:
            return False
        await self._pause(node.master.process)
        return True

    async def _pause(self, process: Process) -> None:
        if process.is_paused:
            return
        process.is_paused = True
        self.chance.trace(f"{process.name} is stopped")
        await asyncio.sleep(self.chance.rng.choice((1.0, 8.0, 70.0)))
        if process.is_paused:
            self.chance.trace(f"{process.name} goes on")
            the_loop().resume(process)

    async def _disk_full(self) -> bool:
        return await self._fill(self._some_node(lambda node: node.master is None))

    async def _master_disk_full(self) -> bool:
        return await self._fill(self._some_node(lambda node: node.master is not None))

    async def _fill(self, node: SimNode | None) -> bool:
        if node is None:
            return False
        self.chance.trace(f"the disk of {node.short} is full")
        node.fill(is_full=True)
        await asyncio.sleep(self.chance.rng.choice((3.0, 40.0)))
        self.chance.trace(f"the disk of {node.short} has space again")
        node.fill(is_full=False)
        return True

    async def _cancel(self, *, kill: bool) -> bool:
        serving = self.world.serving()
        if not serving or not self.clients.acknowledged:
            return False
        newest = list(self.clients.acknowledged)[-8:]
        job, master = self.chance.rng.choice(newest), self.chance.rng.choice(serving)
        self._go(self.clients.cancel(master, job, kill=kill))
        return True

    # The end

    async def _heal(self) -> None:
        world = self.world
        self.chance.is_calm = True
        self.chance.trace("everything heals")
        for node in world.nodes.values():
            node.fill(is_full=False)
            node.boot()
            for daemon in (node.noded, node.master):
                if daemon is not None and daemon.process.is_paused:
                    the_loop().resume(daemon.process)
        world.network.cut = set()
        verdict = Verdict(world, self.clients)
        try:
            master = await self._answer_all()
            await verdict.settle(master)
            await verdict.judge(master)
        except Unhealed as err:
            world.witness.blame(str(err))

    async def _last_master(self) -> MasterProcess:
        """One that serves and goes on to do so."""
        for round_number in range(12):
            await asyncio.sleep(30.0)
            serving = [
                m for m in self.world.serving() if m.leader.missing_voters() == [] and not m.leader.lost.is_set()
            ]
            if len(serving) == 1:
                return serving[0]
            if serving or (self.world.masters() and round_number % 3):
                continue
            nodes = list(self.world.nodes.values())
            if round_number < 3:
                for node in nodes:
                    if node.master is None:
                        self.world.start_master(node, takes_over=False)
            else:
                free = [node for node in nodes if node.master is None]
                if free:
                    self.world.start_master(free[round_number % len(free)], takes_over=True)
        raise Unhealed("everything is healed and no node can be a master with all voters")

    async def _answer_all(self) -> MasterProcess:
        """Who did: what a node once promised to a claimant who failed may end one more mastership."""
        for _ in range(3):
            master = await self._last_master()
            for submission in self.clients.submissions:
                for _ in range(5):
                    if submission.is_sent and submission.is_open:
                        await self.clients.submit(master, submission)
            left = [each.number for each in self.clients.submissions if each.is_sent and each.is_open]
            if not left:
                return master
        raise Unhealed(f"submissions {left} are not answered")


def play(seed: int, *, kinds: Kinds = REAL, is_verbose: bool = False, story: type[Story] = Story) -> Outcome:
    """Run one seed."""
    began = time.perf_counter()
    chance = Chance(seed, is_verbose=is_verbose)
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _, context: None)
    with tempfile.TemporaryDirectory(dir=FAST_DISK, prefix="simulation-") as root:
        asyncio.set_event_loop(loop)
        try:
            world, clients = loop.run_until_complete(_play(loop, root, chance, kinds, story))
        finally:
            faults.arm(None)
            asyncio.set_event_loop(None)
            loop.close()
    violations = tuple(world.witness.violations)
    statuses = Counter(clients.seen.values())
    return Outcome(
        seed=seed,
        trace_hash=chance.trace_hash,
        violations=violations,
        faults=dict(chance.counts),
        jobs=len(clients.acknowledged),
        statuses=dict(statuses),
        calls=world.calls,
        batches=world.witness.batches,
        virtual_s=chance.now,
        seconds=time.perf_counter() - began,
        trace=tuple(chance.lines) if violations else (),
    )


async def _play(
    loop: VirtualLoop, root: str, chance: Chance, kinds: Kinds, story_kind: type[Story]
) -> tuple[World, Clients]:
    size, voters = story_kind.sizes(chance.rng)
    loop.on_step = lambda: _step(loop, chance)
    world = World(root, chance, nodes=size, voters=voters, kinds=kinds)
    story = story_kind(world)
    faults.arm(world.at_point)
    try:
        await story.play()
    except _TooLong:
        world.witness.blame(f"no end after {MAX_STEPS} steps")
    faults.arm(None)
    for node in world.nodes.values():
        node.kill_noded()
        node.kill_master()
    await asyncio.sleep(1.0)
    me = asyncio.current_task()
    for task in asyncio.all_tasks(loop):
        if task is not me:
            task.cancel()
    loop.bury_tasks()
    await asyncio.sleep(0)
    return world, story.clients


class _TooLong(Exception):
    pass


def _step(loop: VirtualLoop, chance: Chance) -> None:
    chance.now = loop.time()
    if loop.steps > MAX_STEPS:
        loop.steps = 0
        raise _TooLong
