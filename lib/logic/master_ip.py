"""OP_CLUSTER_ACTIVATE_MASTER_IP, OP_CLUSTER_DEACTIVATE_MASTER_IP, OP_CLUSTER_RENAME: the cluster's name and address."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors, settings
from ganeti.calls.master_ip import MasterAddress, MasterIpDown, MasterIpUp
from ganeti.calls.node import AddressProbe
from ganeti.logic import checks
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.locks import BIG, LockPlan, exclusive
from ganeti.model.objects import Cluster, Put
from ganeti.ops.upkeep import OpClusterActivateMasterIp, OpClusterDeactivateMasterIp, OpClusterRename


def address_of(cluster: Cluster) -> MasterAddress:
    return MasterAddress(
        ip=cluster.master_ip,
        netmask=cluster.master_netmask,
        netdev=cluster.master_netdev,
        by_script=cluster.use_external_mip_script,
    )


def moved(env: Env, old: Cluster, new: Cluster) -> tuple[Effect, Effect]:
    """The address goes down before a change and up after it; that it does not come up is only warned of."""
    master, before, after = env.config.master, address_of(old), address_of(new)
    request = env.new_request()
    down = Effect(
        title=f"take down {before.ip} on {master.name}",
        node=master.uuid,
        call=MasterIpDown(address=before, request=request),
        undo=MasterIpUp(address=before, request=env.new_request(), undoes=request),
    )
    up = Effect(
        title=f"bring up {after.ip} on {master.name}",
        node=master.uuid,
        call=MasterIpUp(address=after, request=env.new_request()),
        on_failure=OnFailure.WARN,
    )
    return down, up


def _hooks(config: Config) -> HookPlan:
    cluster, master = config.cluster, (config.cluster.master_node,)
    environment = {
        "MASTER_NETDEV": cluster.master_netdev,
        "MASTER_IP": cluster.master_ip,
        "MASTER_NETMASK": str(cluster.master_netmask),
        "CLUSTER_IP_VERSION": "6" if ":" in cluster.master_ip else "4",
    }
    return HookPlan(environment=environment, pre=master, post=master)


@implements(OpClusterActivateMasterIp)
class ActivateMasterIp(LogicalUnit[OpClusterActivateMasterIp, MasterAddress]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster=exclusive(BIG))

    async def check(self, env: Env) -> MasterAddress:
        return address_of(env.config.cluster)

    def hooks(self, facts: MasterAddress, config: Config) -> HookPlan:
        return _hooks(config)

    def plan(self, facts: MasterAddress, env: Env) -> Sequence[Step]:
        master = env.config.master
        title = f"bring up {facts.ip} on {master.name}"
        return (Effect(title=title, node=master.uuid, call=MasterIpUp(address=facts, request=env.new_request())),)


@implements(OpClusterDeactivateMasterIp)
class DeactivateMasterIp(LogicalUnit[OpClusterDeactivateMasterIp, MasterAddress]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster=exclusive(BIG))

    async def check(self, env: Env) -> MasterAddress:
        return address_of(env.config.cluster)

    def hooks(self, facts: MasterAddress, config: Config) -> HookPlan:
        return _hooks(config)

    def plan(self, facts: MasterAddress, env: Env) -> Sequence[Step]:
        master = env.config.master
        title = f"take down {facts.ip} on {master.name}"
        return (Effect(title=title, node=master.uuid, call=MasterIpDown(address=facts, request=env.new_request())),)


class RenameFacts(msgspec.Struct, frozen=True, kw_only=True):
    old: Cluster
    new: Cluster


@implements(OpClusterRename)
class ClusterRename(LogicalUnit[OpClusterRename, RenameFacts]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster=exclusive(BIG))

    async def check(self, env: Env) -> RenameFacts:
        cluster = env.config.cluster
        name, ip = await env.resolve(checks.host_name(self.op.name))
        if (name, ip) == (cluster.name, cluster.master_ip):
            raise errors.PrereqError("wrong_input", f"the cluster has the name {name} and the address {ip} already")
        if (":" in ip) != (":" in cluster.master_ip):
            raise errors.PrereqError(
                "wrong_input", f"{name} has the address {ip}, which is of another version than {cluster.master_ip}"
            )
        if ip != cluster.master_ip:
            probe = AddressProbe(address=ip, port=settings.NODED_PORT)
            if await checks.ask(env, cluster.master_node, probe, f"look whether {ip} is free"):
                raise errors.PrereqError("resource_not_unique", f"somebody answers at the address {ip} of {name}")
        new = msgspec.structs.replace(cluster, name=name, master_ip=ip)
        return RenameFacts(old=cluster, new=new)

    def hooks(self, facts: RenameFacts, config: Config) -> HookPlan:
        master = (config.cluster.master_node,)
        every = tuple(node.uuid for node in config.online_nodes)
        environment = {"OP_TARGET": facts.old.name, "NEW_NAME": facts.new.name}
        return HookPlan(environment=environment, pre=master, post=every)

    def plan(self, facts: RenameFacts, env: Env) -> Sequence[Step]:
        down, up = moved(env, facts.old, facts.new)
        return (down, Commit(title=f"call the cluster {facts.new.name}", changes=(Put(facts.new),)), up)

    def result(self, facts: RenameFacts) -> str:
        return facts.new.name
