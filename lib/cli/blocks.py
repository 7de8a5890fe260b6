"""Nested `key: value` text of the info commands. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


class Block(msgspec.Struct, frozen=True):
    """Keys in the order they are given; a plain dict is shown sorted."""

    # Any: text, number, None, Block, dict, list of those; a tuple is shown in one line
    pairs: tuple[tuple[str, Any], ...]


def render(value: Any) -> str:
    """Lines, each with its end; two blanks per level, list items after `- `."""
    return "".join(line.rstrip() + "\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Block):
        yield from _pairs(value.pairs)
    elif isinstance(value, Mapping):
        yield from _pairs(tuple((str(key), value[key]) for key in sorted(value)))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, list) and item and not any(_is_nested(inner) for inner in item):
                yield f"- {scalar(tuple(item))}"
                continue
            first = True
            for line in _lines(item):
                yield ("- " if first else "  ") + line
                first = False
    else:
        yield scalar(value)


def _pairs(pairs: tuple[tuple[str, Any], ...]) -> Iterator[str]:
    for key, value in pairs:
        if _is_nested(value):
            yield f"{key}:"
            for line in _lines(value):
                yield "  " + line
        else:
            yield f"{key}: {scalar(value)}"


def _is_nested(value: Any) -> bool:
    return (isinstance(value, Block) and bool(value.pairs)) or (isinstance(value, (Mapping, list)) and bool(value))


def scalar(value: Any) -> str:
    """One line: None as nothing, tuples as `[a, b]`, what holds nothing as nothing."""
    if value is None or (isinstance(value, (Mapping, list, Block)) and not _is_nested(value)):
        return ""
    if isinstance(value, tuple):
        return f"[{', '.join(scalar(item) for item in value)}]"
    return str(value)


def parameters(own: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, str]:
    """Parameter values as shown: overridden ones as they are, inherited ones as `default (VALUE)`."""
    return {
        str(key): scalar(own[key]) if key in own else f"default ({scalar(actual[key])})" for key in {**actual, **own}
    }
