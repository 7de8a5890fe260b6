"""Can root of those who may be master log in everywhere, and nobody else of the cluster?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ganeti import errors
from ganeti.calls.ssh import SshLook, SshReply
from ganeti.logic.base import Env
from ganeti.logic.findings import Findings
from ganeti.model import ssh
from ganeti.model.config import Config
from ganeti.model.objects import Node
from ganeti.model.types import Uuid

Replies = Mapping[Uuid, SshReply | errors.RpcError]
#: how long a list of keys may be on its way to the nodes
_TRIES, _PAUSE_S = 20, 0.25
_REPAIR = "gnt-cluster redist-conf repairs that"


def targets(config: Config, members: Sequence[Node]) -> dict[Uuid, tuple[str, ...]]:
    """Whom each node shall reach: the master all members, another candidate the one after it. Pure."""
    names = [node.name for node in members]
    wanted: dict[Uuid, tuple[str, ...]] = {}
    for at, node in enumerate(members):
        if node.uuid == config.cluster.master_node or not node.master_candidate:
            wanted[node.uuid] = ()
        else:
            following = names[(at + 1) % len(names)]
            wanted[node.uuid] = (following,) if following != node.name else ()
    return wanted | {config.cluster.master_node: tuple(names)}


async def ask(env: Env, config: Config, members: Sequence[Node], *, foreign: bool) -> Replies:
    """Each of these nodes and the master; empty where the cluster does not look after SSH keys."""
    if not config.cluster.modify_ssh_setup:
        return {}
    wanted = {each.key for each in ssh.admin_keys(config)}
    nodes = [node.uuid for node in members]
    for attempt in range(_TRIES):
        replies = await env.rpc.many(nodes, SshLook())
        if attempt == _TRIES - 1 or all(
            set(reply.authorized) == wanted for reply in replies.values() if isinstance(reply, SshReply)
        ):
            break
        await env.sleep(_PAUSE_S)
    looks = {uuid: SshLook(reach=reach, foreign=foreign) for uuid, reach in targets(config, members).items()}
    found = await asyncio.gather(*(env.rpc.many([uuid], look) for uuid, look in looks.items()))
    return {uuid: answer for each in found for uuid, answer in each.items()}


def check(config: Config, members: Sequence[Node], replies: Replies, found: Findings) -> None:
    """Of online nodes; one that does not answer is told of elsewhere. Pure."""
    if not config.cluster.modify_ssh_setup:
        return
    keys = {each.key: each.node for each in ssh.admin_keys(config)}
    for node in members:
        text = f"it was away when SSH keys were made or renewed, its own is not known; {_REPAIR}"
        found.check(bool(node.ssh_key), "ENODESSH", node.name, text)
        text = f"the host keys of its SSH server are not known; {_REPAIR}"
        found.check(bool(node.ssh_host_keys), "ENODESSH", node.name, text)
        reply = replies.get(node.uuid)
        if isinstance(reply, SshReply):
            _node(node, reply, keys, found)
        elif reply is not None and reply.kind in ("failed", "timeout"):  # else all its other answers lack too
            found.check(False, "ENODESSH", node.name, f"its SSH files cannot be looked at: {reply.message}")
    for uuid, reply in replies.items():
        source = config.nodes[uuid].name
        if isinstance(reply, SshReply):
            for target, why in sorted(reply.unreachable.items()):
                found.check(False, "ENODESSH", target, f"root of {source} cannot log in there: {why}")


def _node(node: Node, reply: SshReply, keys: Mapping[str, str], found: Findings) -> None:
    name = node.name
    for problem in reply.problems:
        found.check(False, "ENODESSH", name, problem)
    is_own = not node.ssh_key or reply.public_key in (node.ssh_key, node.ssh_renewing_key)
    found.check(is_own, "ENODESSH", name, f"its SSH key is not the one that is known; {_REPAIR}")
    changed = not reply.host_keys or set(reply.host_keys) == set(node.ssh_host_keys)
    found.check(
        changed, "ENODESSH", name, f"the host keys of its SSH server have changed; if that was meant, {_REPAIR}"
    )
    missing = ", ".join(sorted({keys[key] for key in keys.keys() - set(reply.authorized)}))
    found.check(not missing, "ENODESSH", name, f"root's authorized_keys lacks the keys of {missing}; {_REPAIR}")
    extra = len(set(reply.authorized) - keys.keys())
    text = f"root's authorized_keys has {extra} keys of nodes that may not log in; {_REPAIR}"
    found.check(not extra, "ENODESSH", name, text)
    text = f"root's authorized_keys has keys that are not the cluster's: {', '.join(reply.foreign)}"
    found.check(not reply.foreign, "ENODESSH", name, text, is_warning=True)
