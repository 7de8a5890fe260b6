"""A small cluster to ask questions about."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.instance import Console, Guest, GuestsReply, GuestState, InstanceConsole, InstanceList
from ganeti.calls.node import HypervisorInfo, NodeInfo, NodeInfoReply, StorageInfo
from ganeti.host.clock import Clock, SystemClock
from ganeti.master.queries import Archive, Queries
from ganeti.master.state import State, row
from ganeti.model.jobs import Job
from ganeti.model.objects import (
    AdminState,
    AnyObject,
    Cluster,
    Disk,
    DiskTemplate,
    Group,
    Instance,
    Nic,
    Node,
)
from ganeti.model.types import Uuid
from ganeti.store.api import Write


def node(number: int, **more: Any) -> Node:
    return Node(
        uuid=Uuid(f"n{number}"), name=f"node{number}.example.com", primary_ip=f"192.0.2.{number}",
        secondary_ip=f"192.0.2.{number}", group=Uuid("g1"), **more,
    )  # fmt: skip


def instance(name: str, primary: str = "n1", **more: Any) -> Instance:
    given = {"os": "noop", "hypervisor": "fake", "admin_state": AdminState.UP, **more}
    return Instance(uuid=Uuid(f"uuid-{name}"), name=f"{name}.example.com", primary_node=Uuid(primary), **given)


OBJECTS: tuple[AnyObject, ...] = (
    Cluster(
        uuid=Uuid("c"), name="cluster.example.com", master_node=Uuid("n1"), master_ip="192.0.2.100",
        master_netdev="lo", beparams={"vcpus": 2}, tags=("prod",), enabled_disk_templates=(DiskTemplate.FILE,),
    ),
    Group(uuid=Uuid("g1"), name="default"),
    node(1, master_candidate=True),
    node(2, master_candidate=True),
    node(10, offline=True),
    instance(
        "web10",
        disks=(Disk(uuid=Uuid("d0"), template=DiskTemplate.FILE, size=1024, logical_id=("loop", "/a"), name="root"),),
        nics=(Nic(uuid=Uuid("x0"), mac="aa:00:00:11:22:33"),),
        tags=("prod", "blue"),
    ),
    instance("web2", primary="n2", admin_state=AdminState.DOWN, beparams={"vcpus": 4}, network_port=11000),
    instance("db1", primary="n10"),
)  # fmt: skip


class Nodes:
    """Implements `calls.port.Rpc`: answers as told, and notes what it was asked."""

    def __init__(self, guests: dict[str, tuple[Guest, ...]], failing: dict[str, str]) -> None:
        self._guests = guests
        self._failing = failing
        self.asked: list[tuple[str, Call[Any]]] = []
        self.replies: dict[type[Call[Any]], Any] = {}  # by node

    async def one(self, node: Uuid, call: Call[Any]) -> Any:
        if isinstance(call, InstanceConsole):
            assert call.spec.beparams["vcpus"] == 2
            return Console(kind="ssh", host=call.spec.primary_name, command=("cat",))
        self.asked.append((node, call))
        if self._failing.get(node) == "hangs":
            await asyncio.Event().wait()
        if node in self._failing:
            raise errors.RpcError(node, self._failing[node], "does not answer")
        return self._reply(node, call)

    def _reply(self, uuid: Uuid, call: Call[Any]) -> Any:
        if type(call) in self.replies:
            return self.replies[type(call)].get(uuid, ())
        if isinstance(call, InstanceList):
            return GuestsReply(guests=self._guests.get(uuid, ()))
        assert isinstance(call, NodeInfo)
        machine = HypervisorInfo(memory_total=4096, memory_free=1024, cpu_total=4)
        return NodeInfoReply(
            boot_id="b1", hypervisors={"fake": machine}, storage={"file": StorageInfo(total=900, free=300)}
        )


def running(name: str, state: GuestState = GuestState.RUNNING, *, has_switched_off: bool = False) -> Guest:
    return Guest(
        name=f"{name}.example.com",
        uuid=f"uuid-{name}",
        hypervisor="fake",
        state=state,
        memory=128,
        vcpus=2,
        has_switched_off=has_switched_off,
    )


class World:
    """A master's state and the nodes behind it."""

    def __init__(self) -> None:
        self.objects: list[AnyObject] = list(OBJECTS)
        self.guests: dict[str, tuple[Guest, ...]] = {}
        self.failing: dict[str, str] = {"n10": "offline"}
        self.jobs: list[Job] = []
        self.rpc = Nodes(self.guests, self.failing)

    node = staticmethod(node)
    instance = staticmethod(instance)
    running = staticmethod(running)

    def put(self, *objects: AnyObject) -> None:
        uuids = {obj.uuid for obj in objects}
        self.objects = [obj for obj in self.objects if obj.uuid not in uuids] + list(objects)

    def change_cluster(self, **changes: Any) -> None:
        self.put(msgspec.structs.replace(self.objects[0], **changes))
        self.objects.insert(0, self.objects.pop())

    def queries(
        self, archive: Archive | None = None, locks: Any = (), clock: Clock | None = None, **more: Any
    ) -> Queries:
        state = State()
        rows: list[Write] = [row("object", f"{obj.kind}/{obj.uuid}", obj) for obj in self.objects]
        rows += [row("job", f"{job.id:012d}", job) for job in self.jobs]
        state.load((write.table, write.key, write.value or "") for write in rows)
        if archive:
            more["archive"] = archive
        return Queries(state, self.rpc, lambda: locks, clock or SystemClock(), **more)

    def ask(self, what: str, fields: list[str], qfilter: Any = None, **more: Any) -> list[list[list[Any]]]:
        """Rows of [status, value]."""
        answer = asyncio.run(self.queries(**more).query(what, fields, qfilter))
        found: list[list[list[Any]]] = answer["data"]
        return found

    def names(self, qfilter: Any, what: str = "instance") -> list[str]:
        return [cells[0][1].partition(".")[0] for cells in self.ask(what, ["name"], qfilter)]


@pytest.fixture
def world() -> World:
    return World()
