"""OP_CLUSTER_REDIST_CONF."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.logic import hosts, shared_secrets, ssh_keys
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import Put
from ganeti.ops.cluster import OpClusterRedistConf


@implements(OpClusterRedistConf)
class ClusterRedistConf(LogicalUnit[OpClusterRedistConf, None]):
    """A new serial of the unchanged cluster object makes the files go out again."""

    def locks(self, config: Config) -> LockPlan:
        # keys of nodes that have changed are taken over
        return LockPlan.of(nodes=exclusive(ALL) if config.cluster.modify_ssh_setup else shared(ALL))

    async def check(self, env: Env) -> None:
        return None

    def plan(self, facts: None, env: Env) -> Sequence[Step]:
        return (Commit(title="redistribute the configuration", changes=(Put(env.config.cluster),)),)

    async def execute(self, facts: None, env: Env) -> None:
        await ssh_keys.learn(env, [node.uuid for node in env.config.online_nodes])
        env.send_files_again()
        await super().execute(facts, env)
        await env.membership.publish_trust()
        await shared_secrets.share(env, [node.uuid for node in env.config.online_nodes])
        await hosts.share(env)
