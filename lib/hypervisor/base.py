"""What every hypervisor driver can do. Drivers are blocking and keep no state but what their tools keep."""

from __future__ import annotations

from typing import Protocol

from ganeti.calls.instance import Console, Guest, GuestSpec
from ganeti.calls.node import HypervisorInfo
from ganeti.model.objects import Params


class Hypervisor(Protocol):
    """One hypervisor of one node. Disk paths handed in and out are logical."""

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        """Running already: nothing to do. Raises HypervisorError; then nothing is left running."""
        ...

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        """Ask it to shut down and return at once, or end it now (`force`). Not there: fine."""
        ...

    def reboot(self, spec: GuestSpec, *, hard: bool) -> None: ...

    def clean_up(self, name: str, uuid: str) -> None:
        """Remove what a guest that has ended left behind (sockets, run-time file). Running: refused."""
        ...

    def list(self) -> tuple[Guest, ...]: ...

    def info(self, name: str, uuid: str) -> Guest | None: ...

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
