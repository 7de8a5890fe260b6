"""root's SSH keys of the nodes, as the configuration has them.

Who may log in where follows from the configuration and is sent with the ssconf files: what a node missed it gets when
it is back, and an older list never takes the place of a newer one. So nothing is undone here. Every node has a pair of
its own; a private key never leaves its node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.ssh import SshKeyBegin, SshKeySwitch, SshLook, SshReply
from ganeti.logic.base import Env
from ganeti.model import ssh
from ganeti.model.config import Config
from ganeti.model.objects import Node, Put
from ganeti.model.types import Uuid

R = TypeVar("R")
#: how long the nodes may take until they let the new keys in
_TRIES, _PAUSE_S = 60, 0.5
#: of one node: one of each type is usual
MAX_HOST_KEYS = 10
#: how long a login may take that was begun with the old key
LOGINS_S = 5.0
AGAIN = "gnt-cluster redist-conf tries again"
_STAYS = (
    "nothing is lost: old and new keys are both good; remedy that, or mark these nodes offline, and run the command "
    "again"
)


async def learn(env: Env, nodes: Sequence[Uuid], *, anew: bool = False) -> None:
    """Have the keys of these nodes in the configuration; a node of which none is known makes a new pair.

    What it may have is from before a renewal that it missed, and is let in nowhere. `anew`: each of them makes one.
    One that does not answer is warned of. The nodes are locked exclusively.
    """
    if not env.config.cluster.modify_ssh_setup:
        return
    found: dict[Uuid, SshReply] = {}

    async def ask(uuid: Uuid) -> None:
        try:
            found[uuid] = await _pair(env, uuid, anew=anew or not env.config.nodes[uuid].ssh_key)
        except errors.RpcError as err:
            env.warn(f"SSH keys of node {env.config.nodes[uuid].name} are not known: {err}", hint=AGAIN)

    await asyncio.gather(*(ask(uuid) for uuid in nodes))
    changed = learnt(env.config, found)
    if changed:
        names = ", ".join(node.name for node in changed)
        await env.commit(*(Put(node) for node in changed), title=f"take over SSH keys of {names}")


async def _pair(env: Env, uuid: Uuid, *, anew: bool) -> SshReply:
    """What the node has in the end."""
    reply = await env.rpc.one(uuid, SshLook())
    if not reply.public_key or anew:
        kind, bits = ssh.settings(env.config.cluster)
        public = await env.rpc.one(uuid, SshKeyBegin(request=env.new_request(), kind=kind, bits=bits))
        for _ in range(2):  # the second time the old pair goes
            await env.rpc.one(uuid, SshKeySwitch(request=env.new_request(), public_key=public))
        reply = msgspec.structs.replace(reply, public_key=public)
    return reply


def sound(untrusted: Iterable[str]) -> tuple[str, ...]:
    """Those that are public keys and nothing else. Pure."""
    found = []
    for text in untrusted:
        try:
            found.append(ssh.parse_public(text))
        except ValueError:
            continue
    return tuple(found)


def learnt(config: Config, replies: Mapping[Uuid, SshReply]) -> tuple[Node, ...]:
    """Nodes as they really are, where the configuration has something else of them. Pure.

    What is no public key is not believed: it would be sent to all the other nodes.
    """
    found = []
    for uuid, reply in replies.items():
        old = config.nodes[uuid]
        own, hosts = sound([reply.public_key]), sound(reply.host_keys)[:MAX_HOST_KEYS]
        new = msgspec.structs.replace(
            old, ssh_key="".join(own), ssh_renewing_key="", ssh_host_keys=hosts or old.ssh_host_keys
        )
        if new != old:
            found.append(new)
    return tuple(found)


async def look(env: Env) -> dict[Uuid, SshReply]:
    """At all online nodes. Raises PrereqError when one does not answer."""
    replies = await env.rpc.many([node.uuid for node in env.config.online_nodes], SshLook())
    silent = [str(reply) for reply in replies.values() if isinstance(reply, errors.RpcError)]
    if silent:
        raise errors.PrereqError(
            "environment_error",
            "not all nodes answer: " + "; ".join(silent),
            hint="bring them back, or mark them offline",
        )
    return {node: reply for node, reply in replies.items() if isinstance(reply, SshReply)}


async def renew(env: Env, kind: str, bits: int) -> None:
    """New pairs on all online nodes, of that kind and length from now on.

    A new key is let in everywhere before its node uses it, an old one until no node uses it: whatever interrupts this,
    every node that may log in can. Raises ExecError; then it can be repeated.
    """
    config = env.config
    replies = await look(env)
    # a key that is let in nowhere does not come to be so by its renewal
    for uuid, reply in replies.items():
        if not config.nodes[uuid].ssh_key:
            replies[uuid] = msgspec.structs.replace(reply, public_key="")
    changes = [Put(node) for node in learnt(config, replies)]
    if ssh.settings(config.cluster) != (kind, bits):
        cluster = msgspec.structs.replace(config.cluster, ssh_key_type=kind, ssh_key_bits=bits)
        await env.commit(Put(cluster), *changes, title="take over the SSH keys in use, and the kind of new ones")
    elif changes:
        await env.commit(*changes, title="take over the SSH keys in use")
    online = [node.uuid for node in env.config.online_nodes]
    env.report(f"making new SSH keys on {len(online)} nodes")
    new = await _everywhere(
        env, {uuid: SshKeyBegin(request=env.new_request(), kind=kind, bits=bits) for uuid in online}
    )
    wrong = ", ".join(env.config.nodes[uuid].name for uuid, key in new.items() if sound([key]) != (key,))
    if wrong:
        raise errors.ExecError(f"the new SSH keys of these nodes are none: {wrong}", hint=_STAYS)
    beside = [_changed(env.config, uuid, ssh_renewing_key=key) for uuid, key in new.items()]
    await env.commit(*beside, title="let the new SSH keys in beside the old ones")
    await _wait_until_let_in(env, online)
    env.report("switching to the new SSH keys")
    await _switch(env, new)
    await env.sleep(LOGINS_S)
    away = [node for node in env.config.nodes.values() if node.offline]
    after = [_changed(env.config, uuid, ssh_key=key, ssh_renewing_key="") for uuid, key in new.items()]
    forgotten = [_changed(env.config, node.uuid, ssh_key="", ssh_renewing_key="") for node in away]
    await env.commit(*after, *forgotten, title="let the old SSH keys in no more")
    await _switch(env, new)  # once more: the old ones are not needed now
    for node in away:
        env.warn(
            f"node {node.name} is offline: its old SSH key is let in nowhere any more",
            hint=f"it makes a new one when it is back: gnt-node modify --offline=no {node.name}",
        )


async def _switch(env: Env, new: Mapping[Uuid, str]) -> None:
    calls = {uuid: SshKeySwitch(request=env.new_request(), public_key=key) for uuid, key in new.items()}
    await _everywhere(env, calls)


def _changed(config: Config, uuid: Uuid, **keys: str) -> Put:
    return Put(msgspec.structs.replace(config.nodes[uuid], **keys))


async def _everywhere(env: Env, calls: Mapping[Uuid, Call[R]]) -> dict[Uuid, R]:
    """What each node replies. Raises ExecError when one fails."""

    async def made(uuid: Uuid, call: Call[R]) -> R | errors.RpcError:
        try:
            return await env.rpc.one(uuid, call)
        except errors.RpcError as err:
            return err

    replies = await asyncio.gather(*(made(uuid, call) for uuid, call in calls.items()))
    failed = [str(reply) for reply in replies if isinstance(reply, errors.RpcError)]
    if failed:
        raise errors.ExecError("; ".join(failed), hint=_STAYS)
    found = zip(calls, replies, strict=True)
    return {uuid: reply for uuid, reply in found if not isinstance(reply, errors.RpcError)}


async def _wait_until_let_in(env: Env, nodes: Sequence[Uuid]) -> None:
    """Until the lists that are sent with the ssconf files have arrived."""
    wanted = {each.key for each in ssh.admin_keys(env.config)}
    for attempt in range(_TRIES):
        if attempt:
            await env.sleep(_PAUSE_S)
        replies = await env.rpc.many(nodes, SshLook())
        behind = [
            env.config.nodes[uuid].name
            for uuid, reply in replies.items()
            if not isinstance(reply, SshReply) or not wanted <= set(reply.authorized)
        ]
        if not behind:
            return
    raise errors.ExecError(f"nodes do not let the new SSH keys in yet: {', '.join(behind)}", hint=_STAYS)
