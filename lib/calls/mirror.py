"""Calls about mirrored disks: the same content on two nodes, of which one writes.

`VolumeCreate` makes a node's half, `VolumeOpen` brings it up and makes it primary, `VolumeClose` takes it down.
Node, minor and address of each half are in the disk's `link`, which is filled in on the way to the node.

=================  =========================================================================================
MirrorAssemble     up and connected, secondary; whatever is right already stays as it is
MirrorPromote      primary, by force right after its creation, or where the other half is dead
MirrorDemote       secondary; refused while something has it open
MirrorTwoPrimaries only for the time of a live migration
MirrorDisconnect   alone; it stays up
MirrorDetach       goes on without its own volumes, by the other half
MirrorAttach       gets new volumes, which are then filled from the other half
MirrorEnd          a minor of no instance is down; its volumes stay
=================  =========================================================================================
"""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.model.generations import Generation
from ganeti.model.objects import Disk
from ganeti.model.types import Uuid

_RESYNC = (
    "SyncSource", "SyncTarget", "PausedSyncS", "PausedSyncT", "WFBitMapS", "WFBitMapT", "WFSyncUUID", "StartingSyncS",
    "StartingSyncT",
)  # fmt: skip
_CONNECTED = ("Connected", "VerifyS", "VerifyT", "Ahead", "Behind")
_CONNECTING = (
    "WFConnection", "WFReportParams", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError",
    "TearDown",
)  # fmt: skip


class MirrorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node's half, in DRBD's words."""

    is_up: bool = True
    connection: str = "Unconfigured"
    role: str = "Unknown"
    peer_role: str = "Unknown"
    disk: str = "Diskless"
    peer_disk: str = "DUnknown"
    percent: float | None = None  # of a sync that runs; None: none runs
    seconds: int | None = None  # until its end, as estimated
    has_peer: bool = True  # it is told to connect

    @property
    def is_syncing(self) -> bool:
        return self.connection in _RESYNC

    @property
    def is_connected(self) -> bool:
        return self.connection in _CONNECTED or self.is_syncing

    @property
    def may_settle(self) -> bool:
        """It looks for its peer, or has just found it: what is degraded now may be so for some seconds only."""
        return self.is_up and (self.is_connected or (self.has_peer and self.connection in _CONNECTING))

    @property
    def is_local_good(self) -> bool:
        return self.is_up and self.disk == "UpToDate"

    @property
    def has_lost_volume(self) -> bool:
        return self.is_up and self.disk in ("Diskless", "Failed", "Detaching")

    @property
    def is_degraded(self) -> bool:
        """One half alone would have to do if the other died now."""
        return not (self.is_local_good and self.is_connected and self.peer_disk == "UpToDate")

    @property
    def problem(self) -> str:
        """What is wrong with it, in a few words; empty: nothing."""
        if not self.is_up:
            return "is not active"
        if self.connection == "StandAlone":
            # a half that was told to connect and stopped trying has met one with other changes, or was refused
            return "stands alone: split brain, or its peer refused it" if self.has_peer else "is not connected"
        if self.has_lost_volume:
            return "has lost its own volume"
        if not self.is_connected:
            return f"waits for its peer ({self.connection})"
        if self.is_syncing:
            return "is being synchronised"
        if self.disk != "UpToDate":
            return f"has {self.disk} data"
        return "" if self.peer_disk == "UpToDate" else f"its peer has {self.peer_disk} data"


@call(reply=tuple[MirrorStatus, ...], reserve=Reserve.STORAGE)
class MirrorState(Call[tuple[MirrorStatus, ...]], frozen=True, tag="mirror_state"):
    """This node's halves, in the order of the disks. Disks that are no mirrors are always good."""

    disks: tuple[Disk, ...]
    owner: Uuid


class Half(msgspec.Struct, frozen=True, kw_only=True):
    generation: Generation | None = None
    problem: str = ""  # why that is not known


@call(reply=tuple[Half, ...], reserve=Reserve.STORAGE)
class MirrorGenerations(Call[tuple[Half, ...]], frozen=True, tag="mirror_generations"):
    """Which data this node's halves have, in the order of the disks, all of them mirrors."""

    disks: tuple[Disk, ...]
    owner: Uuid


@call(reply=None, reserve=Reserve.STORAGE)
class MirrorCatchUp(Call[None], frozen=True, tag="mirror_catch_up"):
    """Fails unless this node's halves have all that the other ones have, which told `others`."""

    disks: tuple[Disk, ...]
    owner: Uuid
    others: tuple[Half, ...] = ()


@call(reply=None, reserve=Reserve.STORAGE)
class MirrorWhole(Call[None], frozen=True, tag="mirror_whole"):
    """Fails unless each mirror has two good halves that are connected. Other disks are passed over."""

    disks: tuple[Disk, ...]
    owner: Uuid


class SyncReply(msgspec.Struct, frozen=True, kw_only=True):
    is_done: bool  # no sync runs
    text: str = ""  # for people: how far it is
    wait: float = 1.0  # seconds after which it is worth asking again
    problem: str = ""  # done, and a disk is degraded all the same
    may_settle: bool = False  # `problem` may go away by itself: halves that look for each other


@call(reply=SyncReply, reserve=Reserve.STORAGE)
class MirrorSync(Call[SyncReply], frozen=True, tag="mirror_sync"):
    """How far the mirrors are with their synchronisation."""

    disks: tuple[Disk, ...]
    owner: Uuid


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorAssemble(ChangingCall[None], frozen=True, tag="mirror_assemble"):
    """Bring this half up and connect it, without changing its role. A disk that is no mirror: nothing to do."""

    disk: Disk
    owner: Uuid


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorPromote(ChangingCall[None], frozen=True, tag="mirror_promote"):
    """Primary. `force`: its data become the right ones, whatever the other half has.

    Only for a mirror just made, or one whose other half is dead. Refused where the other half is there and has data.
    """

    disk: Disk
    owner: Uuid
    force: bool = False


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorDemote(ChangingCall[None], frozen=True, tag="mirror_demote"):
    disk: Disk
    owner: Uuid


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorTwoPrimaries(ChangingCall[None], frozen=True, tag="mirror_two_primaries"):
    """Whether both halves may be primary. Not allowed any more: a half that is not up is fine."""

    disk: Disk
    owner: Uuid
    allowed: bool


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorDisconnect(ChangingCall[None], frozen=True, tag="mirror_disconnect"):
    """Alone; alone or not up already: fine."""

    disk: Disk
    owner: Uuid


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorDetach(ChangingCall[None], frozen=True, tag="mirror_detach"):
    """Give up its own volumes and go on by the other half; without them already: fine."""

    disk: Disk
    owner: Uuid


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorAttach(ChangingCall[None], frozen=True, tag="mirror_attach"):
    """Use new volumes, which are filled from the other half; what lay in their metadata is forgotten."""

    disk: Disk
    owner: Uuid


@call(reply=None, reserve=Reserve.STORAGE)
class MirrorRoom(Call[None], frozen=True, tag="mirror_room"):
    """Fails unless the volume that this half uses now really has `size` MiB."""

    disk: Disk
    owner: Uuid
    size: int  # MiB


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorResize(ChangingCall[None], frozen=True, tag="mirror_resize"):
    """Use `size` MiB, when the volumes below have grown on both nodes (`MirrorRoom`)."""

    disk: Disk
    owner: Uuid
    size: int  # MiB


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorPause(ChangingCall[None], frozen=True, tag="mirror_pause"):
    """Let the synchronisation wait, or go on."""

    disk: Disk
    owner: Uuid
    paused: bool


@call(reply=tuple[int, ...], reserve=Reserve.STORAGE)
class MirrorMinors(Call[tuple[int, ...]], frozen=True, tag="mirror_minors"):
    """All minors that are in use on the node, whoever uses them."""


@call(reply=str, time=Time.SLOW, reserve=Reserve.STORAGE)
class MirrorEnd(ChangingCall[str], frozen=True, tag="mirror_end"):
    """Take a minor down that belongs to no instance, if it has volumes with our mark, or none, and nobody has it open.

    Replies why it stays; empty: it is down.
    """

    minor: int
