"""Calls about the machine below a node: its power, by an out-of-band helper on the master, and a hard reboot."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.model.types import Uuid


@call(reply=str, time=Time.SLOW, reserve=Reserve.SCRIPTS, has_effect=True)
class OobAsk(Call[str], frozen=True, tag="oob_ask"):
    """What a helper program of this node prints about another node: its power or its health."""

    program: str
    command: str  # power-status or health
    target: str  # name of the node it is about
    timeout_s: int


@call(reply=str, time=Time.SLOW, reserve=Reserve.SCRIPTS)
class OobDo(ChangingCall[str], frozen=True, tag="oob_do"):
    """Have a helper program of this node switch another node."""

    program: str
    command: str  # power-on, power-off or power-cycle
    target: str
    timeout_s: int


@call(reply=str, reserve=Reserve.QUORUM)
class NodePowercycle(ChangingCall[str], frozen=True, tag="node_powercycle"):
    """Reboot this node at once and hard, a few seconds after the reply. Replies what will happen, for people."""


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class StorageModify(ChangingCall[None], frozen=True, tag="storage_modify"):
    """Whether LVM may take space of a physical volume."""

    name: str
    allocatable: bool


class LostVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A logical volume that lies, with a part of it at least, on a physical volume that is missing."""

    name: str  # without the volume group
    owner: Uuid | None = None  # the instance, by its mark; None: without one
    disk: Uuid | None = None
    origin: str = ""  # the instance's name when the volume was made or the instance renamed, for people


class StorageLoss(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume group has lost."""

    missing: int = 0  # physical volumes
    volumes: tuple[LostVolume, ...] = ()


@call(reply=StorageLoss, time=Time.SLOW, reserve=Reserve.STORAGE)
class StorageLost(Call[StorageLoss], frozen=True, tag="storage_lost"):
    """What a volume group has lost with physical volumes that are missing; nothing on a virtual node."""

    name: str


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class StorageRepair(ChangingCall[None], frozen=True, tag="storage_repair"):
    """Drop missing physical volumes from a volume group, and with them the logical volumes of `lost`.

    Refused when a volume that is not named would go, too. Nothing is missing: fine. Cannot be taken back.
    """

    name: str
    lost: tuple[str, ...] = ()  # names of volumes, without the volume group
