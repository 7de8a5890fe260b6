"""Query filters in their JSON form, checked and compiled."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from ganeti import errors
from ganeti.query.fields import Compare, Field, Kind, Need, Resource
from ganeti.query.view import Absent, View

MAX_DEPTH = 64
MAX_PATTERN = 1024
#: the end of the text as Python and Perl write it; the engine says \z
_END_OF_TEXT = re.compile(r"(?<!\\)((?:\\\\)*)\\Z")
#: bytes that one pattern may use, compiled and while it is matched
MAX_PATTERN_MEMORY = 8 << 20

#: None: cannot be decided for this object (or not yet); an undecided filter keeps the row
Verdict = bool | None
# Any: the object's type is the resource's; values are JSON.
Test = Callable[[View, Any], Verdict]

_NUMERIC = (Kind.NUMBER, Kind.FLOAT, Kind.UNIT, Kind.TIMESTAMP)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class Filter:
    """A checked filter. Raises ParameterError when it does not fit the resource.

    `names` is the requested names, in order, when the filter asks for nothing but these; else None.
    """

    def __init__(self, resource: Resource, untrusted: Any) -> None:
        self._resource = resource
        self._untrusted = untrusted
        self.needs: set[Need] = set()
        self.fields: set[str] = set()
        self.names = self._plain_names()
        if self.names is None:
            self._with_live, self._without_live  # noqa: B018 - raises for what cannot be compiled
            found: list[str | int] = []
            usable = resource.has_names and _names(untrusted, resource.name_field, found)
            self.names = found if usable and found else None

    def _plain_names(self) -> list[str | int] | None:
        """Of a filter that is a flat list of names, as those of many objects are: to compile each would take long."""
        untrusted, name = self._untrusted, self._resource.name_field
        if not self._resource.has_names or not isinstance(untrusted, list) or untrusted[:1] != ["|"]:
            return None
        found: list[str | int] = []
        for part in untrusted[1:]:
            is_name = isinstance(part, list) and len(part) == 3 and part[0] in ("==", "=") and part[1] == name
            if not is_name or not isinstance(part[2], str | int):
                return None
            found.append(part[2])
        if not found:
            return None
        field = self._field(name)
        for value in found:
            _check(field, value)
        return found

    @cached_property
    def _with_live(self) -> Test:
        return self._compile(self._untrusted, 0, live=True)

    @cached_property
    def _without_live(self) -> Test:
        test = self._with_live
        return self._compile(self._untrusted, 0, live=False) if self.needs - {Need.ARCHIVE} else test

    def keeps(self, view: View, obj: Any, *, with_live: bool) -> bool:
        """Without live data, conditions on live fields are left open."""
        test = self._with_live if with_live else self._without_live
        return test(view, obj) is not False

    def holds(self, view: View, obj: Any) -> bool:
        """Whether it is decided, and true: a value that is not there fulfils nothing."""
        return self._with_live(view, obj) is True

    def _compile(self, untrusted: Any, depth: int, *, live: bool) -> Test:
        if not isinstance(untrusted, list) or not untrusted or not isinstance(untrusted[0], str):
            raise errors.ParameterError(
                f"not a filter: {str(untrusted)[:100]}", hint="a filter is a list with an operator first"
            )
        if depth > MAX_DEPTH:
            raise errors.ParameterError(f"the filter is nested more than {MAX_DEPTH} deep")
        op, *operands = untrusted
        if op in ("&", "|"):
            tests = [self._compile(part, depth + 1, live=live) for part in operands]
            return _all(tests) if op == "&" else _any(tests)
        if op == "!":
            _count(op, operands, 1)
            return _not(self._compile(operands[0], depth + 1, live=live))
        condition = self._condition(op, operands)
        field = self._field(operands[0])
        if field.need and field.need is not Need.ARCHIVE and not live:
            return lambda view, obj: None
        if field.need:
            self.needs.add(field.need)
        return _guarded(field, condition)

    def _field(self, name: Any) -> Field:
        field = self._resource.fields.get(name) if isinstance(name, str) else None
        if field is None:
            raise errors.ParameterError(f"unknown field {str(name)[:80]!r} in the filter of {self._resource.name}s")
        self.fields.add(field.name)
        return field

    def _condition(self, op: str, operands: list[Any]) -> Callable[[Any], bool]:
        if op == "?":
            _count(op, operands, 1)
            field = self._field(operands[0])
            if field.kind is not Kind.BOOL:
                raise errors.ParameterError(f"field {field.name!r} is not true or false", hint="compare it to a value")
            return bool
        if op not in ("==", "=", "!=", "=~", "=[]", *_ORDER):
            raise errors.ParameterError(f"unknown filter operator {op[:20]!r}")
        _count(op, operands, 2)
        field, value = self._field(operands[0]), operands[1]
        if not isinstance(value, str | int):
            raise errors.ParameterError(f"{str(value)[:80]} cannot be a filter value: use text or a whole number")
        if op == "=~":
            return _regex(field, value)
        if op == "=[]":
            return _contains(field, value)
        if op in _ORDER:
            return _ordered(field, op, value)
        equal = _equal(field, value)
        return equal if op != "!=" else lambda found: not equal(found)


def _guarded(field: Field, condition: Callable[[Any], bool]) -> Test:
    get = field.get

    def test(view: View, obj: Any) -> Verdict:
        value = get(view, obj)
        return None if type(value) is Absent or value is None else condition(value)

    return test


def _all(tests: list[Test]) -> Test:
    def test(view: View, obj: Any) -> Verdict:
        verdict: Verdict = True
        for part in tests:
            found = part(view, obj)
            if found is False:
                return False
            verdict = None if found is None else verdict
        return verdict

    return test


def _any(tests: list[Test]) -> Test:
    def test(view: View, obj: Any) -> Verdict:
        verdict: Verdict = False
        for part in tests:
            found = part(view, obj)
            if found:
                return True
            verdict = None if found is None else verdict
        return verdict

    return test


def _not(inner: Test) -> Test:
    def test(view: View, obj: Any) -> Verdict:
        found = inner(view, obj)
        return None if found is None else not found

    return test


def _count(op: str, operands: list[Any], wanted: int) -> None:
    if len(operands) != wanted:
        raise errors.ParameterError(f"filter operator {op!r} takes {wanted} operands, not {len(operands)}")


def _mismatch(field: Field, value: Any) -> errors.ParameterError:
    return errors.ParameterError(f"field {field.name!r} ({field.kind.value}) cannot be compared with {value!r}")


def _check(field: Field, value: str | int) -> None:
    is_text, is_flag = isinstance(value, str), isinstance(value, bool)
    wanted_flag = field.kind is Kind.BOOL
    wrong = (
        (field.kind is Kind.TEXT and not is_text)
        or (field.kind in _NUMERIC and (is_text or is_flag))
        or (field.compare is Compare.SECONDS and (is_text or is_flag))
        or wanted_flag is not is_flag
    )
    if wrong:
        raise _mismatch(field, value)


def _equal(field: Field, value: str | int) -> Callable[[Any], bool]:
    _check(field, value)
    if field.compare is Compare.HOST_NAME:
        wanted = str(value).lower()
        return lambda found: found.lower() == wanted or found.lower().startswith(wanted + ".")
    if field.compare is Compare.SECONDS:
        return lambda found: bool(found[0] == value)
    if field.kind is Kind.OTHER:
        return _same_type(field, value, operator.eq)
    return lambda found: bool(found == value)


def _ordered(field: Field, op: str, value: str | int) -> Callable[[Any], bool]:
    if field.kind is Kind.BOOL:
        raise _mismatch(field, value)
    _check(field, value)
    compare = _ORDER[op]
    if field.compare is Compare.SECONDS:
        return lambda found: compare(found[0], value)
    if field.kind is Kind.OTHER:
        return _same_type(field, value, compare)
    return lambda found: compare(found, value)


def _same_type(field: Field, value: str | int, compare: Callable[[Any, Any], bool]) -> Callable[[Any], bool]:
    """Values of kind `other` have a type only when they are seen."""
    wanted = (str,) if isinstance(value, str) else (int, float)

    def test(found: Any) -> bool:
        if not isinstance(found, wanted):
            raise _mismatch(field, value)
        return bool(compare(found, value))

    return test


def _contains(field: Field, value: str | int) -> Callable[[Any], bool]:
    if field.kind is not Kind.OTHER:
        raise errors.ParameterError(f"field {field.name!r} is not a list")

    def test(found: Any) -> bool:
        if not isinstance(found, list | tuple):
            raise errors.ParameterError(f"field {field.name!r} is not a list")
        return value in found

    return test


def _regex(field: Field, value: str | int) -> Callable[[Any], bool]:
    if field.kind not in (Kind.TEXT, Kind.OTHER) or not isinstance(value, str):
        raise errors.ParameterError(f"field {field.name!r} ({field.kind.value}) cannot be matched by {value!r}")
    if len(value) > MAX_PATTERN:
        raise errors.ParameterError(f"the pattern for field {field.name!r} is longer than {MAX_PATTERN} characters")
    # a pattern may not stop the master: this engine's time grows with the text's length only
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    try:
        search = re2.compile(_END_OF_TEXT.sub(r"\1\\z", value), options).search  # type: ignore[no-untyped-call]  # no types there
    except re2.error as err:
        reason = err.args[0].decode("utf-8", "replace") if isinstance(err.args[0], bytes) else str(err)
        raise errors.ParameterError(
            f"field {field.name!r}: {value[:80]!r} is not a regular expression that can be used: {reason};"
            " look-around and back references are not available"
        ) from err

    def test(found: Any) -> bool:
        if not isinstance(found, str):
            raise errors.ParameterError(f"field {field.name!r} is not text")
        return search(found) is not None

    return test


def _names(part: Any, name_field: str, found: list[str | int]) -> bool:
    """Whether the filter asks for names only; collects them."""
    if part[0] in ("==", "=") and part[1] == name_field:
        found.append(part[2])
        return True
    return part[0] == "|" and all(_names(inner, name_field, found) for inner in part[1:])
