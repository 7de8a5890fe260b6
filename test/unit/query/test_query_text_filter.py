"""Filters as people write them."""

import re

import pytest

from ganeti import errors
from ganeti.query.filter import filter_of_arguments, glob_pattern, is_filter, parse_text

GLOB = "^web.*(\\..*)?$"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('role == "C" and not drained', ["&", ["==", "role", "C"], ["!", ["?", "drained"]]]),
        ('"prod" in tags or name =* "web*"', ["|", ["=[]", "tags", "prod"], ["=~", "name", GLOB]]),
        ("be/memory > 1024", [">", "be/memory", 1024]),
        ("(status =~ m/^ERROR/)", ["=~", "status", "^ERROR"]),
        ("name = 'a'", ["==", "name", "a"]),
        ('name != "a"', ["!=", "name", "a"]),
        ("serial_no >= -3", [">=", "serial_no", -3]),
        ("status !~ /run/i", ["!", ["=~", "status", "(?i)run"]]),
        ("os =~ m#a\\#b#si", ["=~", "os", "(?is)a#b"]),
        ("os =~ /a\\/b\\.c/", ["=~", "os", "a/b\\.c"]),
        ("os =~ |x|", ["=~", "os", "x"]),
        ('name !* "web*"', ["!", ["=~", "name", GLOB]]),
        ('"a" not in tags', ["!", ["=[]", "tags", "a"]]),
        ("offline", ["?", "offline"]),
        ("order == 1", ["==", "order", 1]),
        ("a and b and c", ["&", ["?", "a"], ["?", "b"], ["?", "c"]]),
    ],
)
def test_filter_is_read(text, form):
    assert parse_text(text) == form


def test_and_binds_closer_than_or_and_not_closest():
    assert parse_text("not a and b or c") == ["|", ["&", ["!", ["?", "a"]], ["?", "b"]], ["?", "c"]]
    assert parse_text("not (a or b)") == ["!", ["|", ["?", "a"], ["?", "b"]]]


@pytest.mark.parametrize("text", ["", "name ==", "name == a b", "(a", "a and", '== "x"', "1a == 2", "name == 1.5"])
def test_wrong_filter_says_where(text):
    with pytest.raises(errors.QueryFilterParseError) as caught:
        parse_text(text)
    assert re.search(r"column \d+", str(caught.value))
    assert str(caught.value).rstrip().endswith("^")


def test_caret_stands_below_the_mistake():
    with pytest.raises(errors.QueryFilterParseError) as caught:
        parse_text('name == "a" xx')
    line, caret = str(caught.value).splitlines()[1:]
    assert line[caret.index("^") :] == "xx"


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("name == web1", "text stands between quotes", "web1"),
        ("be/memory > big and oper_state", "text stands between quotes", "big and oper_state"),
        ("name =* web*", "text stands between quotes", "web*"),
        ('name == "a && b" && oper_state', "joined by the words and, or", "&& oper_state"),
        ('name == "OR" OR oper_state', "lower case", "OR oper_state"),
        ("!oper_state", "turned round by the word not", "!oper_state"),
    ],
)
def test_what_other_languages_write_is_explained_at_its_place(text, message, marked):
    with pytest.raises(errors.QueryFilterParseError, match=message) as caught:
        parse_text(text)
    line, caret = str(caught.value).splitlines()[1:]
    assert line[caret.index("^") :] == marked


def test_unknown_regex_flag_is_refused():
    with pytest.raises(errors.QueryFilterParseError, match="unknown flag 'x'"):
        parse_text("name =~ /a/ix")


def test_deep_nesting_is_an_error_not_a_crash():
    with pytest.raises(errors.QueryFilterParseError):
        parse_text("(" * 5000 + "a" + ")" * 5000)


@pytest.mark.parametrize(
    ("name", "matches"),
    [("web1", True), ("web1.example.com", True), ("aweb1", False), ("webx-y.a", True)],
)
def test_glob_is_anchored_and_may_be_followed_by_a_domain(name, matches):
    assert bool(re.search(glob_pattern("web*"), name)) is matches


def test_glob_takes_dots_literally():
    assert not re.search(glob_pattern("a.b"), "axb")


def test_arguments_become_names_and_globs():
    assert filter_of_arguments([]) is None
    assert filter_of_arguments(["a"]) == ["==", "name", "a"]
    assert filter_of_arguments(["a", "web*"]) == ["|", ["==", "name", "a"], ["=~", "name", GLOB]]
    assert filter_of_arguments(["3", "4"], name_field="id") == ["|", ["==", "id", 3], ["==", "id", 4]]


def test_one_argument_with_a_filter_character_is_a_filter():
    assert is_filter(["a=b"])
    assert not is_filter(["web1.example.com"])
    assert filter_of_arguments(["not offline"]) == ["!", ["?", "offline"]]
    assert filter_of_arguments(["offline"], force=True) == ["?", "offline"]


def test_wrong_arguments_are_refused():
    with pytest.raises(errors.ParameterError, match="exactly one"):
        filter_of_arguments(["a", "b"], force=True)
    with pytest.raises(errors.ParameterError, match="job id"):
        filter_of_arguments(["seven"], name_field="id")


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ('name == "a', "a quote that is not closed at column 9", '"a'),
        ("a or\nname == 'a", "a quote that is not closed at column 9", "'a"),
        ('name =~ "x"', "a pattern stands between slashes", '"x"'),
        ("name !~ 'x' and b", "a pattern stands between slashes", "'x' and b"),
        ("a and (b == ) and c", "a value is missing at column 13", ") and c"),
        ("(a and b", "a parenthesis that is not closed at column 1", "(a and b"),
        ("name =~ m/(/ and a)", "a parenthesis that nothing opens at column 19", ")"),
        ("name ~= /x/", "a pattern comes after =~ or !~", "~= /x/"),
        ('"x" == name', "the field comes first", '"x" == name'),
        ('name =~ /a"b/ xx', "Expected end of text at column 15", "xx"),
    ],
)
def test_common_mistakes_are_named(text, message, marked):
    with pytest.raises(errors.QueryFilterParseError, match=message) as caught:
        parse_text(text)
    line, caret = str(caught.value).splitlines()[1:]
    assert line[caret.index("^") :] == marked
