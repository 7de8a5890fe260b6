"""Rows as text: columns, units, and signs for what is missing. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ganeti.model.types import format_size

#: status of a value in a query's answer
NORMAL, UNKNOWN, NO_DATA, UNAVAILABLE, OFFLINE = range(5)

_SIGNS = {UNKNOWN: "??", NO_DATA: "?", UNAVAILABLE: "-", OFFLINE: "*"}
_WORDS = {UNKNOWN: "(unknown)", NO_DATA: "(nodata)", UNAVAILABLE: "(unavail)", OFFLINE: "(offline)"}
_RIGHT = ("number", "float", "unit")

#: titles of field kinds in list-fields
KIND_TITLES = {
    "unknown": "Unknown",
    "text": "Text",
    "bool": "Boolean",
    "number": "Number",
    "float": "Floating-point number",
    "unit": "Storage size",
    "timestamp": "Timestamp",
    "other": "Custom",
}

Format = Callable[[Any], str]  # Any: JSON value of a field


class Field(msgspec.Struct, frozen=True):
    """Definition of a column, as the master sends it."""

    name: str
    title: str
    kind: str
    doc: str = ""


class Column(msgspec.Struct, frozen=True):
    title: str
    is_right: bool = False


#: (line: -1 the headings, column, text with its padding) → the text as it goes to a terminal
Paint = Callable[[int, int, str], str]


def render(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    separator: str | None,
    headers: bool,
    paint: Paint | None = None,
) -> str:
    """The table, each line with its end. A left-aligned last column is not padded. With a separator unpainted."""
    lines: list[Sequence[str]] = [[column.title for column in columns]] if headers else []
    lines += rows
    if separator is not None:
        return "".join(separator.join(line) + "\n" for line in lines)
    widths = [max((len(line[index]) for line in lines), default=0) for index in range(len(columns))]
    if columns and not columns[-1].is_right:
        widths[-1] = 0
    first = -1 if headers else 0
    return "".join(
        " ".join(_padded(columns, widths, line) if paint is None else _painted(columns, widths, line, number, paint))
        + "\n"
        for number, line in enumerate(lines, start=first)
    )


def _painted(
    columns: Sequence[Column], widths: Sequence[int], line: Sequence[str], number: int, paint: Paint
) -> list[str]:
    return [paint(number, column, cell) for column, cell in enumerate(_padded(columns, widths, line))]


def _padded(columns: Sequence[Column], widths: Sequence[int], line: Sequence[str]) -> list[str]:
    return [
        cell.rjust(width) if column.is_right else cell.ljust(width)
        for column, width, cell in zip(columns, widths, line, strict=True)
    ]


def columns_of(fields: Sequence[Field]) -> list[Column]:
    return [Column(field.title, field.kind in _RIGHT) for field in fields]


def text_of(status: int, value: Any, formatter: Format, *, verbose: bool) -> str:
    """One `[status, value]` pair as shown. Any: JSON."""
    if status == NORMAL:
        return formatter(value)
    return (_WORDS if verbose else _SIGNS).get(status, "?")


def formatters(fields: Sequence[Field], units: str, special: Mapping[str, Format]) -> list[Format]:
    """How the values of each field are shown; `special` has those of single fields."""
    by_kind: dict[str, Format] = {
        "bool": lambda value: "Y" if value else "N",
        "unit": lambda value: format_size(value, units),
        "timestamp": moment,
        "other": plain,
    }
    return [special.get(field.name) or by_kind.get(field.kind, plain) for field in fields]


def plain(value: Any) -> str:
    """Text of any JSON value: lists comma-joined, objects as key=value."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, (list, tuple)):
        return ",".join(plain(item) for item in value)
    if isinstance(value, Mapping):
        return ",".join(f"{key}={plain(value[key])}" for key in sorted(value))
    return str(value)


def moment(epoch_s: float) -> str:
    """Local time of a timestamp field."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))


def job_moment(pair: Sequence[int] | None) -> str:
    """Local time of `[seconds, microseconds]`; `?` when there is none."""
    if not pair:
        return "?"
    return f"{moment(pair[0])}.{pair[1]:06d}"
