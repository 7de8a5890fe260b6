"""What a new master tells its nodes beside its work."""

from __future__ import annotations

import asyncio
import random

import pytest
from logic.plan_env import FakeRpc, make_config, node_uuid

from ganeti.calls.master_ip import MasterAddress, MasterIpUp
from ganeti.calls.node import SsconfWrite
from ganeti.host.timings import Timings
from ganeti.master.mastership import Mastership
from ganeti.master.state import write_of
from ganeti.model.objects import Put
from ganeti.testing.clock import SteppedClock
from ganeti.testing.leadership import MemoryLeadership


class Leadership(MemoryLeadership):
    timings = Timings()


class Surroundings:
    clock, rng = SteppedClock(), random.Random(1)

    def new_rpc(self, nodes, term):
        self.rpc = FakeRpc(lambda: self.config)
        return self.rpc

    def new_leader(self, rpc, clock, name_of):
        return Leadership(term=7)

    async def resolve(self, name):
        return name, "192.0.2.100"


@pytest.mark.parametrize("fails", [False, True])
def test_the_clusters_address_comes_up_with_every_new_master(fails):
    around = Surroundings()
    around.config = make_config()

    async def main():
        mastership = Mastership(around)
        writes = [write_of(Put(obj)) for obj in around.config.objects()]
        mastership.state.load([(write.table, write.key, write.value) for write in writes])
        around.rpc.answers[SsconfWrite] = 1
        if fails:
            around.rpc.fail(MasterIpUp)
        work = mastership.background()
        announce = work.pop("announce")
        for other in work.values():
            other.close()
        await announce
        await mastership.distributor.stop()

    asyncio.run(main())
    calls = [(node, call) for node, call in around.rpc.calls if isinstance(call, MasterIpUp)]
    address = MasterAddress(ip="192.0.2.100", netmask=32, netdev="lo")
    # a request of its own in each term: the node does it again
    assert calls == [(node_uuid(1), MasterIpUp(address=address, request="master-ip-7"))]
