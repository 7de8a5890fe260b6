"""Names, sizes and times, and how people write them."""

from __future__ import annotations

import math
import re
from typing import Annotated, NewType

from msgspec import Meta

from ganeti import errors

Uuid = NewType("Uuid", str)
JobId = NewType("JobId", int)
RequestId = NewType("RequestId", str)
MiB = int

#: What a struct may take as the name of an object; whether it exists is the logic's question.
ObjectName = Annotated[str, Meta(min_length=1, max_length=255)]
InstanceName = Annotated[str, Meta(min_length=1, max_length=255, extra={"completes": "instance"})]
NodeName = Annotated[str, Meta(min_length=1, max_length=255, extra={"completes": "node"})]
NetworkName = Annotated[str, Meta(min_length=1, max_length=255, extra={"completes": "network"})]
GroupName = Annotated[str, Meta(min_length=1, max_length=255, extra={"completes": "group"})]
DiskIndex = Annotated[int, Meta(ge=0, lt=16)]

HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}\Z")
MAC_PREFIX = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){2}\Z")
TAG = re.compile(r"[\w.+*/:@-]{1,128}\Z", re.ASCII)

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*\Z", re.IGNORECASE)
_UNITS = {"": 1, "m": 1, "mb": 1, "mib": 1, "g": 1024, "gb": 1024, "gib": 1024}
_UNITS |= {"t": 1024**2, "tb": 1024**2, "tib": 1024**2}
_SPAN = re.compile(r"\s*([0-9]+)\s*([smhdw]?)\s*\Z")
_SPAN_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_size(text: str) -> MiB:
    """Whole MiB, rounded up to a multiple of 4; `10g`, `1.5 GiB`, `512`. Raises UnitParseError."""
    match = _SIZE.match(text)
    factor = _UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise errors.UnitParseError(
            f"cannot read {text!r} as a size", hint="write a number with m, g or t after it, such as 512m or 1.5g"
        )
    mib = math.ceil(float(match[1]) * factor)
    return -(-mib // 4) * 4


def format_size(mib: MiB | float, units: str = "h") -> str:
    """`units` is h, m, g or t; only h adds a suffix."""
    if units == "m" or (units == "h" and mib < 1024):
        return f"{round(mib)}" + ("M" if units == "h" else "")
    if units == "g" or (units == "h" and mib < 1024**2):
        return f"{mib / 1024:.1f}" + ("G" if units == "h" else "")
    return f"{mib / 1024**2:.1f}" + ("T" if units == "h" else "")


def parse_span(text: str) -> int:
    """Seconds; `90`, `5m`, `2h`, `1d`, `1w`. Raises UnitParseError."""
    match = _SPAN.match(text.lower())
    if match is None:
        raise errors.UnitParseError(
            f"cannot read {text!r} as a time span", hint="write a whole number with s, m, h, d or w after it"
        )
    return int(match[1]) * _SPAN_UNITS[match[2]]


_RUNS = re.compile(r"(\d+|\D+)")


def nice_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key of the natural order: runs of digits compare as numbers (first 8 runs)."""
    return tuple((0, int(run), "") if run.isdigit() else (1, 0, run) for run in _RUNS.findall(name)[:8])
