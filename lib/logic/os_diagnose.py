"""OP_OS_DIAGNOSE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.os import OsDefinition, OsDiagnose
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.os import OpOsDiagnose
from ganeti.query.os import OS, is_shown
from ganeti.query.view import OsRow

FIELDS = tuple(OS.fields)


class OsFacts(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[list[Any]]  # Any: JSON values of the wanted fields


@implements(OpOsDiagnose)
class DiagnoseOs(LogicalUnit[OpOsDiagnose, OsFacts]):
    """Usable on the whole cluster: valid on every node that can hold instances, with equal properties."""

    async def check(self, env: Env) -> OsFacts:
        unknown = [name for name in self.op.output_fields if name not in FIELDS]
        if unknown:
            raise errors.PrereqError(
                "wrong_input", f"there is no field {unknown[0]!r}", hint="there are " + ", ".join(FIELDS)
            )
        nodes = [node.uuid for node in env.config.online_nodes if node.vm_capable]
        answers = await env.rpc.many(nodes, OsDiagnose())
        found: dict[Uuid, tuple[OsDefinition, ...]] = {}
        for node, answer in answers.items():
            if isinstance(answer, errors.RpcError):
                env.warn(f"OS definitions are not known: {answer}")
            else:
                found[node] = answer
        return OsFacts(rows=self._rows(summarise(env.config, found)))

    def _rows(self, rows: Sequence[OsRow]) -> list[list[Any]]:
        missing = [name for name in self.op.names if name not in {row.name for row in rows}]
        if missing:
            raise errors.PrereqError("unknown_entity", f"no node has an OS called {missing[0]!r}")
        wanted = self.op.output_fields
        chosen = [row for row in rows if (row.name in self.op.names if self.op.names else is_shown(row, set(wanted)))]
        return [[getattr(row, field) for field in wanted] for row in chosen]

    def result(self, facts: OsFacts) -> list[list[Any]]:
        return facts.rows


def summarise(config: Config, answers: Mapping[Uuid, tuple[OsDefinition, ...]]) -> list[OsRow]:
    """One row per OS, in natural order of the names."""
    names = sorted({found.name for definitions in answers.values() for found in definitions}, key=nice_key)
    return [_row(config, name, answers) for name in names]


def _row(config: Config, name: str, answers: Mapping[Uuid, tuple[OsDefinition, ...]]) -> OsRow:
    by_node: dict[str, list[OsDefinition]] = {}
    for node, definitions in answers.items():
        by_node[config.nodes[node].name] = [found for found in definitions if found.name == name]
    # the first one in the search path is the one that a node uses
    used: list[OsDefinition | None] = [found[0] if found else None for found in by_node.values()]
    usable = [found for found in used if found is not None and found.valid]
    is_valid = bool(used) and len(usable) == len(used) and _are_equal(usable)
    common = usable[0] if is_valid else None
    return OsRow(
        name=name,
        valid=is_valid,
        node_status={node: [_status(found) for found in entries] for node, entries in by_node.items()},
        hidden=name in config.cluster.hidden_os,
        blacklisted=name in config.cluster.blacklisted_os,
        variants=list(common.variants) if common else [],
        api_versions=list(common.api_versions) if common else [],
        parameters=[list(pair) for pair in common.parameters] if common else [],
        os_hvp=config.cluster.os_hvp.get(name, {}),
        osparams=config.cluster.osparams.get(name, {}),
        trusted=common.trusted if common else True,
    )


def _are_equal(definitions: Sequence[OsDefinition]) -> bool:
    properties = {(found.api_versions, found.variants, found.parameters) for found in definitions}
    return len(properties) == 1


def _status(found: OsDefinition) -> list[Any]:
    """[path, status, message (why not, or what is to be known), variants, parameters, api versions, trusted]."""
    parameters = [list(pair) for pair in found.parameters]
    head = [found.path, found.valid, found.reason or found.remarks, list(found.variants), parameters]
    return [*head, list(found.api_versions), found.trusted]
