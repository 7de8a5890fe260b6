"""A story of its own: the master is dead, and two or three people make another one at one moment."""

from __future__ import annotations

import asyncio
import random

from ganeti.master.contest import CONTEST_S
from ganeti.testing.sim.story import Story

#: for the last try, and for those who lost to learn it
AFTER_S = 60.0


class ClaimsAtOnce(Story):
    """Nothing else fails: exactly one of them has to win."""

    @staticmethod
    def sizes(rng: random.Random) -> tuple[int, int]:
        voters = rng.choice((3, 4, 5))
        return rng.choice((voters, 5)), voters

    async def play(self) -> None:
        world, chance = self.world, self.chance
        chance.is_calm = True
        nodes = list(world.nodes.values())
        for node in nodes:
            node.boot()
        old = world.start_master(nodes[0], takes_over=False)
        await asyncio.sleep(10.0)
        candidates = [node for node in nodes if old.state.config.nodes[node.uuid].master_candidate]
        if chance.rng.random() < 0.5:
            nodes[0].power_off()
        else:
            nodes[0].kill_master()
        free = [node for node in candidates if node.is_on and node.master is None]
        for node in chance.rng.sample(free, min(len(free), chance.rng.choice((2, 2, 3)))):
            await asyncio.sleep(chance.between(0.0, 0.01))
            world.start_master(node, takes_over=True)
        await asyncio.sleep(CONTEST_S + AFTER_S)
        serving = [master for master in world.serving() if not master.leader.lost.is_set()]
        if len(serving) != 1:
            world.witness.blame(f"{len(serving)} of those who claimed at one moment are master")
