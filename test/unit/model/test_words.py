"""Errors about forms are told in words, whatever the library says."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from ganeti.wire import codec


class Kind(enum.Enum):
    X = "x"
    Y = "y"


Large = enum.Enum("Large", {f"n{number}": f"v{number}" for number in range(100)})  # type: ignore[misc]  # made in a loop


class Inner(Struct, forbid_unknown_fields=True, frozen=True):
    size: Annotated[int, Meta(ge=1)] = 1
    kind: Annotated[Kind, Meta(description="what it is")] | None = None


class Form(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    name: str
    jobs: Annotated[int, Meta(ge=1)] = 1
    most: Annotated[int, Meta(le=5)] = 1
    share: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.5
    step: Annotated[int, Meta(multiple_of=5)] = 5
    letter: Annotated[str, Meta(max_length=3)] = "a"
    secret: Annotated[str, Meta(pattern="^a+$")] = "a"
    pair: tuple[int, int] = (1, 2)
    few: Annotated[tuple[int, ...], Meta(max_length=2)] = ()
    colour: Literal["red", "blue"] = "red"
    is_up: bool | None = None
    texts: dict[str, str] = {}
    kinds: dict[str, Kind] = {}
    mixed: tuple[int, Kind] = (1, Kind.X)
    large: Large | None = None
    inner: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"jobs": 0}, "jobs: at least 1 is wanted, not 0"),
        ({"jobs": "many"}, "jobs: a whole number is wanted, not a text"),
        ({"jobs": 1.5}, "jobs: a whole number is wanted, not 1.5"),
        ({"jobs": True}, "jobs: a whole number is wanted, not true or false"),
        ({"most": 7}, "most: at most 5 is wanted, not 7"),
        ({"share": 0}, "share: more than 0 is wanted, not 0"),
        ({"share": 3.5}, "share: less than 1 is wanted, not 3.5"),
        ({"step": 3}, "step: a multiple of 5 is wanted, not 3"),
        ({"letter": "password"}, "letter: at most 3 characters are wanted"),
        (
            {"secret": "hunter2"},
            "secret: the text does not have the form that is wanted (regular expression '^a+$')",
        ),
        ({"pair": [1]}, "pair: exactly 2 entries are wanted, not 1"),
        ({"few": [1, 2, 3]}, "few: at most 2 entries are wanted"),
        ({"colour": "green"}, "colour: 'green' is none of blue, red"),
        ({"kinds": {"a": "z"}}, "kinds: 'z' is none of x, y"),
        ({"inner": [{"kind": "z"}]}, "inner entry 0.kind: 'z' is none of x, y"),
        ({"mixed": [1, "z"]}, "mixed entry 1: 'z' is none of x, y"),
        ({"large": "z"}, "large: 'z' is none of the values that there are"),
        ({"is_up": 3}, "is_up: true or false or null is wanted, not 3"),
        ({"texts": {"a": 1}}, "texts: a text is wanted, not a whole number"),
        ({"texts": {1: "a"}}, "a key of texts: a text is wanted, not a whole number"),
        ({"inner": [{}, {"size": -4}]}, "inner entry 1.size: at least 1 is wanted, not -4"),
        ({"weight": 1}, "unknown field `weight`"),
        ({"name": None}, "name: a text is wanted, not null"),
    ],
)
def test_what_is_wrong_is_told_in_words(given: dict[str, Any], told: str) -> None:
    with pytest.raises(codec.CodecError) as caught:
        codec.convert({"name": "x", **given}, Form)
    assert str(caught.value) == told


def test_the_whole_may_be_wrong() -> None:
    for given, told in (([1], "an object is wanted, not a list"), ({}, "the field `name` is missing")):
        with pytest.raises(codec.CodecError) as caught:
            codec.convert(given, Form)
        assert str(caught.value) == told


def test_what_was_given_is_never_repeated_when_it_is_a_text() -> None:
    for given in ({"secret": "hunter2"}, {"letter": "hunter2"}, {"jobs": "hunter2"}, {"pair": ["hunter2", 1]}):
        with pytest.raises(codec.CodecError) as caught:
            codec.convert({"name": "x", **given}, Form)
        assert "hunter2" not in str(caught.value)
