"""What a command tells of its operation's result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti.cli import follow
from ganeti.cli.session import Session

# Any: JSON, of the opcode and of its result
Teller = Callable[[Session, dict[str, Any], Any], int]


def tell(session: Session, form: dict[str, Any], result: Any) -> int:
    """The exit code. Operations without a teller of their own are silent; jobs they submitted are followed."""
    teller = _TELLERS.get(form["OP_ID"])
    if session.is_dry_run:
        return 0
    if teller is not None:
        return teller(session, form, result)
    jobs = follow.jobs_in(result)
    if jobs is None:
        return 0
    outcomes = follow.wait_all(session, jobs)
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _verify(session: Session, form: dict[str, Any], result: Any) -> int:
    jobs = follow.jobs_in(result)
    if jobs is None:
        return 0 if result else 1
    outcomes = follow.wait_all(session, jobs)
    failed = sum(1 for outcome in outcomes if outcome.error)
    if failed:
        session.out(f"{failed} job(s) failed while verifying the cluster.")
    return 0 if all(outcome.results is not None and all(outcome.results) for outcome in outcomes) else 1


def _modified(noun: str, name_field: str, reminder: str = "") -> Teller:
    def teller(session: Session, form: dict[str, Any], result: Any) -> int:
        if result:
            session.out(f"Modified {noun} {form[name_field]}")
            for what, value in result:
                session.out(f" - {what:<5} -> {_shown(value)}")
            if reminder:
                session.out(reminder)
        return 0

    return teller


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else follow.message_text(value)


def _renamed(session: Session, form: dict[str, Any], result: Any) -> int:
    session.out(f"Instance '{form['instance_name']}' renamed to '{result or form['new_name']}'")
    return 0


def _network_modified(session: Session, form: dict[str, Any], result: Any) -> int:
    session.out(f"Modified network {form['network_name']}")
    return 0


def _evacuated(session: Session, form: dict[str, Any], result: Any) -> int:
    outcomes = follow.wait_all(session, follow.jobs_in(result) or [])
    failed = sum(1 for outcome in outcomes if outcome.error)
    if failed:
        session.note(f"There were {failed} errors while instances were moved.")
        return 1
    session.out(f"All instances were moved ({len(outcomes)} jobs).")
    return 0


def _cluster_renamed(session: Session, form: dict[str, Any], result: Any) -> int:
    session.out(f"Cluster renamed to '{result or form['name']}'")
    return 0


def _exported(session: Session, form: dict[str, Any], result: Any) -> int:
    done = [str(index) for index, is_exported in enumerate(result[1]) if is_exported]
    left_out = [str(index) for index, is_exported in enumerate(result[1]) if not is_exported]
    text = f"Exported disk {', '.join(done)} of {form['instance_name']} to {form['target_node']}"
    session.out(text + (f"; not exportable, so left out: disk {', '.join(left_out)}" if left_out else ""))
    return 0


def _activated(session: Session, form: dict[str, Any], result: Any) -> int:
    for node, disk, path in result or ():
        session.out(f"{node}:{disk}:{path}")
    return 0


_TELLERS: dict[str, Teller] = {
    "OP_INSTANCE_ACTIVATE_DISKS": _activated,
    "OP_CLUSTER_RENAME": _cluster_renamed,
    "OP_BACKUP_EXPORT": _exported,
    "OP_CLUSTER_VERIFY": _verify,
    "OP_NODE_SET_PARAMS": _modified("node", "node_name"),
    "OP_GROUP_EVACUATE": _evacuated,
    "OP_INSTANCE_CHANGE_GROUP": _evacuated,
    "OP_GROUP_SET_PARAMS": _modified("node group", "group_name"),
    "OP_NETWORK_SET_PARAMS": _network_modified,
    "OP_INSTANCE_SET_PARAMS": _modified(
        "instance",
        "instance_name",
        "Please don't forget that most parameters take effect only at the next (re)start of the instance.",
    ),
    "OP_INSTANCE_RENAME": _renamed,
}
