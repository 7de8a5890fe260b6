"""Handlers of calls about the devices and the memory of running guests."""

from __future__ import annotations

from collections.abc import Iterable

from ganeti import errors
from ganeti.calls.devices import InstanceDevices, InstanceMemory, InstanceRunning, Running
from ganeti.model.objects import Disk, Instance
from ganeti.node import volumes
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.node.guests import hypervisor


@handles(InstanceRunning)
def running(call: InstanceRunning, env: NodeEnv, context: Context) -> Running | None:
    return hypervisor(call.hypervisor, env).running(call.name, call.uuid)


@handles(InstanceDevices)
def set_devices(call: InstanceDevices, env: NodeEnv, context: Context) -> None:
    instance = call.spec.instance
    chosen = hypervisor(instance.hypervisor, env)
    before = chosen.running(instance.name, instance.uuid)
    if before is None:
        return
    every = (*before.spec.instance.disks, *instance.disks)
    try:
        disk_paths = tuple(volumes.storage_of(disk, env).open(disk, instance.uuid).path for disk in instance.disks)
        chosen.set_devices(call.spec, disk_paths)
    except errors.GanetiError:
        _close_unused(every, instance, env)
        raise
    _close_unused(every, instance, env)


def _close_unused(disks: Iterable[Disk], instance: Instance, env: NodeEnv) -> None:
    """Close the volumes that the guest does not have, or not any more. Those that it has stay open whatever happens."""
    after = hypervisor(instance.hypervisor, env).running(instance.name, instance.uuid)
    if after is None:
        return  # it has ended meanwhile: its stop closes what it had
    used = {disk.uuid for disk in after.spec.instance.disks}
    unused = {disk.uuid: disk for disk in disks if disk.uuid not in used}
    volumes.close_all(tuple(unused.values()), instance.uuid, env)


@handles(InstanceMemory)
def set_memory(call: InstanceMemory, env: NodeEnv, context: Context) -> None:
    hypervisor(call.hypervisor, env).set_memory(call.name, call.uuid, call.memory)
