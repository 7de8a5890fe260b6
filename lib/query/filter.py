"""Query filters as people write them, made into the JSON form."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ganeti import errors

#: one argument with any of these characters is a filter, not a name
_FILTER_CHARACTERS = frozenset(" \t\n\r\f\v!\"'()/<>=\\~")
_GLOB_CHARACTERS = frozenset("*?")
_KEYWORDS = ("and", "or", "not", "in")
_REGEX_DELIMITERS = "/#^|"
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_/.]*")

# Any: JSON lists of text, numbers and lists.
Json = Any


def glob_pattern(glob: str) -> str:
    """Regular expression of a host-name glob: `*` any text, `?` one character; a domain may follow."""
    parts = {"*": ".*", "?": "."}
    return "^" + "".join(parts.get(char) or re.escape(char) for char in glob) + r"(\..*)?$"


def is_filter(arguments: Sequence[str]) -> bool:
    return len(arguments) == 1 and not _FILTER_CHARACTERS.isdisjoint(arguments[0])


def filter_of_arguments(arguments: Sequence[str], *, name_field: str = "name", force: bool = False) -> Json:
    """The filter that a list command's arguments stand for; None: everything.

    `force`: the one argument is a filter whatever it looks like. Raises QueryFilterParseError, ParameterError.
    """
    if force and len(arguments) != 1:
        raise errors.ParameterError("exactly one argument is wanted: the filter")
    if force or is_filter(arguments):
        return parse_text(arguments[0])
    conditions: list[Json] = []
    for name in arguments:
        if not _GLOB_CHARACTERS.isdisjoint(name) and name_field != "id":
            conditions.append(["=~", name_field, glob_pattern(name)])
        elif name_field != "id":
            conditions.append(["==", name_field, name])
        elif name.isascii() and name.isdigit():
            conditions.append(["==", name_field, int(name)])
        else:
            raise errors.ParameterError(f"invalid job id {name!r}", hint="it is a whole number")
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else ["|", *conditions]


def parse_text(text: str) -> Json:
    """The JSON form of a filter. Raises QueryFilterParseError with the place marked by a caret."""
    import pyparsing as pp

    try:
        return _grammar()(text)
    except pp.ParseBaseException as err:
        message, place = _common_mistake(text) or (err.msg, err.loc)
        raise errors.QueryFilterParseError(marked(message, text, place)) from err
    except RecursionError as err:
        raise errors.QueryFilterParseError("the filter is nested too deeply") from err


def marked(message: str, text: str, place: int) -> str:
    """The message, and below it the line of `text` with a caret under that place."""
    start = text.rfind("\n", 0, place) + 1
    line = text[start:].partition("\n")[0]
    return f"{message} at column {place - start + 1}\n  {line}\n  {' ' * (place - start)}^"


def blamed(text: str, message: str) -> int | None:
    """Where the field stands that a message about the filter names in quotes; None: it names none of them."""
    for found in _FIELD.finditer(_bare(text)):
        if found[0] not in _KEYWORDS and f"field {found[0]!r}" in message:
            return found.start()
    return None


def _bare(text: str) -> str:
    """With zeros in the place of patterns and quoted text."""
    return _TEXTS.sub(lambda found: "0" * len(found[0]), text)


_PATTERN = "|".join(rf"{mark}(?:\\.|[^\\{mark}])*{mark}" for mark in map(re.escape, _REGEX_DELIMITERS))
#: patterns and quoted text; the group is a quote that nothing closes
_TEXTS = re.compile(rf"""[=!]~\s*m?(?:{_PATTERN})|"[^"]*"|'[^']*'|(["'])""", re.DOTALL)


#: what people write who know other languages; the group is the place
_SLIPS = (
    (re.compile(r"(?:[=!<>]=|[=!][~*]|[=<>])\s*(\Z|(?=\)))"), "a value is missing"),
    (re.compile(r"(?:^|[\s(])([0-9]+)\s*(?:[=!<>]=|[=<>])\s*[A-Za-z_]"), "the field comes first, then its value"),
    (re.compile(r"(~=)"), "a pattern comes after =~ or !~"),
    (re.compile(r"(&+|\|+)"), "conditions are joined by the words and, or"),
    (re.compile(r"\b(AND|OR|NOT|IN)\b"), "words are written in lower case: and, or, not, in"),
    (re.compile(r"(?:[=!]\*|[=!]=|=|[<>]=?)\s*([A-Za-z_*?][^\s()]*)"), "text stands between quotes"),
    (re.compile(r"(![\sA-Za-z(])"), "a condition is turned round by the word not"),
)


def _common_mistake(text: str) -> tuple[str, int] | None:
    """What the grammar would not tell of a text that it refused, and where it is."""
    for found in _TEXTS.finditer(text):
        if found[1]:
            return "a quote that is not closed", found.start()
        if found[0][0] in "\"'" and text[: found.start()].rstrip().endswith(("=~", "!~")):
            return (
                'a pattern stands between slashes (=~ /pattern/), a glob between quotes (=* "glob*"): quote',
                found.start(),
            )
    bare = _bare(text)
    for pattern, message in _SLIPS:
        slip = pattern.search(bare)
        if slip:
            return message, slip.start(1)
    return _open_parenthesis(bare)


def _open_parenthesis(bare: str) -> tuple[str, int] | None:
    open_at: list[int] = []
    for place, character in enumerate(bare):
        if character == "(":
            open_at.append(place)
        elif character == ")":
            if not open_at:
                return "a parenthesis that nothing opens", place
            open_at.pop()
    return ("a parenthesis that is not closed", open_at[-1]) if open_at else None


@cache
def _grammar() -> Callable[[str], Json]:
    # Imported on use: it takes longer to load than a list command may take to start.
    import pyparsing as pp

    words = {word: pp.Keyword(word) for word in _KEYWORDS}
    keyword = pp.MatchFirst(list(words.values()))
    field = (~keyword + pp.Regex(_FIELD)).set_name("field name")
    number = pp.Regex(r"[-+]?[0-9]+").set_parse_action(lambda found: int(found[0]))
    quoted = (pp.QuotedString('"') | pp.QuotedString("'")).set_name("quoted text")
    value = (number | quoted).set_name("number or quoted text")

    spelled = {"=": "=="}
    sign = pp.one_of("== = != <= >= < >").set_name("comparison")
    comparison = (field + sign + value).set_parse_action(lambda f: [[spelled.get(f[1], f[1]), f[0], f[2]]])

    regex = pp.MatchFirst([_regex_between(pp, delimiter) for delimiter in _REGEX_DELIMITERS]).set_name("/pattern/")
    match = (field + pp.one_of("=~ !~") + regex).set_parse_action(lambda f: [_signed(f[1], ["=~", f[0], f[2]])])
    glob = (field + pp.one_of("=* !*") + quoted).set_parse_action(
        lambda f: [_signed(f[1], ["=~", f[0], glob_pattern(f[2])])]
    )
    within = (value + pp.Optional(words["not"]) + words["in"] + field).set_parse_action(
        lambda f: [["!", ["=[]", f[3], f[0]]] if len(f) == 4 else ["=[]", f[2], f[0]]]
    )
    flag = field.copy().set_parse_action(lambda f: [["?", f[0]]])

    either = pp.Forward()
    group = pp.Suppress("(") + either + pp.Suppress(")")
    term = pp.Forward()
    negated = (pp.Suppress(words["not"]) + term).set_parse_action(lambda f: [["!", f[0]]])
    term <<= (negated | group | match | glob | comparison | within | flag).set_name("condition")
    both = (term + (pp.Suppress(words["and"]) + term)[...]).set_parse_action(lambda f: [_joined("&", list(f))])
    either <<= (both + (pp.Suppress(words["or"]) + both)[...]).set_parse_action(lambda f: [_joined("|", list(f))])

    def parse(text: str) -> Json:
        return either.parse_string(text, parse_all=True)[0]

    return parse


def _regex_between(pp: Any, delimiter: str) -> Any:  # Any: pyparsing is not imported at module level
    mark = re.escape(delimiter)

    def pattern(text: str, place: int, found: Any) -> str:
        body, flags = re.fullmatch(rf"m?{mark}((?:\\.|[^\\{mark}])*){mark}([a-zA-Z]*)", found[0], re.DOTALL).groups()  # type: ignore[union-attr]  # the token has this very form
        wrong = set(flags) - set("is")
        if wrong:
            raise pp.ParseFatalException(text, place, f"unknown flag {min(wrong)!r}: only i and s are known")
        body = body.replace("\\" + delimiter, delimiter)
        return f"(?{''.join(sorted(set(flags)))}){body}" if flags else str(body)

    return pp.Regex(rf"m?{mark}(?:\\.|[^\\{mark}])*{mark}[a-zA-Z]*", re.DOTALL).set_parse_action(pattern)


def _signed(sign: str, condition: Json) -> Json:
    return ["!", condition] if sign.startswith("!") else condition


def _joined(op: str, parts: list[Json]) -> Json:
    return parts[0] if len(parts) == 1 else [op, *parts]
