"""Secret files that are the same on all nodes, on their way from the master's node to the others."""

from __future__ import annotations

from collections.abc import Iterable

from ganeti import errors, paths
from ganeti.calls.renewal import Secrets, SecretsRead, SecretsWrite
from ganeti.logic.base import Env
from ganeti.model.types import Uuid


async def read(env: Env, names: Iterable[str], *, is_staged: bool = False) -> Secrets:
    """Of the master's node; of those in use only the ones that are there. Raises RpcError."""
    return await env.rpc.one(env.config.cluster.master_node, SecretsRead(names=tuple(names), is_staged=is_staged))


async def write(env: Env, nodes: Iterable[Uuid], secrets: Secrets) -> list[errors.RpcError]:
    """The nodes that did not take them."""
    if not secrets.files:
        return []
    request = env.new_request()
    results = await env.rpc.many(nodes, SecretsWrite(request=request, secrets=secrets))
    return [answer for answer in results.values() if isinstance(answer, errors.RpcError)]


async def share(env: Env, nodes: Iterable[Uuid]) -> None:
    """What the master's node has, the others get too; who does not take it is warned of."""
    others = [node for node in nodes if node != env.config.cluster.master_node]
    if not others:
        return
    try:
        failed = await write(env, others, await read(env, paths.SHARED_SECRETS))
    except errors.RpcError as err:
        failed = [err]
    for failure in failed:
        env.warn(f"secret files were not distributed: {failure}", hint="gnt-cluster redist-conf tries again")
