"""gnt-cluster: disks and the cluster's own address."""

from __future__ import annotations

from typing import Any

from ganeti.cli import follow
from ganeti.cli.session import Session as OwnSession
from ganeti.ops.upkeep import OpClusterDeactivateMasterIp, OpClusterRepairDiskSizes, OpClusterVerifyDisks
from ganeti.ops.verbs import Argument, Call, Session, flag, verb


@verb("gnt-cluster", "verify-disks", operation=OpClusterVerifyDisks)
def verify_disks(session: Session, call: Call) -> int:
    """Look for disks of running instances that are missing or not active, and activate those that are not active.

    Exit code 1 when a node could not tell, volumes are missing or an activation failed.
    """
    assert isinstance(session, OwnSession), session
    results = session.run_job([call.form])
    jobs = follow.jobs_in(results[0]) if results else None
    outcomes = follow.wait_all(session, jobs or ())
    status = 1 if any(outcome.error for outcome in outcomes) else 0
    silent: dict[str, str] = {}
    inactive: list[str] = []
    missing: dict[str, list[list[str]]] = {}
    for outcome in outcomes:
        for found in outcome.results or ():
            silent |= found[0]
            inactive += found[1]
            missing |= found[2]
    for node, why in sorted(silent.items()):
        session.note(f"Error on node {node}: {why[-400:]}")
        status = 1
    wanted = [name for name in inactive if name not in missing]
    status = _activate(session, wanted) or status
    for name, volumes in sorted(missing.items()):
        session.out(f"Instance {name} has missing volumes:")
        for node, volume in volumes:
            session.out(f"\t{'broken node ' if node in silent else ''}{node} {volume}")
        session.out("Replace its disks (gnt-instance replace-disks) or make them anew (recreate-disks).")
        status = 1
    if not inactive and not missing and not status:
        session.out("No disks need to be activated.")
    return status


def _activate(session: OwnSession, names: list[str]) -> int:
    for name in names:
        session.out(f"Activating disks for instance '{name}'")
    forms: list[tuple[str, list[dict[str, Any]]]] = [
        (name, [session.stamp({"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": name})]) for name in names
    ]
    if not forms:
        return 0
    outcomes = follow.wait_all(session, session.submit_many(forms))
    return 1 if any(outcome.error for outcome in outcomes) else 0


@verb(
    "gnt-cluster",
    "repair-disk-sizes",
    operation=OpClusterRepairDiskSizes,
    arguments=(Argument(name="instance", least=0, most=None, completes="instance"),),
)
def repair_disk_sizes(session: Session, call: Call) -> int:
    """Make the recorded sizes of disks what they really are. Without names: of all instances."""
    session.run(OpClusterRepairDiskSizes(instances=call.arguments))
    return 0


@verb(
    "gnt-cluster",
    "deactivate-master-ip",
    operation=OpClusterDeactivateMasterIp,
    options=(flag("yes_do_it", "--yes", help="do not ask for confirmation"),),
)
def deactivate_master_ip(session: Session, call: Call) -> int:
    """Take down the cluster's own address. Clients that use it lose their connection."""
    question = "Clients that are connected to the cluster by its own address lose their connection. Continue?"
    if not call.given("yes_do_it") and not session.confirm(question):
        return 1
    session.run(OpClusterDeactivateMasterIp())
    return 0


@verb("gnt-cluster", "show-ispecs-cmd")
def show_ispecs_cmd(session: Session, call: Call) -> int:
    """Print the command that would make a cluster with the same instance policy."""
    import shlex

    from ganeti.cli.group import policy_options

    facts = session.call("QueryClusterInfo")
    policy = facts["ipolicy"]
    words = ["gnt-cluster", "init", *policy_options(policy)]
    if policy.get("std"):
        words += ["--ipolicy-std-specs", ",".join(f"{name}={value}" for name, value in sorted(policy["std"].items()))]
    session.out(shlex.join([*words, facts["name"]]))
    return 0
