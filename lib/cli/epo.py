"""gnt-cluster epo: emergency power off, and on again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.cli import common, follow
from ganeti.cli.session import Session as OwnSession
from ganeti.ops.power import OpOobCommand
from ganeti.ops.verbs import Argument, Call, Session, flag, option, verb

#: how often and how long nodes that were switched on are looked for, in seconds
LOOK_EVERY_S = 30
LOOK_LIMIT_S = 900
_FIELDS = ["name", "master", "group", "group.uuid", "pinst_list", "sinst_list", "powered"]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    is_master: bool
    groups: tuple[str, ...]  # name and uuid of the one it is in
    instances: tuple[str, ...]
    powered: bool | None  # None: it has no helper


def _machines(session: OwnSession) -> list[Machine]:
    found = []
    for row in session.call("Query", "node", _FIELDS, None)["data"]:
        # Any: JSON of each field
        values: dict[str, Any] = {
            name: value if status == 0 else None for name, (status, value) in zip(_FIELDS, row, strict=True)
        }
        found.append(
            Machine(
                name=values["name"],
                is_master=values["master"],
                groups=(values["group"], values["group.uuid"]),
                instances=(*values["pinst_list"], *values["sinst_list"]),
                powered=values["powered"],
            )
        )
    return found


def _chosen(session: OwnSession, call: Call) -> list[Machine]:
    """Raises PrereqError for words that name nothing."""
    words, every = call.arguments, _machines(session)
    if call.given("all") == bool(words):
        raise errors.PrereqError("wrong_input", "name nodes, or give --all and no names")
    if call.given("all"):
        return every
    if call.given("groups"):
        known = {name for machine in every for name in machine.groups}
        unknown = [word for word in words if word not in known]
        if unknown:
            raise errors.PrereqError("unknown_entity", f"no node is in a node group {unknown[0]!r}")
        return [machine for machine in every if set(words) & set(machine.groups)]
    names = {name for (name,) in session.call("QueryNodes", list(words), ["name"], False)}
    return [machine for machine in every if machine.name in names]


def _to_switch(session: OwnSession, machines: Sequence[Machine], *, on: bool) -> list[Machine]:
    wanted = []
    for machine in machines:
        if machine.powered is None:
            session.note(f"Node {machine.name} has no out-of-band helper: skipped")
        elif machine.powered == on:
            session.note(f"Node {machine.name} is {'on' if on else 'off'} already: skipped")
        elif machine.is_master and not on:
            session.note(f"Node {machine.name} is the master and stays on: switch it off by hand at the end")
        else:
            wanted.append(machine)
    return wanted


@verb(
    "gnt-cluster",
    "epo",
    arguments=(Argument(name="node", least=0, most=None, completes="node"),),
    options=(
        flag("on", "--on", help="switch them on again"),
        flag("groups", "--groups", help="the arguments are node groups"),
        flag("all", "--all", help="all nodes; no arguments"),
        option("oob_timeout", "--oob-timeout", help="seconds that a helper gets", kind="int",
               metavar="SECONDS", absent=60),
        option("shutdown_timeout", "--shutdown-timeout", help="seconds that guests get to shut down", kind="int",
               metavar="SECONDS", absent=120),
        option("power_delay", "--power-delay", help="seconds between two nodes that are switched on", kind="float",
               metavar="SECONDS", absent=2.0),
        common.FORCE,
    ),
)  # fmt: skip
def epo(session: Session, call: Call) -> int:
    """Switch nodes off in an emergency: their instances are stopped first, and shall run again later.

    With --on the nodes are switched on, and the instances start when all their nodes answer, for up to 15 minutes.
    Nodes without an out-of-band helper (node parameter oob_program) are left alone, and the master is never switched
    off.
    """
    assert isinstance(session, OwnSession), session
    is_on, machines = call.given("on"), _chosen(session, call)
    if not is_on and not call.given("all") and any(machine.is_master for machine in machines):
        raise errors.PrereqError("wrong_input", "the master is among these nodes", hint="--all is for everything")
    wanted = _to_switch(session, machines, on=is_on)
    if not wanted:
        return 0
    names = [machine.name for machine in wanted]
    if not call.given("force") and not session.confirm_many(names, "power-on" if is_on else "power-off"):
        return 1
    instances = sorted({name for machine in wanted for name in machine.instances})
    if not is_on and not _stop(session, instances, call.options["shutdown_timeout"]):
        return 1
    op = OpOobCommand(
        command="power-on" if is_on else "power-off",
        node_names=tuple(names),
        timeout=call.options["oob_timeout"],
        ignore_status=True,
        power_delay=call.options["power_delay"],
    )
    rows = session.run(op) or ()
    failed = [name for (_, name), (status, _) in rows if status != 0]
    for name in failed:
        session.note(f"Node {name} was not switched")
    is_good = not failed
    if is_on:
        is_good = _start(session, instances) and is_good
    return 0 if is_good else 1


def _jobs(session: OwnSession, forms: Sequence[tuple[str, dict[str, Any]]]) -> bool:
    if not forms:
        return True
    outcomes = follow.wait_all(session, session.submit_many([(name, [session.stamp(form)]) for name, form in forms]))
    return not any(outcome.error for outcome in outcomes)


def _stop(session: OwnSession, names: Sequence[str], timeout_s: int) -> bool:
    """What they shall do is not changed: they start again when the power is back."""
    common_part = {"OP_ID": "OP_INSTANCE_SHUTDOWN", "no_remember": True, "timeout": timeout_s}
    return _jobs(session, [(name, {**common_part, "instance_name": name}) for name in names])


def _start(session: OwnSession, names: Sequence[str]) -> bool:
    """Those that shall run, each as soon as all its nodes answer."""
    clock = session.world.clock
    until, left, is_good = clock.monotonic() + LOOK_LIMIT_S, list(names), True
    while left:
        answering = {
            row[0][1] for row in session.call("Query", "node", ["name", "bootid"], None)["data"] if row[1][0] == 0
        }
        answer = session.call("Query", "instance", ["name", "admin_state", "pnode", "snodes"], None)
        ready: list[str] = []
        waiting: list[str] = []
        for row in answer["data"]:
            name, state, primary, secondaries = (value for _, value in row)
            if name in left and state == "up":
                (ready if {primary, *secondaries} <= answering else waiting).append(name)
        is_good = _jobs(session, [(n, {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": n}) for n in ready]) and is_good
        left = waiting
        if left:
            if clock.monotonic() >= until:
                session.note("Not started, for their nodes do not answer: " + ", ".join(left))
                return False
            clock.sleep(LOOK_EVERY_S)
    return is_good
