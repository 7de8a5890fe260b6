"""What is wrong with a value from outside, in words: msgspec says it in types of Python. Pure."""

from __future__ import annotations

import re
from typing import Any

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_KEY = " - at `key` in `"
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_OTHER_KIND = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = re.compile(r"Expected `(?:int|float)(?: \| \w+)*` (<=|>=|<|>) (\S+)")
_MULTIPLE = re.compile(r"Expected `(?:int|float)` that's a multiple of (\S+)")
_LENGTH = re.compile(r"Expected `(\w+)(?: \| \w+)*` of length (<=|>=|)\s*(\d+)(?:, got (\d+))?")
_PATTERN = re.compile(r"Expected `str` matching regex (.+)", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_ENUM = re.compile(r"Invalid enum value (.*)", re.DOTALL)

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_UNITS = {"str": "characters", "array": "entries", "object": "members"}
MAX_SHOWN = 80


def told(message: str, untrusted: Any) -> str:
    """A message of msgspec about `untrusted`. Texts of it are not repeated: they may be secret. Any: JSON."""
    match = _MESSAGE.fullmatch(message)
    if match is None:
        return message
    path = match["path"] or ""
    where = _where(path)
    if _KEY in message:
        where = f"a key of {where or 'the object'}"
    said = _said(match["what"], _found(untrusted, path))
    return f"{where}: {said}" if where else said


def _said(what: str, found: str) -> str:
    """`found` is the number that was given, or empty."""
    if match := _OTHER_KIND.fullmatch(what):
        return f"{_kinds(match[1])} is wanted, not {found or _kinds(match[2])}"
    if match := _BOUND.fullmatch(what):
        return _wanted(f"{_BOUNDS[match[1]]} {match[2].removesuffix('.0')}", found)
    if match := _MULTIPLE.fullmatch(what):
        return _wanted(f"a multiple of {match[1]}", found)
    if match := _LENGTH.fullmatch(what):
        amount = f"{_BOUNDS.get(match[2], 'exactly')} {match[3]} {_UNITS.get(match[1], 'entries')}"
        return f"{amount} are wanted" + (f", not {match[4]}" if match[4] else "")
    if match := _PATTERN.fullmatch(what):
        return f"the text does not have the form that is wanted (regular expression {match[1]})"
    if match := _UNKNOWN.fullmatch(what):
        return f"unknown field `{match[1][:MAX_SHOWN]}`"
    if match := _MISSING.fullmatch(what):
        return f"the field `{match[1][:MAX_SHOWN]}` is missing"
    if match := _ENUM.fullmatch(what):
        return f"{match[1][:MAX_SHOWN]} is none of the values that there are"
    return what


def _wanted(what: str, found: str) -> str:
    return f"{what} is wanted, not {found}" if found else f"{what} is wanted"


def _kinds(names: str) -> str:
    kinds = [_KINDS.get(name, name) for name in names.split(" | ")]
    return kinds[0] if len(kinds) == 1 else ", ".join(kinds[:-1]) + " or " + kinds[-1]


def _where(path: str) -> str:
    return path.removeprefix(".").replace("[...]", "").replace("[", " entry ").replace("]", "").strip()


def _found(untrusted: Any, path: str) -> str:
    """The number at that place; empty where there is none, or its place is not known."""
    value = untrusted
    for member, index in _STEP.findall(path):
        if member and isinstance(value, dict) and member in value:
            value = value[member]
        elif index.isdecimal() and isinstance(value, list | tuple) and int(index) < len(value):
            value = value[int(index)]
        else:
            return ""
    return str(value)[:MAX_SHOWN] if isinstance(value, int | float) and not isinstance(value, bool) else ""
