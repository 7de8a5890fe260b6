"""OP_GROUP_ADD, OP_GROUP_SET_PARAMS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.hypervisor import parameters
from ganeti.logic import policies
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model import diskparams, node_state, params, policy, policy_input
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, new_name, shared
from ganeti.model.objects import AllocPolicy, Group, Put
from ganeti.ops.group import OpGroupAdd, OpGroupSetParams

_NAME = re.compile(r"[A-Za-z0-9_][\w.+:@-]{0,254}\Z", re.ASCII)


def free_name(config: Config, name: str) -> str:
    """Raises PrereqError when no group can be called so, or one is."""
    if not _NAME.match(name):
        raise errors.PrereqError(
            "wrong_input",
            f"{name[:80]!r} cannot be the name of a node group",
            hint="use letters, digits and _ . + : @ -, with a letter, a digit or _ first",
        )
    if name.lower() in config.group_names or name.lower() in config.groups:
        raise errors.PrereqError("already_exists", f"there is already a node group called {name!r}")
    return name


def master_hooks(config: Config, environment: dict[str, str]) -> HookPlan:
    """On the master node only."""
    nodes = (config.cluster.master_node,)
    return HookPlan(environment=environment, pre=nodes, post=nodes)


def _changed(config: Config, old: Group, op: OpGroupAdd | OpGroupSetParams) -> Group:
    """As it shall be. Raises PrereqError."""
    changes = policy_input.parse(op.ipolicy or {}, for_cluster=False)
    new = msgspec.structs.replace(
        old,
        alloc_policy=op.alloc_policy or old.alloc_policy,
        ndparams=params.merged(old.ndparams, params.parse(params.NODE, op.ndparams or {}, "node")),
        diskparams=diskparams.merged(old.diskparams, diskparams.parse(op.diskparams or {})),
        ipolicy=policy_input.merged(old.ipolicy, changes),
        hv_state_static=node_state.changed_hv(old.hv_state_static, op.hv_state or {}, parameters.HYPERVISORS),
        disk_state_static=node_state.changed_disk(old.disk_state_static, op.disk_state or {}),
    )
    policy_input.check({**policy.builtin(), **config.cluster.ipolicy, **new.ipolicy})
    return new


@implements(OpGroupAdd)
class GroupAdd(LogicalUnit[OpGroupAdd, Group]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(groups=exclusive(new_name(self.op.group_name)))

    async def check(self, env: Env) -> Group:
        name = free_name(env.config, self.op.group_name)
        empty = Group(uuid=env.new_uuid(), ctime=env.now(), name=name, alloc_policy=AllocPolicy.PREFERRED)
        return _changed(env.config, empty, self.op)

    def hooks(self, facts: Group, config: Config) -> HookPlan:
        return master_hooks(config, {"OP_TARGET": facts.name, "GROUP_NAME": facts.name})

    def plan(self, facts: Group, env: Env) -> Sequence[Step]:
        return (Commit(title=f"add node group {facts.name}", changes=(Put(facts),), is_final=True),)


class ModifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    changed: Group
    told: tuple[tuple[str, Any], ...]  # Any: JSON, what the client is told


@implements(OpGroupSetParams)
class GroupSetParams(LogicalUnit[OpGroupSetParams, ModifyFacts]):
    def locks(self, config: Config) -> LockPlan:
        group = exclusive(config.group(self.op.group_name).uuid)
        # none of its instances may change or come while the policy is compared with them
        return LockPlan.of(groups=group, instances=shared(ALL) if self.op.ipolicy else None)

    async def check(self, env: Env) -> ModifyFacts:
        op, config = self.op, env.config
        given = (op.alloc_policy, op.ndparams, op.diskparams, op.hv_state, op.disk_state, op.ipolicy)
        if all(value is None for value in given):
            raise errors.PrereqError("wrong_input", "nothing to change was given")
        old = config.group(op.group_name)
        new = _changed(config, old, op)
        if new.ipolicy != old.ipolicy:
            after = config.apply([Put(new)])
            inside = policies.in_group(after, new.uuid)
            policies.warn_of(env, await policies.new_violations(config, after, inside))
        return ModifyFacts(changed=new, told=tuple(self._told(new)))

    def _told(self, new: Group) -> list[tuple[str, Any]]:
        op = self.op
        told: list[tuple[str, Any]] = []
        if op.alloc_policy is not None:
            told.append(("alloc_policy", new.alloc_policy.value))
        for what, given, now in (
            ("ndparams", op.ndparams, new.ndparams),
            ("diskparams", op.diskparams, new.diskparams),
            ("hv_state", op.hv_state, new.hv_state_static),
            ("disk_state", op.disk_state, new.disk_state_static),
            ("ipolicy", op.ipolicy, new.ipolicy),
        ):
            told += [(f"{what}/{name}", now.get(name, "default")) for name in sorted(given or {})]
        return told

    def hooks(self, facts: ModifyFacts, config: Config) -> HookPlan:
        name = facts.changed.name
        wanted = self.op.alloc_policy.value if self.op.alloc_policy else "None"
        return master_hooks(config, {"OP_TARGET": name, "GROUP_NAME": name, "NEW_ALLOC_POLICY": wanted})

    def plan(self, facts: ModifyFacts, env: Env) -> Sequence[Step]:
        title = f"change node group {facts.changed.name}"
        return (Commit(title=title, changes=(Put(facts.changed),), is_final=True),)

    def result(self, facts: ModifyFacts) -> list[list[Any]]:
        return [list(pair) for pair in facts.told]
