"""Changes of an instance's disks and NICs as clients describe them, and what becomes of the instance. Pure.

All raise PrereqError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ganeti import errors
from ganeti.logic import devices
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.objects import Disk, Nic
from ganeti.model.types import Uuid

# Any: untrusted JSON, and the scalars that clients are told.

D = TypeVar("D", Disk, Nic)
Told = tuple[str, Any]

_ACTIONS = ("add", "remove", "modify", "attach", "detach")
_AT_END = ("add", "remove", "attach", "detach")  # without a device: the last one, or behind it
_SHORT = 2  # [index or action, values], as clients of 2.0 write it
_FULL = 3  # [action, device, values]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    action: str  # one of `_ACTIONS`
    device: int | str  # index (-1: last, for `add` and `attach` behind it), uuid or name
    values: dict[str, Any]


class Outcome(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """The devices as they shall be, and what the client is told."""

    devices: tuple[D, ...]
    told: tuple[Told, ...]
    attached: tuple[Uuid, ...] = ()  # of the devices those that were there already
    detached: tuple[D, ...] = ()  # those that are kept, of no instance


def _wrong(message: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", message, hint=hint)


def parse(untrusted: Sequence[Any], what: str) -> tuple[Change, ...]:
    """From `[action, device, values]`, or in the older form `[add | remove | index, values]`."""
    return tuple(_parse_one(one, what) for one in untrusted)


def _parse_one(untrusted: Any, what: str) -> Change:
    if not isinstance(untrusted, list | tuple) or len(untrusted) not in (_SHORT, _FULL):
        raise _wrong(f"{what} changes are [action, device, values], not {str(untrusted)[:80]}")
    *head, values = untrusted
    if len(head) == 1:
        head = [head[0], -1] if head[0] in _AT_END else ["modify", head[0]]
    action, device = head
    if not isinstance(values, Mapping):
        raise _wrong(f"{what}: values are wanted, not {str(values)[:80]}")
    if action in ("attach", "detach") and what != "disk":
        raise _wrong(f"{what}: {action} is for disks", hint="use add or remove")
    if action not in _ACTIONS:
        raise _wrong(f"{what}: unknown action {str(action)[:40]!r}", hint="there are " + ", ".join(_ACTIONS))
    if isinstance(device, bool) or not isinstance(device, int | str):
        raise _wrong(f"{what}: {str(device)[:40]!r} is no index, name or uuid")
    if action in ("remove", "detach") and values:
        raise _wrong(f"{what} {device}: nothing is set on a device that goes")
    if action == "attach" and (len(values) != 1 or set(values) - {"uuid", "name"}):
        raise _wrong(
            f"{what} {device}: which disk is to be attached?", hint="write attach:uuid=UUID or attach:name=NAME"
        )
    if action == "modify" and not values:
        raise _wrong(f"{what} {device}: nothing to change was given")
    number = device.removeprefix("-") if isinstance(device, str) else ""
    is_number = number.isascii() and number.isdigit()
    return Change(action=action, device=int(device) if is_number else device, values=dict(values))


def _find(found: Sequence[D], device: int | str, what: str) -> int:
    """Its index."""
    if isinstance(device, int):
        if not found:
            raise _wrong(f"the instance has no {what}")
        if not -1 <= device < len(found):
            raise _wrong(f"there is no {what} {device}", hint=f"it has {what} 0 to {len(found) - 1}")
        return device % len(found)
    matches = [index for index, each in enumerate(found) if device in (each.uuid, each.name)]
    if len(matches) != 1:
        raise _wrong(f"there is no {what} {device!r}", hint=f"give an index, a uuid or a name; there are {len(found)}")
    return matches[0]


def _place(found: Sequence[D], device: int | str, what: str) -> int:
    """Where a new one goes."""
    if not isinstance(device, int) or not -1 <= device <= len(found):
        raise _wrong(f"a new {what} goes to an index from 0 to {len(found)}, not to {device!r}")
    return len(found) if device == -1 else device


def _check_names(found: Sequence[D], what: str) -> None:
    names = [each.name for each in found if each.name]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise _wrong(f"two {what}s would be called {twice[0]!r}")


# Disks


def disks(
    old: Sequence[Disk],
    changes: Sequence[Change],
    make: Callable[[devices.DiskSpec, int], Disk],
    kept: Callable[[str], Disk],
) -> Outcome[Disk]:
    """`make` gives the disk for a description and its index, `kept` a detached one by its uuid or name."""
    found, told = list(old), []
    attached: list[Uuid] = []
    detached: list[Disk] = []
    for change in changes:
        if change.action == "attach":
            index = _place(found, change.device, "disk")
            disk = kept(wanted_disk(change))
            if disk.uuid in attached:
                raise _wrong(f"disk {disk.uuid} is attached twice")
            found.insert(index, disk)
            attached.append(disk.uuid)
            told.append((f"disk/{index}", f"attach:{disk.uuid}"))
            continue
        if change.action == "add":
            index = _place(found, change.device, "disk")
            spec = devices.disk(change.values, f"disk {index}")
            found.insert(index, make(spec, index))
            told.append((f"disk/{index}", f"add:size={spec.size},mode={spec.mode.value}"))
            continue
        index = _find(found, change.device, "disk")
        if change.action == "remove":
            del found[index]
            told.append((f"disk/{index}", "remove"))
        elif change.action == "detach":
            disk = found.pop(index)
            if disk.uuid not in {each.uuid for each in old}:
                raise _wrong(f"disk {index} was not there before", hint="detach it with a command of its own")
            detached.append(disk)
            told.append((f"disk/{index}", f"detach:{disk.uuid}"))
        else:
            found[index], more = _changed_disk(found[index], change.values, index)
            told += more
    if len(found) > devices.MAX_DISKS:
        raise _wrong(f"{len(found)} disks are too many", hint=f"an instance has at most {devices.MAX_DISKS}")
    if old and not found:
        raise _wrong("the last disk cannot be taken away", hint="remove the instance instead")
    if attached and any(uuid not in {disk.uuid for disk in found} for uuid in attached):
        raise _wrong("a disk is attached and removed at once")
    _check_names(found, "disk")
    return Outcome(devices=tuple(found), told=tuple(told), attached=tuple(attached), detached=tuple(detached))


def wanted_disk(change: Change) -> str:
    """Uuid or name of the detached disk that is to be attached."""
    (value,) = change.values.values()
    if not isinstance(value, str) or not value:
        raise _wrong(f"{str(value)[:80]!r} is no name or uuid of a disk")
    return value


def _changed_disk(disk: Disk, untrusted: Mapping[str, Any], index: int) -> tuple[Disk, list[Told]]:
    what = f"disk {index}"
    if "size" in untrusted:
        raise _wrong(f"{what}: its size cannot be set", hint="gnt-instance grow-disk makes it larger")
    unknown = sorted(set(untrusted) - {"mode", "name", "exportable"})
    if unknown:
        raise _wrong(f"{what}: {unknown[0]!r} cannot be changed", hint="mode, name and exportable can")
    told: list[Told] = []
    changed = disk
    if "mode" in untrusted:
        mode = devices.disk_mode(untrusted["mode"], what)
        changed = msgspec.structs.replace(changed, mode=mode)
        told.append((f"disk.mode/{index}", mode.value))
    if "name" in untrusted:
        name = devices.label(untrusted["name"], what)
        changed = msgspec.structs.replace(changed, name=name)
        told.append((f"disk.name/{index}", name or "none"))
    if "exportable" in untrusted:
        exportable = devices.yes_no(untrusted["exportable"], f"{what}: exportable")
        changed = msgspec.structs.replace(changed, exportable=exportable)
        told.append((f"disk.exportable/{index}", "yes" if exportable else "no"))
    return changed, told


# NICs


class NicChoices(msgspec.Struct, frozen=True, kw_only=True):
    """How addresses are chosen and reserved. All raise PrereqError."""

    new_nic: Callable[[devices.NicSpec], Nic]
    new_mac: Callable[[str], str]  # on a network, by uuid, or on none
    reserve_mac: Callable[[str], None]
    address: Callable[[devices.NicSpec], str | None]  # checks the NIC, too


def nics(config: Config, old: Sequence[Nic], changes: Sequence[Change], choose: NicChoices) -> Outcome[Nic]:
    found, told = list(old), []
    for change in changes:
        if change.action == "add":
            index = _place(found, change.device, "NIC")
            nic = _new_nic(config, change.values, index, choose)
            found.insert(index, nic)
            told.append((f"nic.{index}", "add:" + _described(config, nic)))
            continue
        index = _find(found, change.device, "NIC")
        if change.action == "remove":
            del found[index]
            told.append((f"nic.{index}", "remove"))
        else:
            found[index], more = _changed_nic(config, found[index], change.values, index, choose)
            told += more
    if len(found) > devices.MAX_NICS:
        raise _wrong(f"{len(found)} NICs are too many", hint=f"an instance has at most {devices.MAX_NICS}")
    _check_names(found, "NIC")
    return Outcome(devices=tuple(found), told=tuple(told))


def _described(config: Config, nic: Nic) -> str:
    filled = params.filled_nic(config, nic.params)
    where = config.networks[nic.network].name if nic.network else None
    how = f"network={where}" if where else f"mode={filled['mode']},link={filled['link']}"
    return f"mac={nic.mac},ip={nic.ip},{how}"


def _new_nic(config: Config, untrusted: Mapping[str, Any], index: int, choose: NicChoices) -> Nic:
    spec = devices.nic(untrusted, f"NIC {index}", config)
    if spec.ip == "auto":
        raise _wrong(f"NIC {index}: ip=auto is for new instances", hint="give the address")
    return choose.new_nic(spec)


def _changed_nic(
    config: Config, nic: Nic, untrusted: Mapping[str, Any], index: int, choose: NicChoices
) -> tuple[Nic, list[Told]]:
    what = f"NIC {index}"
    change = devices.nic_change(untrusted, what, config, on_network=nic.network is not None)
    if change.mac == "auto":
        raise _wrong(f"{what}: mac=auto is for new NICs", hint="mac=generate gives it a new address")
    if change.ip == "auto":
        raise _wrong(f"{what}: ip=auto is for new instances", hint="give the address")
    network = nic.network if change.network is None else Uuid(change.network) or None
    # what the network decides is not kept beside it
    own = {} if network is not None else params.merged(nic.params, change.params)
    is_moved = network != nic.network
    ip = change.ip if change.has_ip else None if is_moved else nic.ip
    if is_moved or ip != nic.ip or own != nic.params:
        kept = not is_moved and ip == nic.ip
        ip = ip if kept else choose.address(devices.NicSpec(ip=ip, network=network or "", params=own))
    if network is None:
        params.check_nic(params.filled_nic(config, own), ip)
    mac = nic.mac
    if change.mac == "generate":
        mac = choose.new_mac(network or "")
    elif change.mac is not None and change.mac != nic.mac:
        mac = change.mac
        choose.reserve_mac(mac)
    changed = msgspec.structs.replace(
        nic, mac=mac, ip=ip, network=network, name=nic.name if change.name is None else change.name, params=own
    )
    told: list[Told] = []
    if change.mac is not None:
        told.append((f"nic.mac/{index}", mac))
    if change.network is not None:
        told.append((f"nic.network/{index}", config.networks[network].name if network else None))
    if change.has_ip or ip != nic.ip:
        told.append((f"nic.ip/{index}", ip))
    if change.name is not None:
        told.append((f"nic.name/{index}", change.name or "none"))
    told += [(f"nic.{key}/{index}", "default" if value is None else value) for key, value in change.params.items()]
    return changed, told
