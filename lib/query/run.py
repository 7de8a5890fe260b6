"""Answers a query: which objects, which cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from ganeti import errors
from ganeti.model.types import nice_key
from ganeti.query.fields import Field, Kind, Need, Resource
from ganeti.query.match import Filter
from ganeti.query.view import UNKNOWN, Absent, View

#: rows made in one go; a caller that shares a loop lets others run between two chunks
CHUNK = 500

# Any: cells are JSON values, objects have the resource's type.
Row = list[Any]


def _unknown(name: str) -> Field:
    return Field(name, name, Kind.UNKNOWN, "Unknown field", lambda view, obj: UNKNOWN)


def describe(resource: Resource, names: Sequence[str] | None) -> list[dict[str, str]]:
    """Definitions of these fields, or of all in natural order of their names."""
    if not names:
        return [resource.fields[name].definition() for name in sorted(resource.fields, key=nice_key)]
    return [(resource.fields.get(name) or _unknown(name)).definition() for name in names]


class Query:
    """One checked request. Raises ParameterError for a filter that does not fit."""

    def __init__(self, resource: Resource, names: Sequence[str], qfilter: Any = None) -> None:
        self.resource = resource
        self.columns = [resource.fields.get(name) or _unknown(name) for name in names]
        self.filter = None if qfilter is None else Filter(resource, qfilter)
        self.needs = {field.need for field in self.columns if field.need}
        self.needs |= self.filter.needs if self.filter else set()
        self._mentioned = set(names) | (self.filter.fields if self.filter else set())

    @property
    def requested(self) -> list[str | int] | None:
        """The names asked for, when the filter asks for nothing else."""
        return self.filter.names if self.filter else None

    def definitions(self) -> list[dict[str, str]]:
        return [field.definition() for field in self.columns]

    def candidates(self, view: View) -> Sequence[Any]:
        """Objects to look at, before the filter. Raises PrereqError(unknown_entity) for a name that was asked for."""
        if self.requested is None:
            return self.every(view)
        return find(self.resource, view, self.requested, once=True)

    def every(self, view: View) -> Sequence[Any]:
        """All objects, but for those that are left out as long as nobody asks for the reason."""
        is_shown, mentioned = self.resource.is_shown, self._mentioned
        if is_shown is None:
            return self.resource.every(view)
        return [obj for obj in self.resource.every(view) if is_shown(obj, mentioned)]

    def select(self, view: View, objects: Iterable[Any], *, with_live: bool) -> list[Any]:
        """Those that the filter keeps."""
        test = self.filter
        if test is None or self.requested is not None:
            return list(objects)
        return [obj for obj in objects if test.keeps(view, obj, with_live=with_live)]

    def rows(self, view: View, objects: Sequence[Any]) -> list[Row]:
        """Cells as [status, value], a column at a time: one call and one small list for each cell."""
        if not self.columns:
            return [[] for _ in objects]
        columns = [
            [value.cell if type(value) is Absent else [0, value] for value in map(partial(field.get, view), objects)]
            for field in self.columns
        ]
        return list(map(list, zip(*columns, strict=True)))

    def plain_rows(self, view: View, objects: Sequence[Any]) -> list[Row]:
        """Values alone; what is not normal is None."""
        return [[cell[1] for cell in row] for row in self.rows(view, objects)]


def find(resource: Resource, view: View, names: Iterable[str | int], *, once: bool = False) -> list[Any]:
    """The objects behind these names, in this order. Raises PrereqError(unknown_entity)."""
    one, several = resource.lookup, resource.lookup_all
    if several is not None:
        found = [obj for name in names for obj in several(view, name)]
    elif one is not None:
        found = [one(view, name) for name in names]
    else:
        raise errors.PrereqError("wrong_input", f"{resource.name}s cannot be asked for by name")
    return list({resource.identity(obj): obj for obj in found}.values()) if once else found


def chunks(objects: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    for start in range(0, len(objects), size):
        yield objects[start : start + size]


def run(resource: Resource, names: Sequence[str], qfilter: Any, view: View) -> dict[str, Any]:
    """`{"fields": definitions, "data": rows}`, all from data that the view has already."""
    query = Query(resource, names, qfilter)
    objects = query.select(view, query.candidates(view), with_live=True)
    return {"fields": query.definitions(), "data": query.rows(view, objects)}


def classic(resource: Resource, names: Sequence[str]) -> Query:
    """A query of the old calls. Raises PrereqError when one of the fields does not exist."""
    query = Query(resource, names)
    unknown = [field.name for field in query.columns if field.kind is Kind.UNKNOWN]
    if unknown:
        raise errors.PrereqError("wrong_input", "Unknown output fields selected: " + ", ".join(unknown))
    return query


def live_needs(query: Query) -> set[Need]:
    """What has to be collected from nodes."""
    return query.needs - {Need.ARCHIVE}
