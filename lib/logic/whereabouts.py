"""Where a guest really runs, when the configuration may be wrong about it."""

from __future__ import annotations

import msgspec

from ganeti import errors
from ganeti.calls.instance import Guest, GuestState, InstanceInfo
from ganeti.logic.base import Env
from ganeti.model.objects import Instance, Node


async def guests(env: Env, instance: Instance) -> list[Node]:
    """The nodes on which it runs, of all that are online. PrereqError when one of them cannot be asked."""
    nodes = [node for node in env.config.online_nodes if node.vm_capable]
    call = InstanceInfo(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
    answers = await env.rpc.many([node.uuid for node in nodes], call)
    found = []
    for node in nodes:
        answer = answers[node.uuid]
        if isinstance(answer, errors.RpcError):
            raise errors.PrereqError(
                "environment_error",
                f"cannot find out whether {instance.name} runs on node {node.name}: {answer}",
                hint=f"if the node is dead, mark it offline: gnt-node modify --offline=yes {node.name}",
            )
        if isinstance(answer, Guest) and answer.state in (GuestState.RUNNING, GuestState.PAUSED):
            found.append(node)
    return found


async def corrected(env: Env, instance: Instance) -> Instance:
    """The instance with the node where it runs as its primary, and free. Raises PrereqError when it runs twice."""
    found = await guests(env, instance)
    if len(found) > 1:
        names = " and ".join(node.name for node in found)
        raise errors.PrereqError(
            "wrong_state",
            f"instance {instance.name} runs on {names} at the same time",
            hint="look at both, end the wrong one by hand, then repeat this",
        )
    node = found[0].uuid if found else instance.primary_node
    return msgspec.structs.replace(instance, primary_node=node, blocked="")
