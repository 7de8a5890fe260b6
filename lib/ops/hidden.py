"""Values that nobody is shown: taken out of an opcode before it is stored, given back to it when it runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ganeti import errors
from ganeti.wire import codec

#: what stands in their places
REDACTED = "<redacted>"
#: fields of opcodes whose values are hidden, also in opcodes within opcodes
FIELDS = frozenset({"osparams_private", "osparams_secret", "osparams_private_cluster"})

#: how deep JSON of a client may be nested; no operation comes near it
MAX_DEPTH = 64

Path = tuple[str | int, ...]


def redacted(untrusted: Any) -> Any:
    """The same JSON with the hidden values replaced; whatever else it is, it stays. Raises PrereqError."""
    return _mapped(untrusted, False, (), lambda path, value: REDACTED)


def split(form: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The wire form as it may be stored, and its hidden values as text, empty if it has none. Raises PrereqError."""
    found: list[tuple[Path, Any]] = []

    def take(path: Path, value: Any) -> Any:
        if value == REDACTED:
            raise errors.PrereqError(
                "wrong_input",
                f"{'.'.join(map(str, path))} is {REDACTED!r}, which stands where a value is hidden",
                hint="give the value itself again",
            )
        found.append((path, value))
        return REDACTED

    shown = _mapped(form, False, (), take)
    return shown, codec.dumps(found) if found else ""


def has_hidden(form: dict[str, Any]) -> bool:
    """Whether values were taken out of it."""
    return any(value == REDACTED for value in _leaves(form, False))


def joined(form: dict[str, Any], hidden: str) -> dict[str, Any]:
    """What `split` took apart. Raises CodecError."""
    values: dict[Path, Any] = dict(codec.decode(hidden, list[tuple[Path, Any]]))
    whole: dict[str, Any] = _mapped(form, False, (), values.get)
    return whole


def _mapped(value: Any, is_hidden: bool, path: Path, change: Any) -> Any:
    if len(path) > MAX_DEPTH:
        raise errors.PrereqError(
            "wrong_input", f"{'.'.join(map(str, path[:4]))}... is nested more than {MAX_DEPTH} deep"
        )
    if isinstance(value, dict):
        return {key: _mapped(each, is_hidden or key in FIELDS, (*path, key), change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(each, is_hidden, (*path, index), change) for index, each in enumerate(value)]
    return change(path, value) if is_hidden and value is not None else value


def _leaves(value: Any, is_hidden: bool) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, is_hidden or key in FIELDS)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each, is_hidden)
    elif is_hidden:
        yield value
