"""gnt-storage: providers of external storage."""

from __future__ import annotations

from typing import Any

from ganeti.cli import blocks, common
from ganeti.cli.blocks import Block
from ganeti.ops.verbs import Argument, Call, Session, verb


def _diagnose(session: Session, *fields: str) -> list[dict[str, Any]]:  # Any: JSON of each field
    from ganeti.ops.os import OpExtStorageDiagnose

    rows = session.run(OpExtStorageDiagnose(output_fields=fields))
    return [dict(zip(fields, row, strict=True)) for row in rows or []]


@verb("gnt-storage", "diagnose", options=(common.PRIORITY,))
def diagnose(session: Session, call: Call) -> int:
    """Show the state of every provider on every node and in every group. Exit code 1 if there are none."""
    found = _diagnose(session, "name", "node_status", "nodegroup_status")
    if not found:
        session.note("no node has a provider of external storage")
        return 1
    for provider in found:
        session.out(f"Provider: {provider['name']}")
        session.out("---")
        for node, copies in provider["node_status"].items():
            session.out(f"  Node: {node}, status: {_state(copies)}")
        session.out("  --")
        for group, is_valid in provider["nodegroup_status"].items():
            session.out(f"  Group: {group}, status: {'valid' if is_valid else 'invalid'}")
        session.out()
    return 0


def _state(copies: list[list[Any]]) -> str:
    if not copies:
        return "provider not found"
    path, is_valid, reason, parameters = copies[0]
    names = f" [parameters: {', '.join(name for name, _ in parameters)}]" if parameters else " [no parameters]"
    return f"valid (path: {path}){names}" if is_valid else f"{reason} (path: {path})"


@verb(
    "gnt-storage",
    "info",
    arguments=(Argument(name="provider", least=0, most=None),),
    options=(common.PRIORITY,),
    aliases=("show",),
)
def info(session: Session, call: Call) -> int:
    """Show in which groups providers can be used, and their parameters. Without names: all."""
    found = {row["name"]: row for row in _diagnose(session, "name", "nodegroup_status", "parameters")}
    status = 0
    for name in call.arguments or found:
        if name in found:
            session.out(blocks.render(_block(found[name])).removesuffix("\n"))
        else:
            session.out(f"{name}: Not Found")
            status = 1
    return status


def _block(provider: dict[str, Any]) -> Block:
    valid = [group for group, is_valid in provider["nodegroup_status"].items() if is_valid]
    parameters = Block(tuple((name, text) for name, text in provider["parameters"] or ()))
    return Block(((provider["name"], Block((("valid in groups", ", ".join(valid)), ("parameters", parameters)))),))
