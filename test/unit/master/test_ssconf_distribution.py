"""Who waits for whose ssconf files."""

import asyncio

import msgspec

from ganeti import errors
from ganeti.master.ssconf import Distributor
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Group, Node, Put


class Nodes:
    """Node daemons that take files, fail or hang."""

    def __init__(self):
        self.files = {"a": {}, "b": {}}
        self.failing = set()
        self.gates = {}  # by node: what its answers wait for
        self.calls = 0

    async def one(self, node, call):
        self.calls += 1
        if node in self.gates:
            await self.gates[node].wait()
        if node in self.failing:
            raise errors.RpcError(node, "unreachable", "no connection")
        self.files[node] |= call.files
        return len(call.files)


def _node(name):
    return Node(uuid=name, name=name, primary_ip="192.0.2.1", secondary_ip="192.0.2.1", group="g")


class World:
    def __init__(self):
        cluster = Cluster(uuid="c", name="one", master_node="a", master_ip="192.0.2.9", master_netdev="lo")
        self.config = Config.load([cluster, Group(uuid="g", name="default"), _node("a"), _node("b")])
        self.nodes = Nodes()
        self.pause = None
        self.distributor = Distributor(
            lambda: self.config,
            lambda: 1,
            self.nodes,
            lambda config, name: {},
            patience_s=0.05,
            pause=lambda: self.pause,
        )

    def rename(self, name):
        self.config = self.config.apply([Put(msgspec.structs.replace(self.config.cluster, name=name))])

    def names(self):
        return [files.get("cluster_name") for files in self.nodes.files.values()]


def _run(story):
    async def run():
        world = World()
        await story(world)
        await world.distributor.stop()

    asyncio.run(run())


def test_all_nodes_have_the_files_when_it_returns_and_nothing_is_sent_twice():
    async def story(world):
        await world.distributor.distribute()
        assert world.names() == ["one\n", "one\n"]
        calls = world.nodes.calls
        await world.distributor.distribute()
        assert world.nodes.calls == calls
        world.rename("two")
        await world.distributor.distribute()
        assert world.names() == ["two\n", "two\n"]

    _run(story)


def test_a_file_that_was_changed_on_a_node_is_sent_when_all_are_sent_again():
    async def story(world):
        await world.distributor.distribute()
        world.nodes.files["b"]["cluster_name"] = "edited by hand\n"
        await world.distributor.distribute()
        assert world.names() == ["one\n", "edited by hand\n"]
        world.distributor.send_all_again()
        await world.distributor.distribute()
        assert world.names() == ["one\n", "one\n"]
        calls = world.nodes.calls
        await world.distributor.distribute()
        assert world.nodes.calls == calls

    _run(story)


def test_a_change_during_a_send_is_sent_before_its_waiter_goes_on():
    async def story(world):
        gate = world.nodes.gates["b"] = asyncio.Event()
        first = asyncio.create_task(world.distributor.distribute())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        world.rename("two")
        second = asyncio.create_task(world.distributor.distribute())
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, second)
        assert world.names() == ["two\n", "two\n"]

    _run(story)


def test_a_node_that_failed_is_not_waited_for_and_not_asked_by_later_changes():
    async def story(world):
        world.nodes.failing.add("b")
        await world.distributor.distribute()
        calls = world.nodes.calls
        world.rename("two")
        await world.distributor.distribute()
        assert world.nodes.calls == calls + 1
        # readded: it is asked again, and waited for
        world.nodes.failing.clear()
        world.distributor.forget("b")
        await world.distributor.distribute()
        assert world.names() == ["two\n", "two\n"]

    _run(story)


def test_a_node_that_failed_before_it_was_offline_is_waited_for_when_it_is_back():
    async def story(world):
        world.nodes.failing.add("b")
        await world.distributor.distribute()
        online = world.config.nodes["b"]
        world.config = world.config.apply([Put(msgspec.structs.replace(online, offline=True))])
        await world.distributor.distribute()
        world.nodes.failing.clear()
        world.config = world.config.apply([Put(online)])
        await world.distributor.distribute()
        assert world.names() == ["one\n", "one\n"]

    _run(story)


def test_a_node_that_hangs_holds_up_one_change_only():
    async def story(world):
        gate = world.nodes.gates["b"] = asyncio.Event()
        await asyncio.wait_for(world.distributor.distribute(), 30)
        world.rename("two")
        await asyncio.wait_for(world.distributor.distribute(), 1)
        assert world.names() == ["two\n", None]
        gate.set()
        while world.names()[1] != "two\n":  # its sender goes on to the newest by itself
            await asyncio.sleep(0)

    _run(story)


def test_pause_of_the_watcher_is_sent_by_itself_and_taken_back():
    async def story(world):
        await world.distributor.distribute()
        for pause, text in ((1700000000.5, "1700000000\n"), (None, "")):
            world.pause = pause
            await world.distributor.distribute()
            assert [files["watcher_pause"] for files in world.nodes.files.values()] == [text, text]
        calls = world.nodes.calls
        await world.distributor.distribute()
        assert world.nodes.calls == calls

    _run(story)
