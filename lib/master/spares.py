"""Old volumes that may be the only good copy of an instance's disks, and when they are not any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.mirror import MirrorState
from ganeti.calls.port import Rpc
from ganeti.calls.volume import VolumeRemove
from ganeti.model.config import Config
from ganeti.model.disks import names
from ganeti.model.types import Uuid


def is_in_use(call: Call[Any], node: Uuid, config: Config) -> bool:  # Any: the reply does not matter
    """Whether it would remove from the node what an instance has there, by the configuration, or a detached disk."""
    if not isinstance(call, VolumeRemove):
        return False
    instance = config.instances.get(call.owner)
    used = list(instance.disks) if instance is not None and node in instance.nodes else []
    used += [each.disk for each in config.disks.values() if node in each.nodes]
    return bool(names([call.disk]) & names(used))


async def is_complete(uuid: Uuid, config: Callable[[], Config], rpc: Rpc) -> bool:
    """Whether all disks of the instance are complete on its primary node: then older volumes are worth nothing.

    Needs no lock: what was complete once was so after the old volumes had been given up.
    """
    instance = config().instances.get(uuid)
    if instance is None:
        return True
    try:
        found = await rpc.one(instance.primary_node, MirrorState(disks=instance.disks, owner=uuid))
    except errors.RpcError:
        return False
    now = config().instances.get(uuid)
    # changed while it was asked: the answer may be about other disks that have got the same minors
    is_same = now is not None and (now.primary_node, now.disks) == (instance.primary_node, instance.disks)
    return is_same and all(status.is_local_good for status in found)
