"""Who does not answer holds the others up for a moment only."""

import asyncio
import time

from ganeti import errors
from ganeti.bootstrap.failover import _each
from ganeti.calls.node import NodeVersion
from ganeti.model.objects import Node


class Client:
    """Nodes answer with their name, refuse, or never answer."""

    def __init__(self, silent=(), refusing=()):
        self.silent, self.refusing = silent, refusing

    async def at(self, node, call):
        if node.name in self.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if node.name in self.refusing:
            raise errors.RpcError(node.name, "unreachable", "nobody is there")
        return node.name


NODES = [Node(uuid=name, name=name, primary_ip="192.0.2.1", secondary_ip="", group="g") for name in "abcde"]


def ask(client, *, grace_s=0.01):
    async def run():
        async with asyncio.timeout(10):
            return await _each(client, NODES, NodeVersion(), grace_s=grace_s)

    return asyncio.run(run())


def test_the_silent_are_silent_when_more_than_half_have_answered():
    found = ask(Client(silent="be"))
    assert [found[name] for name in "acd"] == ["a", "c", "d"]
    assert all(found[name].is_silence for name in "be")


def test_refusals_count_as_answers_of_nobody_but_are_kept():
    found = ask(Client(silent="b", refusing="e"))
    assert found["e"].kind == "unreachable"
    assert found["b"].kind == "timeout"


def test_all_answers_are_there_at_once():
    begun = time.monotonic()
    assert list(ask(Client(), grace_s=60).values()) == list("abcde")
    assert time.monotonic() - begun < 30


def test_without_a_majority_everybody_is_waited_for():
    async def run():
        task = asyncio.create_task(_each(Client(silent="abc"), NODES, NodeVersion(), grace_s=0.0))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
