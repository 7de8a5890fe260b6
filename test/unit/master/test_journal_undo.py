"""The way back past a node that is gone."""

import asyncio

import pytest

from ganeti import errors
from ganeti.calls.base import encode
from ganeti.calls.task import RequestFence
from ganeti.calls.volume import VolumeClose
from ganeti.logic import catalogue
from ganeti.master.journal import Journal
from ganeti.master.state import State
from ganeti.model.jobs import JournalRecord, Resolve, Undo
from ganeti.model.objects import Disk, DiskTemplate


def record(serial, node, volume=""):
    disk = Disk(uuid="d", template=DiskTemplate.PLAIN, size=1, logical_id=("xenvg", volume or f"v{serial}"))
    call = VolumeClose(disk=disk, owner="i", request=f"r{serial}", undoes=f"e{serial}")
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


def fence(serial, node, of):
    call = RequestFence(request=f"r{serial}", undoes=of)
    return JournalRecord(job=1, op=0, serial=serial, recovery=Undo(node=node, call=encode(call), effect=of, title="f"))


def undo(kind, records=None, open_requests=()):
    state, rpc = State(), Rpc(kind)
    nodes = ("gone", "here", "gone", "gone")
    state.journal[1] = records or [record(serial, node) for serial, node in enumerate(nodes, start=1)]
    done = asyncio.run(Journal(state, 1, rpc).undo(None, set(open_requests)))
    return rpc.asked, [debt.effect for debt in done.debts]


@pytest.mark.parametrize("kind", ["unreachable", "timeout"])
def test_a_node_that_does_not_answer_is_asked_once_and_owes_everything(kind):
    assert undo(kind) == (["gone", "here"], ["e4", "e3", "e1"])


def test_a_node_that_fails_at_one_thing_may_do_the_others():
    assert undo("failed") == (["gone", "gone", "here", "gone"], ["e4", "e3", "e1"])


def test_what_a_node_fails_at_holds_up_what_came_before_on_the_same_volume():
    # the volume that 3 would have to rename back cannot be removed by 1 under its first name
    records = [record(1, "gone", "new"), record(2, "gone", "other"), record(3, "gone", "new"), record(4, "here", "new")]
    assert undo("failed", records) == (["here", "gone", "gone"], ["e3", "e2", "e1"])


def test_late_calls_are_kept_out_before_anything_is_taken_back():
    asked = []

    class Noting(Rpc):
        async def one(self, node, call, *, progress=None):
            asked.append(call.undoes)

    state = State()
    state.journal[1] = [record(1, "here"), fence(2, "here", "late"), fence(3, "here", "ended"), record(4, "here")]
    asyncio.run(Journal(state, 1, Noting("")).undo(None, {"late"}))
    assert asked == ["late", "e4", "e1"]


@pytest.mark.parametrize("kind", ["busy", "failed"])
def test_while_a_call_may_still_run_on_a_node_nothing_is_taken_back_there(kind):
    records = [record(1, "gone"), record(2, "here"), fence(3, "gone", "late")]
    assert undo(kind, records, {"late"}) == (["gone", "here"], ["late", "e1"])


def test_a_procedure_that_breaks_does_not_keep_the_rest_from_being_taken_back():
    """Else the job would never end, and its locks would be held for ever."""
    assert catalogue.UNITS
    state, rpc = State(), Rpc("")
    lost = Resolve(procedure="replace-disks", arguments={}, title="replacement of what nobody knows")
    state.journal[1] = [record(1, "here"), JournalRecord(job=1, op=0, serial=2, recovery=lost)]
    done = asyncio.run(Journal(state, 1, rpc).undo(None, set()))
    assert rpc.asked == ["here"]
    assert "cannot decide about replacement of what nobody knows: an error in the program" in done.lines[0]
    assert len(done.writes) == 2
