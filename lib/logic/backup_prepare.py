"""OP_BACKUP_PREPARE."""

from __future__ import annotations

from ganeti import errors
from ganeti.logic import checks
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, shared
from ganeti.ops.backup import OpBackupPrepare


@implements(OpBackupPrepare)
class BackupPrepare(LogicalUnit[OpBackupPrepare, None]):
    """A local export has nothing to prepare: only whether it can be made is looked at."""

    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(instances=shared(config.instance(self.op.instance_name).uuid))

    async def check(self, env: Env) -> None:
        instance = env.config.instance(self.op.instance_name)
        checks.online(env.config.nodes[instance.primary_node])
        if self.op.mode == "remote":
            raise errors.PrereqError(
                "wrong_input",
                "exports straight into another cluster are not prepared here",
                hint="export it to a node, and import it there",
            )
