"""Calls about storage that was there before the cluster knew of it, and becomes disks of instances."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.calls.volume import VolumeReply
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import Uuid

#: as `Disk.logical_id`
LogicalId = tuple[str | int, ...]


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What lies on the node under a name that somebody gave."""

    logical_id: LogicalId
    size: int = 0  # MiB
    labels: tuple[str, ...] = ()  # what it carries that adoption puts ours in the place of
    device: str = ""  # real path, of what has several names
    problem: str = ""  # why it cannot be adopted; empty: it can
    hint: str = ""


@call(reply=tuple[Candidate, ...], time=Time.SLOW, reserve=Reserve.STORAGE)
class CandidatesLook(Call[tuple[Candidate, ...]], frozen=True, tag="candidates_look"):
    """Look at what shall be adopted, in the order of the names."""

    template: DiskTemplate
    logical_ids: tuple[LogicalId, ...]
    known: tuple[LogicalId, ...] = ()  # what the cluster has already, of templates that see the same on all nodes


@call(reply=VolumeReply, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeAdopt(ChangingCall[VolumeReply], frozen=True, tag="volume_adopt"):
    """Mark the volume that was found as that of a disk and give it the disk's name. What is on it stays.

    Refused when it is not as it was found, is in use, or carries a mark of ours. Undone by `VolumeGiveBack`.
    """

    disk: Disk
    owner: Uuid  # instance
    origin: str  # the instance's name, for people who look at the volumes
    found: Candidate


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class VolumeGiveBack(ChangingCall[None], frozen=True, tag="volume_give_back"):
    """The volume gets the name and labels with which it was found; never adopted, or given back already: fine."""

    disk: Disk
    owner: Uuid
    origin: str
    found: Candidate
