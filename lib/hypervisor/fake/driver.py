"""The fake hypervisor: a guest is a small file in the run directory. It obeys at once."""

from __future__ import annotations

import os

import msgspec

from ganeti import errors, paths
from ganeti.calls.devices import Running
from ganeti.calls.instance import Console, Guest, GuestSpec, GuestState
from ganeti.calls.node import HypervisorInfo
from ganeti.host.clock import Clock
from ganeti.hypervisor import devices, linux
from ganeti.hypervisor.fake.copying import FakeCopying
from ganeti.hypervisor.fake.guests import FakeGuest, Guests
from ganeti.hypervisor.fake.migration import FakeMigration, is_half
from ganeti.model.objects import Params
from ganeti.model.types import MiB
from ganeti.paths import Paths

NAME = "fake"


class FakeHypervisor:
    def __init__(self, node_paths: Paths, clock: Clock) -> None:
        self._directory = node_paths.local(paths.FAKE_DIR)
        self._clock = clock
        self._guests = Guests(self._directory)
        self._migration = FakeMigration(self._guests, clock)
        self._copying = FakeCopying(self._guests)

    @property
    def copying(self) -> FakeCopying:
        return self._copying

    @property
    def migration(self) -> FakeMigration:
        return self._migration

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        there = self._guests.read(spec.instance.name)
        if there is not None:
            if there.uuid != spec.instance.uuid:
                raise errors.HypervisorError(
                    f"a guest named {there.name} runs already, but it is instance {there.uuid}", hint="stop it first"
                )
            if is_half(there):
                raise errors.HypervisorError(
                    f"a migration of instance {there.name} is half-way on this node",
                    hint=f"run gnt-instance migrate --cleanup {there.name}",
                )
            return
        self._guests.put(
            FakeGuest(
                name=spec.instance.name,
                uuid=spec.instance.uuid,
                memory=int(spec.beparams["maxmem"]),
                vcpus=int(spec.beparams["vcpus"]),
                started=self._clock.time(),
                paused=paused,
                disk_paths=disk_paths,
                spec=spec,
            )
        )

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        if self._guests.get(name, uuid) is not None:
            self._guests.remove(name)

    def reboot(self, spec: GuestSpec, *, hard: bool, timeout_s: float = 120) -> None:
        found = self._guests.get(spec.instance.name, spec.instance.uuid)
        if found is None or is_half(found):
            raise errors.HypervisorError(f"cannot reboot instance {spec.instance.name} that is not running")
        self._guests.put(msgspec.structs.replace(found, started=self._clock.time(), paused=False))

    def clean_up(self, name: str, uuid: str) -> None:
        if self._guests.get(name, uuid) is not None:
            raise errors.HypervisorError(f"instance {name} is running, so its files stay", hint="stop it first")

    def list(self) -> tuple[Guest, ...]:
        return tuple(_report(guest) for guest in self._guests.all())

    def info(self, name: str, uuid: str) -> Guest | None:
        found = self._guests.get(name, uuid)
        return None if found is None else _report(found)

    def running(self, name: str, uuid: str) -> Running | None:
        found = self._guests.get(name, uuid)
        return None if found is None or found.spec is None or is_half(found) else Running(spec=found.spec)

    def set_devices(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> None:
        found = self._guests.get(spec.instance.name, spec.instance.uuid)
        if found is None or found.spec is None:
            return
        if is_half(found):
            raise errors.HypervisorError(f"a migration of instance {found.name} is half-way on this node")
        changed = devices.with_devices(found.spec, spec)
        self._guests.put(msgspec.structs.replace(found, spec=changed, disk_paths=disk_paths))

    def set_memory(self, name: str, uuid: str, memory: MiB) -> None:
        found = self._guests.get(name, uuid)
        if found is None or is_half(found):
            raise errors.HypervisorError(f"instance {name} does not run here")
        self._guests.put(msgspec.structs.replace(found, memory=memory))

    def console(self, spec: GuestSpec) -> Console:
        return Console(kind="msg", message="Console not available for fake hypervisor")

    def console_log(self, name: str, uuid: str, *, max_bytes: int) -> str:
        return ""

    def node_info(self) -> HypervisorInfo:
        return linux.node_info(reserved=sum(guest.memory for guest in self._guests.all()))

    def validate(self, hvparams: Params) -> str:
        return ""

    def verify(self) -> str:
        if not os.access(self._directory, os.W_OK | os.X_OK):
            return f"directory {self._directory} cannot be written"
        return ""

    def leftovers(self) -> tuple[str, ...]:
        return tuple(f"half of a migration of {guest.name}" for guest in self._guests.all() if is_half(guest))


def _report(guest: FakeGuest) -> Guest:
    return Guest(
        name=guest.name,
        uuid=guest.uuid,
        hypervisor=NAME,
        state=_state(guest),
        memory=guest.memory,
        vcpus=guest.vcpus,
    )


def _state(guest: FakeGuest) -> GuestState:
    if is_half(guest):
        return GuestState.MIGRATING
    return GuestState.PAUSED if guest.paused else GuestState.RUNNING
