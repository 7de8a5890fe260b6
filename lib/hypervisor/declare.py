"""How a hypervisor parameter is declared: name, type, default, what it means, what is allowed. Pure data."""

from __future__ import annotations

import enum
import ipaddress
import math
import posixpath
import re
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from ganeti import errors
from ganeti.model.objects import Params
from ganeti.model.types import parse_size

Value = str | int | float | bool | None
Check = Callable[[Any], str]  # Any: a value of the parameter's own type; replies what is wrong, or nothing


class Kind(enum.Enum):
    TEXT = "text"
    BOOL = "bool"
    INT = "int"
    SIZE = "size"  # MiB
    FLOAT = "float"


class OnNode(enum.Enum):
    """What must be there on the node, when the value is a path."""

    NOTHING = ""
    FILE = "file"
    DIRECTORY = "directory"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: Kind = Kind.TEXT
    default: Value = ""
    description: str
    required: bool = False  # text: must not be empty
    check: Check | None = None  # not asked for an empty text that is not required
    on_node: OnNode = OnNode.NOTHING
    is_global: bool = False  # for the cluster only, an instance cannot override it


class HypervisorParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that may be set for one hypervisor."""

    name: str
    parameters: tuple[Parameter, ...]
    needs_port: bool = False  # instances get a network port from the cluster's pool
    depends: Callable[[Params], str] = lambda complete: ""  # what is wrong between parameters, or nothing

    def get(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)


# Declarations in one line each


def text(name: str, default: str, description: str, check: Check | None = None, *, required: bool = False) -> Parameter:
    return Parameter(name=name, default=default, description=description, check=check, required=required)


def switch(name: str, default: bool, description: str) -> Parameter:
    return Parameter(name=name, kind=Kind.BOOL, default=default, description=description)


def number(name: str, default: int, description: str, check: Check | None = None) -> Parameter:
    return Parameter(name=name, kind=Kind.INT, default=default, description=description, check=check)


def path(
    name: str, default: str, description: str, on_node: OnNode = OnNode.FILE, *, required: bool = False
) -> Parameter:
    return Parameter(
        name=name, default=default, description=description, check=is_path, on_node=on_node, required=required
    )


def for_cluster(parameter: Parameter) -> Parameter:
    return msgspec.structs.replace(parameter, is_global=True)


# Checks of one value


def is_path(value: str) -> str:
    if not value.startswith("/"):
        return "must be an absolute path"
    return "" if posixpath.normpath(value) == value else f"must be written in its shortest form, {normal(value)}"


def normal(value: str) -> str:
    """`posixpath.normpath`, with one slash at the start."""
    return "/" + posixpath.normpath(value).lstrip("/")


def one_of(*allowed: str | int) -> Check:
    def check(value: str | int) -> str:
        return "" if value in allowed else "must be one of " + ", ".join(str(word) or "nothing" for word in allowed)

    return check


def between(low: int, high: int | None = None) -> Check:
    """From `low` to `high`, both allowed."""

    def check(value: int) -> str:
        if value < low or (high is not None and value > high):
            return f"must be at least {low}" if high is None else f"must be from {low} to {high}"
        return ""

    return check


def letters(allowed: str) -> Check:
    def check(value: str) -> str:
        return "" if set(value) <= set(allowed) else f"may have only the letters {', '.join(allowed)}"

    return check


def is_ipv4(value: str) -> str:
    return is_ip(value, versions=(4,))


def is_ip(value: str, versions: Collection[int] = (4, 6)) -> str:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return "must be an IP address"
    return "" if found.version in versions else "must be an IPv4 address"


def is_cpu_mask(value: str) -> str:
    """`all`, or one list of CPUs for all virtual CPUs, or a list for each with colons between: `0-2:1,3:all`."""
    for part in value.split(":"):
        if part != "all" and not re.fullmatch(r"\^?\d+(-\d+)?(,\^?\d+(-\d+)?)*", part):
            return f"has {part!r}, which is neither `all` nor a list of CPUs such as 0-2,4"
        for first, last in re.findall(r"(\d+)-(\d+)", part):
            if int(first) > int(last):
                return f"has the range {first}-{last}, which ends before it starts"
    return ""


# Types


def convert(parameter: Parameter, untrusted: object) -> Value:
    """The value in the parameter's own type. Raises TypeEnforcementError, for sizes UnitParseError."""
    if parameter.kind is Kind.TEXT:
        if isinstance(untrusted, str):
            return untrusted
        if untrusted is False:
            return ""
        raise _wrong(parameter, untrusted, "text")
    if parameter.kind is Kind.BOOL:
        if isinstance(untrusted, str) and untrusted:
            words = {"true": True, "false": False}
            if untrusted.lower() not in words:
                raise _wrong(parameter, untrusted, "true or false")
            return words[untrusted.lower()]
        return bool(untrusted)
    if parameter.kind is Kind.SIZE and isinstance(untrusted, str):
        return parse_size(untrusted)
    if not isinstance(untrusted, str | int | float):
        raise _wrong(parameter, untrusted, "a number")
    return _number(parameter, untrusted)


def _number(parameter: Parameter, untrusted: str | float) -> Value:
    wanted = "a number" if parameter.kind is Kind.FLOAT else "a whole number"
    try:
        if parameter.kind is Kind.FLOAT:
            found = float(untrusted)
            if math.isfinite(found):
                return found
        elif isinstance(untrusted, str) or int(untrusted) == untrusted:
            return int(untrusted)
    except (ValueError, OverflowError) as err:
        raise _wrong(parameter, untrusted, wanted) from err
    raise _wrong(parameter, untrusted, wanted)


def _wrong(parameter: Parameter, untrusted: object, wanted: str) -> errors.TypeEnforcementError:
    return errors.TypeEnforcementError(f"parameter {parameter.name}: {str(untrusted)[:80]!r} is not {wanted}")
