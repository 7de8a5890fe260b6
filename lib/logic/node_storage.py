"""OP_NODE_MODIFY_STORAGE, OP_REPAIR_NODE_STORAGE."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti import errors
from ganeti.calls.power import StorageModify, StorageRepair
from ganeti.logic import checks, mirrors
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Effect, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, shared
from ganeti.model.objects import AdminState, Node
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


@implements(OpRepairNodeStorage)
class RepairStorage(LogicalUnit[OpRepairNodeStorage, Node]):
    """What goes with the missing volumes has to be whole at the other ends of the mirrors."""

    def locks(self, config: Config) -> LockPlan:
        uuid = config.node(self.op.node_name).uuid
        return LockPlan.of(nodes=shared(uuid), node_res=shared(uuid))

    async def check(self, env: Env) -> Node:
        _kind(self.op.storage_type, "lvm-vg", "repaired")
        config = env.config
        node = config.node(self.op.node_name)
        checks.online(node)
        held = config.primaries.get(node.uuid, frozenset()) | config.secondaries.get(node.uuid, frozenset())
        for uuid in sorted(held):
            instance = config.instances[uuid]
            if instance.admin_state is not AdminState.UP:
                continue
            for other in instance.nodes:
                if other != node.uuid:
                    await mirrors.check_good(env, instance, other, ignore=self.op.ignore_consistency)
        return node

    def plan(self, facts: Node, env: Env) -> Sequence[Step]:
        call = StorageRepair(name=self.op.name, request=env.new_request())
        return (Effect(title=f"repair {self.op.name} of {facts.name}", node=facts.uuid, call=call),)
