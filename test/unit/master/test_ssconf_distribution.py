"""ssconf files on their way: the list of instances is kept in order, and changes on the way are sent together."""

import asyncio
import random

import msgspec

from ganeti import errors
from ganeti.master import ssconf
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Delete, Group, Instance, Nic, Node, Put
from ganeti.model.types import Uuid

GROUP = Uuid("group")


def node(number):
    address = f"192.0.2.{number}"
    return Node(uuid=Uuid(f"n{number}"), name=f"node{number}", primary_ip=address, secondary_ip=address, group=GROUP)


def config_of(nodes=2):
    cluster = Cluster(uuid=Uuid("c"), name="cluster", master_node=Uuid("n1"), master_ip="192.0.2.9", master_netdev="lo")
    return Config.load([cluster, Group(uuid=GROUP, name="default"), *(node(number + 1) for number in range(nodes))])


def instance(number, **changes):
    made = Instance(
        uuid=Uuid(f"i{number}"),
        name=f"web{number}",
        primary_node=Uuid("n1"),
        os="busybox",
        hypervisor="fake",
        nics=(Nic(uuid=Uuid(f"nic{number}"), mac=f"aa:00:00:00:00:{number % 256:02x}"),),
        network_port=11000 + number,
    )
    return msgspec.structs.replace(made, **changes)


def test_list_of_instances_follows_every_change():
    rng, config, kept = random.Random(5), config_of(), ssconf.InstanceList()
    for turn in range(300):
        number = rng.randrange(40)
        old = config.instances.get(Uuid(f"i{number}"))
        if old is None:
            change = Put(instance(number))
        elif rng.random() < 0.5:
            change = Delete("instance", old.uuid)
        else:
            change = Put(msgspec.structs.replace(old, name=f"{rng.choice(('db', 'DB', 'mail'))}{number}-{turn}"))
        config = config.apply([change])
        if rng.random() < 0.7:  # it need not see each one
            kept.follow(config)
            assert kept.text == ssconf.render_instances(config)
    case_only = config.apply([Put(instance(90, name="Web90"))])
    kept.follow(case_only)
    kept.follow(case_only.apply([Put(instance(90, name="wEB90"))]))
    assert "wEB90\n" in kept.text


def test_addresses_and_ports_are_found_without_looking_at_all_instances():
    config = config_of().apply([Put(instance(1)), Put(instance(2))])
    twin = instance(3, nics=instance(1).nics, network_port=11001)
    both = config.apply([Put(twin)])
    assert both.macs["aa:00:00:00:00:01"] == {"i1", "i3"}
    assert both.ports[11001] == {"i1", "i3"}
    one = both.apply([Delete("instance", Uuid("i1"))])
    assert one.macs["aa:00:00:00:00:01"] == {"i3"}
    none = one.apply([Put(msgspec.structs.replace(twin, nics=(), network_port=None))])
    assert set(none.macs) == {"aa:00:00:00:00:02"}
    assert set(none.ports) == {11002}
    assert dict(none.primaries) == {"n1": {"i2", "i3"}}


class Nodes:
    """Take files when they are let."""

    def __init__(self):
        self.taken = []
        self.gate = asyncio.Event()
        self.is_up = True

    async def one(self, uuid, call, **_):
        await self.gate.wait()
        if not self.is_up:
            raise errors.RpcError(uuid, "unreachable", "does not answer")
        self.taken.append((uuid, call.serial, call.files))


class World:
    def __init__(self):
        self.config, self.serial, self.nodes = config_of(), 1, Nodes()
        self.distributor = ssconf.Distributor(
            lambda: self.config, lambda: self.serial, self.nodes, lambda config, name: {}
        )

    def change(self, *changes):
        self.config = self.config.apply(changes)
        self.serial += 1


def test_changes_that_come_while_a_node_takes_files_are_sent_together():
    async def body():
        world = World()
        waits = [asyncio.create_task(world.distributor.distribute())]
        await asyncio.sleep(0)
        for number in range(50):
            world.change(Put(instance(number)))
            waits.append(asyncio.create_task(world.distributor.distribute()))
            await asyncio.sleep(0)
        assert not any(wait.done() for wait in waits)
        world.nodes.gate.set()
        await asyncio.gather(*waits)
        assert len(world.nodes.taken) == 4
        for uuid in ("n1", "n2"):
            first, second = [(serial, files) for taken, serial, files in world.nodes.taken if taken == uuid]
            assert first[0] < 10
            assert second == (51, {"instance_list": ssconf.render_instances(world.config)})

    asyncio.run(body())


def test_nothing_is_sent_when_no_file_changes():
    async def body():
        world = World()
        world.nodes.gate.set()
        world.change(Put(instance(1)))
        await world.distributor.distribute()
        sent = len(world.nodes.taken)
        world.change(Put(instance(1, beparams={"vcpus": 2})))
        await world.distributor.distribute()
        assert len(world.nodes.taken) == sent

    asyncio.run(body())


def test_other_files_follow_too():
    async def body():
        world = World()
        world.nodes.gate.set()
        await world.distributor.distribute()
        world.change(Put(node(3)))
        await world.distributor.distribute()
        last = [files for uuid, _, files in world.nodes.taken if uuid == "n1"][-1]
        assert last["node_list"] == "node1\nnode2\nnode3\n"
        assert "instance_list" not in last

    asyncio.run(body())


def test_who_waits_is_told_when_the_node_does_not_answer():
    async def body():
        world = World()
        world.nodes.is_up = False
        wait = asyncio.create_task(world.distributor.distribute())
        await asyncio.sleep(0)
        world.nodes.gate.set()
        await asyncio.wait_for(wait, 2)
        assert world.nodes.taken == []

    asyncio.run(body())
