"""Collects from the nodes what a query needs beyond the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.export import ExportList
from ganeti.calls.instance import GuestSpec, GuestState, InstanceConsole, InstanceList
from ganeti.calls.node import NodeInfo, NodeInfoReply
from ganeti.calls.os import OsDiagnose
from ganeti.calls.port import Rpc
from ganeti.calls.provider import ProviderDefinition, ProviderDiagnose
from ganeti.logic import os_diagnose
from ganeti.master.filler import Filler
from ganeti.model.config import Config
from ganeti.model.objects import DiskTemplate, Instance, Node
from ganeti.model.types import Uuid, nice_key
from ganeti.query.view import NODATA, OFFLINE, Absent, ExportRow, GuestFacts, Live, NodeFacts, ProviderRow

#: a list waits no longer for a node, in seconds
LIMIT_S = 20.0
#: nor for one that gave no answer in the last so many seconds than so many
_GRUDGE_S = 120.0
_SHORT_S = 5.0

R = TypeVar("R")


class Asker:
    """Asks nodes for lists: a node that hangs is given up sooner than in operations, for somebody waits at a screen.

    A node that was silent is waited for only shortly until it has answered again, or some time has passed.
    """

    def __init__(self, rpc: Rpc, monotonic: Callable[[], float], *, limit_s: float = LIMIT_S) -> None:
        self._rpc = rpc
        self._monotonic = monotonic
        self._limit_s = limit_s
        self._silent: dict[Uuid, float] = {}  # since when

    async def __call__(self, nodes: Iterable[Uuid], call: Call[R]) -> dict[Uuid, R | errors.RpcError]:
        """As `Rpc.many`."""

        async def one(node: Uuid) -> R | errors.RpcError:
            limit_s = self.patience(node)
            try:
                async with asyncio.timeout(limit_s):
                    answer = await self._rpc.one(node, call)
            except TimeoutError:
                self._silent[node] = self._monotonic()
                return errors.RpcError(node, "timeout", f"no answer to {call.call_name} within {limit_s:g} s")
            except errors.RpcError as err:
                if err.kind in ("timeout", "unreachable"):
                    self._silent[node] = self._monotonic()
                return err
            self._silent.pop(node, None)
            return answer

        wanted = list(dict.fromkeys(nodes))
        return dict(zip(wanted, await asyncio.gather(*(one(node) for node in wanted)), strict=True))

    def patience(self, node: Uuid) -> float:
        """Longest wait for it now, in seconds."""
        since = self._silent.get(node)
        if since is None or self._monotonic() - since > _GRUDGE_S:
            return self._limit_s
        return min(_SHORT_S, self._limit_s)


def absent(err: errors.RpcError) -> Absent:
    return OFFLINE if err.kind == "offline" else NODATA


async def guests(ask: Asker, config: Config, instances: Iterable[Instance]) -> Live:
    """Which of these run, asked of their nodes only."""
    wanted: dict[Uuid, Instance] = {}
    nodes: set[Uuid] = set()
    hypervisors: set[str] = set()
    for inst in instances:
        wanted[inst.uuid] = inst
        nodes.update(node for node in inst.nodes if node in config.nodes)
        hypervisors.add(inst.hypervisor)
    replies = await ask(sorted(nodes), InstanceList(hypervisors=tuple(sorted(hypervisors))))
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
                facts = GuestFacts(
                    node=node,
                    memory=guest.memory,
                    vcpus=guest.vcpus,
                    is_running=is_running,
                    has_switched_off=guest.has_switched_off,
                )
                found.setdefault(Uuid(guest.uuid), []).append(facts)
    return Live(guests=found, silent=silent)


async def consoles(
    ask: Asker, config: Config, filler: Filler, instances: Iterable[Instance], live: Live
) -> Mapping[Uuid, dict[str, Any] | Absent]:
    """How to reach the consoles of those that run."""
    running = [inst for inst in instances if any(guest.is_running for guest in live.guests.get(inst.uuid, ()))]
    answers = await asyncio.gather(*(_console(ask, config, filler, inst) for inst in running))
    return {inst.uuid: answer for inst, answer in zip(running, answers, strict=True)}


async def _console(ask: Asker, config: Config, filler: Filler, inst: Instance) -> dict[str, Any] | Absent:
    spec = GuestSpec(
        instance=msgspec.structs.replace(inst, osparams_private={}),
        hvparams=filler.complete_hv(inst),
        beparams=filler.be(inst),
        nicparams=tuple(filler.nic(inst, nic) for nic in inst.nics),
        osparams=filler.os(inst),
        primary_name=config.nodes[inst.primary_node].name,
        secondary_names=tuple(config.nodes[uuid].name for uuid in inst.secondary_nodes),
    )
    console = (await ask([inst.primary_node], InstanceConsole(spec=spec)))[inst.primary_node]
    return absent(console) if isinstance(console, errors.RpcError) else console.told(inst.name)


def storage_template(config: Config) -> DiskTemplate | None:
    """The kind of disk whose space a node list shows: the first enabled one that takes space on nodes."""
    spaceless = (DiskTemplate.DISKLESS, DiskTemplate.BLOCKDEV)
    return next((found for found in config.cluster.enabled_disk_templates if found not in spaceless), None)


async def nodes(ask: Asker, config: Config, wanted: Sequence[Node]) -> Live:
    """Memory, processors and space of these nodes."""
    hypervisor = config.cluster.enabled_hypervisors[0]
    template = storage_template(config)
    call = NodeInfo(hypervisors=(hypervisor,), templates=(template.value,) if template else ())
    replies = await ask([node.uuid for node in wanted if node.vm_capable and not node.offline], call)
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


async def oses(ask: Asker, config: Config) -> Live:
    """OS definitions, as far as nodes that can hold instances told of them."""
    answers = await ask(_hosts(config), OsDiagnose())
    told = {node: found for node, found in answers.items() if not isinstance(found, errors.RpcError)}
    return Live(oses=os_diagnose.summarise(config, told))


async def providers(ask: Asker, config: Config) -> Live:
    """Providers of external storage, as far as nodes that can hold instances told of them."""
    answers = await ask(_hosts(config), ProviderDiagnose())
    told: dict[Uuid, dict[str, ProviderDefinition]] = {
        node: {definition.name: definition for definition in found}
        for node, found in answers.items()
        if not isinstance(found, errors.RpcError)
    }
    names = sorted({name for found in told.values() for name in found}, key=nice_key)
    return Live(providers=[_provider(config, name, told) for name in names])


def _hosts(config: Config) -> list[Uuid]:
    return [node.uuid for node in config.online_nodes if node.vm_capable]


def _provider(config: Config, name: str, told: Mapping[Uuid, Mapping[str, ProviderDefinition]]) -> ProviderRow:
    by_node = {node: found.get(name) for node, found in told.items()}
    groups: dict[str, bool] = {}
    for node, found in by_node.items():
        group = config.groups[config.nodes[node].group].name
        groups[group] = groups.get(group, True) and found is not None and found.valid
    usable = [found for found in by_node.values() if found is not None and found.valid]
    parameters = usable[0].parameters if usable else ()
    return ProviderRow(
        name=name,
        node_status={
            config.nodes[node].name: (
                [[found.path, found.valid, found.reason, [list(pair) for pair in found.parameters]]] if found else []
            )
            for node, found in by_node.items()
        },
        nodegroup_status=groups,
        parameters=[pair for pair in parameters if all(pair in found.parameters for found in usable)],
    )


async def exports(ask: Asker, wanted: Sequence[Node]) -> Live:
    """Exports on these nodes, a row for each, and one for each node that could not be asked."""
    answers = await ask([node.uuid for node in wanted], ExportList())
    rows: list[ExportRow] = []
    for node in wanted:
        found = answers[node.uuid]
        if isinstance(found, errors.RpcError):
            rows.append(ExportRow(node.name, absent(found)))
        else:
            rows += [ExportRow(node.name, name) for name in sorted(found, key=nice_key)]
    return Live(exports=rows)
