"""The list and list-fields commands of all resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.cli import colours, common, failure, tables
from ganeti.ops.verbs import Argument, Call, Session, verb
from ganeti.query.filter import blamed, filter_of_arguments, is_filter, marked


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What is special about the list of one resource."""

    resource: str
    default_fields: tuple[str, ...]
    name_field: str = "name"
    # Any-valued callables by field name
    formats: Mapping[str, tables.Format] = {}


#: the options of every list
OPTIONS = (common.NO_HEADERS, common.SEPARATOR, common.OUTPUT, common.VERBOSE)
UNKNOWN_FIELD_CODE = (failure.UNKNOWN_FIELD, "an unknown field was asked for")


def wanted_fields(text: str | None, default: Sequence[str]) -> list[str]:
    """`f1,f2` replaces the default, `+f1,f2` adds to it."""
    if not text:
        return list(default)
    names = [name for name in text.removeprefix("+").split(",") if name]
    if not names:
        raise errors.ParameterError(f"no field is named in {text!r}", hint="list-fields shows the names")
    return [*default, *names] if text.startswith("+") else names


def show(session: Session, call: Call, listing: Listing, *, also: list[Any] | None = None) -> int:
    """Query and print a list; `also` is a filter that has to match too. The exit code."""
    wanted = filter_of_arguments(call.arguments, name_field=listing.name_field, force=call.given("filter"))
    names = wanted_fields(call.options.get("output"), listing.default_fields)
    answer = asked(session, call, listing.resource, names, both(wanted, also))
    fields = [msgspec.convert(raw, tables.Field) for raw in answer["fields"]]
    separator = call.options.get("separator")
    units = call.options.get("units") or ("h" if separator is None else "m")
    _print(session, call, fields, answer["data"], tables.formatters(fields, units, listing.formats))
    unknown = [field.name for field in fields if field.kind == "unknown"]
    if unknown:
        session.note(f"Warning: unknown field(s): {', '.join(unknown)}; list-fields shows the known ones")
        return failure.UNKNOWN_FIELD
    return 0


def asked(
    session: Session, call: Call, resource: str, names: Sequence[str], wanted: list[Any] | None
) -> dict[str, Any]:
    """The answer. What the master dislikes about a filter that was typed is shown at its place in it. Any: JSON."""
    try:
        answer: dict[str, Any] = session.call("Query", resource, list(names), wanted)
    except errors.ParameterError as err:
        if not call.given("filter") and not is_filter(call.arguments):
            raise
        text = call.arguments[0]
        place = blamed(text, err.message)
        if place is None:
            raise
        hint = "list-fields shows the known ones" if "unknown field" in err.message else err.hint
        raise errors.QueryFilterParseError(marked(err.message, text, place), hint=hint) from err
    return answer


def both(first: list[Any] | None, second: list[Any] | None) -> list[Any] | None:
    """The filter that matches what both match; None matches everything."""
    if first is None or second is None:
        return first or second
    return ["&", first, second]


def _print(
    session: Session,
    call: Call,
    fields: Sequence[tables.Field],
    data: Sequence[Sequence[Sequence[Any]]],
    formats: Sequence[tables.Format],
) -> None:
    verbose = call.given("verbose")
    rows = [
        [
            tables.text_of(status, value, formatter, verbose=verbose)
            for (status, value), formatter in zip(row, formats, strict=True)
        ]
        for row in data
    ]

    def painted(line: int, column: int, text: str) -> str:
        if line < 0:
            return colours.of_heading(text)
        status, value = data[line][column]
        return colours.of_cell(text, fields[column].name, status, value)

    write_table(session, call, tables.columns_of(fields), rows, painted)


def write_table(
    session: Session,
    call: Call,
    columns: Sequence[tables.Column],
    rows: Sequence[Sequence[str]],
    paint: tables.Paint = lambda line, column, text: colours.of_heading(text) if line < 0 else text,
) -> None:
    """With the options about headers and separators; painted on a terminal only."""
    text = tables.render(
        columns,
        rows,
        separator=call.options.get("separator"),
        headers=not call.given("no_headers"),
        paint=paint if session.has_colours else None,
    )
    if text:
        session.out(text.removesuffix("\n"))


def fields_verb(tool: str, resource: str) -> None:
    """Declare the list-fields command of a tool."""

    def run(session: Session, call: Call) -> int:
        answer = session.call("QueryFields", resource, list(call.arguments) or None)
        fields = [msgspec.convert(raw, tables.Field) for raw in answer["fields"]]
        rows = [
            [field.name, tables.KIND_TITLES.get(field.kind, field.kind), field.title, field.doc] for field in fields
        ]
        columns = [tables.Column(title) for title in ("Name", "Type", "Title", "Description")]
        write_table(session, call, columns, rows)
        return failure.UNKNOWN_FIELD if any(field.kind == "unknown" for field in fields) else 0

    run.__doc__ = f"List the fields of {resource}s that list can show. With names, only those."
    declare = verb(
        tool,
        "list-fields",
        arguments=(Argument(name="field", least=0, most=None),),
        options=(common.NO_HEADERS, common.SEPARATOR),
        exit_codes=(UNKNOWN_FIELD_CODE,),
    )
    declare(run)
