"""OP_CLUSTER_DESTROY."""

from __future__ import annotations

from ganeti import errors
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.locks import BIG, LockPlan, exclusive
from ganeti.ops.cluster import OpClusterDestroy


@implements(OpClusterDestroy)
class ClusterDestroy(LogicalUnit[OpClusterDestroy, str]):
    """Only the permission: the command that asked ends the daemons and removes the data afterwards."""

    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster=exclusive(BIG))

    async def check(self, env: Env) -> str:
        config = env.config
        others = sorted(node.name for node in config.nodes.values() if node.uuid != config.cluster.master_node)
        if others:
            raise errors.PrereqError(
                "wrong_state",
                f"the cluster still has {len(others)} other nodes: " + ", ".join(others[:5]),
                hint="remove them with gnt-node remove",
            )
        instances = sorted(instance.name for instance in config.instances.values())
        if instances:
            raise errors.PrereqError(
                "wrong_state",
                f"the cluster still has {len(instances)} instances: " + ", ".join(instances[:5]),
                hint="remove them with gnt-instance remove",
            )
        return config.master.name

    def hooks(self, facts: str, config: Config) -> HookPlan:
        master = (config.cluster.master_node,)
        return HookPlan(environment={"OP_TARGET": config.cluster.name}, pre=(), post=master)

    def result(self, facts: str) -> str:
        return facts
