"""OP_INSTANCE_QUERY_DATA."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.devices import InstanceRunning
from ganeti.calls.instance import GuestSpec, InstanceList
from ganeti.calls.volume import VolumeInfo, VolumeReply
from ganeti.logic import guests, owing, plugging
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.disks import is_mirror
from ganeti.model.locks import LockPlan, shared
from ganeti.model.objects import Disk, Instance
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.hidden import REDACTED
from ganeti.ops.instance import OpInstanceQueryData


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What the nodes said; a missing entry means that the node gave no answer."""

    running: frozenset[tuple[Uuid, str]] = frozenset()  # (node, instance uuid)
    answered: frozenset[Uuid] = frozenset()
    volumes: dict[tuple[Uuid, Uuid], VolumeReply] = {}  # (node, disk)
    specs: dict[Uuid, GuestSpec] = {}  # what instances run as


class QueryFacts(msgspec.Struct, frozen=True, kw_only=True):
    result: dict[str, Any]  # Any: JSON


@implements(OpInstanceQueryData)
class InstanceQueryData(LogicalUnit[OpInstanceQueryData, QueryFacts]):
    def locks(self, config: Config) -> LockPlan:
        if not self.op.use_locking:
            return LockPlan.of()
        instances = self._wanted(config)
        nodes = {node for instance in instances for node in instance.nodes}
        return LockPlan.of(instances=shared(*(each.uuid for each in instances)), nodes=shared(*sorted(nodes)))

    def _wanted(self, config: Config) -> Sequence[Instance]:
        if self.op.instances:
            return [config.instance(name) for name in self.op.instances]
        return sorted(config.instances.values(), key=lambda each: nice_key(each.name))

    async def check(self, env: Env) -> QueryFacts:
        config = env.config
        instances = self._wanted(config)
        live = Live() if self.op.static else await _ask(env, config, instances)
        return QueryFacts(
            result={
                each.name: {
                    **details(config, each, None if self.op.static else live),
                    "old_volumes": [
                        f"{owing.where(config, undo)}: {owing.waits_for(config, undo)}"
                        for undo in env.debts
                        if undo.until_good == each.uuid
                    ],
                }
                for each in instances
            }
        )

    def result(self, facts: QueryFacts) -> dict[str, Any]:
        return facts.result


async def _ask(env: Env, config: Config, instances: Sequence[Instance]) -> Live:
    primaries: dict[Uuid, set[str]] = {}
    for instance in instances:
        primaries.setdefault(instance.primary_node, set()).add(instance.hypervisor)
    running: set[tuple[Uuid, str]] = set()
    answered: set[Uuid] = set()

    async def guests_of(node: Uuid, hypervisors: set[str]) -> None:
        try:
            reply = await env.rpc.one(node, InstanceList(hypervisors=tuple(sorted(hypervisors))))
        except errors.RpcError:
            return
        answered.add(node)
        running.update((node, found.uuid) for found in reply.guests)

    volumes: dict[tuple[Uuid, Uuid], VolumeReply] = {}

    async def volume(node: Uuid, disk: Disk, owner: Uuid) -> None:
        try:
            volumes[node, disk.uuid] = await env.rpc.one(node, VolumeInfo(disk=disk, owner=owner))
        except errors.RpcError:
            return

    specs: dict[Uuid, GuestSpec] = {}

    async def spec_of(instance: Instance) -> None:
        call = InstanceRunning(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
        try:
            found = await env.rpc.one(instance.primary_node, call)
        except errors.RpcError:
            return
        if found is not None:
            specs[instance.uuid] = found.spec

    await asyncio.gather(*(guests_of(node, hypervisors) for node, hypervisors in primaries.items()))
    asked = [spec_of(each) for each in instances if (each.primary_node, each.uuid) in running]
    asked += [
        volume(node, disk, instance.uuid)
        for instance in instances
        for node in instance.nodes
        for disk in instance.disks
        if node in answered or node != instance.primary_node
    ]
    # in portions, so that a cluster of thousands does not open thousands of calls at once
    for start in range(0, len(asked), 64):
        await asyncio.gather(*asked[start : start + 64])
    return Live(running=frozenset(running), answered=frozenset(answered), volumes=volumes, specs=specs)


def run_state(instance: Instance, live: Live | None) -> str | None:
    if live is None or instance.primary_node not in live.answered:
        return None
    return "up" if (instance.primary_node, instance.uuid) in live.running else "down"


def details(config: Config, instance: Instance, live: Live | None) -> dict[str, Any]:  # Any: JSON
    """One instance; `live` None: from the configuration alone."""
    primary = config.nodes[instance.primary_node]
    secondaries = [config.nodes[node] for node in instance.secondary_nodes]
    return {
        "name": instance.name,
        "uuid": instance.uuid,
        "serial_no": instance.serial_no,
        "ctime": instance.ctime,
        "mtime": instance.mtime,
        "config_state": instance.admin_state.value,
        "run_state": run_state(instance, live),
        "blocked": instance.blocked,
        "pnode": primary.name,
        "pnode_uuid": primary.uuid,
        "pnode_group_uuid": primary.group,
        "pnode_group_name": config.groups[primary.group].name,
        "snodes": [node.name for node in secondaries],
        "snodes_group_uuids": [node.group for node in secondaries],
        "snodes_group_names": [config.groups[node.group].name for node in secondaries],
        "os": instance.os,
        "os_instance": instance.osparams,
        "os_actual": params.filled_os(config, instance.os, instance.osparams),
        "os_private": dict.fromkeys(params.filled_private_os(config, instance.os, instance.osparams_private), REDACTED),
        "disk_template": instance.disk_template,
        "nics": [_nic(config, instance, index) for index in range(len(instance.nics))],
        "disks": [_disk(instance, disk, index, live) for index, disk in enumerate(instance.disks)],
        "hypervisor": instance.hypervisor,
        "network_port": instance.network_port,
        "hv_instance": instance.hvparams,
        "hv_actual": guests.hvparams(config, instance),
        "be_instance": instance.beparams,
        "be_actual": guests.beparams(config, instance),
        "tags": sorted(instance.tags),
        "pending": [] if live is None else _pending(config, instance, live),
    }


def _pending(config: Config, instance: Instance, live: Live) -> list[str]:
    spec = live.specs.get(instance.uuid)
    return [] if spec is None else list(plugging.pending(config, instance, spec))


def _nic(config: Config, instance: Instance, index: int) -> list[Any]:
    """(name, uuid, ip, mac, mode, link, vlan, network, netinfo), as clients know it."""
    nic = instance.nics[index]
    filled = guests.nic_params(config, instance, nic)
    network = config.networks.get(nic.network) if nic.network else None
    head = [nic.name or None, nic.uuid, nic.ip, nic.mac]
    return [*head, filled["mode"], filled["link"], filled["vlan"], network.name if network else None, None]


def _shown_id(disk: Disk) -> list[str | int | None]:
    """Without the secret by which the halves of a mirror know each other."""
    return [*disk.logical_id[:5], None] if is_mirror(disk) else list(disk.logical_id)


def _disk(instance: Instance, disk: Disk, index: int, live: Live | None) -> dict[str, Any]:
    def status(node: Uuid) -> list[Any] | None:
        """[path, major, minor, sync percent, estimate, degraded, state of the local disk]."""
        reply = live.volumes.get((node, disk.uuid)) if live is not None else None
        return [reply.path, None, None, None, None, False, 1] if reply is not None and reply.exists else None

    return {
        "iv_name": f"disk/{index}",
        "dev_type": disk.template.value,
        "logical_id": _shown_id(disk),
        "drbd_info": None,
        "pstatus": status(instance.primary_node),
        "sstatus": next((found for found in map(status, instance.secondary_nodes) if found is not None), None),
        "children": [_disk(instance, child, index, live) for child in disk.children],
        "mode": disk.mode.value,
        "size": disk.size,
        "spindles": None,
        "name": disk.name or None,
        "uuid": disk.uuid,
    }
