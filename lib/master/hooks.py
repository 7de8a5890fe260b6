"""Hooks: run through the node daemons, on the master too."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence

from ganeti import errors, paths
from ganeti.calls.node import HookResult, HooksRun
from ganeti.calls.port import Rpc
from ganeti.logic import hooks as variables
from ganeti.logic.base import HookPlan
from ganeti.model.config import Config
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.base import OpCode


def environment(config: Config, op: OpCode, path: str, phase: str, own: Mapping[str, str]) -> dict[str, str]:
    """The variables of one run: the common ones and the operation's own, with their prefix."""
    return {
        "GANETI_HOOKS_VERSION": "2",
        "GANETI_HOOKS_PHASE": phase,
        "GANETI_HOOKS_PATH": path,
        "GANETI_OP_CODE": op.op_id,
        "GANETI_OBJECT_TYPE": op.declaration.object_type,
        "GANETI_DATA_DIR": paths.DATA_DIR.path,
        "GANETI_CLUSTER": config.cluster.name,
        "GANETI_MASTER": config.master.name,
        **{f"GANETI_{name}": value for name, value in own.items()},
    }


def after(plan: HookPlan, config: Config) -> dict[str, str]:
    """What the post phase is told in addition: the operation's values of now."""
    return {f"GANETI_POST_{name}": value for name, value in variables.environment_after(plan, config).items()}


async def run(
    rpc: Rpc, nodes: Sequence[Uuid], *, path: str, phase: str, environ: dict[str, str]
) -> dict[Uuid, tuple[HookResult, ...] | errors.RpcError]:
    """Results by node; each node gets a request of its own."""

    async def one(node: Uuid) -> tuple[HookResult, ...] | errors.RpcError:
        call = HooksRun(request=RequestId(f"hooks-{uuid.uuid4()}"), path=path, phase=phase, environment=environ)
        try:
            return await rpc.one(node, call)
        except errors.RpcError as err:
            return err

    unique = list(dict.fromkeys(nodes))
    return dict(zip(unique, await asyncio.gather(*(one(node) for node in unique)), strict=True))


def failures(
    config: Config, results: dict[Uuid, tuple[HookResult, ...] | errors.RpcError]
) -> list[tuple[str, str, str]]:
    """(node name, script, output) of every script that failed."""
    found = []
    for node, answer in results.items():
        if isinstance(answer, errors.RpcError):
            continue
        name = config.nodes[node].name if node in config.nodes else node
        found += [(name, result.script, result.output) for result in answer if result.status == 1]
    return found
