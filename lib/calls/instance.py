"""Calls about guests."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.model.objects import Disk, Instance, Network, Params
from ganeti.model.types import Uuid


class GuestState(enum.Enum):
    RUNNING = "running"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"  # the process is there, the guest has ended
    MIGRATING = "migrating"  # half of a migration: the guest comes here and does not run yet, or has gone elsewhere


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as the hypervisor reports it."""

    name: str
    uuid: str
    hypervisor: str
    state: GuestState
    memory: int  # MiB
    vcpus: int
    cpu_seconds: float = 0.0
    accelerator: str = ""  # kvm: `kvm` or `tcg`
    has_switched_off: bool = False  # SHUTDOWN: by itself, in good order; not a crash, nor ended from outside


class GuestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An instance with everything filled in, as a driver or an OS script needs it."""

    instance: Instance
    hvparams: Params  # complete
    beparams: Params
    nicparams: tuple[Params, ...] = ()  # complete, by NIC
    networks: tuple[Network, ...] = ()  # that its NICs are on
    osparams: Params = {}
    primary_name: str = ""
    secondary_names: tuple[str, ...] = ()


@call(reply=None, time=Time.SLOW, reserve=Reserve.HYPERVISOR)
class InstanceStart(ChangingCall[None], frozen=True, tag="instance_start"):
    """Start a guest; already running: nothing to do."""

    spec: GuestSpec
    paused: bool = False


@call(reply=None, time=Time.LONG, reserve=Reserve.HYPERVISOR)
class InstanceStop(ChangingCall[None], frozen=True, tag="instance_stop"):
    """Ask the guest to shut down, then end it by force when `timeout` seconds have passed; not there: fine."""

    name: str
    uuid: Uuid
    hypervisor: str
    timeout: int = 120  # seconds; 0: by force at once
    disks: tuple[Disk, ...] = ()  # closed when it has ended


@call(reply=None, time=Time.LONG, reserve=Reserve.HYPERVISOR)
class InstanceReboot(ChangingCall[None], frozen=True, tag="instance_reboot"):
    """Soft: the guest restarts itself; hard: the hypervisor resets it."""

    spec: GuestSpec
    hard: bool = True
    timeout: int = 120  # seconds that the guest gets to shut down by itself, where it is started anew then


class GuestsReply(msgspec.Struct, frozen=True, kw_only=True):
    guests: tuple[Guest, ...]
    errors: dict[str, str] = {}  # hypervisor → why it could not be asked


@call(reply=GuestsReply, reserve=Reserve.HYPERVISOR)
class InstanceList(Call[GuestsReply], frozen=True, tag="instance_list"):
    """All guests of these hypervisors, without halves of migrations."""

    hypervisors: tuple[str, ...]


@call(reply=Guest | None, reserve=Reserve.HYPERVISOR)
class InstanceInfo(Call[Guest | None], frozen=True, tag="instance_info"):
    """One guest, or nothing when it does not run, or not here yet or any more."""

    name: str
    uuid: str
    hypervisor: str


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a guest's console: a command for the node, or an address."""

    kind: str  # ssh | vnc | spice | msg
    host: str = ""
    port: int = 0
    command: tuple[str, ...] = ()
    display: str = ""
    message: str = ""

    def told(self, instance: str) -> dict[str, Any]:  # Any: JSON
        """As clients see it; None for what its kind does not have."""
        return {
            "instance": instance,
            "kind": self.kind,
            "message": self.message or None,
            "host": self.host or None,
            "port": self.port or None,
            "user": "root" if self.kind == "ssh" else None,
            "command": list(self.command) or None,
            "display": self.display or None,
        }


@call(reply=Console, reserve=Reserve.HYPERVISOR)
class InstanceConsole(Call[Console], frozen=True, tag="instance_console"):
    spec: GuestSpec


@call(reply=str, reserve=Reserve.HYPERVISOR)
class InstanceConsoleLog(Call[str], frozen=True, tag="instance_console_log"):
    """The end of what the guest wrote to its serial console."""

    name: str
    uuid: str
    hypervisor: str
    max_bytes: int = 16384


@call(reply=str, reserve=Reserve.HYPERVISOR)
class HypervisorValidate(Call[str], frozen=True, tag="hypervisor_validate"):
    """Check complete parameters against this node (files exist and so on). Replies what is wrong, or nothing."""

    hypervisor: str
    hvparams: Params
