"""Calls about volumes: what disks are made of."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.calls.mirror import MirrorStatus
from ganeti.model.objects import Disk
from ganeti.model.types import Uuid


class VolumeReply(msgspec.Struct, frozen=True, kw_only=True):
    path: str  # logical path of the device or file
    size: int  # MiB
    exists: bool = True


@call(reply=VolumeReply, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeCreate(ChangingCall[VolumeReply], frozen=True, tag="volume_create"):
    """Make the volume of a disk and mark it as ours. Something there without our mark: refused."""

    disk: Disk
    owner: Uuid  # instance
    together: int = 0  # MiB that the instance gets on this node now, this included: best on one physical disk
    origin: str = ""  # the instance's name, for people who look at the volumes
    mate: Disk | None = None  # the other volume of the same mirror: best on the same physical disk


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeRemove(ChangingCall[None], frozen=True, tag="volume_remove"):
    """Remove a volume that carries our mark for this owner; not there: fine."""

    disk: Disk
    owner: Uuid


@call(reply=VolumeReply, time=Time.NORMAL, reserve=Reserve.STORAGE)
class VolumeInfo(Call[VolumeReply], frozen=True, tag="volume_info"):
    disk: Disk
    owner: Uuid


@call(reply=VolumeReply, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeOpen(ChangingCall[VolumeReply], frozen=True, tag="volume_open"):
    """Make the disk usable on this node (assemble); open already: fine."""

    disk: Disk
    owner: Uuid


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeClose(ChangingCall[None], frozen=True, tag="volume_close"):
    """Give the disk up on this node; closed already: fine."""

    disk: Disk
    owner: Uuid


@call(reply=VolumeReply, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeRename(ChangingCall[VolumeReply], frozen=True, tag="volume_rename"):
    """Give the volume the name of another logical id. Done already: fine. Undone by the reverse rename."""

    disk: Disk  # as it is
    new: Disk  # as it shall be
    owner: Uuid


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeGive(ChangingCall[None], frozen=True, tag="volume_give"):
    """Mark the volume as one of instance `to`, called `origin`. Done already: fine. Undone by giving it back."""

    disk: Disk
    owner: Uuid  # whose it is; may be the same
    to: Uuid
    origin: str


@call(reply=VolumeReply, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeGrow(ChangingCall[VolumeReply], frozen=True, tag="volume_grow"):
    """Make it at least `size` MiB large on this node; that large already: fine. Cannot be taken back.

    Of a mirror only what lies below it grows: `MirrorResize` lets it use the space when both nodes have it.
    """

    disk: Disk
    owner: Uuid
    size: int  # MiB


@call(reply=VolumeReply, time=Time.LONG, reserve=Reserve.STORAGE)
class VolumeSnapshot(ChangingCall[VolumeReply], frozen=True, tag="volume_snapshot"):
    """Keep the present content of a disk as the volume of `snapshot`; there already with our mark: made anew.

    `model.disks.snapshot_of` says what a snapshot is called. It is opened, closed and removed as any other volume.
    """

    disk: Disk
    snapshot: Disk
    owner: Uuid


@call(reply=None, time=Time.LONG, reserve=Reserve.STORAGE)
class VolumeWipe(ChangingCall[None], frozen=True, tag="volume_wipe"):
    """Overwrite an open disk with zeroes, from `offset` MiB to its end."""

    disk: Disk
    owner: Uuid
    offset: int = 0  # MiB


@call(reply=None, time=Time.LONG, reserve=Reserve.STORAGE)
class VolumeCopy(ChangingCall[None], frozen=True, tag="volume_copy"):
    """Copy the data of a disk to a new one on the same node; both belong to the same stopped instance."""

    disk: Disk
    new: Disk
    owner: Uuid


class Look(msgspec.Struct, frozen=True, kw_only=True):
    volume: VolumeReply
    mirror: MirrorStatus | None = None  # this node's half, of disks that are mirrored
    problem: str = ""  # why nothing is known about it


@call(reply=tuple[Look, ...], time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumesLook(Call[tuple[Look, ...]], frozen=True, tag="volumes_look"):
    """`VolumeInfo` of many disks at once, in their order; one that cannot be asked does not spoil the others."""

    disks: tuple[Disk, ...]
    owners: tuple[Uuid, ...]  # instances, one for each disk
