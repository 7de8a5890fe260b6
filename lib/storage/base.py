"""What every storage driver can do."""

from __future__ import annotations

from typing import Protocol

from ganeti import errors
from ganeti.calls.node import StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.model.objects import Disk
from ganeti.model.types import Uuid


class NotOurs(errors.StorageError):
    """Something is there that does not carry our mark for this owner and disk: it is not touched."""


class Storage(Protocol):
    """Volumes of one disk template on one node. Paths handed in and out are logical. Raises StorageError."""

    def create(self, disk: Disk, owner: Uuid) -> VolumeReply:
        """Make and mark it. There already with our mark for this owner and disk: fine; anything else: NotOurs."""
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

    def space(self) -> StorageInfo: ...

    def verify(self) -> str:
        """What is wrong with the storage itself on this node, or empty."""
        ...

    def volumes(self) -> tuple[str, ...]:
        """Logical paths of all volumes that carry our mark."""
        ...
