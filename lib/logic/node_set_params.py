"""OP_NODE_SET_PARAMS."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.node import NodeVersion
from ganeti.logic import candidates, node_hooks, node_values, owing, ssh_keys
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import Node, Put
from ganeti.ops.node import OpNodeSetParams


class ModifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    old: Node
    new: Node
    told: tuple[tuple[str, str], ...]
    fills_pool: bool  # others are promoted before this one stops being a candidate


@implements(OpNodeSetParams)
class NodeSetParams(LogicalUnit[OpNodeSetParams, ModifyFacts]):
    """Roles exclude each other: master candidate, drained, offline, or none. The master's are not changed here."""

    def locks(self, config: Config) -> LockPlan:
        node = config.node(self.op.node_name).uuid
        # any other node may be promoted in its place
        nodes = exclusive(ALL if self.op.auto_promote else node)
        instances = shared(ALL) if self.op.secondary_ip is not None else None
        return LockPlan.of(instances=instances, nodes=nodes, node_res=exclusive(node))

    async def check(self, env: Env) -> ModifyFacts:
        config = env.config
        old = config.node(self.op.node_name)
        self._check_request(config, old)
        new, told = changed(config, old, self.op)
        new = node_values.recorded(new, self.op)
        if self.op.secondary_ip is not None:
            address = await node_values.secondary_ip(env, old, self.op.secondary_ip, force=self.op.force)
            new = msgspec.structs.replace(new, secondary_ip=address)
        node_values.check_power(config, old, new, self.op)
        told = (*told, *node_values.told(new, self.op))
        if old.vm_capable and not new.vm_capable:
            _check_empty(config, old)
        fills_pool = False
        if old.master_candidate and not new.master_candidate:
            fills_pool = self._check_pool(env, config, old)
        if old.offline and not new.offline and not self.op.force:
            env.report(f"node {old.name} will be contacted again")
        return ModifyFacts(old=old, new=new, told=told, fills_pool=fills_pool)

    def _check_request(self, config: Config, node: Node) -> None:
        op = self.op
        roles = (op.master_candidate, op.offline, op.drained)
        others = (
            op.master_capable,
            op.vm_capable,
            op.secondary_ip,
            op.ndparams,
            op.powered,
            op.hv_state,
            op.disk_state,
        )
        if all(value is None for value in (*roles, *others)):
            raise errors.PrereqError("wrong_input", "nothing to change was given")
        if sum(flag is True for flag in roles) > 1:
            raise errors.PrereqError(
                "wrong_input", "a node can be only one of master candidate, drained and offline", hint="set one of them"
            )
        if op.master_candidate and op.master_capable is False:
            raise errors.PrereqError("wrong_input", "a node that is not master_capable cannot be a master candidate")
        if node.uuid == config.cluster.master_node and (
            any(flag is not None for flag in roles) or op.master_capable is False
        ):
            raise errors.PrereqError(
                "wrong_state",
                f"node {node.name} is the master: its role changes only when another node becomes master",
                hint="run gnt-cluster master-failover on another candidate first",
            )
        if op.master_candidate and not (op.master_capable or node.master_capable):
            raise errors.PrereqError(
                "wrong_state", f"node {node.name} is not master_capable", hint="add --master-capable yes"
            )
        still = [
            flag
            for flag, is_set, wanted in (
                ("offline", node.offline, op.offline),
                ("drained", node.drained, op.drained),
            )
            if is_set and wanted is None
        ]
        if op.master_candidate and still:
            raise errors.PrereqError(
                "wrong_state",
                f"node {node.name} is {still[0]}: it cannot be a master candidate",
                hint=f"clear it in the same command with --{still[0]} no",
            )

    def _check_pool(self, env: Env, config: Config, node: Node) -> bool:
        """Whether others have to be promoted, so that enough candidates are left without this one."""
        left = candidates.pool(config, without=node.uuid)
        if not left.is_short:
            return False
        if self.op.auto_promote:
            return True
        text = f"without node {node.name} there are {left.present} master candidates, {left.wanted} are wanted"
        if not self.op.force:
            raise errors.PrereqError("wrong_state", text, hint="add --auto-promote, or --force to go on all the same")
        env.warn(text)
        return False

    def hooks(self, facts: ModifyFacts, config: Config) -> HookPlan:
        op = self.op
        extra = {
            "MASTER_CANDIDATE": str(op.master_candidate),
            "OFFLINE": str(op.offline),
            "DRAINED": str(op.drained),
            **node_hooks.abilities(op.master_capable, op.vm_capable),
        }
        # one that is marked offline is likely dead: waiting for it would only keep its instances down longer
        ends = () if facts.new.offline else (facts.old.uuid,)
        nodes = tuple(dict.fromkeys((config.cluster.master_node, *ends)))
        return node_hooks.plan(facts.old, extra, pre=nodes, post=nodes)

    def plan(self, facts: ModifyFacts, env: Env) -> Sequence[Step]:
        if facts.new == facts.old:
            return ()
        return (Commit(title=f"change node {facts.new.name}", changes=(Put(facts.new),)),)

    async def execute(self, facts: ModifyFacts, env: Env) -> list[list[str]]:
        old, new = facts.old, facts.new
        if facts.fills_pool:
            await self._promote_another(env, old)
        if old.master_candidate and not new.master_candidate:
            await candidates.demote(env, new)
        else:
            becomes_candidate = new.master_candidate and not old.master_candidate
            # a vote needs a node that can be reached: the other flags are committed first
            plain = msgspec.structs.replace(new, master_candidate=old.master_candidate)
            if plain != old:
                await env.run((Commit(title=f"change node {new.name}", changes=(Put(plain),)),))
            if old.offline and not new.offline:
                await self._greet(env, new)
                if not new.ssh_key:  # it was away when all the others got new ones
                    await ssh_keys.learn(env, [new.uuid])
            if becomes_candidate:
                await self._promote(env, env.config.nodes[new.uuid])
        if old.master_candidate != new.master_candidate or old.offline != new.offline:
            await env.membership.publish_trust()
        return [list(pair) for pair in facts.told]

    async def _promote(self, env: Env, node: Node) -> None:
        if self.op.master_candidate:
            await candidates.promote(env, node)
        elif not await candidates.promote_if_short(env, node):
            env.report(f"node {node.name} stays a regular node: meanwhile others have filled the candidate pool")

    @staticmethod
    async def _promote_another(env: Env, node: Node) -> None:
        """Before the vote of `node` ends."""
        waiting = [
            each
            for each in env.config.nodes.values()
            if candidates.can_be_candidate(each) and not each.master_candidate and each.uuid != node.uuid
        ]
        if not waiting:
            raise errors.ExecError(f"no node can become master candidate in place of {node.name}")
        chosen = env.rng.choice(sorted(waiting, key=lambda each: each.name))
        await candidates.promote(env, chosen)
        env.report(f"promoted node {chosen.name} to master candidate")

    @staticmethod
    async def _greet(env: Env, node: Node) -> None:
        """It was away: is it there, and with a program that fits?"""
        master = env.config.cluster.master_node
        answers = await env.rpc.many([node.uuid, master], NodeVersion())
        found, own = answers[node.uuid], answers[master]
        if isinstance(found, errors.RpcError):
            env.warn(f"node {node.name} is not offline any more but does not answer: {found}")
        elif not isinstance(own, errors.RpcError) and found.protocol != own.protocol:
            env.warn(
                f"node {node.name} speaks protocol {found.protocol}, the master {own.protocol}",
                hint="install the same version on it",
            )
        try:
            left = await env.settle(node.uuid)
        except errors.RpcError as err:
            env.warn(f"what node {node.name} still has to undo waits: {err}")
        else:
            for undo in left:
                why = "" if undo.until_good is not None else " and could not"
                env.warn(f"node {node.name} has still to {owing.told(env.config, undo)}{why}")


def changed(config: Config, old: Node, op: OpNodeSetParams) -> tuple[Node, tuple[tuple[str, str], ...]]:
    """The node as it shall be, and what the client is told: flags and what follows from them."""
    told: list[tuple[str, str]] = []
    candidate, offline, drained = old.master_candidate, old.offline, old.drained
    if op.offline is not None:
        offline = op.offline
        told.append(("offline", str(offline)))
    if op.drained is not None:
        drained = op.drained
        told.append(("drained", str(drained)))
    if op.master_candidate is not None:
        candidate = op.master_candidate
        told.append(("master_candidate", str(candidate)))
    if op.master_capable is not None:
        told.append(("master_capable", str(op.master_capable)))
    if op.vm_capable is not None:
        told.append(("vm_capable", str(op.vm_capable)))
    master_capable = old.master_capable if op.master_capable is None else op.master_capable
    for wins, reason in ((op.offline, "offline"), (op.drained, "drain"), (op.master_capable is False, "incapability")):
        if wins and candidate:
            candidate = False
            told.append(("master_candidate", f"auto-demotion due to {reason}"))
    if op.offline and drained:
        drained = False
        told.append(("drained", "clear drained status due to offline"))
    if op.drained and offline:
        offline = False
        told.append(("offline", "clear offline status due to drain"))
    new = msgspec.structs.replace(
        old,
        offline=offline,
        drained=drained,
        master_candidate=candidate,
        master_capable=master_capable,
        vm_capable=old.vm_capable if op.vm_capable is None else op.vm_capable,
        powered=old.powered if op.powered is None else op.powered,
    )
    returns = (old.offline or old.drained or not old.master_capable) and candidates.can_be_candidate(new)
    if returns and op.master_candidate is None and candidates.joins(config, without=old.uuid):
        new = msgspec.structs.replace(new, master_candidate=True)
        told.append(("master_candidate", "auto-promotion, the candidate pool is short"))
    return new, tuple(told)


def _check_empty(config: Config, node: Node) -> None:
    held = len(config.primaries.get(node.uuid, ())) + len(config.secondaries.get(node.uuid, ()))
    if held:
        raise errors.PrereqError(
            "wrong_state",
            f"node {node.name} holds {held} instances, so vm_capable cannot be no",
            hint="move them to other nodes first",
        )
