"""gnt-os."""

from __future__ import annotations

from typing import Any

from ganeti.cli import blocks, common, lists, tables
from ganeti.cli.blocks import Block
from ganeti.model.types import nice_key
from ganeti.ops.verbs import Argument, Call, Session, verb


def _diagnose(session: Session, *fields: str) -> list[dict[str, Any]]:  # Any: JSON of each field
    from ganeti.ops.os import OpOsDiagnose

    rows = session.run(OpOsDiagnose(output_fields=fields))
    return [dict(zip(fields, row, strict=True)) for row in rows or []]


def installable(session: Session) -> list[str]:
    """With their variants; without those that are hidden or blacklisted, as a whole or as a variant."""
    # `valid` is not asked for: what cannot be installed is left out then
    names: list[str] = []
    for os_ in _diagnose(session, "name", "variants"):
        names += [f"{os_['name']}+{variant}" for variant in os_["variants"] or ()] or [os_["name"]]
    if not any("+" in name for name in names):
        return names
    facts = session.call("QueryClusterInfo")
    unwanted = {*(facts.get("hidden_os") or ()), *(facts.get("blacklisted_os") or ())}
    return [name for name in names if name not in unwanted]


@verb("gnt-os", "list", options=(common.NO_HEADERS, common.PRIORITY))
def list_oses(session: Session, call: Call) -> int:
    """List the operating systems that can be installed: those that are valid on all nodes, one line per variant.

    Hidden and blacklisted ones are left out.
    """
    names = installable(session)
    lists.write_table(session, call, [tables.Column("Name")], [[name] for name in names])
    return 0


@verb("gnt-os", "diagnose", options=(common.PRIORITY,))
def diagnose(session: Session, call: Call) -> int:
    """Show the state of every operating system definition on every node. Exit code 1 if one is not valid everywhere."""
    is_good = True
    for os_ in _diagnose(session, "name", "valid", "variants", "node_status", "hidden", "blacklisted"):
        entries: dict[str, list[list[Any]]] = os_["node_status"] or {}
        nodes = sorted(entries, key=nice_key)
        good = [node for node in nodes if entries[node] and entries[node][0][1]]
        bad = [node for node in nodes if node not in good]
        state = "valid" if os_["valid"] else "partial valid" if good else "invalid"
        is_good = is_good and bool(os_["valid"])
        flags = "".join(f" [{name}]" for name in ("hidden", "blacklisted") if os_[name])
        variants = f" [variants: {', '.join(os_['variants'])}]" if os_["variants"] and os_["valid"] else ""
        session.out(f"OS: {os_['name']} [global status: {state}]{flags}{variants}")
        for node in [*good, *bad]:
            _tell_node(session, node, entries[node])
        session.out()
    return 0 if is_good else 1


_INFO = (
    "name", "valid", "hidden", "blacklisted", "api_versions", "variants", "parameters", "os_hvp", "osparams",
    "trusted",
)  # fmt: skip


@verb(
    "gnt-os",
    "info",
    arguments=(Argument(name="os", least=0, most=None, completes="os"),),
    options=(common.PRIORITY,),
    aliases=("show",),
)
def info(session: Session, call: Call) -> int:
    """Show what operating system definitions offer, and what the cluster keeps about them.

    Without names: all. A name that no node has is shown if the cluster keeps parameters for it. Exit code 1 if one
    is not known at all.
    """
    found = {os_["name"]: os_ for os_ in _diagnose(session, *_INFO)}
    facts = session.call("QueryClusterInfo")
    kept = {*(facts.get("os_hvp") or {}), *(facts.get("osparams") or {})}
    status, shown = 0, []
    for name in call.arguments or sorted({*found, *kept}, key=nice_key):
        if name in found:
            shown.append(Block(((name, _definition(found[name])),)))
        elif name in kept:
            shown.append(Block(((name, _settings(facts["os_hvp"].get(name), facts["osparams"].get(name))),)))
        else:
            session.note(f"no node has an OS called {name!r}, and the cluster keeps nothing for it")
            status = 1
    if shown:
        session.out("".join(blocks.render(block) for block in shown).removesuffix("\n"))
    return status


def _definition(os_: dict[str, Any]) -> Block:
    return Block((
        *((name, bool(os_[name])) for name in ("valid", "hidden", "blacklisted", "trusted")),
        ("API versions", ", ".join(str(version) for version in os_["api_versions"] or ())),
        ("variants", ", ".join(os_["variants"] or ())),
        ("parameters", Block(tuple((name, text) for name, text in os_["parameters"] or ()))),
        *_settings(os_["os_hvp"], os_["osparams"]).pairs,
    ))  # fmt: skip


def _settings(os_hvp: dict[str, Any] | None, osparams: dict[str, Any] | None) -> Block:
    """What the cluster keeps."""
    return Block((("hypervisor parameters of the cluster", os_hvp), ("OS parameters of the cluster", osparams)))


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
            text += f" ({reason})" if reason else ""
        session.out(f"  Node: {node}, status: {text}")
