"""The micro-syntaxes of option values. Text in, JSON values out; raises UnitParseError or ParameterError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ganeti import errors
from ganeti.model import ranges
from ganeti.model.types import parse_size, parse_span
from ganeti.ops.base import Parse

#: what `key=value` lists may hold: text; True for a bare key, False for `no_key`, None for `-key`
Value = str | bool | None

_ESCAPED = re.compile(r"\\(.)")
_NEGATIVE_NUMBER = re.compile(r"-[0-9]")


def split_escaped(text: str, separator: str = ",") -> list[str]:
    """Elements of a list; a backslash keeps a separator (or a backslash) as text."""
    parts, current, escaped = [], "", False
    for char in text:
        if escaped:
            current += char if char in (separator, "\\") else "\\" + char
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == separator:
            parts.append(current)
            current = ""
        else:
            current += char
    return [*parts, current + ("\\" if escaped else "")]


def parse_list(text: str) -> list[str]:
    """`a,b,c`; the empty text is the empty list."""
    return [part.strip() for part in split_escaped(text) if part.strip()]


def parse_keyval(text: str) -> dict[str, Value]:
    """`a=1,b=2,c,no_d,-e` → a and b text, c True, d False, e None (back to the default)."""
    found: dict[str, Value] = {}
    for element in split_escaped(text):
        if not element and not text:
            break
        name, equals, value = element.partition("=")
        key, content = (name, value) if equals else _bare(name)
        if not key:
            raise errors.ParameterError(
                f"cannot read {element!r} in {text!r} as a parameter",
                hint="write key=value, a comma between two of them",
            )
        if key in found:
            raise errors.ParameterError(f"parameter {key!r} is given twice in {text!r}")
        found[key] = content
    return found


def _bare(name: str) -> tuple[str, Value]:
    if name.startswith("no_"):
        return name[3:], False
    if name.startswith("-"):
        return name[1:], None
    return name, True


def parse_ident_keyval(text: str) -> tuple[str, dict[str, Value] | bool | None]:
    """`kvm:a=1,b=2`; `no_kvm` is (kvm, False), `-kvm` is (kvm, None); `-1` stays an identifier."""
    ident, _, rest = text.partition(":")
    if ident.startswith("no_"):
        form: tuple[str, dict[str, Value] | bool | None] = (ident[3:], False)
    elif ident.startswith("-") and not _NEGATIVE_NUMBER.match(ident):
        form = (ident[1:], None)
    else:
        form = (ident, parse_keyval(rest))
    if not form[0] or (rest and not isinstance(form[1], dict)):
        raise errors.ParameterError(f"cannot read {text!r}", hint="write name:key=value,... such as kvm:acpi=true")
    return form


def parse_ident_dict(texts: Iterable[str]) -> dict[str, Any]:
    """Several `ident:k=v,…` as one dict. Any: a dict, False or None by ident."""
    found: dict[str, Any] = {}
    for text in texts:
        ident, values = parse_ident_keyval(text)
        if ident in found:
            raise errors.ParameterError(f"{ident!r} is given twice", hint="write all its parameters in one option")
        found[ident] = values
    return found


def parse_devices(texts: Iterable[str]) -> list[dict[str, Any]]:
    """`0:size=1g,mode=ro`, `1:…` → definitions by index; skipped indices are empty. `size` becomes MiB."""
    found: dict[int, dict[str, Any]] = {}
    for text in texts:
        ident, _, rest = text.partition(":")
        if not ident.isascii() or not ident.isdigit() or len(ident) > 3:
            raise errors.ParameterError(
                f"bad index {ident!r} in {text!r}", hint="write N:key=value,... with N counted from 0"
            )
        index = int(ident)
        if index in found:
            raise errors.ParameterError(f"index {index} is given twice")
        definition: dict[str, Any] = {**parse_keyval(rest)}
        if isinstance(definition.get("size"), str):
            if "adopt" in definition:
                raise errors.ParameterError(f"{text!r}: size and adopt exclude each other")
            definition["size"] = parse_size(definition["size"])
        found[index] = definition
    return [found.get(index, {}) for index in range(max(found, default=-1) + 1)]


def _without_gaps(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Disks: each has to be described."""
    found = parse_devices(texts)
    given = {int(text.partition(":")[0]) for text in texts}
    for index in range(len(found)):
        if index not in given:
            raise errors.ParameterError(f"disk numbers begin at 0; {index} is missing")
    return found


def parse_yes_no(text: str) -> bool:
    """yes, no, true or false in any case."""
    word = text.lower()
    if word not in ("yes", "no", "true", "false"):
        raise errors.ParameterError(f"cannot read {text!r} as yes or no", hint="write yes or no")
    return word in ("yes", "true")


def parse_device_changes(texts: Iterable[str]) -> list[list[Any]]:
    """`add:size=1g`, `remove`, `2:mode=ro`, `2:add,size=1g`, `NAME:remove` → [action, device, definition]s, in order.

    The device is an index, a name or a uuid; -1 is the last one, for `add` the place behind it.
    """
    return [_device_change(text) for text in texts]


_ACTIONS = ("add", "remove", "modify", "attach", "detach")


def _device_change(text: str) -> list[Any]:
    ident, _, rest = text.partition(":")
    values: dict[str, Any] = {**parse_keyval(rest)}
    if ident in _ACTIONS:
        action, device = ident, "-1"
    else:
        device = ident
        given = [word for word in _ACTIONS if values.get(word) is True]
        if len(given) > 1:
            raise errors.ParameterError(f"{text!r} says both {given[0]} and {given[1]}")
        action = given[0] if given else "modify"
        values.pop(action, None)
    if not device or (action == "modify" and not values):
        raise errors.ParameterError(
            f"cannot read {text!r} as a change of a device",
            hint="write add:key=value,... or N:remove or N:key=value,... with N an index, a name or a uuid",
        )
    if isinstance(values.get("size"), str):
        values["size"] = parse_size(values["size"])
    number = device.removeprefix("-")
    return [action, int(device) if number.isascii() and number.isdigit() else device, values]


def parse_policy(part: str, text: str) -> Any:
    """One part of an instance policy; `default` stays as it is."""
    if text == "default":
        return text
    if part == "minmax":
        return [_bounds(pair) for pair in text.split("//")]
    if part == "std":
        return parse_keyval(text)
    return parse_list(text) if part == "disk-templates" else text


def _bounds(text: str) -> dict[str, Any]:
    found = {}
    for half in text.split("/"):
        bound, values = parse_ident_keyval(half)
        if bound not in ("min", "max") or bound in found:
            raise errors.ParameterError(
                f"cannot read {text!r} as bounds", hint="write min:key=value,.../max:key=value,..."
            )
        found[bound] = values
    return found


def parse_node_pair(text: str) -> tuple[str, str | None]:
    """`primary[:secondary]`."""
    primary, colon, secondary = text.partition(":")
    if not primary or (colon and not secondary):
        raise errors.ParameterError(f"cannot read {text!r} as nodes", hint="write primary or primary:secondary")
    return primary, secondary or None


def parse_ident_one(text: str) -> tuple[str, dict[str, Value]]:
    """A name with or without parameters: `kvm`, `kvm:acpi=true`."""
    ident, values = parse_ident_keyval(text)
    if not isinstance(values, dict):
        raise errors.ParameterError(f"{text!r} cannot be reset here", hint=f"write {ident} or {ident}:key=value,...")
    return ident, values


def convert(parse: Parse, texts: Sequence[str], dest: str, also: str) -> dict[str, Any]:
    """The field values (Any: JSON) that the texts of one option say; the last text counts where one is wanted."""
    last = texts[-1]
    match parse:
        case Parse.SIZE:
            return {dest: parse_size(last)}
        case Parse.SPAN:
            return {dest: parse_span(last)}
        case Parse.YES_NO:
            return {dest: parse_yes_no(last)}
        case Parse.LIST:
            return {dest: [item for text in texts for item in parse_list(text)]}
        case Parse.KEYVAL:
            return {dest: parse_keyval(last)}
        case Parse.IDENT_KEYVAL:
            return {dest: parse_ident_dict(texts)}
        case Parse.DEVICES:
            return {dest: _without_gaps(texts) if dest == "disks" else parse_devices(texts)}
        case Parse.ONE_DISK:
            return {dest: [{"size": parse_size(last)}]}
        case Parse.DEVICE_CHANGES:
            return {dest: parse_device_changes(texts)}
        case Parse.POLICY:
            return {dest: {also: parse_policy(also, last)}}
        case Parse.UID_RANGES:
            return {dest: [list(pair) for pair in ranges.parse(last)]}
        case Parse.NODE_PAIR:
            first, second = parse_node_pair(last)
            return {dest: first} if second is None else {dest: first, also: second}
        case Parse.IDENT_ONE:
            ident, values = parse_ident_one(last)
            return {dest: ident, also: values} if values else {dest: ident}
        case Parse.PLAIN | Parse.UNSET_FLAG:
            return {dest: last}
