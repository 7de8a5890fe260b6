"""What has to be plugged in and out so that a running guest has the devices of another spec. Pure."""

from __future__ import annotations

import msgspec

from ganeti.calls.instance import GuestSpec
from ganeti.model.disks import without_secret
from ganeti.model.objects import Disk, Nic, Params
from ganeti.model.types import Uuid


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """In the order in which it is done."""

    nics_out: tuple[Uuid, ...]
    disks_out: tuple[Uuid, ...]
    disks_in: tuple[Uuid, ...]
    nics_in: tuple[Uuid, ...]

    def __bool__(self) -> bool:
        return bool(self.nics_out or self.disks_out or self.disks_in or self.nics_in)


def difference(before: GuestSpec, after: GuestSpec) -> Difference:
    """A changed NIC goes out and in; of a disk only its presence counts: a guest may be writing to it."""
    old_disks, new_disks = _disks(before), _disks(after)
    old_nics, new_nics = _nics(before), _nics(after)
    return Difference(
        nics_out=tuple(uuid for uuid, nic in old_nics.items() if new_nics.get(uuid) != nic),
        disks_out=tuple(uuid for uuid in old_disks if uuid not in new_disks),
        disks_in=tuple(uuid for uuid in new_disks if uuid not in old_disks),
        nics_in=tuple(uuid for uuid, nic in new_nics.items() if old_nics.get(uuid) != nic),
    )


def with_devices(spec: GuestSpec, source: GuestSpec) -> GuestSpec:
    """`spec` with the disks and NICs of `source`."""
    instance = msgspec.structs.replace(spec.instance, disks=source.instance.disks, nics=source.instance.nics)
    return msgspec.structs.replace(spec, instance=instance, nicparams=source.nicparams, networks=source.networks)


def for_record(spec: GuestSpec) -> GuestSpec:
    """What a node keeps of a guest while it runs there: no parameters of OS scripts, no secrets of mirrors."""
    disks = tuple(map(without_secret, spec.instance.disks))
    return msgspec.structs.replace(spec, osparams={}, instance=msgspec.structs.replace(spec.instance, disks=disks))


def without_disk(spec: GuestSpec, uuid: Uuid) -> GuestSpec:
    disks = tuple(disk for disk in spec.instance.disks if disk.uuid != uuid)
    return msgspec.structs.replace(spec, instance=msgspec.structs.replace(spec.instance, disks=disks))


def without_nic(spec: GuestSpec, uuid: Uuid) -> GuestSpec:
    kept = [pair for pair in zip(spec.instance.nics, spec.nicparams, strict=True) if pair[0].uuid != uuid]
    return _with_nics(spec, kept)


def with_disk(spec: GuestSpec, disk: Disk) -> GuestSpec:
    disks = (*spec.instance.disks, disk)
    return msgspec.structs.replace(spec, instance=msgspec.structs.replace(spec.instance, disks=disks))


def with_nic(spec: GuestSpec, nic: Nic, params: Params) -> GuestSpec:
    return _with_nics(spec, [*zip(spec.instance.nics, spec.nicparams, strict=True), (nic, params)])


def _with_nics(spec: GuestSpec, pairs: list[tuple[Nic, Params]]) -> GuestSpec:
    instance = msgspec.structs.replace(spec.instance, nics=tuple(nic for nic, _ in pairs))
    return msgspec.structs.replace(spec, instance=instance, nicparams=tuple(params for _, params in pairs))


def _disks(spec: GuestSpec) -> dict[Uuid, Disk]:
    return {disk.uuid: disk for disk in spec.instance.disks}


def _nics(spec: GuestSpec) -> dict[Uuid, tuple[str, str | None, Params]]:
    """What a card's back end depends on."""
    pairs = zip(spec.instance.nics, spec.nicparams, strict=True)
    return {nic.uuid: (nic.mac, nic.ip, params) for nic, params in pairs}
