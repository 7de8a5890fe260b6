"""OP_CLUSTER_DESTROY."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti import errors
from ganeti.calls.master_ip import MasterIpDown
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.master_ip import address_of
from ganeti.logic.steps import Effect, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.locks import BIG, LockPlan, exclusive
from ganeti.ops.cluster import OpClusterDestroy


@implements(OpClusterDestroy)
class ClusterDestroy(LogicalUnit[OpClusterDestroy, str]):
    """The address goes down; the command that asked ends the daemons and removes the data afterwards."""

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

    def plan(self, facts: str, env: Env) -> Sequence[Step]:
        address = address_of(env.config.cluster)
        down = Effect(
            title=f"take down {address.ip} on {facts}",
            node=env.config.cluster.master_node,
            call=MasterIpDown(address=address, request=env.new_request()),
            on_failure=OnFailure.WARN,
        )
        return (down,)

    def result(self, facts: str) -> str:
        return facts
