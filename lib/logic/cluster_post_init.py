"""OP_CLUSTER_POST_INIT."""

from __future__ import annotations

from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.locks import BIG, LockPlan, exclusive
from ganeti.ops.cluster import OpClusterPostInit


@implements(OpClusterPostInit)
class ClusterPostInit(LogicalUnit[OpClusterPostInit, None]):
    """Nothing but its hooks: there was no master to run them while the cluster was made."""

    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster=exclusive(BIG))

    async def check(self, env: Env) -> None:
        return None

    def hooks(self, facts: None, config: Config) -> HookPlan:
        environment = {"OP_TARGET": config.cluster.name}
        return HookPlan(environment=environment, pre=(), post=(config.cluster.master_node,))

    def result(self, facts: None) -> bool:
        return True
