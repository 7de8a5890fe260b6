"""Drivers that fail when they are told to, around any other driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ganeti.calls.instance import Console, Guest, GuestSpec
from ganeti.calls.migration import Departure, Endpoint, Half, Obstacles, Tuning
from ganeti.calls.node import HypervisorInfo, StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.hypervisor.base import Hypervisor, Migration, Watch
from ganeti.model.objects import Disk, Params
from ganeti.model.types import Uuid
from ganeti.storage.base import Storage

T = TypeVar("T")


class _Failing:
    """What is planned to fail, by method; first planned, first failed."""

    def __init__(self, protocol: type) -> None:
        self._protocol = protocol
        self._planned: dict[str, list[tuple[Exception, bool]]] = {}
        self.calls: list[str] = []  # every method that was called, in order

    def fail_next(self, method: str, error: Exception, *, after: bool = False) -> None:
        """The next call of `method` raises `error`; `after`: its effect has happened when it does."""
        if not hasattr(self._protocol, method):
            raise AttributeError(f"{self._protocol.__name__} has no method {method}")
        self._planned.setdefault(method, []).append((error, after))

    def assert_failed(self) -> None:
        """Every planned failure has happened."""
        left = [method for method, planned in self._planned.items() if planned]
        if left:
            raise AssertionError("was never called, so it did not fail: " + ", ".join(left))

    def _do(self, method: str, effect: Callable[[], T]) -> T:
        self.calls.append(method)
        planned = self._planned.get(method)
        if not planned:
            return effect()
        error, after = planned.pop(0)
        if after:
            effect()
        raise error


class FailingHypervisor(_Failing):
    def __init__(self, inner: Hypervisor) -> None:
        super().__init__(Hypervisor)
        self.inner = inner
        self._migration = FailingMigration(inner.migration) if inner.migration is not None else None

    @property
    def migration(self) -> FailingMigration | None:
        return self._migration

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        self._do("start", lambda: self.inner.start(spec, disk_paths, paused=paused))

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        self._do("stop", lambda: self.inner.stop(name, uuid, force=force))

    def reboot(self, spec: GuestSpec, *, hard: bool) -> None:
        self._do("reboot", lambda: self.inner.reboot(spec, hard=hard))

    def clean_up(self, name: str, uuid: str) -> None:
        self._do("clean_up", lambda: self.inner.clean_up(name, uuid))

    def list(self) -> tuple[Guest, ...]:
        return self._do("list", self.inner.list)

    def info(self, name: str, uuid: str) -> Guest | None:
        return self._do("info", lambda: self.inner.info(name, uuid))

    def console(self, spec: GuestSpec) -> Console:
        return self._do("console", lambda: self.inner.console(spec))

    def console_log(self, name: str, uuid: str, *, max_bytes: int) -> str:
        return self._do("console_log", lambda: self.inner.console_log(name, uuid, max_bytes=max_bytes))

    def node_info(self) -> HypervisorInfo:
        return self._do("node_info", self.inner.node_info)

    def validate(self, hvparams: Params) -> str:
        return self._do("validate", lambda: self.inner.validate(hvparams))

    def verify(self) -> str:
        return self._do("verify", self.inner.verify)

    def leftovers(self) -> tuple[str, ...]:
        return self._do("leftovers", self.inner.leftovers)


class FailingMigration(_Failing):
    def __init__(self, inner: Migration) -> None:
        super().__init__(Migration)
        self.inner = inner

    def departure(self, name: str, uuid: str) -> Departure | None:
        return self._do("departure", lambda: self.inner.departure(name, uuid))

    def check(self, departure: Departure, tuning: Tuning) -> Obstacles:
        return self._do("check", lambda: self.inner.check(departure, tuning))

    def prepare(
        self, migration: str, departure: Departure, disk_paths: tuple[str, ...], *, address: str, tuning: Tuning
    ) -> Endpoint:
        return self._do(
            "prepare", lambda: self.inner.prepare(migration, departure, disk_paths, address=address, tuning=tuning)
        )

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        self._do("send", lambda: self.inner.send(migration, name, uuid, endpoint=endpoint, tuning=tuning, watch=watch))

    def finish(self, migration: str, name: str, uuid: str) -> None:
        self._do("finish", lambda: self.inner.finish(migration, name, uuid))

    def depart(self, migration: str, name: str, uuid: str) -> None:
        self._do("depart", lambda: self.inner.depart(migration, name, uuid))

    def abort(self, migration: str, name: str, uuid: str, *, resume: bool) -> Half:
        return self._do("abort", lambda: self.inner.abort(migration, name, uuid, resume=resume))

    def half(self, name: str, uuid: str) -> Half:
        return self._do("half", lambda: self.inner.half(name, uuid))


class FailingStorage(_Failing):
    def __init__(self, inner: Storage) -> None:
        super().__init__(Storage)
        self.inner = inner

    def create(self, disk: Disk, owner: Uuid) -> VolumeReply:
        return self._do("create", lambda: self.inner.create(disk, owner))

    def remove(self, disk: Disk, owner: Uuid) -> None:
        self._do("remove", lambda: self.inner.remove(disk, owner))

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply:
        return self._do("info", lambda: self.inner.info(disk, owner))

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        return self._do("open", lambda: self.inner.open(disk, owner))

    def close(self, disk: Disk, owner: Uuid) -> None:
        self._do("close", lambda: self.inner.close(disk, owner))

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        return self._do("rename", lambda: self.inner.rename(disk, new, owner))

    def space(self) -> StorageInfo:
        return self._do("space", self.inner.space)

    def verify(self) -> str:
        return self._do("verify", self.inner.verify)

    def volumes(self) -> tuple[str, ...]:
        return self._do("volumes", self.inner.volumes)
