"""OP_INSTANCE_MULTI_ALLOC."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.logic import instance_create, placement
from ganeti.logic.allocation import Failed, MultiAllocate
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model.config import Config
from ganeti.model.locks import ALL, Level, LockPlan, shared
from ganeti.ops import base as ops
from ganeti.ops.allocation import OpInstanceMultiAlloc
from ganeti.ops.base import OpCode
from ganeti.ops.instance import OpInstanceCreate

_CREATE = str(OpInstanceCreate.__struct_config__.tag)


class MultiFacts(msgspec.Struct, frozen=True, kw_only=True):
    ready: tuple[OpInstanceCreate, ...]  # with their nodes
    failed: tuple[Failed, ...] = ()


@implements(OpInstanceMultiAlloc)
class InstanceMultiAlloc(LogicalUnit[OpInstanceMultiAlloc, MultiFacts]):
    """One job for each instance that has a place; nothing is reserved for them, each checks again when it runs."""

    def locks(self, config: Config) -> LockPlan:
        if not self.op.opportunistic_locking:
            return LockPlan.of(nodes=shared(ALL), node_res=shared(ALL))
        every = shared(*config.nodes)
        return LockPlan.of(nodes=every, node_res=every, optional=(Level.NODE, Level.NODE_RES))

    async def check(self, env: Env) -> MultiFacts:
        op, config = self.op, env.config
        creates = [_create(form) for form in op.instances]
        if not creates:
            raise errors.PrereqError("wrong_input", "no instances were given")
        names = [create.instance_name.lower() for create in creates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise errors.PrereqError("wrong_input", f"instance {twice[0]!r} is given twice")
        with_own = [create.instance_name for create in creates if create.iallocator]
        if with_own:
            raise errors.PrereqError(
                "wrong_input",
                f"instance {with_own[0]!r} names an allocator of its own",
                hint="one allocator places them all: give it once, for all of them",
            )
        placed = [bool(create.pnode) for create in creates]
        if all(placed):
            if op.iallocator or op.opportunistic_locking:
                raise errors.PrereqError(
                    "wrong_input", "all instances have their nodes given: there is nothing for an allocator to do"
                )
            return MultiFacts(ready=tuple(creates))
        if any(placed):
            raise errors.PrereqError(
                "wrong_input", "some instances have their nodes given, some have not", hint="give all nodes or none"
            )
        allocator = placement.named(config, op.iallocator)
        requests = [instance_create.InstanceCreate(create).asked(env) for create in creates]
        answer = await env.allocate(MultiAllocate(instances=tuple(requests)), allocator)
        nodes = {found.name: [config.nodes[node].name for node in found.nodes] for found in answer.placed}
        ready = [
            msgspec.structs.replace(create, pnode=nodes[asked.name][0], snode="".join(nodes[asked.name][1:2]))
            for create, asked in zip(creates, requests, strict=True)
            if asked.name in nodes
        ]
        return MultiFacts(ready=tuple(ready), failed=answer.failed)

    async def execute(self, facts: MultiFacts, env: Env) -> dict[str, Any]:
        for failed in facts.failed:
            env.warn(f"no place for {failed.name}: {failed.reason}")
        jobs: list[list[OpCode]] = [[create] for create in facts.ready]
        submitted = await env.submit(jobs) if jobs else []
        return {"jobs": [list(pair) for pair in submitted], **self.dry_result(facts)}

    def dry_result(self, facts: MultiFacts) -> dict[str, Any]:
        return {
            "allocatable": [create.instance_name for create in facts.ready],
            "failed": [failed.name for failed in facts.failed],
        }


def _create(untrusted: dict[str, Any]) -> OpInstanceCreate:
    op = ops.decode({**untrusted, "OP_ID": untrusted.get("OP_ID", _CREATE)})
    if not isinstance(op, OpInstanceCreate):
        raise errors.PrereqError("wrong_input", f"{op.op_id} does not create an instance")
    return op
