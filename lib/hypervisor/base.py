"""What every hypervisor driver can do. Drivers are blocking and keep no state but what their tools keep."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import msgspec

from ganeti.calls.devices import Running
from ganeti.calls.instance import Console, Guest, GuestSpec
from ganeti.calls.migration import Departure, Endpoint, Half, Obstacles, Tuning
from ganeti.calls.node import HypervisorInfo
from ganeti.model.objects import Params
from ganeti.model.types import MiB, Uuid


class Watch(Protocol):
    """How a long step is watched: it looks whether it shall stop, and tells how far it is. Plain attributes."""

    stop: threading.Event
    progress: dict[str, float | str]  # `text` is for people


class Migration(Protocol):
    """How guests of one hypervisor move to another node while they run; `calls.migration` has the steps.

    Everything may be repeated. Raises HypervisorError.
    """

    def departure(self, name: str, uuid: str) -> Departure | None:
        """None: it does not run here."""
        ...

    def check(self, departure: Departure, tuning: Tuning) -> Obstacles: ...

    def prepare(
        self, migration: str, departure: Departure, disk_paths: tuple[str, ...], *, address: str, tuning: Tuning
    ) -> Endpoint:
        """On failure nothing is left here."""
        ...

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        """Returns when the guest has departed. Asked to stop, or on failure: raises, and the guest runs on here.

        Asked too late: returns.
        """
        ...

    def finish(self, migration: str, name: str, uuid: str) -> None: ...

    def depart(self, migration: str, name: str, uuid: str) -> None:
        """End what the guest has left. A guest that has not departed by this migration is left alone."""
        ...

    def abort(self, migration: str, name: str, uuid: str, *, resume: bool) -> Half:
        """What is left. Refused at a target where the guest runs already."""
        ...

    def half(self, name: str, uuid: str) -> Half: ...


class DiskCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that is copied while its guest runs. Paths are local."""

    disk: Uuid
    source: str
    target: str  # as large as the source, full of zeros
    is_device: bool = False  # the target


class Copying(Protocol):
    """How the content that a guest's disks have at one moment is copied while it runs. Raises HypervisorError."""

    def copy(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool, watch: Watch) -> None:
        """Returns when all is copied. With `resume` a guest that waits goes on as soon as the moment is held.

        On failure, and when it is stopped, nothing copies any more.
        """
        ...

    def drop(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool) -> None:
        """Nothing writes to the targets any more when it returns. The guest is not there: fine."""
        ...


class Hypervisor(Protocol):
    """One hypervisor of one node. Disk paths handed in and out are logical."""

    @property
    def copying(self) -> Copying | None:
        """None: disks of running guests cannot be copied."""
        ...

    @property
    def migration(self) -> Migration | None:
        """None: its guests cannot migrate."""
        ...

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        """Running already: nothing to do. Raises HypervisorError; then nothing is left running."""
        ...

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        """Ask it to shut down and return at once, or end it now (`force`). Not there: fine."""
        ...

    def reboot(self, spec: GuestSpec, *, hard: bool, timeout_s: float = 120) -> None:
        """It runs anew when it returns. `timeout_s`: how long it may take to shut down, unless `hard`."""
        ...

    def clean_up(self, name: str, uuid: str) -> None:
        """Remove what a guest that has ended left behind (sockets, run-time file). Running: refused."""
        ...

    def list(self) -> tuple[Guest, ...]: ...

    def info(self, name: str, uuid: str) -> Guest | None: ...

    def running(self, name: str, uuid: str) -> Running | None:
        """What it runs as. None: not running, or not known."""
        ...

    def set_devices(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> None:
        """Its disks and NICs become those of `spec`; the rest of `spec` waits for the next start. Not there: fine.

        On failure some devices may have been changed: `running` tells which it has.
        """
        ...

    def set_memory(self, name: str, uuid: str, memory: MiB) -> None:
        """Raises HypervisorError when it does not run, or keeps the memory that it has."""
        ...

    def console(self, spec: GuestSpec) -> Console: ...

    def console_log(self, name: str, uuid: str, *, max_bytes: int) -> str: ...

    def node_info(self) -> HypervisorInfo: ...

    def validate(self, hvparams: Params) -> str:
        """What is wrong with complete parameters on this node (files exist and so on), or empty."""
        ...

    def verify(self) -> str:
        """What is wrong with the hypervisor itself on this node, or empty."""
        ...

    def leftovers(self) -> tuple[str, ...]:
        """Our processes and run-time files that belong to no running guest."""
        ...
