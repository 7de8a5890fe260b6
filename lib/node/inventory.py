"""What storage this node has: directories, physical volumes, volume groups, logical volumes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import msgspec

from ganeti import errors
from ganeti.calls.inventory import LogicalVolume, StorageKind, StorageList, StorageUnit, VolumeList
from ganeti.host.run import Argv, Runner
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.wire import codec

_MIB = 1 << 20
_SEGMENT = re.compile(r"(.*)\(\d+\)\Z")

PV_FIELDS = ("pv_name", "pv_size", "pv_used", "pv_free", "pv_attr")
VG_FIELDS = ("vg_name", "vg_size", "vg_free")
LV_FIELDS = ("lv_name", "lv_size", "devices", "vg_name")


def report(tool: str, fields: Sequence[str]) -> Argv:
    """lvmreport(7); JSON since LVM 2.02.158."""
    return (tool, "--reportformat=json", "--units=m", "--nosuffix", "-o", ",".join(fields))


class Report(msgspec.Struct, frozen=True):
    report: list[dict[str, list[dict[str, str]]]]


def parse(text: str, tool: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a report, each with these fields. Raises StorageError."""
    try:
        parts = codec.decode(text, Report).report
        rows = [row for part in parts for row in part[tool.removesuffix("s")]]
        return [{field: row[field] for field in fields} for row in rows]
    except (codec.CodecError, KeyError) as err:
        raise errors.StorageError(f"cannot read what {tool} reports: {err}") from err


@handles(StorageList)
def units(call: StorageList, env: NodeEnv, context: Context) -> tuple[StorageUnit, ...]:
    if call.kind is StorageKind.LVM_PV:
        found = list(_physical_volumes(env.runner))
    elif call.kind is StorageKind.LVM_VG:
        found = list(_volume_groups(env.runner))
    else:
        found = [_directory(logical, env) for logical in call.directories]
    return tuple(unit for unit in found if call.name in ("", unit.name))


@handles(VolumeList)
def volumes(call: VolumeList, env: NodeEnv, context: Context) -> tuple[LogicalVolume, ...]:
    return tuple(logical_volumes(env.runner))


def logical_volumes(runner: Runner) -> list[LogicalVolume]:
    found = []
    for row in _ask(runner, "lvs", LV_FIELDS, is_needed=False):
        for device in row["devices"].split(",") or [""]:
            segment = _SEGMENT.match(device)
            found.append(
                LogicalVolume(
                    device=segment[1] if segment else device,
                    vg=row["vg_name"],
                    name=row["lv_name"],
                    size=_number(row["lv_size"]),
                )
            )
    return sorted(found, key=lambda volume: (volume.device, volume.vg, volume.name))


def _physical_volumes(runner: Runner) -> Iterator[StorageUnit]:
    for row in _ask(runner, "pvs", PV_FIELDS):
        size, used, free = (_number(row[key]) for key in ("pv_size", "pv_used", "pv_free"))
        # pvs(8): the first attribute is `a` for allocatable
        is_allocatable = row["pv_attr"].startswith("a")
        yield StorageUnit(name=row["pv_name"], size=size, used=used, free=free, allocatable=is_allocatable)


def pv_sizes(runner: Runner, vg: str) -> tuple[float, ...]:
    """MiB. Raises StorageError."""
    rows = _ask(runner, "pvs", ("vg_name", "pv_size"))
    return tuple(_number(row["pv_size"]) for row in rows if row["vg_name"] == vg)


def _volume_groups(runner: Runner) -> Iterator[StorageUnit]:
    for row in _ask(runner, "vgs", VG_FIELDS):
        size, free = _number(row["vg_size"]), _number(row["vg_free"])
        yield StorageUnit(name=row["vg_name"], size=size, used=size - free, free=free)


def _ask(runner: Runner, tool: str, fields: Sequence[str], *, is_needed: bool = True) -> list[dict[str, str]]:
    try:
        return parse(runner.run(report(tool, fields)).stdout, tool, fields)
    except errors.CommandFailed as err:
        if err.is_missing and not is_needed:
            return []
        raise errors.StorageError(f"LVM cannot be asked: {err}") from err


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as err:
        raise errors.StorageError(f"LVM reports {text!r} where a size should be") from err


def _directory(logical: str, env: NodeEnv) -> StorageUnit:
    local = env.paths.local(logical)
    try:
        found = os.statvfs(local)
    except OSError as err:
        raise errors.StorageError(f"directory {logical} cannot be asked for its space: {err.strerror}") from err
    size, free = (blocks * found.f_frsize / _MIB for blocks in (found.f_blocks, found.f_bavail))
    return StorageUnit(name=logical, size=size, used=size - found.f_bfree * found.f_frsize / _MIB, free=free)
