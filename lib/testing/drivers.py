"""Drivers that fail when they are told to, around any other driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ganeti.calls.adoption import Candidate, LogicalId
from ganeti.calls.devices import Running
from ganeti.calls.instance import Console, Guest, GuestSpec
from ganeti.calls.migration import Departure, Endpoint, Half, Obstacles, Tuning
from ganeti.calls.mirror import MirrorStatus
from ganeti.calls.node import HypervisorInfo, StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.hypervisor.base import Copying, DiskCopy, Hypervisor, Migration, Watch
from ganeti.model.generations import Generation
from ganeti.model.objects import Disk, Params
from ganeti.model.types import MiB, Uuid
from ganeti.storage.base import Adoption, Mirror, Storage
from ganeti.storage.base import Watch as StorageWatch

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
        self._copying = FailingCopying(inner.copying) if inner.copying is not None else None

    @property
    def migration(self) -> FailingMigration | None:
        return self._migration

    @property
    def copying(self) -> FailingCopying | None:
        return self._copying

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        self._do("start", lambda: self.inner.start(spec, disk_paths, paused=paused))

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        self._do("stop", lambda: self.inner.stop(name, uuid, force=force))

    def reboot(self, spec: GuestSpec, *, hard: bool, timeout_s: float = 120) -> None:
        self._do("reboot", lambda: self.inner.reboot(spec, hard=hard, timeout_s=timeout_s))

    def clean_up(self, name: str, uuid: str) -> None:
        self._do("clean_up", lambda: self.inner.clean_up(name, uuid))

    def list(self) -> tuple[Guest, ...]:
        return self._do("list", self.inner.list)

    def info(self, name: str, uuid: str) -> Guest | None:
        return self._do("info", lambda: self.inner.info(name, uuid))

    def running(self, name: str, uuid: str) -> Running | None:
        return self._do("running", lambda: self.inner.running(name, uuid))

    def set_devices(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> None:
        self._do("set_devices", lambda: self.inner.set_devices(spec, disk_paths))

    def set_memory(self, name: str, uuid: str, memory: MiB) -> None:
        self._do("set_memory", lambda: self.inner.set_memory(name, uuid, memory))

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


class FailingCopying(_Failing):
    def __init__(self, inner: Copying) -> None:
        super().__init__(Copying)
        self.inner = inner

    def copy(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool, watch: Watch) -> None:
        self._do("copy", lambda: self.inner.copy(name, uuid, copies, resume=resume, watch=watch))

    def drop(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool) -> None:
        self._do("drop", lambda: self.inner.drop(name, uuid, copies, resume=resume))


class FailingStorage(_Failing):
    def __init__(self, inner: Storage) -> None:
        super().__init__(Storage)
        self.inner = inner
        self._mirror = FailingMirror(inner.mirror, self._do) if inner.mirror is not None else None
        self._adoption = FailingAdoption(inner.adoption, self._do) if inner.adoption is not None else None

    @property
    def mirror(self) -> FailingMirror | None:
        return self._mirror

    @property
    def adoption(self) -> FailingAdoption | None:
        return self._adoption

    def fail_next(self, method: str, error: Exception, *, after: bool = False) -> None:
        if hasattr(Mirror, method) or hasattr(Adoption, method):
            self._planned.setdefault(method, []).append((error, after))
        else:
            super().fail_next(method, error, after=after)

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        return self._do("create", lambda: self.inner.create(disk, owner, together=together, origin=origin, mate=mate))

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

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        self._do("give", lambda: self.inner.give(disk, owner, to=to, origin=origin))

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        return self._do("grow", lambda: self.inner.grow(disk, owner, size=size))

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: StorageWatch) -> VolumeReply:
        return self._do("snapshot", lambda: self.inner.snapshot(disk, snapshot, owner, watch))

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: StorageWatch) -> None:
        self._do("wipe", lambda: self.inner.wipe(disk, owner, offset=offset, watch=watch))

    def space(self, *, vg: str = "") -> StorageInfo:
        return self._do("space", lambda: self.inner.space(vg=vg))

    def verify(self, *, vg: str = "") -> str:
        return self._do("verify", lambda: self.inner.verify(vg=vg))

    def origins(self) -> dict[str, str]:
        return self._do("origins", self.inner.origins)

    def volumes(self) -> tuple[str, ...]:
        return self._do("volumes", self.inner.volumes)

    def strays(self, *, vg: str = "") -> tuple[str, ...]:
        return self._do("strays", lambda: self.inner.strays(vg=vg))


class FailingMirror:
    """The mirror half of a `FailingStorage`, whose plans it shares."""

    def __init__(self, inner: Mirror, do: Callable[[str, Callable[[], Any]], Any]) -> None:
        self.inner = inner
        self._do = do  # Any: each method has its own result

    def assemble(self, disk: Disk, owner: Uuid) -> None:
        self._do("assemble", lambda: self.inner.assemble(disk, owner))

    def promote(self, disk: Disk, owner: Uuid, *, force: bool) -> None:
        self._do("promote", lambda: self.inner.promote(disk, owner, force=force))

    def demote(self, disk: Disk, owner: Uuid) -> None:
        self._do("demote", lambda: self.inner.demote(disk, owner))

    def two_primaries(self, disk: Disk, owner: Uuid, *, allowed: bool) -> None:
        self._do("two_primaries", lambda: self.inner.two_primaries(disk, owner, allowed=allowed))

    def disconnect(self, disk: Disk, owner: Uuid) -> None:
        self._do("disconnect", lambda: self.inner.disconnect(disk, owner))

    def detach(self, disk: Disk, owner: Uuid) -> None:
        self._do("detach", lambda: self.inner.detach(disk, owner))

    def attach(self, disk: Disk, owner: Uuid) -> None:
        self._do("attach", lambda: self.inner.attach(disk, owner))

    def check_room(self, disk: Disk, owner: Uuid, *, size: MiB) -> None:
        self._do("check_room", lambda: self.inner.check_room(disk, owner, size=size))

    def resize(self, disk: Disk, owner: Uuid, *, size: MiB) -> None:
        self._do("resize", lambda: self.inner.resize(disk, owner, size=size))

    def pause(self, disk: Disk, owner: Uuid, *, paused: bool) -> None:
        self._do("pause", lambda: self.inner.pause(disk, owner, paused=paused))

    def status(self, disk: Disk, owner: Uuid) -> MirrorStatus:
        found: MirrorStatus = self._do("status", lambda: self.inner.status(disk, owner))
        return found

    def generation(self, disk: Disk, owner: Uuid) -> Generation:
        found: Generation = self._do("generation", lambda: self.inner.generation(disk, owner))
        return found

    def minors(self) -> tuple[int, ...]:
        found: tuple[int, ...] = self._do("minors", self.inner.minors)
        return found

    def end(self, minor: int) -> str:
        found: str = self._do("end", lambda: self.inner.end(minor))
        return found


class FailingAdoption:
    """The part of a `FailingStorage` that takes over what was there, whose plans it shares."""

    def __init__(self, inner: Adoption, do: Callable[[str, Callable[[], Any]], Any]) -> None:
        self.inner = inner
        self._do = do  # Any: each method has its own result

    def look(self, logical_ids: Sequence[LogicalId], known: Sequence[LogicalId]) -> tuple[Candidate, ...]:
        found: tuple[Candidate, ...] = self._do("look", lambda: self.inner.look(logical_ids, known))
        return found

    def adopt(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        self._do("adopt", lambda: self.inner.adopt(disk, owner, found=found, origin=origin))

    def give_back(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        self._do("give_back", lambda: self.inner.give_back(disk, owner, found=found, origin=origin))
