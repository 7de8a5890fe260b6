"""Formats of the state: which one a copy has, and the steps from each to the next.

The number is a row of the state itself, so all copies have the same one and it changes with a batch as anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ganeti import errors, settings
from ganeti.store.api import Write
from ganeti.wire import codec

KEY = ("meta", "format")
#: of a state that does not say
FIRST = 1

Rows = Mapping[tuple[str, str], str]  # (table, key) → value


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """What the row holds."""

    number: int
    software: str = ""  # version that wrote the state in this format; empty: not known


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """From format `to` - 1 to format `to`. `convert` is pure: all rows in, what changes out."""

    to: int
    about: str
    convert: Callable[[Rows], Sequence[Write]]


def _says_its_format(rows: Rows) -> Sequence[Write]:
    return ()  # the row itself is written after every step


def _has_opcodes_apart(rows: Rows) -> Sequence[Write]:
    return ()  # a job that has all of its opcodes in its own row is read as ever; older versions would miss the others


#: in order, each one to the next number
STEPS = (
    Step(to=2, about="the state says which format it has", convert=_says_its_format),
    Step(to=3, about="opcodes of jobs under way may have rows of their own", convert=_has_opcodes_apart),
)
CURRENT = STEPS[-1].to


def write(number: int = CURRENT, software: str = settings.VERSION) -> Write:
    """The row of a state in that format."""
    return Write(*KEY, codec.dumps(Format(number=number, software=software)))


def parse(raw: str | None) -> Format:
    """Raises StoreError."""
    if raw is None:
        return Format(number=FIRST)
    try:
        return codec.decode(raw, Format)
    except codec.CodecError as err:
        raise errors.StoreError(f"the format of the state cannot be read: {err}") from err


def check(found: Format, *, known: int = CURRENT) -> None:
    """Raises StoreError unless this version can work with a state in that format."""
    refuse_newer(found, known=known)
    if found.number < known:
        raise errors.StoreError(
            f"the state has format {found.number}{_by(found)}, this version ({settings.VERSION}) works with {known}",
            hint=f"run gnt-cluster upgrade --to {settings.VERSION} on the master; it keeps a backup. If the master is"
            " lost: install the version from before on all nodes, make another candidate the master, and upgrade anew",
        )


def refuse_newer(found: Format, *, known: int = CURRENT) -> None:
    """Raises StoreError for a state that only a newer version understands."""
    if found.number > known:
        raise errors.StoreError(
            f"the state has format {found.number}{_by(found)}, this version ({settings.VERSION}) knows formats up to"
            f" {known}",
            hint=f"install version {found.software or 'of the other nodes'} or a later one on this node",
        )


def _by(found: Format) -> str:
    return f" of version {found.software}" if found.software else ""


def steps_from(found: Format, *, steps: Sequence[Step] = STEPS) -> tuple[Step, ...]:
    """What is to be done, in order. Raises StoreError for a newer format."""
    refuse_newer(found, known=steps[-1].to)
    return tuple(step for step in steps if step.to > found.number)


def convert(
    rows: Iterable[tuple[str, str, str]], steps: Sequence[Step], *, software: str = settings.VERSION
) -> tuple[Write, ...]:
    """What changes all those rows to the format of the last step. Pure; each step sees what the one before left."""
    now = {(table, key): value for table, key, value in rows}
    changed: dict[tuple[str, str], Write] = {}
    for step in steps:
        for each in (*step.convert(now), write(step.to, software)):
            changed[each.table, each.key] = each
            if each.value is None:
                now.pop((each.table, each.key), None)
            else:
                now[each.table, each.key] = each.value
    return tuple(changed.values())
