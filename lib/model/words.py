"""What is wrong with a value from outside, in words: msgspec says it in types of Python. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
MAX_VALUES = 24


def told(message: str, untrusted: Any, form: Any) -> str:
    """A message of msgspec about `untrusted`, which was to have that form. Any: JSON; a type.

    Texts of it are not repeated: they may be secret.
    """
    path, said = parts(message, untrusted, form)
    where = _where(path)
    if _KEY in message:
        where = f"a key of {where or 'the object'}"
    return f"{where}: {said}" if where else said


def parts(message: str, untrusted: Any, form: Any) -> tuple[str, str]:
    """The place, as `.name[0]`, and what is wrong there."""
    match = _MESSAGE.fullmatch(message)
    if match is None:
        return "", message
    path = match["path"] or ""
    if enum := _ENUM.fullmatch(match["what"]):
        return path, _none_of(enum[1], form, path)
    return path, _said(match["what"], _found(untrusted, path))


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
    return what


def _none_of(shown: str, form: Any, path: str) -> str:
    # it takes a moment to import, which commands that work need not spend
    from msgspec import inspect

    here = [inspect.type_info(form)]
    for member, index in _STEP.findall(path):
        here = [inner for each in here for outer in _choices(each) for inner in _inner(outer, member, index)]
    values: list[Any] = []
    for each in (choice for outer in here for choice in _choices(outer)):
        if isinstance(each, inspect.LiteralType):
            values += each.values
        elif isinstance(each, inspect.EnumType):
            values += [member.value for member in each.cls]
    listed = ", ".join(str(value) for value in dict.fromkeys(values)) if len(values) <= MAX_VALUES else ""
    return f"{shown[:MAX_SHOWN]} is none of {listed or 'the values that there are'}"


def _choices(outer: Any) -> Iterator[Any]:  # Any: of msgspec.inspect
    """What a value may be, one by one."""
    from msgspec import inspect

    if isinstance(outer, inspect.UnionType):
        for each in outer.types:
            yield from _choices(each)
    elif isinstance(outer, inspect.Metadata):
        yield from _choices(outer.type)
    else:
        yield outer


def _inner(outer: Any, member: str, index: str) -> Iterator[Any]:  # Any: of msgspec.inspect
    """What may be at that place in it."""
    from msgspec import inspect

    if isinstance(outer, inspect.StructType):
        yield from (field.type for field in outer.fields if field.encode_name == member)
    elif isinstance(outer, inspect.DictType):
        yield outer.value_type
    elif isinstance(outer, inspect.TupleType) and index.isdecimal():
        yield from outer.item_types[int(index) : int(index) + 1]
    elif isinstance(outer, (inspect.VarTupleType, inspect.ListType, inspect.SetType, inspect.FrozenSetType)):
        yield outer.item_type


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
