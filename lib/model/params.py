"""Back-end, NIC and node parameters: declared once, parsed from untrusted values, filled level by level."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ganeti import errors
from ganeti.model.config import Config
from ganeti.model.objects import Nic, Node, Params
from ganeti.model.types import Uuid, parse_size

#: value words that take an override away
_RESET_WORDS = ("default",)


class Kind(enum.Enum):
    TEXT = "text"
    BOOL = "yes or no"
    INT = "whole number"
    SIZE = "size"
    FLOAT = "number"


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: type, built-in default, and what is wrong with a typed value (or empty)."""

    kind: Kind
    default: Any  # Any: JSON scalar of that kind
    problem: Callable[[Any], str] = lambda value: ""


Declarations = Mapping[str, Parameter]


def at_least(low: int) -> Callable[[Any], str]:
    return lambda value: "" if value >= low else f"must be at least {low}"


def one_of(*words: str) -> Callable[[Any], str]:
    return lambda value: "" if value in words else "must be one of " + ", ".join(words)


BACKEND: Declarations = {
    "minmem": Parameter(Kind.SIZE, 128, at_least(1)),
    "maxmem": Parameter(Kind.SIZE, 128, at_least(1)),
    "vcpus": Parameter(Kind.INT, 1, at_least(1)),
    "auto_balance": Parameter(Kind.BOOL, True),
    "always_failover": Parameter(Kind.BOOL, False),
    "spindle_use": Parameter(Kind.INT, 1, at_least(0)),
}
NIC: Declarations = {
    "mode": Parameter(Kind.TEXT, "bridged", one_of("bridged", "routed", "openvswitch")),
    "link": Parameter(Kind.TEXT, "xen-br0"),
    "vlan": Parameter(Kind.TEXT, ""),
}
NODE: Declarations = {
    "oob_program": Parameter(Kind.TEXT, ""),
    "spindle_count": Parameter(Kind.INT, 1, at_least(0)),
    "exclusive_storage": Parameter(Kind.BOOL, False),
    "ovs": Parameter(Kind.BOOL, False),
    "ovs_name": Parameter(Kind.TEXT, "switch1"),
    "ovs_link": Parameter(Kind.TEXT, ""),
    "ssh_port": Parameter(Kind.INT, 22, at_least(1)),
    "cpu_speed": Parameter(Kind.FLOAT, 1.0),
}


def defaults(declared: Declarations) -> Params:
    return {name: parameter.default for name, parameter in declared.items()}


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "yes", "false", "no"):
        return value.lower() in ("true", "yes")
    if value in (0, 1):
        return bool(value)
    raise ValueError("write true or false")


def _int(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("write a whole number")
    try:
        return int(value)
    except (TypeError, ValueError) as err:
        raise ValueError("write a whole number") from err


def _size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    return _int(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as err:
        raise ValueError("write a number") from err


def _text(value: Any) -> str:
    if value is False:
        return ""
    if not isinstance(value, str):
        raise ValueError("write text")
    return value


_CONVERT: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: _text,
    Kind.BOOL: _bool,
    Kind.INT: _int,
    Kind.SIZE: _size,
    Kind.FLOAT: _float,
}


def is_reset(value: Any) -> bool:
    """Whether a given value means: take the override away."""
    return value is None or (isinstance(value, str) and value.lower() in _RESET_WORDS)


def parse(declared: Declarations, untrusted: Mapping[str, Any], what: str) -> Params:
    """Typed values; None where an override shall go. `what` is such as "back-end". Raises PrereqError(wrong_input)."""
    parsed: Params = {}
    for name, value in untrusted.items():
        parameter = declared.get(name)
        if parameter is None:
            raise errors.PrereqError(
                "wrong_input",
                f"unknown {what} parameter {name!r}",
                hint=f"{what} parameters are " + ", ".join(sorted(declared)),
            )
        if is_reset(value):
            parsed[name] = None
            continue
        try:
            typed = _CONVERT[parameter.kind](value)
        except (ValueError, errors.UnitParseError) as err:
            raise errors.PrereqError("wrong_input", f"{what} parameter {name}: cannot use {value!r}: {err}") from err
        problem = parameter.problem(typed)
        if problem:
            raise errors.PrereqError("wrong_input", f"{what} parameter {name} is {typed!r}: it {problem}")
        parsed[name] = typed
    return parsed


def parse_be(untrusted: Mapping[str, Any]) -> Params:
    """Back-end parameters; `memory` stands for minmem and maxmem together."""
    given = dict(untrusted)
    if "memory" in given:
        both = given.pop("memory")
        for name in ("minmem", "maxmem"):
            if name in given:
                raise errors.PrereqError("wrong_input", f"memory sets {name} too: give one of them, not both")
            given[name] = both
        # a mistake in it is told of the word that was written
        parse({"memory": BACKEND["maxmem"]}, {"memory": both}, "back-end")
    return parse(BACKEND, given, "back-end")


def parse_nic(untrusted: Mapping[str, Any]) -> Params:
    return parse(NIC, untrusted, "NIC")


def parse_nd(untrusted: Mapping[str, Any]) -> Params:
    return parse(NODE, untrusted, "node")


def check_be(complete: Params) -> None:
    """What single values cannot show. Raises PrereqError(wrong_input)."""
    if complete["minmem"] > complete["maxmem"]:
        raise errors.PrereqError(
            "wrong_input",
            f"minmem ({complete['minmem']} MiB) is more than maxmem ({complete['maxmem']} MiB)",
            hint="set memory to change both",
        )


def check_nic(complete: Params, ip: str | None) -> None:
    if complete["mode"] == "routed" and not ip:
        raise errors.PrereqError("wrong_input", "a routed NIC needs an ip")
    if complete["mode"] in ("bridged", "routed") and complete["vlan"]:
        raise errors.PrereqError("wrong_input", f"a {complete['mode']} NIC takes no vlan", hint="use mode=openvswitch")
    if not complete["link"]:
        raise errors.PrereqError("wrong_input", f"a {complete['mode']} NIC needs a link")


def merged(overrides: Params, changes: Params) -> Params:
    """Overrides with the changes made; None takes one away."""
    both = {**overrides, **changes}
    return {name: value for name, value in both.items() if value is not None}


def filled_be(config: Config, overrides: Params, temporary: Params | None = None) -> Params:
    """Complete: built-in, cluster, instance, this start only."""
    return merged({**defaults(BACKEND), **config.cluster.beparams, **overrides}, _set(temporary))


def filled_nic(config: Config, overrides: Params, in_group: Params | None = None) -> Params:
    """Complete: built-in, cluster, network in its group, NIC."""
    return {**defaults(NIC), **config.cluster.nicparams, **(in_group or {}), **overrides}


def of_connection(config: Config, nic: Nic, group: Uuid | None) -> Params:
    """What the NIC's network says about it in that node group."""
    found = config.groups.get(group) if group is not None and nic.network is not None else None
    return found.networks.get(nic.network, {}) if found is not None and nic.network is not None else {}


def filled_nd(config: Config, node: Node) -> Params:
    """Complete: built-in, cluster, group, node."""
    group = config.groups.get(node.group)
    return {
        **defaults(NODE),
        **config.cluster.ndparams,
        **(group.ndparams if group is not None else {}),
        **node.ndparams,
    }


def filled_hv(
    config: Config,
    builtin: Params,
    *,
    hypervisor: str,
    os: str,
    overrides: Params,
    temporary: Params | None = None,
) -> Params:
    """Complete: built-in (the driver's), cluster, OS, OS variant, instance, this start only."""
    filled = {**builtin, **config.cluster.hvparams.get(hypervisor, {})}
    for name in os_names(os):
        filled |= config.cluster.os_hvp.get(name, {}).get(hypervisor, {})
    return {**filled, **overrides, **_set(temporary)}


def filled_os(config: Config, os: str, overrides: Params) -> Params:
    """Cluster's for the OS, for its variant, instance."""
    filled: Params = {}
    for name in os_names(os):
        filled |= config.cluster.osparams.get(name, {})
    return {**filled, **overrides}


def filled_private_os(config: Config, os: str, overrides: Params) -> Params:
    """As `filled_os`, of the private ones."""
    filled: Params = {}
    for name in os_names(os):
        filled |= config.cluster.osparams_private_cluster.get(name, {})
    return {**filled, **overrides}


def os_names(os: str) -> tuple[str, ...]:
    """`debian+min` → debian, debian+min."""
    base, plus, _ = os.partition("+")
    return (base, os) if plus else (base,)


def _set(changes: Params | None) -> Params:
    return {name: value for name, value in (changes or {}).items() if value is not None}
