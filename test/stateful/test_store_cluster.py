"""The store's code under random faults: crashes, lost calls, partitions, failovers, changes of the voters.

Real files and the real leader and voters; time is virtual; a seed replays exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile

import pytest
from unit.store.world import NOTE, Crash, World, run

from ganeti import errors
from ganeti.host import faults
from ganeti.store import db
from ganeti.store.api import Write
from ganeti.store.batch import unseal_all
from ganeti.store.db import Database, Retention
from ganeti.store.leader import Leader
from ganeti.store.quorum import Limits

#: points at which a node may die; every durable step of a voter and of the master
POINTS = (
    db.BEFORE_APPLY, db.AFTER_APPLY, db.BEFORE_PROMISE, db.AFTER_PROMISE,
    db.BEFORE_STAGE, db.AFTER_STAGE, db.BEFORE_REPLACE, db.AFTER_REPLACE,
)  # fmt: skip


#: many small fsyncs; None: the usual place
FAST_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Chaos:
    """One seed's story."""

    def __init__(self, where: str, seed: int) -> None:
        self.rng = random.Random(seed)
        size = self.rng.choice((3, 3, 4, 5))
        # small histories and memories make snapshots and catch-up from the disk common
        limits = Limits(recent_size=self.rng.choice((1, 1000, 1 << 20)), snapshot_size=500)
        self.world = World(where, nodes=size, voters=3, seed=seed, limits=limits, retention=Retention(batches=1))
        self.world.checks_terms = seed % 2 == 0  # the store's own rules must be enough
        self.acknowledged: dict[str, str] = {}  # key → value
        self.masters_of_terms: dict[int, str] = {}
        self.counter = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def commit(self, node: str, leader: Leader) -> None:
        self.counter += 1
        key, value = f"k{self.counter}", f"{leader.term}-{node}"
        with contextlib.suppress(errors.GanetiError):
            await leader.commit([Write("object", key, value)], NOTE, secrets={key: value})
            self.acknowledged[key] = value
            assert self.masters_of_terms.setdefault(leader.term, node) == node, "two masters in one term"

    def in_background(self, node: str, leader: Leader) -> None:
        task = asyncio.create_task(self.commit(node, leader))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def check_master(self, leader: Leader) -> None:
        rows = dict(await leader.rows("object"))
        lost = {key for key, value in self.acknowledged.items() if rows.get(key) != value}
        assert not lost, f"acknowledged and lost: {sorted(lost)}"

    async def failover(self) -> None:
        """Somebody who is up tries to become master, as an operator would ask."""
        world = self.world
        up = [node for node in world.nodes if node not in world.down and node not in world.masters]
        if not up:
            return
        node = self.rng.choice(up)
        try:
            leader = await world.start(node)
            await leader.claim(world.nodes)
        except (errors.GanetiError, Crash):
            if node in world.masters:
                await world.kill_master(node)
            return
        await self.check_master(leader)

    async def step(self) -> None:
        world, rng = self.world, self.rng
        for node, (leader, _) in list(world.masters.items()):
            if leader.lost.is_set():
                await world.kill_master(node)
        action = rng.random()
        if action < 0.15:
            await self.failover()
        elif action < 0.25:
            await world.crash(rng.choice(world.nodes))
        elif action < 0.45:
            for node in list(world.down):
                world.boot(node)
        elif action < 0.5:
            world.cut = {frozenset(rng.sample(world.nodes, 2)) for _ in range(rng.randint(0, 3))}
        elif action < 0.6:
            world.cut.clear()
        elif action < 0.65:
            world.lose_calls, world.lose_replies = rng.choice(((0.0, 0.0), (0.2, 0.2), (0.0, 0.4)))
        elif action < 0.75:
            await self.change_voters()
        else:
            for node, (leader, _) in list(world.masters.items()):
                for _ in range(rng.randint(1, 3)):
                    self.in_background(node, leader)
        await asyncio.sleep(rng.choice((0.0, 0.005, 0.1, 2.0)))

    async def change_voters(self) -> None:
        for leader, _ in list(self.world.masters.values()):
            voters = [voter.node for voter in leader.voters()]
            node = self.rng.choice(self.world.nodes)
            with contextlib.suppress(errors.GanetiError, TimeoutError):
                async with asyncio.timeout(3):
                    if node not in voters:
                        await leader.add_voter(node, [], NOTE)
                    elif len(voters) > 3:  # two voters may go solo, and lose: another test's matter
                        await leader.remove_voter(node, [], NOTE)

    async def heal_and_check(self) -> None:
        world = self.world
        faults.arm(None)
        world.cut.clear()
        world.lose_calls = world.lose_replies = 0.0
        for node in list(world.masters):
            await world.kill_master(node)
        for node in list(world.down):
            world.boot(node)
        leader = await self.last_master()
        await self.check_master(leader)
        await leader.commit([Write("object", "end", "1")], NOTE)
        voters = [voter.node for voter in leader.voters()]
        await world.until_equal(voters)
        await world.until(lambda: not leader.missing_voters())
        await world.stop(leader_node := next(iter(world.masters)))
        contents = [world.content(node) for node in voters]
        assert all(content == contents[0] for content in contents)
        self.check_chain(leader_node)
        await asyncio.gather(*self.tasks)

    async def last_master(self) -> Leader:
        for _ in range(5):
            for node in self.world.nodes:
                try:
                    return await self.world.master(node)
                except errors.GanetiError:
                    continue
        raise AssertionError("everybody is up and nobody can become master")

    def check_chain(self, node: str) -> None:
        database = Database.open(self.world.path(node))
        texts = database.history(0)
        first = database.position.serial - len(texts)
        entries = unseal_all(tuple(texts), database.hash_at(first) or "")
        if first == 0:
            assert entries[-1].hash == database.position.hash
        assert [entry.batch.serial for entry in entries] == list(range(first + 1, database.position.serial + 1))
        terms = [entry.batch.term for entry in entries]
        assert terms == sorted(terms)
        database.close()


def play(seed: int) -> None:
    chance = random.Random(seed)

    def die(point: faults.Point) -> None:
        if point in POINTS and chance.random() < 0.01:
            raise Crash(point)

    async def main() -> None:
        with tempfile.TemporaryDirectory(dir=FAST_DISK) as where:
            chaos = Chaos(where, seed)
            faults.arm(die)
            try:
                for _ in range(60):
                    await chaos.step()
                await chaos.heal_and_check()
            finally:
                faults.arm(None)
                await chaos.world.close()

    run(main())


@pytest.mark.parametrize("seed", range(25))
def test_random_story(seed: int) -> None:
    play(seed)
