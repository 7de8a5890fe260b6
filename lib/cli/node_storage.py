"""gnt-node volumes and list-storage: what nodes have, whoever uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.cli import common, lists, tables
from ganeti.model.types import format_size
from ganeti.ops.verbs import Argument, Call, Session, option, verb

_NODES = (Argument(name="node", least=0, most=None, completes="node"),)
_OPTIONS = (common.NO_HEADERS, common.SEPARATOR, common.UNITS, common.OUTPUT, common.PRIORITY)

_VOLUME_FIELDS = (
    tables.Field("node", "Node", "text"),
    tables.Field("phys", "PhysDev", "text"),
    tables.Field("vg", "VG", "text"),
    tables.Field("name", "Name", "text"),
    tables.Field("size", "Size", "unit"),
    tables.Field("instance", "Instance", "text"),
)
_UNIT_FIELDS = (
    tables.Field("node", "Node", "text"),
    tables.Field("type", "Type", "text"),
    tables.Field("name", "Name", "text"),
    tables.Field("size", "Size", "unit"),
    tables.Field("used", "Used", "unit"),
    tables.Field("free", "Free", "unit"),
    tables.Field("allocatable", "Allocatable", "bool"),
)


def _wanted(call: Call, known: Sequence[tables.Field]) -> list[tables.Field]:
    by_name = {field.name: field for field in known}
    names = lists.wanted_fields(call.options.get("output"), tuple(by_name))
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise errors.PrereqError(
            "wrong_input", f"there is no field {unknown[0]!r}", hint="there are " + ", ".join(by_name)
        )
    return [by_name[name] for name in names]


def _write(session: Session, call: Call, fields: Sequence[tables.Field], data: Sequence[Sequence[Any]]) -> None:
    separator = call.options.get("separator")
    units = call.options.get("units") or ("h" if separator is None else "m")
    formats = tables.formatters(fields, units, {"size": lambda value: format_size(float(value), units)})
    rows = [[formatter(value) for value, formatter in zip(row, formats, strict=True)] for row in data]
    lists.write_table(session, call, tables.columns_of(fields), rows)


@verb("gnt-node", "volumes", arguments=_NODES, options=_OPTIONS)
def volumes(session: Session, call: Call) -> int:
    """List the logical volumes of nodes, with the instance that uses each. Without names: of all nodes."""
    from ganeti.ops.node import OpNodeQueryVols

    fields = _wanted(call, _VOLUME_FIELDS)
    op = OpNodeQueryVols(output_fields=tuple(field.name for field in fields), nodes=call.arguments)
    _write(session, call, fields, session.run(op) or ())
    return 0


@verb(
    "gnt-node",
    "list-storage",
    arguments=_NODES,
    options=(
        *_OPTIONS,
        option(
            "storage_type",
            "-t",
            "--storage-type",
            help="what to list",
            choices=("file", "sharedfile", "lvm-pv", "lvm-vg"),
            metavar="KIND",
            default="what the first enabled disk template lies on",
        ),
    ),
)
def list_storage(session: Session, call: Call) -> int:
    """List directories, physical volumes or volume groups of nodes with their space. Without names: of all nodes."""
    from ganeti.ops.node import OpNodeQueryStorage

    fields = _wanted(call, _UNIT_FIELDS)
    op = OpNodeQueryStorage(
        output_fields=tuple(field.name for field in fields),
        storage_type=call.options.get("storage_type") or "",
        nodes=call.arguments,
    )
    _write(session, call, fields, session.run(op) or ())
    return 0
