"""gnt-node: power, health, powercycle, modify-storage, repair-storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.cli import common, lists, tables
from ganeti.cli.session import Session as OwnSession
from ganeti.ops.base import Parse
from ganeti.ops.power import OpNodeModifyStorage, OpNodePowercycle, OpOobCommand, OpRepairNodeStorage
from ganeti.ops.verbs import Argument, Call, Session, flag, option, verb

_TIMEOUT = option(
    "oob_timeout", "--oob-timeout", help="seconds that a helper gets", kind="int", metavar="SECONDS", absent=60
)
_NODES = Argument(name="node", least=0, most=None, completes="node")
_COLUMNS = [tables.Column("Node"), tables.Column("Status")]
#: by what the words say
_COMMANDS = {"on": "power-on", "off": "power-off", "cycle": "power-cycle", "status": "power-status"}


def _ask(session: OwnSession, command: Any, names: Sequence[str], call: Call) -> list[Any] | None:
    """Rows of the answer (Any: JSON); None after --submit."""
    op = OpOobCommand(
        command=command,
        node_names=tuple(names),
        timeout=call.options["oob_timeout"],
        ignore_status=call.given("ignore_status"),
        power_delay=call.options.get("power_delay", 2.0),
    )
    found: list[Any] | None = session.run(op)
    return found


@verb(
    "gnt-node",
    "power",
    arguments=(Argument(name="action", choices=tuple(_COMMANDS)), _NODES),
    options=(
        flag("auto_promote", "--auto-promote", help="promote other nodes when candidates become too few"),
        flag("ignore_status", "--ignore-status", help="do not mind whether a node is marked offline"),
        _TIMEOUT,
        option("power_delay", "--power-delay", help="seconds between two nodes that are switched on", kind="float",
               metavar="SECONDS", absent=2.0),
        common.FORCE,
        common.NO_HEADERS,
        common.SEPARATOR,
        common.SUBMIT,
        common.PRINT_JOBID,
        common.PRIORITY,
    ),
)  # fmt: skip
def power(session: Session, call: Call) -> int:
    """Switch nodes on or off, or tell which are on, by their out-of-band helpers.

    Nodes that are switched off are marked offline first, unless --ignore-status. off and cycle need names. Exit code 1
    when it did not work for one of them.
    """
    assert isinstance(session, OwnSession), session
    action, *names = call.arguments
    if action in ("off", "cycle"):
        if not names:
            raise errors.PrereqError("wrong_input", f"{action} needs the names of nodes")
        if not call.given("force") and not session.confirm_many(names, f"power-{action}"):
            return 1
    if action == "off" and not call.given("ignore_status"):
        _mark_offline(session, names, auto_promote=call.given("auto_promote"))
    rows = _ask(session, _COMMANDS[action], names, call)
    if rows is None:
        return 0
    shown, is_good = [], True
    for (_, name), (status, value) in rows:
        text = tables.text_of(status, value, lambda _: "invoked", verbose=True)
        if status == tables.NORMAL and action == "status":
            text = "powered" if value["powered"] else "unpowered"
        is_good = is_good and status != tables.NO_DATA
        shown.append([name, text])
    lists.write_table(session, call, _COLUMNS, shown)
    return 0 if is_good else 1


def _mark_offline(session: OwnSession, names: Sequence[str], *, auto_promote: bool) -> None:
    from ganeti.ops.node import OpNodeSetParams

    rows = session.call("QueryNodes", list(names), ["name", "offline"], False)
    for name, is_offline in rows:
        if not is_offline:
            session.run(OpNodeSetParams(node_name=name, offline=True, auto_promote=auto_promote))


@verb(
    "gnt-node",
    "health",
    arguments=(_NODES,),
    options=(_TIMEOUT, common.NO_HEADERS, common.SEPARATOR, common.PRIORITY),
)
def health(session: Session, call: Call) -> int:
    """Show the health of nodes as their out-of-band helpers tell it. Without names: of all. Exit code 1 on failure."""
    assert isinstance(session, OwnSession), session
    shown, is_good = [], True
    for (_, name), (status, value) in _ask(session, "health", call.arguments, call) or ():
        is_good = is_good and status != tables.NO_DATA
        if status == tables.NORMAL:
            shown += [[name, f"{item}={state}"] for item, state in value]
        else:
            shown.append([name, tables.text_of(status, value, tables.plain, verbose=True)])
    lists.write_table(session, call, _COLUMNS, shown)
    return 0 if is_good else 1


@verb(
    "gnt-node",
    "powercycle",
    operation=OpNodePowercycle,
    options=(flag("yes", "--yes", help="do not ask for confirmation"),),
    arguments=(Argument(name="node", completes="node"),),
    exit_codes=((2, "the question was answered with no"),),
)
def powercycle(session: Session, call: Call) -> int:
    """Reboot a node at once and hard, its guests with it; for nodes that hang. The master needs -f."""
    name = call.arguments[0]
    if not call.given("yes") and not session.confirm(f"Node {name} is rebooted at once, its instances too. Continue?"):
        return 2
    said = session.run(OpNodePowercycle(node_name=name, force=call.given("force")))
    if said:
        session.note(str(said))
    return 0


_UNIT = (Argument(name="node", completes="node"), Argument(name="storage-type"), Argument(name="unit"))


@verb(
    "gnt-node",
    "modify-storage",
    operation=OpNodeModifyStorage,
    arguments=_UNIT,
    options=(
        option("allocatable", "--allocatable", help="whether its space may be taken", parse=Parse.YES_NO,
               metavar="yes|no"),
    ),
)  # fmt: skip
def modify_storage(session: Session, call: Call) -> int:
    """Change a physical volume of a node; the storage type is lvm-pv."""
    node, kind, unit = call.arguments
    if "allocatable" not in call.options:
        session.note("Nothing to change: give --allocatable.")
        return 0
    changes = {"allocatable": call.options["allocatable"]}
    session.run(OpNodeModifyStorage(node_name=node, storage_type=kind, name=unit, changes=changes))
    return 0


@verb("gnt-node", "repair-storage", operation=OpRepairNodeStorage, arguments=_UNIT)
def repair_storage(session: Session, call: Call) -> int:
    """Drop missing physical volumes from a volume group of a node; the storage type is lvm-vg.

    Every logical volume that lies partly on them is removed. It is refused, with the names of the volumes, unless all
    of them are halves of mirrors whose other halves are up to date and connected. --ignore-consistency gives up also
    volumes without another copy (plain disks, volumes that are not the cluster's). New halves come by gnt-instance
    replace-disks.
    """
    node, kind, unit = call.arguments
    is_ignored = call.given("ignore_consistency")
    session.run(OpRepairNodeStorage(node_name=node, storage_type=kind, name=unit, ignore_consistency=is_ignored))
    return 0
