"""Names of logical volumes, and the tag by which ours are known. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.model.objects import Disk
from ganeti.model.types import Uuid

_NAME = re.compile(r"[\w+.][\w+.-]{0,126}\Z", re.ASCII)
#: what people call the volume group of a cluster
USUAL_GROUP = "xenvg"
#: lvm(8), "VALID NAMES"
_RESERVED = ("snapshot", "pvmove")
_INTERNAL = ("_mlog", "_mimage", "_tdata", "_tmeta", "_rimage", "_rmeta", "_cdata", "_cmeta", "_vorigin", "_pmspare")
_TAG = "ganeti"
#: before the name of the instance, in a tag for people and their tools; nothing is decided by it
ORIGIN = "originstname+"
_BAD_IN_TAG = re.compile(r"[^\w+.-]", re.ASCII)
_LONGEST_TAG = 128
#: what lvm(8) allows in tags, but for our separator
_PART = re.compile(r"[\w.-]{1,58}\Z", re.ASCII)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    owner: Uuid  # the instance
    disk: Uuid

    @property
    def tag(self) -> str:
        """Raises StorageError for ids that no tag can hold."""
        for part in (self.owner, self.disk):
            if not _PART.match(part):
                raise errors.StorageError(f"{part!r} cannot stand in a tag of a logical volume")
        return f"{_TAG}+{self.owner}+{self.disk}"


def mark_of(tags: str) -> Mark | None:
    """From the tags as `lvs` lists them, with commas between. None: it is none of ours."""
    for tag in tags.split(","):
        match tag.split("+"):
            case [first, owner, disk] if first == _TAG:
                return Mark(owner=Uuid(owner), disk=Uuid(disk))
    return None


def origin_tag(name: str) -> str:
    """What tells people whose volume it is: the instance's name, as far as a tag can hold it."""
    return _BAD_IN_TAG.sub("_", f"{ORIGIN}{name}")[:_LONGEST_TAG]


def origin_of(tags: Sequence[str]) -> str:
    """The instance's name in the tags; empty: none, as older volumes have it."""
    return next((tag.removeprefix(ORIGIN) for tag in tags if tag.startswith(ORIGIN)), "")


def is_our_tag(tag: str) -> bool:
    return tag.startswith((f"{_TAG}+", ORIGIN))


def place(disk: Disk) -> tuple[str, str]:
    """Volume group and name. Raises StorageError for an id that is not one of logical volumes, or a bad name."""
    return pair(disk.logical_id, f"disk {disk.uuid}")


def pair(logical_id: tuple[str | int, ...], whose: str = "a volume to adopt") -> tuple[str, str]:
    """The same of an id alone."""
    match logical_id:
        case (str(vg), str(name)):
            for each in (vg, name):
                problem = why_not(each)
                if problem:
                    raise errors.StorageError(f"{each!r} cannot be the name of a logical volume or group: {problem}")
            return vg, name
    raise errors.StorageError(f"{whose} has the id {logical_id!r}, which is not (vg, lv)")


def why_not(name: str) -> str:
    if name in (".", ".."):
        return "it is no name"
    if not _NAME.match(name):
        return "names have 1 to 127 letters, digits and the characters + _ . -, and begin with none of -"
    if name.startswith(_RESERVED):
        return "LVM keeps such names for itself"
    inner = next((word for word in _INTERNAL if word in name), None)
    return f"LVM keeps names with {inner} for itself" if inner else ""


def device(vg: str, name: str) -> str:
    return f"/dev/{vg}/{name}"
