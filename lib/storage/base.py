"""What every storage driver can do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from ganeti import errors
from ganeti.calls.adoption import Candidate, LogicalId
from ganeti.calls.mirror import MirrorStatus
from ganeti.calls.node import StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.model.generations import Generation
from ganeti.model.objects import Disk
from ganeti.model.types import MiB, Uuid


class NotOurs(errors.StorageError):
    """Something is there that does not carry our mark for this owner and disk: it is not touched."""


class VolumeLost(errors.StorageError):
    """It is known, and what it lay on is not there any more."""

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class Watch(Protocol):
    """How a long step is watched: it looks whether it shall stop, and tells how far it is. Plain attributes."""

    stop: threading.Event
    progress: dict[str, float | str]  # `text` is for people


class Mirror(Protocol):
    """What a mirrored template can do besides; `calls.mirror` says what each step means. May all be repeated."""

    def assemble(self, disk: Disk, owner: Uuid) -> None: ...

    def promote(self, disk: Disk, owner: Uuid, *, force: bool) -> None: ...

    def demote(self, disk: Disk, owner: Uuid) -> None: ...

    def two_primaries(self, disk: Disk, owner: Uuid, *, allowed: bool) -> None: ...

    def disconnect(self, disk: Disk, owner: Uuid) -> None: ...

    def detach(self, disk: Disk, owner: Uuid) -> None: ...

    def attach(self, disk: Disk, owner: Uuid) -> None: ...

    def check_room(self, disk: Disk, owner: Uuid, *, size: MiB) -> None:
        """The volume that the half uses now really has so much."""
        ...

    def resize(self, disk: Disk, owner: Uuid, *, size: MiB) -> None: ...

    def pause(self, disk: Disk, owner: Uuid, *, paused: bool) -> None: ...

    def status(self, disk: Disk, owner: Uuid) -> MirrorStatus: ...

    def generation(self, disk: Disk, owner: Uuid) -> Generation:
        """Up or down. Raises StorageError: its volumes or their metadata are lost, or are not ours."""
        ...

    def minors(self) -> tuple[int, ...]:
        """All that are in use on this node."""
        ...

    def end(self, minor: int) -> str:
        """It is down, if its volumes carry our mark or it has none. Why it stays, or nothing."""
        ...


class Adoption(Protocol):
    """What a template can do besides whose disks may be storage that was there before. Raises StorageError."""

    def look(self, logical_ids: Sequence[LogicalId], known: Sequence[LogicalId]) -> tuple[Candidate, ...]:
        """In the order of `logical_ids`; `known`: what the cluster has already, of templates shared by all nodes."""
        ...

    def adopt(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        """What was found is marked and has the disk's name, its content untouched. Done already: fine."""
        ...

    def give_back(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        """It is as it was found. Only what carries our mark for this disk is touched; nothing that does: fine."""
        ...


class Storage(Protocol):
    """Volumes of one disk template on one node. Paths handed in and out are logical. Raises StorageError."""

    @property
    def mirror(self) -> Mirror | None:
        """None: the template is not mirrored."""
        ...

    @property
    def adoption(self) -> Adoption | None:
        """None: disks of the template are always made."""
        ...

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        """Make and mark it. `together` MiB of the instance are to be made here now, this included: best side by side.

        `origin` is the instance's name: where there is a place for it, people find it there. `mate` is the other volume
        of the same mirror, there already or to come: best on the same physical disk.

        There already with our mark for this owner and disk: fine; anything else: NotOurs.
        """
        ...

    def remove(self, disk: Disk, owner: Uuid) -> None:
        """Only what carries our mark for this owner, else NotOurs. Not there: fine."""
        ...

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply: ...

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        """Usable on this node when it returns; `path` is what a hypervisor or a script opens."""
        ...

    def close(self, disk: Disk, owner: Uuid) -> None: ...

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        """Done already: fine."""
        ...

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        """It is marked as one of instance `to`, called `origin`, which may be the same. Done already: fine."""
        ...

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        """At least so large when it returns; of a mirror, what lies below it on this node."""
        ...

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: Watch) -> VolumeReply:
        """Keep the present content as another volume of this node. One of ours under that name is made anew.

        A driver that has to copy does not see to it that nobody writes meanwhile.
        """
        ...

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: Watch) -> None:
        """Zeroes from `offset` on; it is open."""
        ...

    def space(self, *, vg: str = "") -> StorageInfo:
        """`vg`: the cluster's volume group, for those whose volumes lie there."""
        ...

    def verify(self, *, vg: str = "") -> str:
        """What is wrong with the storage itself on this node, or empty."""
        ...

    def volumes(self) -> tuple[str, ...]:
        """Logical paths of all volumes that carry our mark."""
        ...

    def strays(self, *, vg: str = "") -> tuple[str, ...]:
        """Logical paths of what lies where our volumes lie and does not carry our mark."""
        ...

    def origins(self) -> dict[str, str]:
        """Names of the instances that these were made for, where that is kept: by logical path, for people only."""
        ...
