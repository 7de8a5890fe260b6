"""gnt-node: emptying a node."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.cli import common, failure, follow
from ganeti.cli.session import Session
from ganeti.ops.moves import OpNodeEvacuate, OpNodeMigrate
from ganeti.ops.verbs import Argument, Call, flag, option, verb
from ganeti.ops.verbs import Session as AnySession

_NODE = Argument(name="node", completes="node")
_DECLINED = (failure.NOT_CONFIRMED, "the question was answered with no")


def _instances(session: AnySession, node: str, fields: tuple[str, ...]) -> list[str]:
    """Names of the node's instances by role (pinst_list, sinst_list). Raises PrereqError when it is not known."""
    answer = session.call("Query", "node", ["name", *fields], ["=", "name", node])
    if not answer["data"]:
        raise errors.PrereqError("unknown_entity", f"node {node!r} is not known", hint="gnt-node list names them")
    cells: list[Any] = answer["data"][0][1:]  # Any: JSON
    return sorted({name for status, value in cells if status == 0 for name in value})


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _is_wanted(session: Session, call: Call, names: list[str], what: str) -> bool:
    """Whether the user wants it done, after a question that says what it is."""
    return call.given("force") or session.confirm(f"These instances will be {what}: {_listed(names)}. Continue?")


@verb(
    "gnt-node",
    "evacuate",
    operation=OpNodeEvacuate,
    options=(common.FORCE,),
    exit_codes=(_DECLINED,),
)
def evacuate(session: AnySession, call: Call) -> int:
    """Move instances away from a node, by default all of them.

    Mirrored instances change places with their secondary node, or get another one; instances on shared storage are
    migrated. An allocator chooses the nodes, unless -n names the new secondary node of all, which moves secondary
    instances only. When there is no place for one of them nothing is done.
    """
    assert isinstance(session, Session), session
    node = call.arguments[0]
    if "remote_node" in call.form and call.options.get("mode", "all") == "all":
        call = msgspec.structs.replace(call, form={**call.form, "mode": "secondary-only"})
    mode = call.form["mode"]
    fields = {"primary-only": ("pinst_list",), "secondary-only": ("sinst_list",)}
    names = _instances(session, node, fields.get(mode, ("pinst_list", "sinst_list")))
    if not names:
        session.note(f"No instances to move on node {node}, nothing to do.")
        return 0
    if not _is_wanted(session, call, names, f"moved away from node {node}"):
        return failure.NOT_CONFIRMED
    return _run(session, call, what="evacuation", done="evacuated")


@verb(
    "gnt-node",
    "migrate",
    operation=OpNodeMigrate,
    options=(common.FORCE,),
    exit_codes=(_DECLINED,),
)
def migrate(session: AnySession, call: Call) -> int:
    """Migrate all primary instances of a node: mirrored ones to their secondary node, others to where -n or -I says.

    Instances that do not run are failed over.
    """
    assert isinstance(session, Session), session
    node = call.arguments[0]
    names = _instances(session, node, ("pinst_list",))
    if not names:
        session.note(f"No primary instances on node {node}, nothing to do.")
        return 0
    if not _is_wanted(session, call, names, f"migrated from node {node}"):
        return failure.NOT_CONFIRMED
    return _run(session, call, what="node migration", done="migrated")


@verb(
    "gnt-node",
    "failover",
    arguments=(_NODE,),
    options=(
        flag("ignore_consistency", "--ignore-consistency", help="the node is marked offline: do not insist on stopping "
             "the instances there"),
        option("iallocator", "-I", "--iallocator", help="who chooses the nodes", metavar="NAME"),
        common.FORCE,
        common.PRIORITY,
    ),
    exit_codes=((2, "the question was answered with no"),),
)  # fmt: skip
def failover(session: AnySession, call: Call) -> int:
    """Fail over all primary instances of a node: they are stopped and started again elsewhere.

    The way out when a node has died: mark it offline first (gnt-node modify --offline=yes NODE), then use
    --ignore-consistency. How many could be moved is told at the end; the exit code is 0 in any case.
    """
    from ganeti.ops import base
    from ganeti.ops.instance import OpInstanceFailover

    assert isinstance(session, Session), session
    node = call.arguments[0]
    names = _instances(session, node, ("pinst_list",))
    if not names:
        session.note(f"No primary instances on node {node}, nothing to do.")
        return 0
    what = f"stopped on node {node}, which ends what runs in them, and started again elsewhere"
    if not _is_wanted(session, call, names, what):
        return 2
    given: dict[str, Any] = {
        key: call.options[key] for key in ("ignore_consistency", "iallocator") if key in call.options
    }
    forms = [(name, base.encode(OpInstanceFailover(instance_name=name, **given))) for name in names]
    jobs = session.submit_many([(name, [session.stamp(form)]) for name, form in forms])
    outcomes = follow.wait_all(session, jobs)
    failed = sum(1 for outcome in outcomes if outcome.error)
    if failed:
        session.note(f"There were {failed} errors during the failover of {len(names)} instance(s).")
    else:
        session.out(f"All {len(names)} instance(s) failed over successfully.")
    return 0


def _run(session: Session, call: Call, *, what: str, done: str) -> int:
    """Submit the operation and wait for the jobs that it makes; the exit code."""
    from ganeti.cli import submission

    answer = session.run_job([submission.checked(call.form)])
    if answer is None:
        return 0
    outcomes = follow.wait_all(session, follow.jobs_in(answer[0]) or [])
    failed = sum(1 for outcome in outcomes if outcome.error)
    if failed:
        session.note(f"There were {failed} errors during the {what}.")
        return 1
    session.out(f"All instances {done} successfully.")
    return 0
