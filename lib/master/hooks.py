"""Hooks: run through the node daemons, on the master too."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping, Sequence

from ganeti import errors, paths
from ganeti.calls.node import HookResult, HooksRun
from ganeti.calls.port import Rpc
from ganeti.calls.task import TaskCancel
from ganeti.logic import hooks as variables
from ganeti.logic.base import HookPlan
from ganeti.model.config import Config
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.base import OpCode

Results = dict[Uuid, tuple[HookResult, ...] | errors.RpcError]


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


def calls(nodes: Sequence[Uuid], *, path: str, phase: str, environ: dict[str, str]) -> dict[Uuid, HooksRun]:
    """What each node is told; a request for each, so that one can be stopped."""
    return {
        node: HooksRun(request=RequestId(f"hooks-{uuid.uuid4()}"), path=path, phase=phase, environment=environ)
        for node in nodes
    }


async def run(rpc: Rpc, calls: Mapping[Uuid, HooksRun]) -> Results:
    """Results by node."""

    async def one(node: Uuid, call: HooksRun) -> tuple[HookResult, ...] | errors.RpcError:
        try:
            return await rpc.one(node, call)
        except errors.RpcError as err:
            return err

    return dict(zip(calls, await asyncio.gather(*(one(*each) for each in calls.items())), strict=True))


async def stop(rpc: Rpc, calls: Mapping[Uuid, HooksRun]) -> None:
    """Ends the scripts that run for these calls; whoever waits for the calls sees their end."""

    async def one(node: Uuid, call: HooksRun) -> None:
        with contextlib.suppress(errors.RpcError):  # the call itself sees that the node is away
            await rpc.one(node, TaskCancel(request=call.request))

    await asyncio.gather(*(one(*each) for each in calls.items()))


def failures(config: Config, results: Results) -> list[tuple[str, str, str]]:
    """(node name, script, output) of every script that failed."""
    found = []
    for node, answer in results.items():
        if isinstance(answer, errors.RpcError):
            continue
        name = config.nodes[node].name if node in config.nodes else node
        found += [(name, result.script, result.output) for result in answer if result.status == 1]
    return found
