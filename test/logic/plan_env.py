"""A stand-in for the engine: enough of `Env` to check and plan operations without one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.instance import Guest, GuestsReply, GuestState, HypervisorValidate, InstanceInfo, InstanceList
from ganeti.calls.node import (
    HypervisorInfo,
    NodeInfo,
    NodeInfoReply,
    NodeVerify,
    NodeVersion,
    StorageInfo,
    VerifyReply,
    VersionReply,
)
from ganeti.calls.os import OsDefinition, OsDiagnose, OsRename
from ganeti.calls.renewal import Secrets, SecretsRead
from ganeti.calls.volume import VolumeInfo, VolumeReply
from ganeti.logic import catalogue
from ganeti.logic.allocation import A, Request
from ganeti.logic.base import UNITS, LogicalUnit, StateHolder
from ganeti.logic.steps import Ask, Commit, Effect, OnFailure, Parallel, Record, Release, Step, Wait
from ganeti.master.allocator import Allocator
from ganeti.master.reservations import Reservations
from ganeti.model import disks
from ganeti.model.config import Config
from ganeti.model.jobs import Undo
from ganeti.model.locks import ALL, Level
from ganeti.model.objects import (
    AdminState,
    Change,
    Cluster,
    Disk,
    DiskTemplate,
    Group,
    Instance,
    Nic,
    Node,
    Put,
)
from ganeti.model.types import JobId, RequestId, Uuid
from ganeti.ops.base import OpCode

assert catalogue.UNITS is UNITS

GROUP = Uuid("00000000-0000-4000-8000-0000000000aa")
BUSYBOX = OsDefinition(
    name="busybox",
    path="/srv/ganeti/os/busybox",
    valid=True,
    reason="",
    scripts=("create", "rename"),
    api_versions=(20,),
)


def node_uuid(number: int) -> Uuid:
    return Uuid(f"00000000-0000-4000-8000-00000000000{number}")


def make_node(number: int, **changes: Any) -> Node:
    node = Node(
        uuid=node_uuid(number),
        name=f"node{number}.example.com",
        primary_ip=f"192.0.2.{number}",
        secondary_ip=f"192.0.2.{number}",
        group=GROUP,
        certificate_digest=f"{number}" * 64,
        master_candidate=True,
    )
    return msgspec.structs.replace(node, **changes)


def file_disk(name: str, index: int = 0, size: int = 1024) -> Disk:
    path = f"/srv/ganeti/file-storage/{name}/disk{index}"
    return Disk(uuid=Uuid(f"{name}-disk{index}"), template=DiskTemplate.FILE, size=size, logical_id=("loop", path))


def make_instance(name: str = "web1.example.com", node: int = 1, **changes: Any) -> Instance:
    instance = Instance(
        uuid=Uuid(f"uuid-{name}"),
        name=name,
        primary_node=node_uuid(node),
        os="busybox",
        hypervisor="fake",
        disks=(file_disk(name),),
        nics=(Nic(uuid=Uuid(f"{name}-nic0"), mac="aa:00:00:11:22:33"),),
    )
    return msgspec.structs.replace(instance, **changes)


def make_config(*instances: Instance, nodes: Iterable[Node] | None = None, **cluster: Any) -> Config:
    """Three candidates, node1 is the master."""
    members = list(nodes) if nodes is not None else [make_node(1), make_node(2), make_node(3)]
    made = Cluster(
        uuid=Uuid("cluster"),
        name="cluster.example.com",
        master_node=node_uuid(1),
        master_ip="192.0.2.100",
        master_netdev="lo",
    )
    made = msgspec.structs.replace(made, **cluster)
    return Config.load([made, Group(uuid=GROUP, name="default"), *members, *instances])


def up(instance: Instance) -> Instance:
    return msgspec.structs.replace(instance, admin_state=AdminState.UP, disks_active=True)


def guest_of(instance: Instance) -> Guest:
    return Guest(
        name=instance.name, uuid=instance.uuid, hypervisor="fake", state=GuestState.RUNNING, memory=128, vcpus=1
    )


Answer = Any | Callable[[Uuid, Call[Any]], Any]


class FakeRpc:
    """Answers from a table by type of call; an RpcError or a kind of one fails the call."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self.calls: list[tuple[Uuid, Call[Any]]] = []
        self.running: dict[Uuid, Guest] = {}
        self.answers: dict[type[Call[Any]], Answer] = {
            InstanceInfo: lambda node, call: self.running.get(call.uuid),
            InstanceList: lambda node, call: GuestsReply(guests=tuple(self.running.values())),
            HypervisorValidate: "",
            OsDiagnose: (BUSYBOX,),
            OsRename: "",
            SecretsRead: Secrets({}),
            NodeInfo: lambda node, call: NodeInfoReply(
                boot_id="b",
                hypervisors={name: HypervisorInfo(memory_total=8192, memory_free=4096) for name in call.hypervisors},
                storage={name: StorageInfo(total=100_000, free=50_000) for name in call.templates},
            ),
            NodeVersion: self._version,
            NodeVerify: VerifyReply(),
            VolumeInfo: lambda node, call: VolumeReply(path=str(call.disk.logical_id[1]), size=call.disk.size),
        }

    def _version(self, node: Uuid, call: Call[Any]) -> VersionReply:
        known = self._config().nodes.get(node)
        return VersionReply(
            software="0.1.0",
            protocol=1,
            node=known.name if known else "?",
            uuid=node,
            cluster=self._config().cluster.name,
            master=self._config().master.name,
            term=1,
            boot_id="b",
            time=1000.0,
        )

    def fail(self, call: type[Call[Any]], kind: str = "failed") -> None:
        self.answers[call] = lambda node, made: errors.RpcError(node, kind, "it said no")

    def _answer(self, node: Uuid, call: Call[Any]) -> Any:
        self.calls.append((node, call))
        known = self._config().nodes.get(node)
        if known is not None and known.offline:
            return errors.RpcError(known.name, "offline", "marked offline")
        answer = self.answers.get(type(call))
        return answer(node, call) if callable(answer) else answer

    async def one(self, node: Uuid, call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        answer = self._answer(node, call)
        if isinstance(answer, errors.RpcError):
            raise answer
        return answer

    async def many(self, nodes: Iterable[Uuid], call: Call[Any]) -> dict[Uuid, Any]:
        await asyncio.sleep(0)
        return {node: self._answer(node, call) for node in nodes}

    async def at(self, node: Node, call: Call[Any]) -> Any:
        await asyncio.sleep(0)
        answer = self._answer(node.uuid, call)
        if isinstance(answer, errors.RpcError):
            raise answer
        return answer


class FakeMembership:
    def __init__(self, env: PlanEnv) -> None:
        self._env = env
        self.log: list[str] = []

    async def add_voter(
        self, node: Uuid, changes: Sequence[Change], *, if_still: Callable[[Config], bool] | None = None
    ) -> bool:
        await asyncio.sleep(0)  # others may come first
        if if_still is not None and not if_still(self._env.config):
            return False
        self._env.config = self._env.config.apply(changes)
        self.log.append(f"add {self._env.config.nodes[node].name}")
        return True

    async def remove_voter(self, node: Uuid, changes: Sequence[Change]) -> None:
        self._env.config = self._env.config.apply(changes)
        self.log.append(f"remove {self._env.config.nodes[node].name}")

    def holders(self) -> Sequence[StateHolder]:
        return [
            StateHolder(node=node.uuid, is_reachable=True, serial=7, hash="h", is_current=True)
            for node in self._env.config.candidates
        ]

    async def publish_trust(self, *, everywhere: bool = False) -> None:
        self.log.append("trust")


class PlanEnv:
    """Commits into its own snapshot; effects are calls of the fake Rpc; nothing is undone."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.job = JobId(1)
        self.rpc = FakeRpc(lambda: self.config)
        self.membership = FakeMembership(self)
        self.rng = random.Random(1)
        self.debts: list[Undo] = []
        self.unsettled: list[Undo] = []  # what nodes cannot undo even now
        self.log: list[str] = []
        self.warnings: list[str] = []
        self.commits: list[tuple[Change, ...]] = []
        self.submitted: list[Sequence[OpCode]] = []
        self.reserved: dict[Uuid, int] = {}
        self.addresses: dict[str, tuple[str, str]] = {}
        self.slept: list[float] = []
        self.sends_all_files = False
        self.minors: list[tuple[Uuid, int]] = []
        self.locked: dict[Level, tuple[str, ...]] = {}  # where not everything is held
        self._allocator = Allocator(fresh_s=0)  # tests change the answers between two questions
        self._promises = Reservations(lambda: self.config, self.rng)
        self._count = 0
        self.addresses_of_networks = Reservations(lambda: self.config, self.rng)

    def _next(self) -> int:
        self._count += 1
        return self._count

    async def settle(self, node: Uuid) -> Sequence[Undo]:
        return [undo for undo in self.unsettled if undo.node == node]

    def now(self) -> float:
        return 1000.0

    def new_uuid(self) -> Uuid:
        return Uuid(f"new-{self._next()}")

    def new_request(self) -> RequestId:
        return RequestId(f"request-{self._next()}")

    def new_mac(self, prefix: str) -> str:
        return f"{prefix}:00:00:{self._next():02x}"

    def reserve_mac(self, mac: str) -> None:
        if any(nic.mac == mac for instance in self.config.instances.values() for nic in instance.nics):
            raise errors.PrereqError("resource_not_unique", f"{mac} is in use")

    def new_ip(self, network: Uuid) -> str:
        return self.addresses_of_networks.new_ip(self.job, network)

    def reserve_ip(self, network: Uuid, ip: str, *, from_outside: bool = True) -> None:
        self.addresses_of_networks.ip(self.job, network, ip, from_outside=from_outside)

    def new_port(self) -> int:
        return 11000

    def new_minor(self, node: Uuid) -> int:
        used = disks.used_minors(self.config, node) | {minor for holder, minor in self.minors if holder == node}
        minor = next(number for number in disks.MINORS if number not in used)
        self.minors.append((node, minor))
        return minor

    def reserve_memory(self, node: Uuid, wanted: int, free: int) -> None:
        if wanted > free:
            raise errors.PrereqError("insufficient_resources", f"{wanted} MiB wanted, {free} MiB free")
        self.reserved[node] = wanted

    async def allocate(self, request: Request[A], allocator: str) -> A:
        answer = await self._allocator.allocate(self, self._promises, request, allocator)
        for promise in self._promises.promises(besides=JobId(0)):
            self.reserved[promise.node] = promise.memory
        return answer

    async def try_allocator(self, request: Request[Any], allocator: str) -> str:
        return await self._allocator.trial(self, self._promises, request, allocator)

    async def resolve(self, name: str) -> tuple[str, str]:
        if name not in self.addresses:
            raise errors.PrereqError("resolver_error", f"no address of {name}")
        return self.addresses[name]

    def report(self, message: str) -> None:
        self.log.append(message)

    def warn(self, message: str, *, hint: str = "") -> None:
        self.warnings.append(message)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def held(self, level: Level) -> Collection[str]:
        return self.locked.get(level, (ALL,))

    def release_locks(self, *levels: Level, keep: Collection[str] = ()) -> None:
        self.locked |= dict.fromkeys(levels, tuple(keep))

    def send_files_again(self) -> None:
        self.sends_all_files = True

    def downgrade(self, *levels: Level) -> None:
        raise AssertionError("no unit does that")

    async def journal(self, *recoveries: Any) -> None:
        raise AssertionError("units journal by steps")

    async def pause(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def commit(
        self,
        *changes: Change,
        title: str = "",
        result: Any = msgspec.UNSET,
        recoveries: Sequence[Any] = (),
        debts: Sequence[Any] = (),
    ) -> None:
        self.config = self.config.apply(changes)
        self.commits.append(changes)

    async def run(self, steps: Sequence[Step], *, result: Any = None) -> None:
        for step in steps:
            if isinstance(step, Commit):
                await self.commit(*step.changes)
            elif isinstance(step, Effect):
                try:
                    reply = await self.rpc.one(step.node, step.call)
                except errors.RpcError as err:
                    if step.on_failure is OnFailure.UNDO:
                        raise
                    reply = str(err)
                if step.hint is not None and reply:
                    self.warn(str(reply), hint=step.hint)
            elif isinstance(step, Parallel):
                for effect in step.effects:
                    await self.rpc.one(effect.node, effect.call)

    async def submit(self, jobs: Sequence[Sequence[OpCode]]) -> list[tuple[bool, JobId | str]]:
        self.submitted += jobs
        return [(True, JobId(100 + number)) for number in range(len(jobs))]


def unit_of(op: OpCode) -> LogicalUnit[Any, Any]:
    return UNITS[type(op)](op)


def check(op: OpCode, env: PlanEnv) -> Any:
    return asyncio.run(unit_of(op).check(env))


def refused(op: OpCode, env: PlanEnv) -> errors.PrereqError:
    """The error of a check that must fail."""
    try:
        check(op, env)
    except errors.PrereqError as err:
        return err
    raise AssertionError(f"{op.op_id} was not refused")


def plan(op: OpCode, env: PlanEnv) -> list[Step]:
    unit = unit_of(op)
    return list(unit.plan(asyncio.run(unit.check(env)), env))


def execute(op: OpCode, env: PlanEnv) -> Any:
    async def whole() -> Any:
        unit = unit_of(op)
        return await unit.execute(await unit.check(env), env)

    return asyncio.run(whole())


def tag(step: Effect | Ask | Wait) -> str:
    # not `call.call_name`: some calls have an argument of that name
    return str(step.call.__struct_config__.tag)


def shape(steps: Iterable[Step]) -> list[str]:
    """One word per step: the calls' names, commits with what they change."""
    words = []
    for step in steps:
        if isinstance(step, Commit):
            kinds = "+".join("put" if isinstance(change, Put) else "delete" for change in step.changes)
            words.append(f"commit {kinds}" + (" final" if step.is_final else "") + (" resolve" * len(step.recoveries)))
        elif isinstance(step, Record):
            words.append(f"record {step.resolve.procedure}")
        elif isinstance(step, Release):
            words.append("release " + " ".join(level.name.lower() for level in step.levels))
        elif isinstance(step, Parallel):
            words.append("parallel " + " ".join(tag(effect) for effect in step.effects))
        elif isinstance(step, Wait):
            words.append("wait " + tag(step))
        else:
            words.append(tag(step))
    return words


def effects(steps: Iterable[Step]) -> list[Effect]:
    found: list[Effect] = []
    for step in steps:
        if isinstance(step, Effect):
            found.append(step)
        elif isinstance(step, Parallel):
            found += step.effects
    return found
