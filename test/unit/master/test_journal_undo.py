"""The way back past a node that is gone."""

import asyncio

import pytest

from ganeti import errors
from ganeti.calls.base import encode
from ganeti.calls.volume import VolumeClose
from ganeti.master.journal import Journal
from ganeti.master.state import State
from ganeti.model.jobs import JournalRecord, Undo
from ganeti.model.objects import Disk, DiskTemplate

DISK = Disk(uuid="d", template=DiskTemplate.PLAIN, size=1, logical_id=("xenvg", "d"))


def record(serial, node):
    call = VolumeClose(disk=DISK, owner="i", request=f"r{serial}", undoes=f"e{serial}")
    undo = Undo(node=node, call=encode(call), effect=f"e{serial}", title=f"undo {serial}")
    return JournalRecord(job=1, op=0, serial=serial, recovery=undo)


class Rpc:
    """The node `gone` does nothing."""

    def __init__(self, kind):
        self.kind, self.asked = kind, []

    async def one(self, node, call, *, progress=None):
        self.asked.append(node)
        if node == "gone":
            raise errors.RpcError(node, self.kind, "does not do it")


def undo(kind):
    state, rpc = State(), Rpc(kind)
    state.journal[1] = [record(serial, node) for serial, node in enumerate(("gone", "here", "gone", "gone"), start=1)]
    done = asyncio.run(Journal(state, 1, rpc).undo(None, set()))
    return rpc.asked, [debt.effect for debt in done.debts]


@pytest.mark.parametrize("kind", ["unreachable", "timeout"])
def test_a_node_that_does_not_answer_is_asked_once_and_owes_everything(kind):
    assert undo(kind) == (["gone", "here"], ["e4", "e3", "e1"])


def test_a_node_that_fails_at_one_thing_may_do_the_others():
    assert undo("failed") == (["gone", "gone", "here", "gone"], ["e4", "e3", "e1"])
