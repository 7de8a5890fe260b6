"""gnt-instance list-detached-disks."""

from __future__ import annotations

from ganeti.cli import common, lists, tables
from ganeti.model.types import format_size
from ganeti.ops.verbs import Call, Session, verb

_COLUMNS = (
    tables.Column("UUID"),
    tables.Column("Name"),
    tables.Column("Size", is_right=True),
    tables.Column("Template"),
    tables.Column("Nodes"),
    tables.Column("Instance"),
    tables.Column("Detached"),
)


@verb(
    "gnt-instance",
    "list-detached-disks",
    options=(common.NO_HEADERS, common.SEPARATOR, common.UNITS, common.PRIORITY),
)
def list_detached_disks(session: Session, call: Call) -> int:
    """List disks that were taken off their instances and kept, the oldest first.

    gnt-instance modify --disk attach:uuid=UUID gives one to an instance, remove-detached-disk removes it with its data.
    """
    from ganeti.ops.disks import OpDetachedDisksQuery

    units = call.options.get("units") or ("h" if call.options.get("separator") is None else "m")
    rows = [
        [
            uuid,
            name or "-",
            format_size(size, units),
            template,
            ",".join(nodes),
            instance,
            tables.moment(since),
        ]
        for uuid, name, size, template, nodes, instance, since in session.run(OpDetachedDisksQuery()) or ()
    ]
    lists.write_table(session, call, _COLUMNS, rows)
    return 0
