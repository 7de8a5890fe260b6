"""OP_BACKUP_REMOVE."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.export import ExportList, ExportRemove
from ganeti.logic import checks
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Effect, Parallel, Step
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, new_name, shared
from ganeti.model.types import Uuid
from ganeti.ops.backup import OpBackupRemove


class RemoveFacts(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    nodes: tuple[Uuid, ...]


@implements(OpBackupRemove)
class BackupRemove(LogicalUnit[OpBackupRemove, RemoveFacts]):
    """The instance may be gone; then its full name is needed."""

    def locks(self, config: Config) -> LockPlan:
        name = self._name(config)
        known = config.instance_names.get(name)
        return LockPlan.of(instances=exclusive(known if known else new_name(name)), nodes=shared(ALL))

    def _name(self, config: Config) -> str:
        try:
            return config.instance(self.op.instance_name).name
        except errors.PrereqError:
            return checks.host_name(self.op.instance_name)

    async def check(self, env: Env) -> RemoveFacts:
        name = self._name(env.config)
        answers = await env.rpc.many([node.uuid for node in env.config.online_nodes], ExportList())
        found, silent = [], []
        for node, names in answers.items():
            if isinstance(names, errors.RpcError):
                silent.append(env.config.nodes[node].name)
            elif name in names:
                found.append(node)
        if silent:
            env.warn(f"nodes that do not answer may have an export too: {', '.join(sorted(silent))}")
        if not found:
            is_known = name in env.config.instance_names
            raise errors.PrereqError(
                "unknown_entity",
                f"no node has an export of {name}",
                hint="gnt-backup list shows them"
                if is_known
                else "there is no instance of that name: give the full name of the export",
            )
        return RemoveFacts(name=name, nodes=tuple(found))

    def plan(self, facts: RemoveFacts, env: Env) -> Sequence[Step]:
        effects = tuple(
            Effect(
                title=f"remove the export of {facts.name} from {env.config.nodes[node].name}",
                node=node,
                call=ExportRemove(export=facts.name, request=env.new_request()),
            )
            for node in facts.nodes
        )
        return (Parallel(effects=effects),)
