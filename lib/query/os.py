"""List fields of what nodes have in their search paths: OS definitions and providers of external storage."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, TypeVar

from ganeti import errors
from ganeti.query.fields import Field, Kind, Need, Resource, table
from ganeti.query.view import OsRow, ProviderRow

TEXT, BOOL, OTHER = Kind.TEXT, Kind.BOOL, Kind.OTHER

R = TypeVar("R", OsRow, ProviderRow)


def _named(rows: Sequence[R], name: object, what: str) -> R:
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        raise errors.PrereqError("unknown_entity", f"no node has {what} called {str(name)[:80]!r}")
    return found


def is_shown(row: OsRow, fields: Set[str]) -> bool:
    """What cannot be installed, or should not be offered, is left out as long as nobody asks for the reason."""
    return (
        (row.valid or not fields.isdisjoint(("valid", "node_status")))
        and (not row.hidden or "hidden" in fields)
        and (not row.blacklisted or "blacklisted" in fields)
    )


def _pairs(row: Any) -> list[list[str]]:
    return [list(pair) for pair in row.parameters]


OS = Resource(
    name="os",
    fields=table((
        Field("name", "Name", TEXT, "Name", lambda _, row: row.name),
        Field("valid", "Valid", BOOL, "Whether it can be used on every node", lambda _, row: row.valid),
        Field("node_status", "NodeStatus", OTHER, "Its copies on each node", lambda _, row: row.node_status),
        Field("hidden", "Hidden", BOOL, "Whether lists leave it out", lambda _, row: row.hidden),
        Field("blacklisted", "Blacklisted", BOOL, "Whether it cannot be installed", lambda _, row: row.blacklisted),
        Field("variants", "Variants", OTHER, "Variants that every node has", lambda _, row: list(row.variants)),
        Field("api_versions", "ApiVersions", OTHER, "API versions that every node's copy speaks",
              lambda _, row: list(row.api_versions)),
        Field("parameters", "Parameters", OTHER, "Parameters that every node's copy takes, as name and meaning",
              lambda _, row: _pairs(row)),
        Field("os_hvp", "OsHypervisorParams", OTHER, "Hypervisor parameters set for it, by hypervisor",
              lambda _, row: row.os_hvp),
        Field("osparams", "OsParameters", OTHER, "OS parameters set for it", lambda _, row: row.osparams),
        Field("trusted", "Trusted", BOOL, "Whether its scripts run on the node itself", lambda _, row: row.trusted),
    )),
    every=lambda view: view.live.oses,
    lookup=lambda view, name: _named(view.live.oses, name, "an OS"),
    identity=lambda row: row.name,
    source=Need.OSES,
    is_shown=is_shown,
)  # fmt: skip

EXTSTORAGE = Resource(
    name="extstorage",
    fields=table((
        Field("name", "Name", TEXT, "Name", lambda _, row: row.name),
        Field("node_status", "NodeStatus", OTHER, "Its copy on each node", lambda _, row: row.node_status),
        Field("nodegroup_status", "NodegroupStatus", OTHER, "Whether all nodes of a group can use it, by group",
              lambda _, row: row.nodegroup_status),
        Field("parameters", "Parameters", OTHER, "Parameters that every node's copy takes, as name and meaning",
              lambda _, row: _pairs(row)),
    )),
    every=lambda view: view.live.providers,
    lookup=lambda view, name: _named(view.live.providers, name, "a provider of external storage"),
    identity=lambda row: row.name,
    source=Need.PROVIDERS,
)  # fmt: skip
