"""JSON from outside: strict, and errors that say where."""

from __future__ import annotations

import msgspec
import pytest

from ganeti.wire import codec


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: int
    y: float = 0.0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ('{"x": 1, "x": 2}', "twice"),
        ("NaN", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("1e999", "too large"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_loads_when_not_json_then_says_what(text: str | bytes, word: str) -> None:
    with pytest.raises(codec.CodecError, match=word):
        codec.loads(text)


def test_decode_when_form_is_wrong_then_says_where() -> None:
    with pytest.raises(codec.CodecError, match="x: a whole number"):
        codec.decode('{"x": "1"}', Point)
    with pytest.raises(codec.CodecError, match="unknown field"):
        codec.decode('{"x": 1, "z": 1}', Point)


def test_encode_when_text_has_control_bytes_then_none_is_in_the_message() -> None:
    assert codec.encode(["\x03\n\x00ü"]) == b'["\\u0003\\n\\u0000\\u00fc"]'
    assert codec.loads(codec.encode(["\x03ü"])) == ["\x03ü"]


def test_pack_when_unpacked_then_equal_and_damage_is_told() -> None:
    assert codec.unpack(codec.pack(Point(1, 2.5)), Point) == Point(1, 2.5)
    with pytest.raises(codec.CodecError):
        codec.unpack(b'{"x": 1', Point)


def test_loads_when_half_a_character_then_refused() -> None:
    with pytest.raises(codec.CodecError, match="surrogates"):
        codec.loads('{"comment": "\\ud800 x"}')
    assert codec.loads('"\\ud83d\\ude00"') == "\U0001f600"
