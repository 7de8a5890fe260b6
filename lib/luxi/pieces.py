"""JSON text of large answers in pieces, so that the event loop gets its turn between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ganeti.wire import codec

#: time to spend on one piece, in seconds
PIECE_S = 0.001
#: containers of this many entries are looked into one by one
_FEW = 16
_DEPTH = 3
_MOST = 4096


def pieces(value: Any, monotonic: Callable[[], float], depth: int = _DEPTH) -> Iterator[str]:
    """The parts of `codec.dumps(value)`, in order. Any: what the codec takes. Raises what the codec raises."""
    if isinstance(value, dict) and depth:
        if len(value) > _FEW:
            yield from _many("{", [{name: entry} for name, entry in value.items()], "}", monotonic)
            return
        yield "{"
        for number, (name, entry) in enumerate(value.items()):
            yield ("," if number else "") + codec.dumps({name: None})[
                1:-5
            ]  # the key as the codec writes it, with its colon
            yield from pieces(entry, monotonic, depth - 1)
        yield "}"
    elif isinstance(value, list | tuple) and depth:
        if len(value) > _FEW:
            yield from _many("[", value, "]", monotonic)
            return
        yield "["
        for number, entry in enumerate(value):
            if number:
                yield ","
            yield from pieces(entry, monotonic, depth - 1)
        yield "]"
    else:
        yield codec.dumps(value)


def _many(start: str, entries: list[Any] | tuple[Any, ...], end: str, monotonic: Callable[[], float]) -> Iterator[str]:
    """Runs of entries; how many go together follows from how long the last ones took."""
    is_object = start == "{"
    yield start
    at, count = 0, 1
    while at < len(entries):
        begun = monotonic()
        run = entries[at : at + count]
        if is_object:
            text = codec.dumps({name: entry for one in run for name, entry in one.items()})
        else:
            text = codec.dumps(run)
        yield ("," if at else "") + text[1:-1]
        at += count
        spent = monotonic() - begun
        if spent < PIECE_S / 2:
            count = min(count * 2, _MOST)
        elif spent > PIECE_S:
            count = max(count // 2, 1)
    yield end
