"""Calls about the devices and the memory of a guest that runs."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.calls.instance import GuestSpec
from ganeti.model.types import MiB, Uuid


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest runs as, which may differ from what is configured now."""

    spec: GuestSpec  # with the devices that it has; without OS parameters
    why_fixed: str = ""  # why its devices cannot be changed while it runs; empty: they can


@call(reply=Running | None, reserve=Reserve.HYPERVISOR)
class InstanceRunning(Call[Running | None], frozen=True, tag="instance_running"):
    """Nothing when the guest does not run here, or was started by a version that did not write it down."""

    name: str
    uuid: Uuid
    hypervisor: str


@call(reply=None, time=Time.SLOW, reserve=Reserve.HYPERVISOR)
class InstanceDevices(ChangingCall[None], frozen=True, tag="instance_devices"):
    """Give a running guest the disks and NICs of this spec: others go, missing ones come, changed NICs do both.

    A guest that does not run is left alone. Taken back by the same call with the spec that it had before.
    """

    spec: GuestSpec


@call(reply=None, time=Time.SLOW, reserve=Reserve.HYPERVISOR)
class InstanceMemory(ChangingCall[None], frozen=True, tag="instance_memory"):
    """Set the memory that a running guest has of that which it was started with."""

    name: str
    uuid: Uuid
    hypervisor: str
    memory: MiB
