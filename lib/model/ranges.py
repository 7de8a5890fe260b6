"""Ranges of user ids: `1000-1010,2000`. Kept in order, apart from each other."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from ganeti import errors

Range = tuple[int, int]  # first, last

_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?\Z", re.ASCII)
#: the kernel's ids have 32 bits; the last one means "no user"
_LAST = 2**32 - 2


def parse(text: str) -> list[Range]:
    """As people write it. Raises ParameterError."""
    found = []
    for word in text.split(","):
        match = _RANGE.match(word.strip())
        if match is None:
            if not word.strip():
                continue
            raise errors.ParameterError(f"cannot read {word!r} as user ids", hint="write 1000-1010,2000")
        found.append((int(match[1]), int(match[2] or match[1])))
    return found


def checked(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """In order. Raises PrereqError(wrong_input) when some overlap or no account may have them."""
    found = sorted(ranges)
    for first, last in found:
        if first > last or first < 1 or last > _LAST:
            raise errors.PrereqError(
                "wrong_input", f"{first}-{last} is no range of user ids", hint="they are above 0 (root) and in order"
            )
    for before, after in itertools.pairwise(found):
        if after[0] <= before[1]:
            raise errors.PrereqError(
                "wrong_input", f"user ids {before[0]}-{before[1]} and {after[0]}-{after[1]} overlap"
            )
    return tuple(found)


def without(pool: Iterable[Range], taken: Range) -> tuple[Range, ...]:
    """The pool less a range that lies in it as a whole. Raises PrereqError(wrong_input)."""
    first, last = taken
    left: list[Range] = []
    is_found = False
    for low, high in pool:
        if low <= first and last <= high:
            is_found = True
            left += [(a, b) for a, b in ((low, first - 1), (last + 1, high)) if a <= b]
        else:
            left.append((low, high))
    if not is_found:
        raise errors.PrereqError("wrong_input", f"user ids {first}-{last} are not in the pool")
    return tuple(left)


def ids(pool: Iterable[Range]) -> Iterable[int]:
    for first, last in pool:
        yield from range(first, last + 1)


def text(pool: Iterable[Range]) -> str:
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in pool)
