"""The protocol of allocators that are programs: JSON that they are given, JSON that they answer. Pure.

Their answers are checked as any other word from outside; whether there is room is checked by who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from ganeti import errors
from ganeti.calls.iallocator import IallocatorReply
from ganeti.logic import capacity, guests
from ganeti.logic.allocation import (
    Allocate,
    AllocateSecondary,
    ChangeGroup,
    Evacuation,
    Failed,
    Moved,
    MultiAllocate,
    MultiPlaced,
    NamedPlace,
    NodeEvacuate,
    Placed,
    Relocate,
    Request,
)
from ganeti.logic.capacity import Picture, Room
from ganeti.model import params, policy
from ganeti.model.config import Config
from ganeti.model.objects import AdminState, DiskTemplate, Instance, Node
from ganeti.model.types import Uuid
from ganeti.ops import base as ops
from ganeti.ops.base import OpCode
from ganeti.wire import codec

A = TypeVar("A")
Json = dict[str, Any]  # Any: JSON

VERSION = 2
#: what an allocator may have done in its name
_ALLOWED = ("OP_INSTANCE_FAILOVER", "OP_INSTANCE_MIGRATE", "OP_INSTANCE_REPLACE_DISKS")
_SOFT_ERRORS = "--ignore-soft-errors"


# The question


def question(config: Config, picture: Picture, request: Request[Any]) -> str:
    """The whole input: the cluster as it is, and what is asked."""
    template = _template(config, request)
    return codec.encode(
        {
            "version": VERSION,
            "cluster_name": config.cluster.name,
            "cluster_tags": sorted(config.cluster.tags),
            "enabled_hypervisors": _hypervisors(config, request),
            "ipolicy": {**policy.builtin(), **config.cluster.ipolicy},
            "nodegroups": {
                group.uuid: {
                    "name": group.name,
                    "alloc_policy": group.alloc_policy.value,
                    "networks": sorted(group.networks),
                    "ipolicy": policy.filled(config, group.uuid),
                    "tags": sorted(group.tags),
                }
                for group in config.groups.values()
            },
            "nodes": {node.name: _node(config, picture, node, template, request) for node in config.nodes.values()},
            "instances": {each.name: _instance(config, each) for each in config.instances.values()},
            "request": asked(config, request),
        }
    ).decode()


def options(config_params: Mapping[str, Any], request: Request[Any]) -> tuple[str, ...]:
    """The command line: the cluster's default parameters, and what the request wants besides."""
    given = {key: value for key, value in config_params.items() if value is not False}
    found = [f"--{key}" if value is True or value in ("", None) else f"--{key}={value}" for key, value in given.items()]
    if isinstance(request, NodeEvacuate) and request.ignore_soft_errors and _SOFT_ERRORS not in found:
        found.append(_SOFT_ERRORS)
    return tuple(found)


def _hypervisors(config: Config, request: Request[Any]) -> list[str]:
    """The one that is asked about first: allocators judge nodes by it."""
    enabled = list(config.cluster.enabled_hypervisors)
    wanted = hypervisor(config, request)
    return [wanted, *(name for name in enabled if name != wanted)]


def hypervisor(config: Config, request: Request[Any]) -> str:
    """The one whose memory counts: that of the instance in question, or the cluster's default."""
    if isinstance(request, Allocate):
        return request.hypervisor
    if isinstance(request, MultiAllocate) and request.instances:
        return request.instances[0].hypervisor
    found = _concerned(config, request)
    return found[0].hypervisor if found else config.cluster.enabled_hypervisors[0]


def _template(config: Config, request: Request[Any]) -> DiskTemplate:
    """The one whose space counts."""
    if isinstance(request, Allocate):
        return request.template
    if isinstance(request, MultiAllocate) and request.instances:
        return request.instances[0].template
    if isinstance(request, AllocateSecondary):
        return DiskTemplate.DRBD
    disks = [disk for instance in _concerned(config, request) for disk in instance.disks]
    return disks[0].template if disks else DiskTemplate.DISKLESS


def _concerned(config: Config, request: Request[Any]) -> list[Instance]:
    if isinstance(request, Relocate | AllocateSecondary):
        return [config.instances[request.instance]]
    if isinstance(request, NodeEvacuate | ChangeGroup):
        return [config.instances[uuid] for uuid in request.instances]
    return []


def _node(config: Config, picture: Picture, node: Node, template: DiskTemplate, request: Request[Any]) -> Json:
    static = {
        "tags": sorted(node.tags),
        "primary_ip": node.primary_ip,
        "secondary_ip": node.secondary_ip,
        # one that does not answer is as good as offline: allocators stop at missing figures
        "offline": node.offline or (node.vm_capable and node.uuid not in picture.rooms),
        "drained": node.drained,
        "master_candidate": node.master_candidate,
        "group": node.group,
        "master_capable": node.master_capable,
        "vm_capable": node.vm_capable,
        "ndparams": params.filled_nd(config, node),
    }
    room = picture.rooms.get(node.uuid)
    return static if room is None else {**static, **_live(config, room, template, hypervisor(config, request))}


def _live(config: Config, room: Room, template: DiskTemplate, of: str) -> Json:
    machine = room.told.hypervisors[of]
    space = room.told.storage.get(template.value)
    held = [config.instances[uuid] for uuid in config.primaries.get(room.node.uuid, ())]
    memory = {instance.uuid: guests.beparams(config, instance)["maxmem"] for instance in held}
    running = [instance for instance in held if instance.admin_state is AdminState.UP]
    return {
        "total_memory": machine.memory_total,
        "reserved_memory": machine.memory_dom0,
        "free_memory": max(0, room.memory_free[of]),
        "total_disk": space.total if space else 0,
        "free_disk": max(0, room.disk_free[template.value]) if space else 0,
        "total_spindles": 0,
        "free_spindles": 0,
        "total_cpus": machine.cpu_total,
        "reserved_cpus": machine.cpu_dom0,
        "i_pri_memory": sum(memory.values()),
        "i_pri_up_memory": sum(memory[instance.uuid] for instance in running),
    }


def _instance(config: Config, instance: Instance) -> Json:
    be = guests.beparams(config, instance)
    nics = []
    for nic in instance.nics:
        filled = params.filled_nic(config, nic.params)
        shown = {"mac": nic.mac, "ip": nic.ip, "mode": filled["mode"], "link": filled["link"]}
        if filled["mode"] == "bridged":
            shown["bridge"] = filled["link"]
        nics.append(shown)
    return {
        "tags": sorted(instance.tags),
        "admin_state": instance.admin_state.value,
        "vcpus": be["vcpus"],
        "memory": be["maxmem"],
        "spindle_use": be["spindle_use"],
        "os": instance.os,
        "nodes": [config.nodes[node].name for node in instance.nodes],
        "nics": nics,
        "disks": [
            {"type": disk.template.value, "size": disk.size, "mode": disk.mode.value, "spindles": None}
            for disk in instance.disks
        ],
        "disk_template": instance.disk_template,
        "disks_active": instance.disks_active,
        "hypervisor": instance.hypervisor,
        "disk_space_total": capacity.instance_space(instance),
    }


def asked(config: Config, request: Request[Any]) -> Json:
    """The part `request` of the input."""
    if isinstance(request, Allocate):
        return {"type": "allocate", **_new(config, request)}
    if isinstance(request, MultiAllocate):
        each = [{"type": "allocate", **_new(config, one)} for one in request.instances]
        return {"type": "multi-allocate", "instances": each}
    if isinstance(request, Relocate):
        instance = config.instances[request.instance]
        leaving = instance.secondary_nodes or (instance.primary_node,)
        return {
            "type": "relocate",
            "name": instance.name,
            "disk_space_total": capacity.instance_space(instance),
            "required_nodes": 1,
            "relocate_from": [config.nodes[node].name for node in leaving],
        }
    if isinstance(request, AllocateSecondary):
        return {"type": "allocate-secondary", "name": config.instances[request.instance].name}
    names = [instance.name for instance in _concerned(config, request)]
    if isinstance(request, NodeEvacuate):
        return {"type": "node-evacuate", "instances": names, "evac_mode": request.mode.value}
    assert isinstance(request, ChangeGroup), request
    return {"type": "change-group", "instances": names, "target_groups": list(request.groups)}


def _new(config: Config, request: Allocate) -> Json:
    nics = []
    for nic in request.nics:
        shown: Json = {"mac": nic.mac, "ip": nic.ip, "mode": nic.mode, "link": nic.link}
        if nic.mode == "bridged":
            shown["bridge"] = nic.link
        nics.append(shown)
    found = {
        "name": request.name,
        "disk_template": request.template.value,
        "group_name": config.groups[request.group].name if request.group is not None else None,
        "tags": sorted(request.tags),
        "os": request.os,
        "vcpus": request.vcpus,
        "memory": request.memory,
        "spindle_use": request.spindle_use,
        "disks": [
            {"size": disk.size, "mode": disk.mode.value, "type": request.template.value} for disk in request.disks
        ],
        "disk_space_total": capacity.space(request.template, (disk.size for disk in request.disks)),
        "nics": nics,
        "required_nodes": request.node_count,
        "hypervisor": request.hypervisor,
    }
    if request.restrict_to is not None:
        found["restrict-to-nodes"] = [config.nodes[node].name for node in request.restrict_to]
    return found


# The answer


def said(name: str, reply: IallocatorReply) -> str:
    """Its output. Raises ExecError with what it complains about when it failed."""
    if reply.status != 0:
        why = reply.complaints or reply.output.strip()[:4096] or "it says nothing"
        raise errors.ExecError(f"allocator {name} failed with status {reply.status}: {why}")
    return reply.output


def answer(config: Config, request: Request[A], name: str, reply: IallocatorReply) -> A:
    """Raises ExecError for what is no answer, PrereqError(insufficient_resources) for a refusal."""
    try:
        untrusted = codec.loads(said(name, reply).encode())
    except codec.CodecError as err:
        raise _wrong(name, f"it is not JSON: {err}") from err
    if not isinstance(untrusted, dict):
        raise _wrong(name, "it is not an object")
    success, info = untrusted.get("success"), untrusted.get("info")
    if not isinstance(success, bool) or not isinstance(info, str):
        raise _wrong(name, "it lacks success (true or false) or info (text)")
    result = untrusted["result"] if "result" in untrusted else untrusted.get("nodes")
    del untrusted
    if not success:
        raise errors.PrereqError("insufficient_resources", f"allocator {name} finds no solution: {info}")
    reader: Callable[[Config, Any, str, Any], Any] = _READERS[type(request)]
    return cast("A", reader(config, request, name, result))


def _wrong(name: str, why: str) -> errors.ExecError:
    return errors.ExecError(f"the answer of allocator {name} cannot be used: {why}")


def _texts(name: str, untrusted: Any, what: str) -> list[str]:
    if not isinstance(untrusted, list) or not all(isinstance(each, str) for each in untrusted):
        raise _wrong(name, f"{what} is not a list of names")
    return untrusted


def _nodes(config: Config, name: str, untrusted: Any, count: int | None) -> tuple[Uuid, ...]:
    names = _texts(name, untrusted, "the list of nodes")
    if count is not None and len(names) != count:
        raise _wrong(name, f"{count} node(s) were asked for, it names {len(names)}")
    unknown = [each for each in names if each.lower() not in config.node_names]
    if unknown:
        raise _wrong(name, f"there is no node {unknown[0]!r}")
    if len(set(names)) != len(names):
        raise _wrong(name, "it names a node twice")
    return tuple(config.node_names[each.lower()] for each in names)


def _placed(config: Config, request: Allocate, name: str, untrusted: Any) -> Placed:
    nodes = _nodes(config, name, untrusted, request.node_count)
    if request.group is not None and any(config.nodes[node].group != request.group for node in nodes):
        raise _wrong(name, f"it names nodes outside of node group {config.groups[request.group].name}")
    if request.restrict_to is not None and not set(nodes) <= set(request.restrict_to):
        raise _wrong(name, "it names nodes that are not to be chosen from")
    return Placed(nodes=nodes)


def _relocated(config: Config, request: Relocate, name: str, untrusted: Any) -> Placed:
    instance = config.instances[request.instance]
    (node,) = _nodes(config, name, untrusted, 1)
    if node in instance.nodes:
        raise _wrong(name, f"{config.nodes[node].name} is a node of {instance.name} already")
    if config.nodes[node].group != config.nodes[instance.primary_node].group:
        raise _wrong(name, f"node {config.nodes[node].name} is not in the node group of {instance.name}")
    return Placed(nodes=(node,))


def _secondary(config: Config, request: AllocateSecondary, name: str, untrusted: Any) -> Placed:
    nodes = _nodes(config, name, [untrusted] if isinstance(untrusted, str) else untrusted, 1)
    if config.instances[request.instance].primary_node in nodes:
        raise _wrong(name, "it names the primary node")
    return Placed(nodes=nodes)


def _pair(untrusted: Any) -> tuple[Any, Any]:
    if not isinstance(untrusted, list) or len(untrusted) != 2:
        raise TypeError("not a pair")
    return untrusted[0], untrusted[1]


def _multi(config: Config, request: MultiAllocate, name: str, untrusted: Any) -> MultiPlaced:
    wanted: dict[str, Allocate] = {one.name: one for one in request.instances}
    try:
        raw_placed, raw_failed = _pair(untrusted)
        pairs = [_pair(entry) for entry in raw_placed]
        failed = [(entry, "") if isinstance(entry, str) else _pair(entry) for entry in raw_failed]
    except TypeError as err:
        raise _wrong(name, "it is not a list of placed and a list of failed instances") from err
    named = _texts(name, [each for each, _ in pairs] + [each for each, _ in failed], "the list of instances")
    if sorted(named) != sorted(wanted):
        raise _wrong(name, "it does not name each instance once")
    return MultiPlaced(
        placed=tuple(
            NamedPlace(name=each, nodes=_placed(config, wanted[each], name, nodes).nodes) for each, nodes in pairs
        ),
        failed=tuple(Failed(name=each, reason=str(why) or "the allocator found no place") for each, why in failed),
    )


def _evacuation(config: Config, request: NodeEvacuate | ChangeGroup, name: str, untrusted: Any) -> Evacuation:
    if not isinstance(untrusted, list) or len(untrusted) != 3 or not all(isinstance(part, list) for part in untrusted):
        raise _wrong(name, "it is not three lists: moved, failed, jobs")
    raw_moved, raw_failed, raw_jobs = untrusted
    concerned = {instance.name for instance in _concerned(config, request)}
    moved, failed = [], []
    try:
        for entry in raw_moved:
            instance, group, nodes = entry
            moved.append(Moved(name=str(instance), group=str(group), nodes=_nodes(config, name, nodes, None)))
        for entry in raw_failed:
            instance, reason = entry
            failed.append(Failed(name=str(instance), reason=str(reason)))
    except (TypeError, ValueError) as err:
        raise _wrong(name, "moved or failed instances are not lists of the right length") from err
    strange = ({each.name for each in moved} | {each.name for each in failed}) - concerned
    if strange:
        raise _wrong(name, f"instance {min(strange)!r} was not asked about")
    jobs = tuple(tuple(_opcodes(config, concerned, name, job)) for job in raw_jobs)
    return Evacuation(moved=tuple(moved), failed=tuple(failed), jobs=jobs)


def _opcodes(config: Config, concerned: set[str], name: str, untrusted: Any) -> Iterable[OpCode]:
    if not isinstance(untrusted, list) or not untrusted:
        raise _wrong(name, "a job is not a list of opcodes")
    for form in untrusted:
        op_id = form.get("OP_ID") if isinstance(form, dict) else None
        if op_id not in _ALLOWED:
            raise _wrong(name, f"{str(op_id)[:80]!r} is not for an allocator to submit")
        if form.get("instance_name") not in concerned:
            raise _wrong(name, f"a job is about {str(form.get('instance_name'))[:80]!r}, which was not asked about")
        try:
            yield ops.decode(form)
        except errors.GanetiError as err:
            raise _wrong(name, str(err)) from err


# The built-in allocator's answer in the same words


def told(config: Config, request: Request[Any], found: Any) -> str:
    """The answer as a program would say it. Any: of the request's own kind."""

    def names(nodes: Sequence[Uuid]) -> list[str]:
        return [config.nodes[node].name for node in nodes]

    if isinstance(found, Placed):
        result: Any = names(found.nodes)
        if isinstance(request, AllocateSecondary):
            result = result[0]
    elif isinstance(found, MultiPlaced):
        placed = [[each.name, names(each.nodes)] for each in found.placed]
        result = [placed, [each.name for each in found.failed]]
    else:
        moved = [[each.name, each.group, names(each.nodes)] for each in found.moved]
        failed = [[each.name, each.reason] for each in found.failed]
        result = [moved, failed, [[ops.encode(op) for op in job] for job in found.jobs]]
    return _said(success=True, info="found", result=result)


def refused(why: str) -> str:
    return _said(success=False, info=why, result=[])


def _said(*, success: bool, info: str, result: Any) -> str:
    return codec.encode({"success": success, "info": info, "result": result}).decode()


#: by the kind of request
_READERS: Mapping[type[Request[Any]], Callable[[Config, Any, str, Any], Any]] = {
    Allocate: _placed,
    Relocate: _relocated,
    AllocateSecondary: _secondary,
    MultiAllocate: _multi,
    NodeEvacuate: _evacuation,
    ChangeGroup: _evacuation,
}
