"""Changes of an instance policy as clients write them: untrusted in, typed out. All raise PrereqError(wrong_input)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganeti import errors
from ganeti.model import policy
from ganeti.model.objects import DiskTemplate, Params
from ganeti.model.params import is_reset
from ganeti.model.types import parse_size

# Any: untrusted JSON.

SPEC_KEYS = tuple(sorted(policy.builtin()["std"]))
_SIZES = ("memory-size", "disk-size")
_RATIOS = ("vcpu-ratio", "spindle-ratio")


def _wrong(message: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", f"instance policy: {message}", hint=hint)


def parse(untrusted: Mapping[str, Any], *, for_cluster: bool) -> Params:
    """Typed parts; None where one shall go. Only the cluster has `std`, which may be given in part."""
    readers = {"minmax": _pairs, "std": _std, "disk-templates": _templates, **dict.fromkeys(_RATIOS, _ratio)}
    if not for_cluster:
        del readers["std"]
    found: Params = {}
    for key, value in untrusted.items():
        if key not in readers:
            raise _wrong(f"unknown key {key!r}", hint="the keys are " + ", ".join(readers))
        found[key] = None if is_reset(value) or value == ["default"] else readers[key](value, key)
    return found


def merged(overrides: Params, changes: Params) -> Params:
    """Overrides with the changes made: whole parts, but for `std` key by key."""
    found = {**overrides, **changes}
    if changes.get("std") is not None:
        found["std"] = {**policy.builtin()["std"], **overrides.get("std", {}), **changes["std"]}
    return {key: value for key, value in found.items() if value is not None}


def check(complete: Params) -> None:
    """What the parts cannot show alone: min <= std <= max for each pair."""
    for pair in complete["minmax"]:
        for key in SPEC_KEYS:
            low, std, high = pair["min"][key], complete["std"][key], pair["max"][key]
            if low > high:
                raise _wrong(f"the least {key}, {low}, is more than the greatest, {high}")
            if not low <= std <= high:
                raise _wrong(f"the standard {key} is {std}, which is not in {low} to {high}")


def _pairs(value: Any, what: str) -> list[dict[str, Params]]:
    if not isinstance(value, list) or not value:
        raise _wrong("bounds are a list of min and max pairs", hint="write min:SPEC/max:SPEC, // between two pairs")
    found = []
    for pair in value:
        if not isinstance(pair, Mapping) or set(pair) != {"min", "max"}:
            raise _wrong("each pair of bounds has min and max")
        one = {bound: _spec(pair[bound], bound) for bound in ("min", "max")}
        for bound, spec in one.items():
            missing = [key for key in SPEC_KEYS if key not in spec]
            if missing:
                raise _wrong(f"{bound} has no {missing[0]}", hint="bounds have all of " + ", ".join(SPEC_KEYS))
        found.append(one)
    return found


def _std(value: Any, what: str) -> Params:
    return _spec(value, what)


def _spec(value: Any, what: str) -> Params:
    if not isinstance(value, Mapping):
        raise _wrong(f"{what}: keys and values are wanted, not {value!r}")
    found: Params = {}
    for key, number in value.items():
        if key not in SPEC_KEYS:
            raise _wrong(f"{what}: unknown key {key!r}", hint="the keys are " + ", ".join(SPEC_KEYS))
        try:
            found[key] = parse_size(number) if isinstance(number, str) and key in _SIZES else int(number)
        except (TypeError, ValueError, errors.UnitParseError) as err:
            raise _wrong(f"{what}: {key} cannot be {number!r}") from err
        if found[key] < 0 or isinstance(number, bool):
            raise _wrong(f"{what}: {key} cannot be {number!r}")
    return found


def _templates(value: Any, what: str) -> list[str]:
    known = [template.value for template in DiskTemplate]
    if not isinstance(value, list | tuple) or not value:
        raise _wrong("at least one disk template must be allowed")
    for name in value:
        if name not in known:
            raise _wrong(f"there is no disk template {name!r}", hint="there are " + ", ".join(known))
    return list(dict.fromkeys(value))


def _ratio(value: Any, what: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError) as err:
        raise _wrong(f"{what} {value!r} is no number") from err
    if not 0 < found < float("inf") or isinstance(value, bool):
        raise _wrong(f"{what} {value!r} is not more than 0")
    return found
