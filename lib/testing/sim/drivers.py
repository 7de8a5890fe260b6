"""The fake drivers of a simulated node: slow, failing, and a place for the node to die at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TypeVar

from ganeti import errors
from ganeti.calls.migration import Endpoint, Tuning
from ganeti.calls.node import HypervisorInfo, StorageInfo
from ganeti.host import script
from ganeti.host.run import Finished, HostRunner
from ganeti.hypervisor.base import Hypervisor, Migration, Watch
from ganeti.paths import Paths
from ganeti.storage.base import Storage
from ganeti.testing.drivers import FailingHypervisor, FailingMigration, FailingStorage
from ganeti.testing.sim import blocking
from ganeti.testing.sim.chance import Chance

T = TypeVar("T")

MEMORY_MIB = 64 * 1024
SPACE_MIB = 1 << 20
#: methods that change something
CHANGING = frozenset(
    {
        "start", "stop", "reboot", "clean_up", "set_devices", "set_memory",
        "create", "remove", "open", "close", "rename", "adopt", "give_back",
        "prepare", "send", "finish", "depart", "abort",
        "assemble", "promote", "demote", "two_primaries", "disconnect", "detach", "attach",
    }
)  # fmt: skip


class Trouble:
    """What can happen around one effect of a driver on one node."""

    def __init__(self, node: str, chance: Chance, die: Callable[[str], None]) -> None:
        """`die` ends the node and does not return."""
        self._node, self._chance = node, chance
        self._die = die

    def around(self, method: str, effect: Callable[[], T], error: Callable[[str], errors.GanetiError]) -> T:
        if method not in CHANGING:
            return effect()
        chance = self._chance
        if method == "send":
            blocking.sleep(chance.between(0.5, 25.0))  # guests are large, and much can happen meanwhile
        elif chance.strikes("driver is slow"):
            blocking.sleep(chance.between(0.1, 20.0))
        else:
            blocking.sleep(chance.between(0.0005, 0.02))
        if chance.strikes("driver fails before"):
            chance.trace(f"{self._node}: {method} fails")
            raise error(f"{method}: input/output error before it was done")
        if chance.strikes("node dies at an effect"):
            self._die(f"before {method}")
        result = effect()
        chance.trace(f"{self._node}: {method}")
        if chance.strikes("node dies at an effect"):
            self._die(f"after {method}")
        if chance.strikes("driver fails after"):
            chance.trace(f"{self._node}: {method} fails after it was done")
            raise error(f"{method}: input/output error after it was done")
        return result


class SimMigration(FailingMigration):
    def __init__(self, inner: Migration, trouble: Trouble, can_send: Callable[[Endpoint], bool]) -> None:
        super().__init__(inner)
        self._trouble, self._can_send = trouble, can_send

    def _do(self, method: str, effect: Callable[[], T]) -> T:
        return self._trouble.around(
            method, lambda: super(SimMigration, self)._do(method, effect), errors.HypervisorError
        )

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        if not self._can_send(endpoint):
            raise errors.HypervisorError(f"instance {name} did not migrate: the target is not reached")
        super().send(migration, name, uuid, endpoint=endpoint, tuning=tuning, watch=watch)


class SimHypervisor(FailingHypervisor):
    def __init__(self, inner: Hypervisor, trouble: Trouble, can_send: Callable[[Endpoint], bool]) -> None:
        """`can_send`: whether guests can be sent there."""
        super().__init__(inner)
        self._trouble = trouble
        if inner.migration is not None:
            self._migration = SimMigration(inner.migration, trouble, can_send)

    def _do(self, method: str, effect: Callable[[], T]) -> T:
        return self._trouble.around(
            method, lambda: super(SimHypervisor, self)._do(method, effect), errors.HypervisorError
        )

    def node_info(self) -> HypervisorInfo:
        used = sum(guest.memory for guest in self.inner.list())
        return HypervisorInfo(memory_total=MEMORY_MIB, memory_free=MEMORY_MIB - used, cpu_total=16)


class SimStorage(FailingStorage):
    def __init__(self, inner: Storage, trouble: Trouble) -> None:
        super().__init__(inner)
        self._trouble = trouble

    def _do(self, method: str, effect: Callable[[], T]) -> T:
        return self._trouble.around(method, lambda: super(SimStorage, self)._do(method, effect), errors.StorageError)

    def space(self, *, vg: str = "") -> StorageInfo:
        return StorageInfo(total=SPACE_MIB, free=SPACE_MIB)


class SimRunner(HostRunner):
    """Scripts take their time and do nothing."""

    def __init__(self, where: Paths, chance: Chance) -> None:
        super().__init__(where)
        self._chance = chance

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 60,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        cwd: str = "/",
        ok: Sequence[int] = (0,),
    ) -> Finished:
        raise AssertionError(f"a simulated node runs no commands: {argv}")

    def run_logged(
        self,
        argv: Sequence[str],
        *,
        output: IO[bytes],
        timeout_s: float,
        environment: Mapping[str, str],
        cwd: str,
        stop: threading.Event,
        max_output: int = 64 * 1024 * 1024,
        begun: Callable[[int], None] | None = None,
        complaints: IO[bytes] | None = None,
        feed: Callable[[script.Input], None] | None = None,
        take: Callable[[script.Output], None] | None = None,
        keep: Sequence[int] = (),
        may_linger: bool = True,
    ) -> int:
        if stop.wait(self._chance.between(0.05, 6.0)):
            raise errors.CommandFailed(tuple(argv), None, "", why="stopped on request")
        return 1 if self._chance.strikes("script fails") else 0
