from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.luxi.pieces import pieces
from ganeti.wire import codec

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=40)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=40)
    ),
    max_leaves=60,
)


class Point(msgspec.Struct):
    x: int


def ticking(step_s: float) -> Any:
    ticks = itertools.count()
    return lambda: next(ticks) * step_s


@given(JSON, st.sampled_from([0.0, 0.0004, 0.01]))
def test_pieces_together_are_what_the_codec_writes(value: Any, step_s: float) -> None:
    assert "".join(pieces(value, ticking(step_s))) == codec.dumps(value)


def test_pieces_when_rows_are_structs_or_keys_numbers_then_as_the_codec_does() -> None:
    value = {"data": [Point(n) for n in range(50)], "more": {n: Point(n) for n in range(30)}, "few": {1: 2}}
    assert "".join(pieces(value, ticking(0))) == codec.dumps(value)


def test_pieces_when_rows_take_long_then_each_is_on_its_own() -> None:
    assert len(list(pieces([[n] for n in range(100)], ticking(0.01)))) == 102


def test_pieces_when_rows_are_quick_then_few_are_made() -> None:
    assert len(list(pieces([[n] for n in range(100)], ticking(0)))) < 12


def test_pieces_when_a_value_is_not_json_then_it_raises() -> None:
    with pytest.raises(ValueError, match="JSON"):
        list(pieces({"success": True, "result": [float("nan")]}, ticking(0)))
