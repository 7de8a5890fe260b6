"""Calls about live migration: the source sends a running guest to a target that waits for it, paused.

Every call names the migration, so that none can take the halves of another one for its own.

=====================  ==================================  =================================
step                   source                              target
=====================  ==================================  =================================
MigrationPreflight     what runs                           .
MigrationCheck         .                                   whether it could run here
MigrationPrepare       .                                   INCOMING: waits on a port
MigrationRun           LEAVING, then DEPARTED: stopped     ARRIVED: has the guest, paused
MigrationFinish        .                                   RUNNING
MigrationSourceDone    NONE                                .
MigrationAbort         RUNNING                             NONE
=====================  ==================================  =================================
"""

from __future__ import annotations

import enum

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.calls.instance import GuestSpec
from ganeti.model.objects import Disk
from ganeti.model.types import MiB, Uuid


class Side(enum.Enum):
    """What a node has of a guest."""

    NONE = "none"
    RUNNING = "running"
    PAUSED = "paused"  # an ordinary guest that does not run
    ENDED = "ended"  # the guest has shut down, its process is still there
    INCOMING = "incoming"  # waits for the guest, or receives it
    ARRIVED = "arrived"  # has all of it; paused until someone decides
    LEAVING = "leaving"  # is being sent; still runs here, unless it is sent paused
    DEPARTED = "departed"  # was sent completely; paused, could go on here


class Half(msgspec.Struct, frozen=True, kw_only=True):
    """One node's part of a migration."""

    side: Side
    migration: str = ""  # the last one that the process here took part in


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """A running guest as its target has to start it: what it was started as, not what is configured now."""

    spec: GuestSpec
    memory: MiB
    is_running: bool = True  # false: paused, or it has ended
    machine: str = ""  # exact machine type
    accelerator: str = ""  # kvm | tcg
    cpu: str = ""  # what the guest's CPU depends on besides its parameters; equal at both ends
    version: str = ""  # of the emulator
    slots: dict[str, int] = {}  # PCI slots of its disks and NICs, by uuid
    balloon: MiB = 0  # memory that it was told to have; 0: all of it


class Obstacles(msgspec.Struct, frozen=True, kw_only=True):
    """Why a guest cannot come to a node."""

    problems: tuple[str, ...] = ()
    version: str = ""  # what is wrong with the hypervisor's version; may be ignored by those who know better


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the target waits."""

    address: str
    port: int


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    live: bool = True  # false: paused while it is sent
    bandwidth: MiB = 0  # per second; 0: no limit
    downtime: int = 0  # longest planned pause in milliseconds; 0: the hypervisor's choice
    capabilities: tuple[str, ...] = ()  # of the hypervisor, to be used at both ends
    limit: int = 3600  # seconds; then it is given up


@call(reply=Departure | None, reserve=Reserve.HYPERVISOR)
class MigrationPreflight(Call[Departure | None], frozen=True, tag="migration_preflight"):
    """What runs at the source; nothing when no such guest runs. Fails when its hypervisor cannot migrate."""

    name: str
    uuid: Uuid
    hypervisor: str


@call(reply=Obstacles, reserve=Reserve.HYPERVISOR)
class MigrationCheck(Call[Obstacles], frozen=True, tag="migration_check"):
    """Whether the target could take it: machine type, CPU, version, files, disks."""

    departure: Departure
    tuning: Tuning


@call(reply=Endpoint, time=Time.SLOW, reserve=Reserve.HYPERVISOR)
class MigrationPrepare(ChangingCall[Endpoint], frozen=True, tag="migration_prepare"):
    """Target: start an emulator that waits, paused, on a free port of `address`."""

    migration: str
    departure: Departure
    tuning: Tuning
    address: str  # one of the target's own


@call(reply=None, time=Time.LONG, reserve=Reserve.HYPERVISOR)
class MigrationRun(ChangingCall[None], frozen=True, tag="migration_run"):
    """Source: send the guest; when it succeeds, the guest is stopped here and complete there.

    On failure, or when it is stopped before it is too late, the guest runs on here.
    """

    migration: str
    name: str
    uuid: Uuid
    hypervisor: str
    endpoint: Endpoint
    tuning: Tuning


@call(reply=None, reserve=Reserve.HYPERVISOR)
class MigrationFinish(ChangingCall[None], frozen=True, tag="migration_finish"):
    """Target: let the guest go on here. Only when it can go on nowhere else; done already: fine."""

    migration: str
    name: str
    uuid: Uuid
    hypervisor: str


@call(reply=None, time=Time.SLOW, reserve=Reserve.HYPERVISOR)
class MigrationSourceDone(ChangingCall[None], frozen=True, tag="migration_source_done"):
    """Source: end the process that the guest has left, its disks are not touched. Not there, or not left: nothing."""

    migration: str
    name: str
    uuid: Uuid
    hypervisor: str
    disks: tuple[Disk, ...] = ()  # closed


@call(reply=Half, time=Time.SLOW, reserve=Reserve.HYPERVISOR)
class MigrationAbort(ChangingCall[Half], frozen=True, tag="migration_abort"):
    """Take the node's half back: the target's process is ended, the source's sending is stopped. Replies what is left.

    With `resume` a guest that has departed goes on at the source: only when the target's half is known to be gone.
    """

    migration: str
    name: str
    uuid: Uuid
    hypervisor: str
    resume: bool = False
    disks: tuple[Disk, ...] = ()  # closed at the target


@call(reply=Half, reserve=Reserve.HYPERVISOR)
class MigrationState(Call[Half], frozen=True, tag="migration_state"):
    """What this node has of the guest."""

    name: str
    uuid: Uuid
    hypervisor: str
