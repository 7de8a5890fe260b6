"""A cluster in one process: the real engine and the real node handlers, over fake drivers and a store in memory."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from ganeti import errors, settings
from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.node import NodeVersion, SsconfWrite, TrustPush, VersionReply
from ganeti.calls.port import Progress
from ganeti.calls.task import TaskPoll, TaskReply
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.hypervisor.fake.driver import FakeHypervisor
from ganeti.logic import catalogue as logic_catalogue
from ganeti.master.state import State, write_of
from ganeti.master.wiring import Wiring
from ganeti.model import disks
from ganeti.model.config import Config
from ganeti.model.jobs import Job
from ganeti.model.objects import AnyObject, Cluster, Disk, DiskTemplate, Group, Node, Put
from ganeti.model.types import JobId, RequestId, Uuid
from ganeti.node import catalogue as node_catalogue
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.paths import FAKE_DEVICES_DIR, FAKE_DRBD_DIR, Paths
from ganeti.rpc.identity import Identity
from ganeti.storage import registry
from ganeti.storage.drbd8.virtual import POWERED_OFF
from ganeti.testing.drivers import FailingHypervisor, FailingStorage
from ganeti.testing.leadership import MemoryLeadership
from ganeti.testing.links import LoopbackLinks

R = TypeVar("R")
LOADED = (logic_catalogue.UNITS, node_catalogue.MODULES)

OS_NAME = "test-os"


class ImpatientClock(SystemClock):
    """Does not sleep: the time is later at once."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        self._skipped += seconds


class SimulatedNode:
    """One node: its root directory, its drivers, what it was told."""

    def __init__(self, root: str, name: str, uuid: Uuid) -> None:
        self.name, self.uuid = name, uuid
        self.paths = Paths(root, name)
        self.requests: dict[RequestId, Any] = {}
        self.tombstones: set[RequestId] = set()
        self.hypervisor = FailingHypervisor(FakeHypervisor(self.paths, SystemClock()))
        runner = HostRunner(self.paths)
        drivers = registry.drivers(self.paths, runner, ImpatientClock())
        self.storage = {template: FailingStorage(driver) for template, driver in drivers.items()}
        self.env = NodeEnv(
            paths=self.paths,
            runner=runner,
            clock=SystemClock(),
            hypervisors={"fake": self.hypervisor},
            storage=self.storage,
            services={
                "links": LoopbackLinks(),
                "identity": Identity(cluster="cluster.example.com", node=name, uuid=uuid, address="127.0.0.1"),
            },
        )
        self._install_os()

    def _install_os(self) -> None:
        directory = self.paths.local(f"{self.paths.os_search_path[0]}/{OS_NAME}")
        os.makedirs(directory)
        files = {"ganeti_api_version": "20\n", "create": "#!/bin/sh\necho installed\n", "parameters.list": ""}
        for name, text in files.items():
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(os.path.join(directory, name), 0o755)
        os.makedirs(self.paths.local(settings.FILE_STORAGE_DIR))
        # one directory for all nodes, beside their roots
        shared = os.path.join(os.path.dirname(self.paths.root), "shared")
        os.makedirs(shared, exist_ok=True)
        os.symlink(shared, self.paths.local(settings.SHARED_FILE_STORAGE_DIR))
        devices = os.path.join(os.path.dirname(self.paths.root), "devices")
        os.makedirs(devices, exist_ok=True)
        os.symlink(devices, self.paths.local(FAKE_DEVICES_DIR))

    @property
    def is_up(self) -> bool:
        return not os.path.exists(self.paths.root + POWERED_OFF)

    @is_up.setter
    def is_up(self, value: bool) -> None:
        """Off and on again: what the kernel and the hypervisor had in memory is gone."""
        mark = self.paths.root + POWERED_OFF
        if value and os.path.exists(mark):
            shutil.rmtree(self.paths.local(FAKE_DRBD_DIR), ignore_errors=True)
            os.unlink(mark)
        elif not value:
            with open(mark, "w", encoding="ascii"):
                pass

    def volumes(self) -> tuple[str, ...]:
        return (*self.storage[DiskTemplate.FILE].volumes(), *self.storage[DiskTemplate.PLAIN].volumes())

    def minors(self) -> tuple[int, ...]:
        mirror = self.storage[DiskTemplate.DRBD].mirror
        assert mirror is not None
        return mirror.minors()


class InProcessRpc:
    """Implements `calls.port.Rpc` by calling the handlers; loses calls and replies as told."""

    def __init__(self, nodes: Mapping[Uuid, SimulatedNode], config: Any) -> None:
        self.nodes = nodes
        self._config = config  # Any: a callable that gives the configuration; the state is made later
        self.lose_reply: list[str] = []  # names of calls whose next reply is lost
        self.fail: dict[str, errors.GanetiError] = {}  # call name → what its next use answers
        self.replies: dict[str, Any] = {}  # call name → what it replies instead; Any: as the call
        self.made: list[tuple[str, str]] = []  # (node name, call name) in order
        self.gates: dict[str, asyncio.Event] = {}  # call name → it waits here first
        self.at_gates: list[str] = []  # names of calls that came to one
        self.held_replies: dict[str, asyncio.Event] = {}  # call name → it is done, its reply waits here

    async def one(self, node: Uuid, call: Call[R], *, progress: Progress | None = None) -> R:
        found = self._config().nodes.get(node)
        name = self.nodes[node].name
        if found is not None and found.offline:
            raise errors.RpcError(name, "offline", "is marked offline")
        if call.call_name in self.gates:
            self.at_gates.append(call.call_name)
            await self.gates[call.call_name].wait()
        await asyncio.sleep(0)
        if not self.nodes[node].is_up:
            raise errors.RpcError(name, "unreachable", "does not answer")
        if call.call_name in self.fail:
            raise errors.RpcError(name, "failed", str(self.fail.pop(call.call_name)))
        self.made.append((name, call.call_name))
        context = Context()
        instead = self.replies.get(call.call_name)
        answer = instead if instead is not None else self._answer(self.nodes[node], call, context)
        if progress is not None and context.progress:
            progress(context.progress)
        if call.call_name in self.held_replies:
            await self.held_replies[call.call_name].wait()
        if call.call_name in self.lose_reply:
            self.lose_reply.remove(call.call_name)
            raise errors.RpcError(name, "timeout", "no reply in time")
        return cast(R, answer)

    def _answer(self, node: SimulatedNode, call: Call[Any], context: Context) -> Any:
        if isinstance(call, SsconfWrite | TrustPush):
            return len(call.files) if isinstance(call, SsconfWrite) else None
        if isinstance(call, NodeVersion):
            return VersionReply(
                software="",
                protocol=0,
                node=node.name,
                uuid=node.uuid,
                cluster="",
                master="",
                term=1,
                boot_id="",
                time=0.0,
            )
        if isinstance(call, TaskPoll):
            # calls are answered when they have ended
            return TaskReply(state="done" if call.request in node.requests else "unknown")
        if not isinstance(call, ChangingCall):
            return self._handle(node, call, context)
        if call.request in node.tombstones:
            raise errors.RpcError(node.name, "failed", "the request was taken back before it came")
        if call.undoes is not None:
            node.tombstones.add(call.undoes)
        if call.request not in node.requests:
            node.requests[call.request] = self._handle(node, call, context)
        return node.requests[call.request]

    def _handle(self, node: SimulatedNode, call: Call[Any], context: Context) -> Any:
        try:
            return HANDLERS[type(call)](call, node.env, context)
        except errors.GanetiError as err:
            raise errors.RpcError(node.name, "failed", str(err)) from err

    async def many(self, nodes: Iterable[Uuid], call: Call[R]) -> dict[Uuid, R | errors.RpcError]:
        async def guarded(node: Uuid) -> R | errors.RpcError:
            try:
                return await self.one(node, call)
            except errors.RpcError as err:
                return err

        return {node: await guarded(node) for node in nodes}

    async def at(self, node: Node, call: Call[R]) -> R:
        return await self.one(node.uuid, call)


class SimulatedCluster:
    """`await start()`, then submit opcodes and look at what came of them; `restart()` is a crash of the master."""

    def __init__(self, root: str, *, nodes: int = 3, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.clock = SystemClock()
        self.nodes: dict[Uuid, SimulatedNode] = {}
        for number in range(1, nodes + 1):
            uuid = Uuid(f"00000000-0000-4000-8000-{number:012d}")
            self.nodes[uuid] = SimulatedNode(os.path.join(root, f"node{number}"), f"node{number}.example.com", uuid)
        self.store = MemoryLeadership()
        self.store.voter_names = list(self.nodes)
        for obj in self._objects():
            write = write_of(Put(obj))
            self.store.table[write.table, write.key] = write.value or ""
        self.rpc = InProcessRpc(self.nodes, lambda: self.state.config)
        self._build()

    def _objects(self) -> list[AnyObject]:
        group = Group(uuid=Uuid("00000000-0000-4000-8000-00000000000a"), name="default")
        first = next(iter(self.nodes))
        cluster = Cluster(
            uuid=Uuid("00000000-0000-4000-8000-00000000000c"),
            name="cluster.example.com",
            master_node=first,
            master_ip="192.0.2.1",
            master_netdev="lo",
            file_storage_dir=settings.FILE_STORAGE_DIR,
            shared_file_storage_dir=settings.SHARED_FILE_STORAGE_DIR,
            volume_group_name="xenvg",
            enabled_disk_templates=(
                DiskTemplate.DISKLESS,
                DiskTemplate.FILE,
                DiskTemplate.SHAREDFILE,
                DiskTemplate.PLAIN,
                DiskTemplate.DRBD,
                DiskTemplate.BLOCKDEV,
            ),
        )
        found: list[AnyObject] = [cluster, group]
        for number, node in enumerate(self.nodes.values(), start=1):
            address = f"192.0.2.{10 + number}"
            found.append(
                Node(
                    uuid=node.uuid,
                    name=node.name,
                    primary_ip=address,
                    secondary_ip=address,
                    group=group.uuid,
                    master_candidate=True,
                    certificate_digest=f"{number:064x}",
                )
            )
        return found

    def _build(self) -> None:
        self.state = State()
        self.state.load((table, key, value) for (table, key), value in self.store.table.items() if table != "archive")
        self.state.reveal(self.store.secrets)
        self.store.on_publish(self.state.publish)
        made = Wiring(
            self.state, self.store, self.rpc, clock=self.clock, rng=self.rng, resolve=self._resolve, pause=self._pause
        )
        made.debts.attach(made.committer)
        self.debts, self.committer, self.members = made.debts, made.committer, made.members
        self.jobs, self.locks, self.engine, self.queries = made.jobs, made.locks, made.engine, made.queries

    async def _resolve(self, name: str) -> tuple[str, str]:
        raise errors.ResolverError(name, -2, "no names here")

    async def _pause(self, seconds: float) -> None:
        """Nobody waits for anything here."""
        await asyncio.sleep(0)

    @property
    def config(self) -> Config:
        return self.state.config

    async def submit(self, *wire_ops: Any, key: str = "") -> JobId:
        """One job. Any: opcodes or their wire forms."""
        return await self.engine.submissions.submit_one(list(wire_ops), key=key)

    async def wait(self, job: JobId, timeout_s: float = 60.0) -> Job:
        """The finished job."""
        if not await self.jobs.changed(job, lambda: self.jobs.get(job).status.is_final, timeout_s):
            raise AssertionError(f"job {job} did not end: {self.jobs.get(job)}")
        return self.jobs.get(job)

    async def run(self, *wire_ops: Any) -> Job:
        return await self.wait(await self.submit(*wire_ops))

    async def restart(self) -> None:
        """The master dies (nothing more is stored by the old one) and a new one takes over."""
        old = self.store
        old.is_lost = True
        old.gate.set()
        self.store = MemoryLeadership(term=old.term + 1)
        self.store.table = dict(old.table)
        self.store.secrets = dict(old.secrets)
        self.store.voter_names = old.voter_names
        self._build()
        await self.engine.recover()

    def log_of(self, job: JobId) -> list[str]:
        return [str(entry.message) for entry in self.state.logs.get(job, ())]

    def debris(self) -> list[str]:
        """What nodes hold that the configuration does not know."""
        every = [disk for instance in self.config.instances.values() for disk in instance.disks]
        every += [each.disk for each in self.config.disks.values()]
        lying = [volume for disk in every for volume in disks.node_volumes(disk)]
        known = {_name(volume) for volume in lying}
        names = {instance.name for instance in self.config.instances.values()}
        found = [f"{node.name}: {path}" for node in self.nodes.values() for path in node.volumes() if path not in known]
        for node in self.nodes.values():
            found += [f"{node.name}: guest {guest.name}" for guest in node.hypervisor.list() if guest.name not in names]
        return found


def _name(volume: Disk) -> str:
    """As `volumes` of the drivers tell it."""
    is_lv = volume.template is DiskTemplate.PLAIN
    return "/dev/" + "/".join(str(part) for part in volume.logical_id) if is_lv else str(volume.logical_id[1])
