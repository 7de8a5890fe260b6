"""Guests that may still run on a node that was away when their instances were started elsewhere.

Nobody can stop them there and then. What can be done is written down in the same batch that makes another node the
primary: a debt of the node, paid before it gets any other changing call.
"""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.base import decode as decode_call
from ganeti.calls.instance import InstanceStop
from ganeti.logic import owing
from ganeti.logic.base import Env
from ganeti.model.jobs import Undo
from ganeti.model.objects import Instance, Node
from ganeti.model.types import Uuid
from ganeti.wire import codec


def debt(env: Env, instance: Instance, node: Node) -> Undo:
    """End, by force, whatever runs there as the instance when the node is back."""
    stop = InstanceStop(
        name=instance.name,
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        timeout=0,
        disks=instance.disks,
        request=env.new_request(),
    )
    return owing.owed(env, node.uuid, stop, f"end what may still run of {instance.name} on {node.name}")


async def check_settled(env: Env, instance: Instance, node: Uuid) -> None:
    """Before the instance may run on the node: what it left there earlier is gone, and will not be ended later instead.

    Raises ExecError, RpcError.
    """
    left = [undo for undo in await env.settle(node) if _is_about(undo, instance)]
    if left:
        name = env.config.nodes[node].name
        raise errors.ExecError(
            f"node {name} has still to {left[0].title} and could not",
            hint="its node daemon's log says why; nothing was changed",
        )


def _is_about(undo: Undo, instance: Instance) -> bool:
    try:
        call = decode_call(undo.call)
    except codec.CodecError:
        return True  # of another version: it may be
    return isinstance(call, InstanceStop) and call.uuid == instance.uuid
