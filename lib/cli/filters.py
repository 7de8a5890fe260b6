"""Arguments of list commands as query filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ganeti import errors

#: characters that no name has: one argument with any of them is a filter
_FILTER_CHARACTERS = frozenset(" \t\n\r\f\v!\"'()/<>=\\~")


def is_filter(words: Sequence[str]) -> bool:
    return len(words) == 1 and not _FILTER_CHARACTERS.isdisjoint(words[0])


def from_words(
    words: Sequence[str],
    *,
    forced: bool,
    name_field: str,
    parse_text: Callable[[str], Any],
    is_number: bool = False,
) -> list[Any] | None:
    """A JSON query filter; None: everything. `forced`: the one word is a filter whatever it looks like.

    Raises PrereqError, or QueryFilterParseError from `parse_text`.
    """
    if forced and len(words) != 1:
        raise errors.PrereqError("wrong_input", "with --filter exactly one argument is needed: the filter")
    if forced or is_filter(words):
        parsed: list[Any] | None = parse_text(words[0])
        return parsed
    if not words:
        return None
    terms = [_term(word, name_field, is_number) for word in words]
    return terms[0] if len(terms) == 1 else ["|", *terms]


def _term(word: str, name_field: str, is_number: bool) -> list[Any]:
    if is_number:
        if not (word.isascii() and word.isdigit()):
            raise errors.PrereqError("wrong_input", f"invalid job id {word!r}", hint="a job id is a whole number")
        return ["==", name_field, int(word)]
    if "*" in word or "?" in word:
        return ["=~", name_field, glob(word)]
    return ["==", name_field, word]


def glob(pattern: str) -> str:
    """Regular expression of a host-name glob: anchored, may be followed by a domain."""
    translated = "".join({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern)
    return rf"^{translated}(\..*)?$"


def both(first: list[Any] | None, second: list[Any] | None) -> list[Any] | None:
    """What matches both; None matches everything."""
    if first is None or second is None:
        return first or second
    return ["&", first, second]
