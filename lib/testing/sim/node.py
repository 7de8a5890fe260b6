"""A simulated node: its disk, which survives, and its daemons, which do not."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ganeti import errors, paths
from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.migration import Endpoint
from ganeti.host import files
from ganeti.hypervisor.fake.driver import FakeHypervisor
from ganeti.model.objects import DiskTemplate
from ganeti.model.types import Uuid
from ganeti.node import catalogue
from ganeti.node.base import Context, NodeEnv
from ganeti.node.store import SERVICE
from ganeti.paths import Paths
from ganeti.rpc.dispatch import Dispatcher, Peer
from ganeti.rpc.identity import Identity
from ganeti.rpc.pools import Pools
from ganeti.rpc.trust import TrustFile
from ganeti.storage import registry
from ganeti.storage.drbd8.virtual import POWERED_OFF
from ganeti.store.db import Database
from ganeti.store.replica import Replica
from ganeti.testing.sim import blocking
from ganeti.testing.sim.drivers import SimHypervisor, SimRunner, SimStorage, Trouble
from ganeti.testing.sim.loop import Died, Process, VirtualClock, the_loop
from ganeti.testing.sim.network import SimPeer, name_of_call

if TYPE_CHECKING:
    from ganeti.testing.sim.master import MasterProcess
    from ganeti.testing.sim.world import World

OS_NAME = "test-os"
#: the network that instances are on
INSTANCE_NETWORK = "lan"
FULL = 1  # pages: smaller than it is already


class SimContext(Context):
    def __init__(self, term: int, peer: Peer) -> None:
        super().__init__(term, peer)
        self.stop = blocking.Event()


class SimReplica(Replica):
    """A node's copy whose disk can be full."""

    def fill(self, *, is_full: bool) -> None:
        self._max_pages = FULL if is_full else 0
        if self._database is not None:
            self._database.limit_pages(self._max_pages)

    def forget_lock(self) -> None:
        """What the kernel does when the process ends."""
        if self._database is not None:
            self._database.close()
            self._database = None


class Noded:
    """One run of a node daemon."""

    def __init__(self, world: World, node: SimNode) -> None:
        self._world, self._node = world, node
        self.process = Process(f"noded@{node.short}#{world.new_number()}")
        self._open: dict[int, Callable[[bytes | None], None]] = {}  # calls that are being answered
        self.process.context.run(self._build)
        self.process.at_end += [self._requests._table.close, self.replica.forget_lock]

    def _build(self) -> None:
        node, world = self._node, self._world
        where, clock = node.paths, VirtualClock()
        trouble = Trouble(node.short, world.chance, lambda place: world.node_dies(node, place))
        runner = SimRunner(where, world.chance)
        self._requests = world.kinds.requests(
            where.local(paths.NODE_DB), clock, spawn=blocking.spawn, new_event=blocking.Event
        )
        terms = world.kinds.terms(where)
        self.replica = world.kinds.replica(
            where.local(paths.STATE_DB), database=world.database, max_pages=FULL if node.is_full else 0
        )
        self._env = NodeEnv(
            paths=where,
            runner=runner,
            clock=clock,
            hypervisors={"fake": SimHypervisor(FakeHypervisor(where, clock), trouble, self._can_send)},
            storage={
                template: SimStorage(driver, trouble)
                for template, driver in registry.drivers(where, runner, clock).items()
            },
            services={
                "identity": node.identity,
                "terms": terms,
                "trust": TrustFile(where),
                "requests": self._requests,
                SERVICE: self.replica,
            },
        )
        self._dispatcher = Dispatcher(
            handle=self._handle,
            new_execution=self._new_execution,
            terms=terms,
            requests=self._requests,
            pools=Pools(),
        )

    def _new_execution(self, term: int, peer: Peer) -> SimContext:
        assert isinstance(peer, SimPeer)
        self._world.witness.accepts(self._node, term, peer)
        return SimContext(term, peer)

    def _handle(self, call: Call[Any], execution: SimContext) -> Any:
        handler = catalogue.HANDLERS.get(type(call))
        if handler is None:
            raise errors.NodeFailure(f"this node daemon does not serve {call.call_name}")
        if isinstance(call, ChangingCall):
            self._world.witness.runs(self._node, call)
        return handler(call, self._env, execution)

    def _can_send(self, endpoint: Endpoint) -> bool:
        """Whether the node that waits there can be reached: its state files are what the fake wire leads to."""
        here, world = self._node, self._world
        target = next(node for node in world.nodes.values() if endpoint.address.startswith(f"{node.paths.root}/"))
        return target.is_on and world.network.reaches(here.uuid, target.uuid)

    def take(self, body: bytes, peer: SimPeer, reply: Callable[[bytes | None], None]) -> None:
        """A call has arrived."""
        number = self._world.new_number()
        self._open[number] = reply

        def work() -> None:
            try:
                answer = self._dispatcher.answer(body, peer)
            except Died:
                raise
            self._open.pop(number, None)
            the_loop().call_in(None, 0.0, reply, answer)

        the_loop().call_in(self.process, 0.0, blocking.start, work)
        name = name_of_call(body)
        if not name.startswith(("store_state", "task_poll")):
            self._world.chance.trace(f"{self._node.short} gets {name} from {peer.process}")

    def break_connections(self) -> None:
        replies, self._open = list(self._open.values()), {}
        for reply in replies:
            the_loop().call_in(None, 0.0, reply, None)


class SimNode:
    """`is_on` and a daemon: it answers."""

    def __init__(self, world: World, number: int, root: str) -> None:
        self._world = world
        self.number = number
        self.short = f"node{number}"
        self.name = f"node{number}.example.com"
        self.uuid = Uuid(f"00000000-0000-4000-8000-{number:012d}")
        self.digest = f"{number:064x}"
        self.address = f"192.0.2.{10 + number}"
        self.paths = Paths(root, self.name)
        self.identity = Identity(cluster="cluster.example.com", node=self.name, uuid=self.uuid, address=self.address)
        self.is_on = False
        self.is_full = False
        self.noded: Noded | None = None
        self.master: MasterProcess | None = None
        self._install()

    def _install(self) -> None:
        for directory in paths.DIRECTORIES:
            files.make_directory(self.paths, directory)
        directory_of_os = self.paths.local(f"{self.paths.os_search_path[0]}/{OS_NAME}")
        os.makedirs(directory_of_os)
        for name, text in {"ganeti_api_version": "20\n", "create": "#!/bin/sh\n", "parameters.list": ""}.items():
            with open(f"{directory_of_os}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(f"{directory_of_os}/{name}", 0o755)
        os.makedirs(self.paths.local(paths.FILE_STORAGE_DIR.path), exist_ok=True)
        # a server of files that never fails: all nodes see the same
        shared = self.paths.local(paths.SHARED_FILE_STORAGE_DIR.path)
        os.makedirs(f"{os.path.dirname(self.paths.root)}/shared", exist_ok=True)
        os.makedirs(os.path.dirname(shared), exist_ok=True)
        os.symlink(f"{os.path.dirname(self.paths.root)}/shared", shared)

    @property
    def state_path(self) -> str:
        return self.paths.local(paths.STATE_DB)

    @property
    def hypervisor(self) -> FakeHypervisor:
        return FakeHypervisor(self.paths, VirtualClock())

    def volumes(self, template: DiskTemplate) -> list[str]:
        drivers = registry.drivers(self.paths, SimRunner(self.paths, self._world.chance))
        return list(drivers[template].volumes())

    def minors(self) -> tuple[int, ...]:
        mirror = registry.drivers(self.paths, SimRunner(self.paths, self._world.chance))[DiskTemplate.DRBD].mirror
        assert mirror is not None
        return mirror.minors()

    # Power

    def boot(self) -> None:
        if not self.is_on:
            self._world.chance.trace(f"{self.short} boots")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.paths.root + POWERED_OFF)
        self.is_on = True
        self.start_noded()

    def start_noded(self) -> None:
        if self.is_on and self.noded is None:
            self.noded = Noded(self._world, self)

    def kill_noded(self) -> None:
        if self.noded is not None:
            noded, self.noded = self.noded, None
            noded.break_connections()
            self._world.kill(noded.process)

    def kill_master(self) -> None:
        if self.master is not None:
            master, self.master = self.master, None
            self._world.kill(master.process)

    def power_off(self) -> None:
        """Guests and what was not on the disk are gone."""
        self.is_on = False
        files.write_atomic(self.paths.root + POWERED_OFF, b"")
        self._world.chance.trace(f"{self.short} loses its power")
        noded, self.noded = self.noded, None
        if noded is not None:
            self._world.kill(noded.process)
        self.kill_master()
        # after the processes' files were closed
        the_loop().call_in(None, 0.0, self._lose)

    def _lose(self) -> None:
        self._world.platters.power_fails(self.state_path)
        directory = self.paths.local(paths.FAKE_DIR)
        shutil.rmtree(directory)
        os.mkdir(directory, 0o700)
        shutil.rmtree(self.paths.local(paths.FAKE_DRBD_DIR), ignore_errors=True)

    def fill(self, *, is_full: bool) -> None:
        self.is_full = is_full
        if self.noded is not None:
            self.noded.replica.fill(is_full=is_full)
        if self.master is not None and isinstance(self.master.database, Database):
            self.master.database.limit_pages(FULL if is_full else 0)
