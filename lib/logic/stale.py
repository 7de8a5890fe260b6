"""What instances have left on nodes that they do not use any more: guests that may still run, old volumes.

A node that is away cannot be told. What is to be done is written down in the same batch that makes another node take
its place: a debt of the node, paid before it gets any other changing call. Old volumes of mirrors that may hold the
only good copy are kept longer: until the primary node has all of the data.
"""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.base import decode as decode_call
from ganeti.calls.instance import InstanceStop
from ganeti.calls.volume import VolumeRemove
from ganeti.logic import owing
from ganeti.logic.base import Env
from ganeti.model.disks import names
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
    """Before the instance may run on the node or have disks there: what it left there earlier is gone, and will not
    be ended or removed later instead.

    Raises ExecError, RpcError.
    """
    left = [undo for undo in await env.settle(node) if _is_about(undo, instance)]
    if not left:
        return
    name, text = env.config.nodes[node].name, owing.told(env.config, left[0])
    if left[0].until_good is not None:
        raise errors.ExecError(
            f"node {name} has still to {text}: until then they may be the only good copy",
            hint=f"gnt-instance activate-disks {instance.name} makes them active; nothing was changed",
        )
    raise errors.ExecError(
        f"node {name} has still to {text} and could not",
        hint="its node daemon's log says why; nothing was changed",
    )


def _is_about(undo: Undo, instance: Instance) -> bool:
    try:
        call = decode_call(undo.call)
    except codec.CodecError:
        return True  # of another version: it may be
    if isinstance(call, VolumeRemove):
        return call.owner == instance.uuid and bool(names([call.disk]) & names(instance.disks))
    return isinstance(call, InstanceStop) and call.uuid == instance.uuid


async def settled(env: Env, instance: Instance, node: Uuid) -> list[str]:
    """Have the node remove old volumes of the instance now; lines about those that stay for now."""
    try:
        left = await env.settle(node)
    except errors.RpcError as err:
        return [f"old volumes of {instance.name} are removed later: {err}"]
    return [
        f"not done yet, will be by itself: {owing.told(env.config, undo)}"
        for undo in left
        if undo.until_good == instance.uuid
    ]
