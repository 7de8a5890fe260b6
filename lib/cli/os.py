"""gnt-os."""

from __future__ import annotations

from typing import Any

from ganeti.cli import common, lists, tables
from ganeti.ops.verbs import Call, Session, verb


def _diagnose(session: Session, *fields: str) -> list[dict[str, Any]]:  # Any: JSON of each field
    from ganeti.ops.os import OpOsDiagnose

    rows = session.run(OpOsDiagnose(output_fields=fields))
    return [dict(zip(fields, row, strict=True)) for row in rows or []]


def installable(session: Session) -> list[str]:
    """With their variants."""
    names: list[str] = []
    for os_ in _diagnose(session, "name", "valid", "variants"):
        if os_["valid"]:
            variants = os_["variants"] or []
            names += [f"{os_['name']}+{variant}" for variant in variants] or [os_["name"]]
    return names


@verb("gnt-os", "list", options=(common.NO_HEADERS, common.PRIORITY))
def list_oses(session: Session, call: Call) -> int:
    """List the operating systems that can be installed: those that are valid on all nodes, one line per variant."""
    names = installable(session)
    lists.write_table(session, call, [tables.Column("Name")], [[name] for name in names])
    return 0


@verb("gnt-os", "diagnose", options=(common.PRIORITY,))
def diagnose(session: Session, call: Call) -> int:
    """Show the state of every operating system definition on every node. Exit code 1 if one is not valid everywhere."""
    is_good = True
    for os_ in _diagnose(session, "name", "valid", "variants", "node_status"):
        entries: dict[str, list[list[Any]]] = os_["node_status"] or {}
        good = [node for node in entries if entries[node] and entries[node][0][1]]
        bad = [node for node in entries if node not in good]
        state = "valid" if os_["valid"] else "partial valid" if good else "invalid"
        is_good = is_good and bool(os_["valid"])
        variants = f" [variants: {', '.join(os_['variants'])}]" if os_["variants"] and os_["valid"] else ""
        session.out(f"OS: {os_['name']} [global status: {state}]{variants}")
        for node in [*good, *bad]:
            _tell_node(session, node, entries[node])
        session.out()
    return 0 if is_good else 1


def _tell_node(session: Session, node: str, copies: list[list[Any]]) -> None:
    if not copies:
        session.out(f"  Node: {node}, status: OS not found")
        return
    for index, copy in enumerate(copies):
        path, is_valid, reason, variants, parameters, versions, trusted = (*copy, *[None] * 7)[:7]
        if index:
            session.out(f"    [hidden] path: {path}, status: {'valid' if is_valid else reason}")
            continue
        text = f"{'valid' if is_valid else reason} (path: {path})"
        if is_valid:
            text += f" [API versions: {', '.join(str(version) for version in versions or ())}]"
            text += f" [variants: {', '.join(variants)}]" if variants else " [no variants]"
            text += (
                f" [parameters: {', '.join(str(name) for name, *_ in parameters)}]"
                if parameters
                else " [no parameters]"
            )
            text += " [trusted]" if trusted is not False else " [untrusted]"
        session.out(f"  Node: {node}, status: {text}")
