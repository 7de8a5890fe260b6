"""The names of the nodes in the hosts files of all of them, where the cluster looks after these files."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.node import HostsWrite
from ganeti.logic.base import Env


async def share(env: Env) -> None:
    """A node that does not take it is warned of: names may be known to it in another way."""
    config = env.config
    if not config.cluster.modify_etc_hosts:
        return
    names = {node.name: node.primary_ip for node in config.nodes.values()}
    call = HostsWrite(request=env.new_request(), names=names)
    results = await env.rpc.many([node.uuid for node in config.online_nodes], call)
    for failure in results.values():
        if isinstance(failure, errors.RpcError):
            env.warn(f"the hosts file was not changed: {failure}", hint="gnt-cluster redist-conf tries again")
