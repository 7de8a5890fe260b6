"""Migration of fake guests. The wire is the target's state file: both nodes have to be on one machine."""

from __future__ import annotations

import msgspec

from ganeti import errors
from ganeti.calls.migration import Departure, Endpoint, Half, Obstacles, Side, Tuning
from ganeti.host.clock import Clock
from ganeti.hypervisor.base import Watch
from ganeti.hypervisor.fake import guests
from ganeti.hypervisor.fake.guests import FakeGuest, Guests


def is_half(guest: FakeGuest) -> bool:
    return bool(guest.incoming) or guest.has_departed


class FakeMigration:
    """Implements `hypervisor.base.Migration`; a guest is sent at once."""

    def __init__(self, mine: Guests, clock: Clock) -> None:
        self._guests = mine
        self._clock = clock

    def departure(self, name: str, uuid: str) -> Departure | None:
        found = self._guests.get(name, uuid)
        if found is None or is_half(found):
            return None
        if found.spec is None:
            raise errors.HypervisorError(f"instance {name} was started by an older version", hint="restart it")
        return Departure(spec=found.spec, memory=found.memory, is_running=not found.paused)

    def check(self, departure: Departure, tuning: Tuning) -> Obstacles:
        name = departure.spec.instance.name
        if self._guests.read(name) is not None:
            return Obstacles(problems=(f"this node has already something of a guest named {name}",))
        return Obstacles()

    def prepare(
        self, migration: str, departure: Departure, disk_paths: tuple[str, ...], *, address: str, tuning: Tuning
    ) -> Endpoint:
        instance = departure.spec.instance
        there = self._guests.read(instance.name)
        if there is not None and there.incoming != migration:
            raise errors.HypervisorError(f"this node has already something of a guest named {instance.name}")
        self._guests.put(
            FakeGuest(
                name=instance.name,
                uuid=instance.uuid,
                memory=departure.memory,
                vcpus=int(departure.spec.beparams["vcpus"]),
                started=self._clock.time(),
                paused=True,
                disk_paths=disk_paths,
                spec=departure.spec,
                incoming=migration,
            )
        )
        return Endpoint(address=self._guests.file(instance.name), port=0)

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        found = self._guests.get(name, uuid)
        if found is None or found.incoming:
            raise errors.HypervisorError(f"instance {name} does not run here")
        if found.has_departed:
            if found.outgoing != migration:
                raise errors.HypervisorError(f"instance {name} is already part of migration {found.outgoing}")
            return
        if watch.stop.is_set():
            raise errors.HypervisorError(f"instance {name} did not migrate: it was stopped on request")
        target = guests.read(endpoint.address)
        if target is None or target.incoming != migration:
            raise errors.HypervisorError(f"instance {name} did not migrate: nobody waits at {endpoint.address}")
        self._guests.put(msgspec.structs.replace(found, paused=True, outgoing=migration, has_departed=True))
        guests.write(endpoint.address, msgspec.structs.replace(target, has_arrived=True, started=found.started))
        watch.progress.update(percent=100.0, text="100 % sent")

    def finish(self, migration: str, name: str, uuid: str) -> None:
        found = self._guests.get(name, uuid)
        if found is None or found.incoming not in ("", migration):
            raise errors.HypervisorError(f"instance {name} has not come here")
        if not found.incoming:
            return
        if not found.has_arrived:
            raise errors.HypervisorError(f"instance {name} has not arrived completely")
        self._guests.put(msgspec.structs.replace(found, paused=False, incoming="", has_arrived=False))

    def depart(self, migration: str, name: str, uuid: str) -> None:
        found = self._guests.get(name, uuid)
        if found is not None and found.outgoing == migration and found.has_departed:
            self._guests.remove(name)

    def abort(self, migration: str, name: str, uuid: str, *, resume: bool) -> Half:
        found = self._guests.get(name, uuid)
        if found is not None and found.incoming == migration:
            self._guests.remove(name)
        elif found is not None and found.outgoing == migration and (resume or not found.has_departed):
            self._guests.put(msgspec.structs.replace(found, paused=False, outgoing="", has_departed=False))
        return self.half(name, uuid)

    def half(self, name: str, uuid: str) -> Half:
        found = self._guests.get(name, uuid)
        if found is None:
            return Half(side=Side.NONE)
        migration = found.incoming or found.outgoing
        if found.incoming:
            return Half(side=Side.ARRIVED if found.has_arrived else Side.INCOMING, migration=migration)
        if found.has_departed:
            return Half(side=Side.DEPARTED, migration=migration)
        return Half(side=Side.PAUSED if found.paused else Side.RUNNING, migration=migration)
