"""OP_BACKUP_QUERY_DATA."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.export import ExportInfo, ExportList, ExportText
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model import export_ini
from ganeti.ops.backup import Details, OpBackupQueryData


class BackupFacts(msgspec.Struct, frozen=True, kw_only=True):
    exports: dict[str, list[Details]]


@implements(OpBackupQueryData)
class BackupQueryData(LogicalUnit[OpBackupQueryData, BackupFacts]):
    """Asks the nodes, takes no locks."""

    async def check(self, env: Env) -> BackupFacts:
        found: dict[str, list[Details]] = {}
        wanted = set(self.op.names)
        answers = await env.rpc.many([node.uuid for node in env.config.online_nodes], ExportList())
        for node, names in answers.items():
            where = env.config.nodes[node].name
            if isinstance(names, errors.RpcError):
                env.warn(f"exports are not known: {names}")
                continue
            for name in names:
                if not wanted or name in wanted:
                    try:
                        text = await env.rpc.one(node, ExportInfo(place=name))
                    except errors.RpcError as err:
                        found.setdefault(name, []).append({**_SHOWN, "node": where, "problem": str(err)})
                        continue
                    if text is not None:  # removed meanwhile
                        found.setdefault(name, []).append(_details(where, text))
        missing = sorted(wanted - set(found))
        if missing:
            raise errors.PrereqError(
                "unknown_entity", f"no node has an export of {missing[0]}", hint="gnt-backup list shows them"
            )
        return BackupFacts(exports=found)

    def result(self, facts: BackupFacts) -> dict[str, list[Details]]:
        return facts.exports


_SHOWN: dict[str, Any] = {"directory": "", "dump_sizes": {}, "problem": None}


def _details(node: str, text: ExportText) -> Details:
    shown = {**_SHOWN, "node": node, "directory": text.directory, "dump_sizes": text.sizes}
    try:
        exported = export_ini.read(text.text)
    except errors.PrereqError as err:
        return {**shown, "problem": str(err)}
    told = msgspec.to_builtins(exported)
    del told["osparams_private"]
    return {**shown, **told}
