"""What administrators record about nodes by hand (hv_state, disk_state): kept and shown, used by nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ganeti import errors
from ganeti.model import params
from ganeti.model.objects import Params

_HV = {
    "cpu_node": params.Parameter(params.Kind.INT, 1),
    "cpu_total": params.Parameter(params.Kind.INT, 1),
    "mem_hv": params.Parameter(params.Kind.SIZE, 0),
    "mem_node": params.Parameter(params.Kind.SIZE, 0),
    "mem_total": params.Parameter(params.Kind.SIZE, 0),
}
_DISK = {name: params.Parameter(params.Kind.SIZE, 0) for name in ("disk_total", "disk_reserved", "disk_overhead")}
#: the storage that it can be recorded of
_STORAGE = ("plain",)


def _wrong(message: str, hint: str) -> errors.PrereqError:
    return errors.PrereqError("wrong_input", message, hint=hint)


def changed_hv(old: Mapping[str, Params], untrusted: Mapping[str, Any], known: Collection[str]) -> dict[str, Params]:
    """Recorded state by hypervisor (one of `known`) with the changes made. Raises PrereqError."""
    new = dict(old)
    for name, values in untrusted.items():
        if name not in known or not isinstance(values, Mapping):
            raise _wrong(f"no state of hypervisor {name!r} can be recorded", "there are " + ", ".join(sorted(known)))
        new[name] = params.merged(new.get(name, {}), params.parse(_HV, values, "hypervisor state"))
    return {name: values for name, values in new.items() if values}


def changed_disk(old: Mapping[str, Params], untrusted: Mapping[str, Any]) -> dict[str, Params]:
    """Recorded state by `storage_type/identifier` with the changes made. Raises PrereqError.

    Clients may also nest it: {storage_type: {identifier: values}}.
    """
    flat: dict[str, Any] = {}
    for name, values in untrusted.items():
        if "/" not in name and isinstance(values, Mapping):
            flat |= {f"{name}/{inner}": found for inner, found in values.items()}
        else:
            flat[name] = values
    new = dict(old)
    for name, values in flat.items():
        storage, slash, identifier = name.partition("/")
        if storage not in _STORAGE or not slash or not identifier or not isinstance(values, Mapping):
            raise _wrong(f"no state of storage {name!r} can be recorded", "write plain/VOLUMEGROUP:KEY=VALUE,...")
        new[name] = params.merged(new.get(name, {}), params.parse(_DISK, values, "disk state"))
    return {name: values for name, values in new.items() if values}
