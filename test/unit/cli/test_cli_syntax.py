"""The micro-syntaxes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti import errors
from ganeti.cli import syntax
from ganeti.ops.base import Parse


def test_keyval_reads_text_and_the_three_bare_forms():
    assert syntax.parse_keyval("a=1,b=x=y,c,no_d,-e,f=") == {
        "a": "1",
        "b": "x=y",
        "c": True,
        "d": False,
        "e": None,
        "f": "",
    }


def test_keyval_of_the_empty_text_is_empty():
    assert syntax.parse_keyval("") == {}


def test_keyval_backslash_keeps_a_comma():
    assert syntax.parse_keyval(r"args=a\,b,c=1") == {"args": "a,b", "c": "1"}


@pytest.mark.parametrize("text", ["a=1,a=2", "a,no_a", "a=1,", "=1", ",", "-"])
def test_keyval_refuses(text):
    with pytest.raises(errors.ParameterError, match=r"given twice|cannot read"):
        syntax.parse_keyval(text)


KEYS = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(codec="ascii", exclude_characters="\\"), max_size=8)


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_keyval_reads_back_what_was_escaped(values):
    text = ",".join(f"{key}={value}".replace(",", "\\,") for key, value in values.items())
    assert syntax.parse_keyval(text) == values


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("kvm", ("kvm", {})),
        ("kvm:", ("kvm", {})),
        ("kvm:a=1,b", ("kvm", {"a": "1", "b": True})),
        ("no_kvm", ("kvm", False)),
        ("-kvm", ("kvm", None)),
        ("-1:size=1", ("-1", {"size": "1"})),
        ("-1", ("-1", {})),
    ],
)
def test_ident_keyval(text, wanted):
    assert syntax.parse_ident_keyval(text) == wanted


@pytest.mark.parametrize("text", ["", ":a=1", "no_", "-", "no_kvm:a=1", "-kvm:a=1"])
def test_ident_keyval_refuses(text):
    with pytest.raises(errors.ParameterError, match="cannot read"):
        syntax.parse_ident_keyval(text)


def test_ident_dict_refuses_the_same_name_twice():
    with pytest.raises(errors.ParameterError, match="'kvm' is given twice"):
        syntax.parse_ident_dict(["kvm:a=1", "kvm:b=1"])


def test_devices_fill_the_gaps_and_read_sizes():
    assert syntax.parse_devices(["2:size=1g,mode=ro", "0:size=10"]) == [{"size": 12}, {}, {"size": 1024, "mode": "ro"}]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x:size=1g"], "bad index 'x'"),
        (["-1:size=1g"], "bad index '-1'"),
        (["1111:size=1g"], "bad index"),
        (["²:size=1g"], "bad index"),
        (["0:size=1g", "0:size=2g"], "given twice"),
        (["0:size=1g,adopt=lv"], "exclude each other"),
    ],
)
def test_devices_refuse(texts, message):
    with pytest.raises(errors.ParameterError, match=message):
        syntax.parse_devices(texts)


def test_devices_say_which_units_there_are():
    with pytest.raises(errors.UnitParseError) as caught:
        syntax.parse_devices(["0:size=5x"])
    assert "5x" in caught.value.message
    assert "m, g or t" in caught.value.hint


def test_disks_have_no_gap():
    with pytest.raises(errors.ParameterError, match="disk numbers begin at 0; 0 is missing"):
        syntax.convert(Parse.DEVICES, ["1:size=1g"], "disks", "")
    assert syntax.convert(Parse.DEVICES, ["1:ip=10.0.0.1"], "nics", "") == {"nics": [{}, {"ip": "10.0.0.1"}]}


@pytest.mark.parametrize(("text", "wanted"), [("yes", True), ("No", False), ("TRUE", True), ("false", False)])
def test_yes_no(text, wanted):
    assert syntax.parse_yes_no(text) is wanted


def test_yes_no_refuses_other_words():
    with pytest.raises(errors.ParameterError, match="'1' as yes or no"):
        syntax.parse_yes_no("1")


@pytest.mark.parametrize(
    ("parse", "texts", "wanted"),
    [
        (Parse.SIZE, ["1", "2g"], {"x": 2048}),
        (Parse.SPAN, ["2h"], {"x": 7200}),
        (Parse.LIST, ["a,b", "c, d"], {"x": ["a", "b", "c", "d"]}),
        (Parse.LIST, [""], {"x": []}),
        (Parse.ONE_DISK, ["1.5g"], {"x": [{"size": 1536}]}),
        (Parse.NODE_PAIR, ["a:b"], {"x": "a", "y": "b"}),
        (Parse.NODE_PAIR, ["a"], {"x": "a"}),
        (Parse.IDENT_ONE, ["kvm:a=1"], {"x": "kvm", "y": {"a": "1"}}),
        (Parse.IDENT_ONE, ["kvm"], {"x": "kvm"}),
        (Parse.IDENT_KEYVAL, ["kvm:a=1", "-fake"], {"x": {"kvm": {"a": "1"}, "fake": None}}),
        (Parse.PLAIN, ["a", "b"], {"x": "b"}),
    ],
)
def test_convert(parse, texts, wanted):
    assert syntax.convert(parse, texts, "x", "y") == wanted


@pytest.mark.parametrize(
    ("parse", "text"), [(Parse.NODE_PAIR, "a:"), (Parse.NODE_PAIR, ":b"), (Parse.IDENT_ONE, "no_kvm")]
)
def test_convert_refuses(parse, text):
    with pytest.raises(errors.ParameterError, match=r"cannot"):
        syntax.convert(parse, [text], "x", "y")
