"""Devices of instances that run: what the guest has, what it shall have, and the steps between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.devices import InstanceDevices, InstanceRunning, Running
from ganeti.calls.instance import GuestSpec
from ganeti.hypervisor import devices
from ganeti.logic import guests
from ganeti.logic.base import Env
from ganeti.logic.steps import Effect
from ganeti.model.config import Config
from ganeti.model.objects import Disk, Instance, Nic, Node
from ganeti.model.types import Uuid

D = TypeVar("D", Disk, Nic)


async def running(env: Env, instance: Instance) -> Running | None:
    """What the guest runs as; None when it does not run or nothing is known. Raises PrereqError."""
    call = InstanceRunning(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
    try:
        return await env.rpc.one(instance.primary_node, call)
    except errors.RpcError as err:
        raise errors.PrereqError("environment_error", f"cannot find out what {instance.name} runs as: {err}") from err


def plugged(config: Config, has: GuestSpec, before: Instance, after: Instance) -> GuestSpec:
    """What the guest has, with the changes between the two instances made, and no others that wait for its next start.

    A disk's mode is not among them: the guest may be writing to it.
    """
    disks = _merged(has.instance.disks, before.disks, after.disks, with_changes=False)
    nics = _merged(has.instance.nics, before.nics, after.nics, with_changes=True)
    kept = dict(zip((nic.uuid for nic in has.instance.nics), has.nicparams, strict=True))
    touched = {nic.uuid for nic in after.nics if nic not in before.nics}
    filled = dict(zip((nic.uuid for nic in after.nics), guests.nicparams(config, after), strict=True))
    nicparams = tuple(
        filled[nic.uuid] if nic.uuid in touched or nic.uuid not in kept else kept[nic.uuid] for nic in nics
    )
    instance = msgspec.structs.replace(has.instance, disks=disks, nics=nics)
    return msgspec.structs.replace(
        has, instance=instance, nicparams=nicparams, networks=guests.networks(config, instance)
    )


def _merged(has: Sequence[D], before: Sequence[D], after: Sequence[D], *, with_changes: bool) -> tuple[D, ...]:
    old: dict[Uuid, D] = {each.uuid: each for each in before}
    new: dict[Uuid, D] = {each.uuid: each for each in after}
    found: list[D] = []
    for each in has:
        if each.uuid in old and each.uuid not in new:
            continue
        changed = new.get(each.uuid)
        is_touched = with_changes and changed is not None and changed != old.get(each.uuid)
        found.append(changed if is_touched and changed is not None else each)
    present = {each.uuid for each in found}
    found += [each for each in after if each.uuid not in old and each.uuid not in present]
    return tuple(found)


def is_needed(has: GuestSpec, wanted: GuestSpec) -> bool:
    return bool(devices.difference(has, wanted))


def step(env: Env, node: Node, has: GuestSpec, wanted: GuestSpec) -> Effect:
    """Taken back by giving the guest what it had."""
    request = env.new_request()
    change = devices.difference(has, wanted)
    words = [
        f"{verb} {what}{'s' if len(uuids) > 1 else ''}"
        for verb, what, uuids in (
            ("remove", "disk", change.disks_out),
            ("add", "disk", change.disks_in),
            ("remove", "NIC", tuple(uuid for uuid in change.nics_out if uuid not in change.nics_in)),
            ("change", "NIC", tuple(uuid for uuid in change.nics_out if uuid in change.nics_in)),
            ("add", "NIC", tuple(uuid for uuid in change.nics_in if uuid not in change.nics_out)),
        )
        if uuids
    ]
    return Effect(
        title=f"{', '.join(words)} while {has.instance.name} runs on {node.name}",
        node=node.uuid,
        call=InstanceDevices(spec=wanted, request=request),
        undo=InstanceDevices(spec=has, request=env.new_request(), undoes=request),
    )


def pending(config: Config, instance: Instance, has: GuestSpec) -> tuple[str, ...]:
    """What of the configuration the guest gets at its next start only."""
    now = guests.guest_spec(config, instance)
    found = [
        f"{family}/{name}: {old.get(name)!r} until the next start, then {value!r}"
        for family, old, new in (("hv", has.hvparams, now.hvparams), ("be", has.beparams, now.beparams))
        for name, value in sorted(new.items())
        if old.get(name) != value and name not in _AT_ONCE
    ]
    found += _pending_devices("disk", has.instance.disks, instance.disks)
    found += _pending_devices("nic", has.instance.nics, instance.nics)
    return tuple(found)


#: parameters that matter to the cluster, not to the guest
_AT_ONCE = frozenset({"auto_balance", "always_failover", "spindle_use", "minmem", "migration_bandwidth",
                      "migration_downtime", "migration_mode", "migration_caps", "migration_port"})  # fmt: skip


def _pending_devices(what: str, has: Iterable[Disk | Nic], wanted: Iterable[Disk | Nic]) -> list[str]:
    there = {each.uuid: _seen(each) for each in has}
    new = {each.uuid: (index, _seen(each)) for index, each in enumerate(wanted)}
    found = [f"{what}/{index}: comes with the next start" for uuid, (index, _) in new.items() if uuid not in there]
    found += [
        f"{what}/{index}: changes with the next start"
        for uuid, (index, seen) in new.items()
        if uuid in there and there[uuid] != seen
    ]
    found += [f"{what} {uuid}: goes with the next start" for uuid in there if uuid not in new]
    return found


def _seen(device: Disk | Nic) -> tuple[object, ...]:
    """What of it the guest would notice."""
    if isinstance(device, Disk):
        return (device.mode,)
    return (device.mac, device.ip, device.network, tuple(sorted(device.params.items())))
