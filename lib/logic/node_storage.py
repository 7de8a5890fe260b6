"""OP_NODE_MODIFY_STORAGE, OP_REPAIR_NODE_STORAGE."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.power import StorageModify, StorageRepair
from ganeti.logic import checks, lost_storage
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.lost_storage import Assessment
from ganeti.logic.steps import Commit, Effect, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import Cluster, Node, Put
from ganeti.ops.power import OpNodeModifyStorage, OpRepairNodeStorage


def _kind(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise errors.PrereqError("wrong_input", f"{found or 'nothing'} cannot be {what}", hint=f"only {wanted} can")


@implements(OpNodeModifyStorage)
class ModifyStorage(LogicalUnit[OpNodeModifyStorage, Node]):
    def locks(self, config: Config) -> LockPlan:
        uuid = config.node(self.op.node_name).uuid
        return LockPlan.of(nodes=shared(uuid), node_res=shared(uuid))

    async def check(self, env: Env) -> Node:
        _kind(self.op.storage_type, "lvm-pv", "changed")
        if set(self.op.changes) != {"allocatable"} or not isinstance(self.op.changes["allocatable"], bool):
            raise errors.PrereqError(
                "wrong_input", "only allocatable can be changed", hint='write {"allocatable": true} or false'
            )
        node = env.config.node(self.op.node_name)
        checks.online(node)
        return node

    def plan(self, facts: Node, env: Env) -> Sequence[Step]:
        call = StorageModify(name=self.op.name, allocatable=self.op.changes["allocatable"], request=env.new_request())
        return (Effect(title=f"change {self.op.name} of {facts.name}", node=facts.uuid, call=call),)


class RepairFacts(msgspec.Struct, frozen=True, kw_only=True):
    node: Node
    vg: str
    found: Assessment


@implements(OpRepairNodeStorage)
class RepairStorage(LogicalUnit[OpRepairNodeStorage, RepairFacts]):
    """What goes with the missing volumes has to be whole at the other ends of the mirrors."""

    def locks(self, config: Config) -> LockPlan:
        uuid = config.node(self.op.node_name).uuid
        held = config.primaries.get(uuid, frozenset()) | config.secondaries.get(uuid, frozenset())
        # nothing is moved or replaced between the look at the other halves and the end of these
        return LockPlan.of(
            cluster_object=self.op.unattended,
            instances=shared(*sorted(held)),
            nodes=shared(uuid),
            node_res=exclusive(uuid),
        )

    async def check(self, env: Env) -> RepairFacts:
        _kind(self.op.storage_type, "lvm-vg", "repaired")
        config = env.config
        node = config.node(self.op.node_name)
        checks.online(node)
        vg = self.op.name or config.cluster.volume_group_name
        if not vg:
            raise errors.PrereqError("wrong_input", "which volume group is to be repaired?", hint="give its name")
        if self.op.unattended:
            self._check_switch(config, vg)
        found = await lost_storage.assess(env, node, vg)
        self._check_copies(env, node, vg, found)
        return RepairFacts(node=node, vg=vg, found=found)

    @staticmethod
    def _check_switch(config: Config, vg: str) -> None:
        cluster = config.cluster
        if not cluster.lvm_self_repair or vg != cluster.volume_group_name:
            raise errors.PrereqError(
                "wrong_state",
                f"this cluster does not repair volume group {vg} by itself",
                hint="gnt-cluster modify --lvm-self-repair=yes allows it for the cluster's volume group",
            )
        if cluster.lvm_self_repaired:
            raise errors.PrereqError("wrong_state", used_up(cluster), hint=AGAIN)

    def _check_copies(self, env: Env, node: Node, vg: str, found: Assessment) -> None:
        if not found.objections:
            return
        if self.op.ignore_consistency and not self.op.unattended:
            for text in found.objections:
                env.warn(f"it is lost all the same: {text}")
            return
        raise errors.PrereqError(
            "wrong_state",
            f"with the missing physical volumes of {vg} on {node.name} would go what may be the only copy: "
            + "; ".join(found.objections),
            hint="gnt-instance activate-disks brings the other halves of mirrors up; --ignore-consistency gives up "
            "what is named here",
        )

    def plan(self, facts: RepairFacts, env: Env) -> Sequence[Step]:
        node, vg, found = facts.node, facts.vg, facts.found
        if not found.loss.missing:
            return ()
        steps: list[Step] = []
        if self.op.unattended:
            # before the effect: whatever becomes of it, it is not tried a second time
            when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(env.now()))
            changed = msgspec.structs.replace(
                env.config.cluster, lvm_self_repaired=f"{vg} on {node.name} at {when} by job {env.job}"
            )
            steps.append(Commit(title="note that the cluster has repaired by itself", changes=(Put(changed),)))
        steps += lost_storage.let_go(env, node, found.mirrored)
        gone = ", ".join(found.names)
        title = f"take the missing physical volumes out of {vg} on {node.name}" + (f", with {gone}" if gone else "")
        call = StorageRepair(name=vg, lost=found.names, request=env.new_request())
        steps.append(Effect(title=title, node=node.uuid, call=call))
        return steps

    async def execute(self, facts: RepairFacts, env: Env) -> None:
        node, vg, found = facts.node, facts.vg, facts.found
        if not found.loss.missing:
            env.report(f"volume group {vg} on {node.name} misses nothing: there is nothing to repair")
            return
        how = "by itself, as --lvm-self-repair says, " if self.op.unattended else ""
        env.report(f"the cluster {how}takes {found.loss.missing} missing physical volumes out of {vg} on {node.name}")
        await super().execute(facts, env)
        names = sorted({each.instance.name for each in found.mirrored})
        for name in names:
            env.warn(f"{name} has one half of its disks only", hint=f"gnt-instance replace-disks -a {name} mends that")


AGAIN = "when the cause is known, gnt-cluster modify --lvm-self-repair=yes allows it once more"


def used_up(cluster: Cluster) -> str:
    return f"the cluster has repaired a volume group by itself already ({cluster.lvm_self_repaired}), and does so once"
