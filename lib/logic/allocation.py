"""What can be asked of an instance allocator, and what it answers. `Env.allocate` takes and gives these."""

from __future__ import annotations

import enum
from typing import Generic, TypeVar

import msgspec

from ganeti.model.objects import DiskMode, DiskTemplate
from ganeti.model.types import MiB, Uuid
from ganeti.ops.base import OpCode

A = TypeVar("A")


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    nodes: tuple[Uuid, ...]  # primary first; of a relocation the new node alone
    warnings: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    name: str  # of the instance
    reason: str


class NamedPlace(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    nodes: tuple[Uuid, ...]


class MultiPlaced(msgspec.Struct, frozen=True, kw_only=True):
    placed: tuple[NamedPlace, ...]
    failed: tuple[Failed, ...]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    group: str  # name of the node group that it is in then
    nodes: tuple[Uuid, ...]


class Evacuation(msgspec.Struct, frozen=True, kw_only=True):
    """Each of `jobs` is to be submitted as one job; nothing is done or reserved yet."""

    moved: tuple[Moved, ...]
    failed: tuple[Failed, ...]
    jobs: tuple[tuple[OpCode, ...], ...]


class Request(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A question whose answer is an `A`."""


class NewDisk(msgspec.Struct, frozen=True, kw_only=True):
    size: MiB
    mode: DiskMode = DiskMode.RW


class NewNic(msgspec.Struct, frozen=True, kw_only=True):
    mac: str
    mode: str
    link: str
    ip: str | None = None
    network: Uuid | None = None


class Allocate(Request[Placed], frozen=True, kw_only=True):
    """Nodes for a new instance: one, or primary and secondary for a mirrored template."""

    name: str
    hypervisor: str
    template: DiskTemplate
    memory: MiB
    vcpus: int = 1
    spindle_use: int = 1
    disks: tuple[NewDisk, ...] = ()
    nics: tuple[NewNic, ...] = ()
    tags: tuple[str, ...] = ()
    os: str = ""
    group: Uuid | None = None  # only there
    restrict_to: tuple[Uuid, ...] | None = None  # only these nodes
    ignore_ipolicy: bool = False

    @property
    def node_count(self) -> int:
        return 2 if self.template is DiskTemplate.DRBD else 1


class MultiAllocate(Request[MultiPlaced], frozen=True, kw_only=True):
    instances: tuple[Allocate, ...]


class Relocate(Request[Placed], frozen=True, kw_only=True):
    """Another node in its group: a new secondary for a mirrored instance, else a new primary."""

    instance: Uuid
    memory: MiB | None = None  # that it needs there; None: as configured if it is up


class AllocateSecondary(Request[Placed], frozen=True, kw_only=True):
    """A node that could become the secondary of an instance that has none."""

    instance: Uuid


class Evacuate(enum.Enum):
    """Which roles a node shall be freed of."""

    PRIMARY = "primary-only"
    SECONDARY = "secondary-only"
    ALL = "all"


class NodeEvacuate(Request[Evacuation], frozen=True, kw_only=True):
    instances: tuple[Uuid, ...]
    mode: Evacuate
    node: Uuid | None = None  # that is to be left; None: that which has the role
    ignore_soft_errors: bool = False


class ChangeGroup(Request[Evacuation], frozen=True, kw_only=True):
    instances: tuple[Uuid, ...]
    groups: tuple[Uuid, ...] = ()  # empty: any other that takes instances
