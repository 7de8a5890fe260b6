"""Instance policy: the sizes that the administrator allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti.model.config import Config
from ganeti.model.objects import DiskTemplate, Params
from ganeti.model.types import MiB, Uuid

#: built-in bounds, sizes in MiB
_MIN = {"memory-size": 128, "cpu-count": 1, "disk-count": 1, "disk-size": 1024, "nic-count": 1, "spindle-use": 1}
_MAX = {
    "memory-size": 32768, "cpu-count": 8, "disk-count": 16, "disk-size": 1048576, "nic-count": 8, "spindle-use": 12,
}  # fmt: skip


def builtin() -> Params:
    return {
        "minmax": [{"min": dict(_MIN), "max": dict(_MAX)}],
        "std": dict(_MIN),
        "disk-templates": [template.value for template in DiskTemplate],
        "vcpu-ratio": 4.0,
        "spindle-ratio": 32.0,
    }


def filled(config: Config, group: Uuid) -> Params:
    """Complete: built-in, cluster, group."""
    found = config.groups.get(group)
    return {**builtin(), **config.cluster.ipolicy, **(found.ipolicy if found is not None else {})}


def filled_cluster(config: Config) -> Params:
    """Complete: built-in, cluster."""
    return {**builtin(), **config.cluster.ipolicy}


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """What of an instance the policy is about."""

    template: str
    templates: tuple[str, ...] = ()  # of its disks, where they differ
    memory: MiB
    vcpus: int
    disks: tuple[MiB, ...]
    nics: int
    spindle_use: int


def violations(policy: Params, sizes: Sizes) -> Sequence[str]:
    """Why the instance is not allowed; it has to fit one of the min/max pairs. Empty: it is allowed."""
    found = []
    for template in sizes.templates or (sizes.template,):
        if template != "diskless" and template not in policy["disk-templates"]:
            found.append(f"disk template {template} is not allowed")
    outside = [_outside(pair, sizes) for pair in policy["minmax"]]
    if outside and all(outside):
        nearest = min(outside, key=len)
        found += nearest
    return found


def _outside(pair: dict[str, Any], sizes: Sizes) -> list[str]:
    values = [("memory-size", sizes.memory), ("cpu-count", sizes.vcpus), ("nic-count", sizes.nics)]
    values.append(("spindle-use", sizes.spindle_use))
    if sizes.template != "diskless":
        values.append(("disk-count", len(sizes.disks)))
        values += [("disk-size", size) for size in sizes.disks]
    found = []
    for key, value in values:
        low, high = pair["min"].get(key, value), pair["max"].get(key, value)
        if not low <= value <= high:
            text = f"{key} {value} is not in {low} to {high}"
            if text not in found:
                found.append(text)
    return found
