"""What the ids of disks say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

import msgspec

from ganeti import errors
from ganeti.model.config import Config
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import MiB, Uuid

META_MIB: MiB = 128
#: what DRBD's map of blocks in them can note, a bit for 4 KiB; 36 KiB of them are for other things. Of a larger volume
#: it would silently use no more
LARGEST_MIRROR: MiB = (META_MIB * 1024 - 36) * 8 * 4
SNAPSHOT = ".snap"
#: of /dev/drbdN; as many as the module is commonly loaded for
MINORS = range(256)


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """The logical id of a DRBD disk, with names."""

    nodes: tuple[Uuid, Uuid]
    minors: tuple[int, int]
    port: int
    secret: str

    @classmethod
    def of(cls, disk: Disk) -> Self:
        """Raises StorageError for a disk that is no mirror."""
        match disk.logical_id:
            case (str(a), str(b), int(port), int(minor_a), int(minor_b), str(secret)):
                return cls(nodes=(Uuid(a), Uuid(b)), minors=(minor_a, minor_b), port=port, secret=secret)
        raise errors.StorageError(f"disk {disk.uuid} has the id {len(disk.logical_id)} parts, which is not a mirror's")

    @property
    def logical_id(self) -> tuple[str | int, ...]:
        return (*self.nodes, self.port, *self.minors, self.secret)

    def minor(self, node: Uuid) -> int:
        return self.minors[self.nodes.index(node)]

    def peer(self, node: Uuid) -> Uuid:
        return self.nodes[1 - self.nodes.index(node)]

    def moved(self, old: Uuid, new: Uuid, minor: int) -> Self:
        """With `new` in the place of `old`."""
        place = self.nodes.index(old)
        nodes, minors = list(self.nodes), list(self.minors)
        nodes[place], minors[place] = new, minor
        return msgspec.structs.replace(self, nodes=tuple(nodes), minors=tuple(minors))


def is_mirror(disk: Disk) -> bool:
    return disk.template is DiskTemplate.DRBD


def without_secret(disk: Disk) -> Disk:
    """As it may be written down on a node: to close it and to know it again, it takes no secret."""
    if not is_mirror(disk):
        return disk
    mirror = msgspec.structs.replace(Mirror.of(disk), secret="")
    link = msgspec.structs.replace(disk.link, secret="") if disk.link is not None else None
    return msgspec.structs.replace(disk, logical_id=mirror.logical_id, link=link)


def node_volumes(disk: Disk) -> tuple[Disk, ...]:
    """What takes space on a node for it."""
    return disk.children if is_mirror(disk) else (disk,)


#: how one node calls a volume: its template and logical id
VolumeName = tuple[DiskTemplate, tuple[str | int, ...]]


def names(disks: Iterable[Disk]) -> frozenset[VolumeName]:
    """What takes space on a node for them is called so."""
    return frozenset((volume.template, volume.logical_id) for disk in disks for volume in node_volumes(disk))


def space(disk: Disk) -> MiB:
    """On each of its nodes."""
    return sum(volume.size for volume in node_volumes(disk))


def grown(disk: Disk, size: MiB) -> Disk:
    """The disk with another size; of a mirror its data too."""
    children = disk.children
    if is_mirror(disk) and children:
        children = (msgspec.structs.replace(children[0], size=size), *children[1:])
    return msgspec.structs.replace(disk, size=size, children=children)


def snapshot_of(disk: Disk, uuid: Uuid) -> Disk:
    """The volume that a snapshot of the disk is, on the node where it is made. Raises StorageError."""
    source = disk.children[0] if is_mirror(disk) and disk.children else disk
    match source.logical_id:
        case (place, str(name)) if source.template in _SNAPSHOTS:
            return Disk(
                uuid=uuid, template=source.template, size=disk.size, logical_id=(place, name + SNAPSHOT), name=disk.name
            )
    raise errors.StorageError(f"disks of template {disk.template.value} have no snapshots")


_SNAPSHOTS = (DiskTemplate.PLAIN, DiskTemplate.FILE, DiskTemplate.SHAREDFILE)


def used_minors(config: Config, node: Uuid, others: Iterable[Disk] = ()) -> set[int]:
    """Of /dev/drbdN on a node: of instances, detached disks, and `others`, which the node still has to give up."""
    held = config.primaries.get(node, frozenset()) | config.secondaries.get(node, frozenset())
    own = (disk for uuid in held for disk in config.instances[uuid].disks)
    detached = (each.disk for each in config.disks.values())
    return set(_minors((*own, *detached, *others), node))


def _minors(disks: Iterable[Disk], node: Uuid) -> Iterator[int]:
    for disk in disks:
        if is_mirror(disk):
            mirror = Mirror.of(disk)
            yield from (minor for end, minor in zip(mirror.nodes, mirror.minors, strict=True) if end == node)
