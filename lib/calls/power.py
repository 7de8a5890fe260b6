"""Calls about the machine below a node: its power, by an out-of-band helper on the master, and a hard reboot."""

from __future__ import annotations

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call


@call(reply=str, time=Time.SLOW, reserve=Reserve.SCRIPTS)
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


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class StorageRepair(ChangingCall[None], frozen=True, tag="storage_repair"):
    """Drop what is missing from a volume group."""

    name: str
