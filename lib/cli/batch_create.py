"""gnt-instance batch-create: several instances that a file describes."""

from __future__ import annotations

from typing import Any

from ganeti import errors
from ganeti.cli import common, follow, json_file
from ganeti.cli.session import Session as OwnSession
from ganeti.ops.verbs import Argument, Call, Session, option, verb

#: 2.0 keys of `batch-create` → what they are called now
_OLD_KEYS = {
    "template": "disk_template", "os": "os_type", "backend": "beparams", "iallocator": "iallocator",
    "primary_node": "pnode", "secondary_node": "snode", "start": "start", "ip_check": "ip_check",
    "hypervisor": "hypervisor", "hvparams": "hvparams", "file_storage_dir": "file_storage_dir",
    "file_driver": "file_driver",
}  # fmt: skip
_OLD_NIC = ("ip", "mac", "bridge")
_OLD_DISKS = (20480,)


@verb(
    "gnt-instance",
    "batch-create",
    arguments=(Argument(name="json-file", completes="file"),),
    options=(
        option("iallocator", "-I", "--iallocator", help="who chooses the nodes of all of them", metavar="NAME"),
        common.SUBMIT,
        common.PRINT_JOBID,
        common.DRY_RUN,
        common.PRIORITY,
    ),
)
def batch_create(session: Session, call: Call) -> int:
    """Create several instances that are described in a file.

    The file holds a JSON list of objects with the parameters of OP_INSTANCE_CREATE (instance_name, os_type,
    disk_template, disks, beparams and so on). An allocator places all of them together, or each has its pnode.

    The form of version 2.0 is read too: an object {name: {template, os, disk_size, backend, primary_node, ...}}. It
    makes one job for each instance, in the order of their names, and does not wait for them.
    """
    assert isinstance(session, OwnSession), session
    content = json_file.read(call.arguments[0])
    if isinstance(content, dict):
        return _one_job_each(session, call, content)
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise errors.PrereqError(
            "wrong_input", f"{call.arguments[0]}: not a list of instances", hint='write [{"instance_name": …, …}, …]'
        )
    from ganeti.ops.allocation import OpInstanceMultiAlloc

    op = OpInstanceMultiAlloc(instances=tuple(content), iallocator=call.options.get("iallocator", ""))
    result = session.run(op)
    if result is None:
        return 0
    outcomes = follow.wait_all(session, follow.jobs_in(result) or ())
    bad = len(result["failed"]) + sum(1 for outcome in outcomes if outcome.error)
    for name in result["failed"]:
        session.note(f"There is no place for instance {name}.")
    if bad:
        session.note(f"{bad} of {len(content)} instances were not created.")
        return 1
    session.out("All instances created successfully.")
    return 0


def _one_job_each(session: OwnSession, call: Call, content: dict[str, Any]) -> int:
    from ganeti.ops import base

    named = []
    for name in sorted(content):
        form = _old_form(name, content[name], call.options.get("iallocator", ""))
        named.append((name, [session.stamp(base.encode(base.decode(form)))]))
    jobs = session.submit_many(named)
    for item in jobs:
        if item.job is None:
            session.note(f"Failed to submit job for {item.name}: {item.why}")
        else:
            session.out(f"{item.job}: {item.name}")
    return 1 if any(item.job is None for item in jobs) else 0


def _old_form(name: str, spec: Any, iallocator: str) -> dict[str, Any]:  # Any: JSON
    """A specification of version 2.0 as an opcode. Raises PrereqError."""
    if not isinstance(spec, dict):
        raise errors.PrereqError("wrong_input", f"instance {name}: its specification is not an object")
    known = {*_OLD_KEYS, *_OLD_NIC, "disk_size"}
    unknown = sorted(set(spec) - known)
    if unknown:
        raise errors.PrereqError(
            "wrong_input", f"instance {name}: unknown key {unknown[0]!r}", hint="known are " + ", ".join(sorted(known))
        )
    missing = [key for key in ("template", "os") if not spec.get(key)]
    if missing:
        raise errors.PrereqError("wrong_input", f"instance {name}: the key {missing[0]!r} is missing")
    form = {_OLD_KEYS[key]: value for key, value in spec.items() if key in _OLD_KEYS and value is not None}
    if form.get("pnode"):
        form.pop("iallocator", None)
    elif not form.get("iallocator"):
        form["iallocator"] = iallocator or "."
    nic = {key: spec[key] for key in _OLD_NIC if spec.get(key) is not None}
    sizes = [] if spec["template"] == "diskless" else spec.get("disk_size", _OLD_DISKS)
    return {
        **form,
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "disks": [{"size": size} for size in sizes],
        "nics": [nic],
    }
