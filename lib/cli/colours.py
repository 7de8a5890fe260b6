"""Colours of lists, for terminals only: what is wrong stands out, what does not matter steps back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganeti.cli import tables

#: SGR parameters, ECMA-48 8.3.117
_HEADING = "1;4"
_BAD, _CARE, _GOOD, _BUSY, _DIM, _STRONG = "31", "33", "32", "36", "2", "1"

_MISSING = {tables.UNKNOWN: _BAD, tables.NO_DATA: _BAD, tables.UNAVAILABLE: _DIM, tables.OFFLINE: _CARE}

_WORDS: Mapping[str, Mapping[str, str]] = {
    "status": {
        # of instances
        "running": _GOOD,
        "ADMIN_down": _DIM,
        "ADMIN_offline": _DIM,
        "USER_down": _CARE,
        # of jobs, whose `running` has the same colour
        "queued": _DIM,
        "waiting": _BUSY,
        "canceling": _CARE,
        "canceled": _CARE,
        "error": _BAD,
    },
    "role": {"M": _STRONG, "D": _CARE, "O": _CARE},
    "alloc_policy": {"last_resort": _CARE, "unallocable": _BAD},
}


def of_heading(text: str) -> str:
    return _painted(text, _HEADING)


def of_cell(text: str, field: str, status: int, value: Any) -> str:
    """`text` is as it is shown, padding included. Any: JSON of the field."""
    if status != tables.NORMAL:
        return _painted(text, _MISSING.get(status, ""))
    if not isinstance(value, str):
        return text
    if field == "status" and value.startswith("ERROR_"):
        return _painted(text, _BAD)
    return _painted(text, _WORDS.get(field, {}).get(value, ""))


def _painted(text: str, style: str) -> str:
    """The blanks of the padding stay as they are."""
    inner = text.strip(" ")
    if not style or not inner:
        return text
    before = text.index(inner)
    return f"{text[:before]}\x1b[{style}m{inner}\x1b[0m{text[before + len(inner) :]}"
