"""The only JSON text codec of wire and stored forms.

Structs become builtins by msgspec and text by simplejson; back, text is parsed strictly
(no NaN, no duplicate keys) and converted with validation.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec
import simplejson

from ganeti.model import words
from ganeti.model.ready import make_ready

T = TypeVar("T")


class CodecError(ValueError):
    """The text is not JSON, or not of the wanted form. The message says where."""


def to_builtins(value: Any) -> Any:
    """JSON-ready dicts, lists and scalars. Any: whatever msgspec can turn into builtins."""
    return msgspec.to_builtins(value, str_keys=True)


def dumps(value: Any) -> str:
    """Compact JSON text of structs and builtins."""
    return simplejson.dumps(to_builtins(value), separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def encode(value: Any) -> bytes:
    """Compact JSON, pure ASCII: no byte below 0x20 is ever in it."""
    return dumps(value).encode("ascii")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise CodecError(f"key {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return found


def _no_constant(name: str) -> Any:
    raise CodecError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise CodecError(f"{text} is too large for a number")
    return value


def loads(untrusted: bytes | str) -> Any:
    """Builtins from JSON text. Raises CodecError."""
    try:
        text = untrusted.decode("utf-8") if isinstance(untrusted, bytes) else untrusted
        found = simplejson.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
        )
        if "\\u" in text:
            # half a character, written as an escape, is no text: nothing could store it
            simplejson.dumps(found, ensure_ascii=False).encode("utf-8")
        return found
    except CodecError:
        raise
    except (ValueError, RecursionError) as err:
        raise CodecError(f"not valid JSON: {err}") from err


def convert(untrusted: Any, form: type[T], *, strict: bool = True) -> T:
    """Builtins as the wanted form. Raises CodecError with the path of what is wrong."""
    make_ready(form)
    try:
        return msgspec.convert(untrusted, form, strict=strict)
    except msgspec.ValidationError as err:
        raise CodecError(words.told(str(err), untrusted, form)) from err


def decode(untrusted: bytes | str, form: type[T]) -> T:
    """Text to the wanted form. Raises CodecError."""
    return convert(loads(untrusted), form)


def pack(value: Any) -> bytes:
    """Stored form of a struct: JSON bytes in the database, written and read by us alone."""
    return msgspec.json.encode(value, order="deterministic")


def unpack(stored: bytes, form: type[T]) -> T:
    """A stored struct. Raises CodecError when the database holds something else."""
    make_ready(form)
    try:
        return msgspec.json.decode(stored, type=form)
    except (msgspec.ValidationError, msgspec.DecodeError) as err:
        raise CodecError(str(err)) from err
