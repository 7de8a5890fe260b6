"""Collects from the nodes what a query needs beyond the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganeti import errors
from ganeti.calls.instance import GuestSpec, GuestState, InstanceConsole, InstanceList
from ganeti.calls.node import NodeInfo, NodeInfoReply
from ganeti.calls.port import Rpc
from ganeti.master.filler import Filler
from ganeti.model.config import Config
from ganeti.model.objects import DiskTemplate, Instance, Node
from ganeti.model.types import Uuid
from ganeti.query.view import NODATA, OFFLINE, Absent, GuestFacts, Live, NodeFacts


def absent(err: errors.RpcError) -> Absent:
    return OFFLINE if err.kind == "offline" else NODATA


async def guests(rpc: Rpc, config: Config, instances: Iterable[Instance]) -> Live:
    """Which of these run, asked of their nodes only."""
    wanted: dict[Uuid, Instance] = {}
    nodes: set[Uuid] = set()
    hypervisors: set[str] = set()
    for inst in instances:
        wanted[inst.uuid] = inst
        nodes.update(node for node in inst.nodes if node in config.nodes)
        hypervisors.add(inst.hypervisor)
    replies = await rpc.many(sorted(nodes), InstanceList(hypervisors=tuple(sorted(hypervisors))))
    found: dict[Uuid, list[GuestFacts]] = {}
    silent: dict[tuple[Uuid, str], Absent] = {}
    for node, reply in replies.items():
        if isinstance(reply, errors.RpcError):
            silent.update({(node, hypervisor): absent(reply) for hypervisor in hypervisors})
            continue
        silent.update({(node, hypervisor): NODATA for hypervisor in reply.errors})
        for guest in reply.guests:
            if guest.uuid in wanted:
                is_running = guest.state is not GuestState.SHUTDOWN
                facts = GuestFacts(node=node, memory=guest.memory, vcpus=guest.vcpus, is_running=is_running)
                found.setdefault(Uuid(guest.uuid), []).append(facts)
    return Live(guests=found, silent=silent)


async def consoles(
    rpc: Rpc, config: Config, filler: Filler, instances: Iterable[Instance], live: Live
) -> Mapping[Uuid, dict[str, Any] | Absent]:
    """How to reach the consoles of those that run."""
    running = [inst for inst in instances if any(guest.is_running for guest in live.guests.get(inst.uuid, ()))]
    answers = await asyncio.gather(*(_console(rpc, config, filler, inst) for inst in running))
    return {inst.uuid: answer for inst, answer in zip(running, answers, strict=True)}


async def _console(rpc: Rpc, config: Config, filler: Filler, inst: Instance) -> dict[str, Any] | Absent:
    spec = GuestSpec(
        instance=inst,
        hvparams=filler.complete_hv(inst),
        beparams=filler.be(inst),
        nicparams=tuple(filler.nic(nic) for nic in inst.nics),
        osparams=filler.os(inst),
        primary_name=config.nodes[inst.primary_node].name,
        secondary_names=tuple(config.nodes[uuid].name for uuid in inst.secondary_nodes),
    )
    try:
        console = await rpc.one(inst.primary_node, InstanceConsole(spec=spec))
    except errors.RpcError as err:
        return absent(err)
    return console.told(inst.name)


def storage_template(config: Config) -> DiskTemplate | None:
    """The kind of disk whose space a node list shows: the first enabled one that takes space on nodes."""
    spaceless = (DiskTemplate.DISKLESS, DiskTemplate.BLOCKDEV)
    return next((found for found in config.cluster.enabled_disk_templates if found not in spaceless), None)


async def nodes(rpc: Rpc, config: Config, wanted: Sequence[Node]) -> Live:
    """Memory, processors and space of these nodes."""
    hypervisor = config.cluster.enabled_hypervisors[0]
    template = storage_template(config)
    call = NodeInfo(hypervisors=(hypervisor,), templates=(template.value,) if template else ())
    replies = await rpc.many([node.uuid for node in wanted if node.vm_capable and not node.offline], call)
    found: dict[Uuid, NodeFacts | Absent] = {}
    for uuid, reply in replies.items():
        if isinstance(reply, errors.RpcError):
            found[uuid] = absent(reply)
        else:
            found[uuid] = _facts(reply, hypervisor, template.value if template else "")
    return Live(nodes=found)


def _facts(reply: NodeInfoReply, hypervisor: str, template: str) -> NodeFacts:
    machine = reply.hypervisors.get(hypervisor)
    space = reply.storage.get(template)
    return NodeFacts(
        bootid=reply.boot_id,
        memory_total=machine.memory_total if machine else None,
        memory_free=machine.memory_free if machine else None,
        memory_dom0=machine.memory_dom0 if machine else None,
        cpu_total=machine.cpu_total if machine else None,
        cpu_nodes=machine.cpu_nodes if machine else None,
        cpu_sockets=machine.cpu_sockets if machine else None,
        cpu_dom0=machine.cpu_dom0 if machine else None,
        storage_total=space.total if space else None,
        storage_free=space.free if space else None,
    )
