"""Does what the nodes of a group say agree with the configuration? Pure; iterators that yield after every object."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestsReply, GuestState
from ganeti.calls.node import NodeInfoReply, VerifyReply, VersionReply
from ganeti.calls.os import OsDefinition
from ganeti.calls.volume import Look
from ganeti.logic import guests
from ganeti.logic.devices import FILE_TEMPLATES
from ganeti.logic.disk_looks import Place, nodes_of, volume_name
from ganeti.logic.findings import Findings
from ganeti.model import disks
from ganeti.model.config import Config
from ganeti.model.objects import AdminState, Disk, DiskTemplate, Instance, Node
from ganeti.model.types import Uuid

MAX_SKEW_S = 150.0
CERTIFICATE_WARNING_S = 30 * 86400.0
CERTIFICATE_ERROR_S = 7 * 86400.0

STORAGE_CODES = {
    "file": "ENODEFILESTORAGEPATHUNUSABLE",
    "sharedfile": "ENODESHAREDFILESTORAGEPATHUNUSABLE",
    "gluster": "ENODEGLUSTERSTORAGEPATHUNUSABLE",
}


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """All that was gathered. An error stands where a node gave no answer."""

    asked: float  # epoch seconds when the versions were asked for
    answered: float  # and when the last answer was there
    versions: Mapping[Uuid, VersionReply | errors.RpcError]
    verify: Mapping[Uuid, VerifyReply | errors.RpcError]
    guests: Mapping[Uuid, GuestsReply | errors.RpcError]
    info: Mapping[Uuid, NodeInfoReply | errors.RpcError]
    definitions: Mapping[Uuid, tuple[OsDefinition, ...] | errors.RpcError] = {}
    looks: Mapping[Place, Look] = {}  # at disks that are more than files
    master: VersionReply | None = None
    master_verify: VerifyReply | None = None
    indebted: frozenset[Uuid] = frozenset()  # nodes that have something to undo

    def running(self, node: Uuid) -> dict[str, str] | None:
        """Uuid → name of guests that run there; None when it is not known."""
        reply = self.guests.get(node)
        if reply is None or isinstance(reply, errors.RpcError):
            return None
        return {guest.uuid: guest.name for guest in reply.guests if guest.state is not GuestState.SHUTDOWN}

    def paused(self, node: Uuid) -> tuple[str, ...]:
        """Uuids of guests that stand still there."""
        reply = self.guests.get(node)
        guests = reply.guests if isinstance(reply, GuestsReply) else ()
        return tuple(guest.uuid for guest in guests if guest.state is GuestState.PAUSED)

    def volumes(self, node: Uuid) -> frozenset[str] | None:
        reply = self.verify.get(node)
        return frozenset(reply.volumes) if isinstance(reply, VerifyReply) else None

    def origins(self, node: Uuid) -> Mapping[str, str]:
        reply = self.verify.get(node)
        return reply.origins if isinstance(reply, VerifyReply) else {}


def role(config: Config, node: Node) -> str:
    if node.uuid == config.cluster.master_node:
        return "master"
    return "master candidate" if node.master_candidate else "drained" if node.drained else "regular"


def check_node(config: Config, node: Node, answers: Answers, found: Findings) -> None:
    """One online node."""
    name = node.name
    version, reply = answers.versions.get(node.uuid), answers.verify.get(node.uuid)
    for answer in (version, reply, answers.guests.get(node.uuid)):
        if isinstance(answer, errors.RpcError):
            found.check(False, "ENODERPC", name, f"the node daemon does not answer: {answer.message}")
            return
    if isinstance(version, VersionReply):
        _version(config, node, version, answers, found)
    if isinstance(reply, VerifyReply):
        _verify(config, node, reply, answers, found)
    for text in _hypervisor_errors(answers, node.uuid):
        found.check(False, "ENODEHV", name, text)


def _hypervisor_errors(answers: Answers, node: Uuid) -> list[str]:
    reply = answers.guests.get(node)
    if not isinstance(reply, GuestsReply):
        return []
    return [f"guests of {hypervisor} cannot be listed: {why}" for hypervisor, why in sorted(reply.errors.items())]


def _version(config: Config, node: Node, version: VersionReply, answers: Answers, found: Findings) -> None:
    name, own = node.name, answers.master
    if own is not None:
        text = f"it speaks protocol {version.protocol}, the master {own.protocol}"
        found.check(version.protocol == own.protocol, "ENODEVERSION", name, text)
        text = f"it has software version {version.software}, the master {own.software}"
        found.check(version.software == own.software, "ENODEVERSION", name, text, is_warning=True)
    found.check(version.uuid == node.uuid, "ENODESETUP", name, f"it takes itself for {version.uuid}, not {node.uuid}")
    master = config.master.name
    text = f"it takes {version.master or 'nobody'} for the master, not {master}"
    found.check(version.master == master, "ENODESETUP", name, text)
    ahead, behind = version.time - answers.answered, answers.asked - version.time
    skew = max(ahead, behind)
    side = "ahead of" if ahead > behind else "behind"
    found.check(skew <= MAX_SKEW_S, "ENODETIME", name, f"its clock is {skew:.0f} s {side} the master's")


def _verify(config: Config, node: Node, reply: VerifyReply, answers: Answers, found: Findings) -> None:
    name = node.name
    for hypervisor, why in sorted(reply.hypervisors.items()):
        found.check(not why, "ENODEHV", name, f"hypervisor {hypervisor}: {why}")
    for template, why in sorted(reply.storage.items()):
        found.check(not why, STORAGE_CODES.get(template, "ENODELVM"), name, f"{template} storage: {why}")
    for path, why in sorted(reply.too_open.items()):
        found.check(False, "ENODEFILECHECK", name, f"{path}: {why}")
    for other, why in sorted(reply.unreachable.items()):
        found.check(not why, "ENODENET", name, f"it cannot reach the node daemon of {other}: {why}")
    for other, why in sorted(reply.unreachable_secondary.items()):
        found.check(not why, "ENODENET", name, f"it cannot reach {other} by the secondary network: {why}")
    for path, digest in sorted(answers.master_verify.files.items() if answers.master_verify else ()):
        present = reply.files.get(path)
        found.check(present is not None, "ENODEFILECHECK", name, f"file {path} is missing")
        if present is not None:
            found.check(present == digest, "ENODEFILECHECK", name, f"file {path} differs from the master's")
    if node.master_candidate:
        found.check(reply.state_serial > 0, "ENODEFILECHECK", name, "the candidate has no copy of the state")
    else:
        text = "it has a copy of the state but is no master candidate"
        found.check(reply.state_serial == 0, "ENODEFILECHECK", name, text)
    if reply.certificate_ends:
        left = reply.certificate_ends - answers.asked
        text = f"its certificate ends in {max(0, int(left // 86400))} days"
        found.check(
            left > CERTIFICATE_WARNING_S, "ECLUSTERCLIENTCERT", name, text, is_warning=left > CERTIFICATE_ERROR_S
        )
    for what in reply.leftovers:
        found.check(False, "ENODEHV", name, f"left over of no running instance: {what}", is_warning=True)


def check_trust(config: Config, answers: Answers, found: Findings) -> None:
    """All nodes trust by the same generation."""
    serials = {node: reply.trust_serial for node, reply in answers.verify.items() if isinstance(reply, VerifyReply)}
    newest = max(serials.values(), default=0)
    for node, serial in serials.items():
        text = f"its trust file is of generation {serial}, the newest is {newest}"
        found.check(serial == newest, "ENODEFILECHECK", config.nodes[node].name, text, is_warning=True)


def check_instances(config: Config, group: Uuid, answers: Answers, found: Findings) -> Iterator[None]:
    """Instances whose primary node is in the group."""
    places: dict[str, list[Uuid]] = {}  # where each guest runs, among the nodes that were asked
    for asked in answers.guests:
        for running in answers.running(asked) or {}:
            places.setdefault(running, []).append(asked)
    paused = {(node, uuid) for node in answers.guests for uuid in answers.paused(node)}
    for node in _members(config, group):
        for uuid in sorted(config.primaries.get(node.uuid, ())):
            instance = config.instances[uuid]
            _instance(config, instance, places.get(uuid, []), answers, found)
            stands_still = instance.admin_state is AdminState.UP and (node.uuid, uuid) in paused
            text = f"it stands still on its node {node.name}: it was paused, or a disk of it is full"
            found.check(not stands_still, "EINSTANCEDOWN", instance.name, text, is_warning=True)
            yield


def _members(config: Config, group: Uuid) -> list[Node]:
    return sorted((node for node in config.nodes.values() if node.group == group), key=lambda node: node.name)


def _instance(config: Config, instance: Instance, places: list[Uuid], answers: Answers, found: Findings) -> None:
    name, primary = instance.name, config.nodes[instance.primary_node]
    is_up = instance.admin_state is AdminState.UP
    if primary.offline:
        found.check(not is_up, "EINSTANCEBADNODE", name, f"it should run but its node {primary.name} is offline")
    elif answers.running(primary.uuid) is not None:
        runs_here = primary.uuid in places
        found.check(runs_here or not is_up, "EINSTANCEDOWN", name, f"it does not run on its node {primary.name}")
        text = f"it runs although it is marked {instance.admin_state.value}"
        found.check(is_up or not runs_here, "EINSTANCEDOWN", name, text, is_warning=True)
    for node in places:
        text = f"it runs on node {config.nodes[node].name} but belongs on {primary.name}"
        found.check(node == primary.uuid, "EINSTANCEWRONGNODE", name, text)
    volumes = answers.volumes(primary.uuid)
    for index, disk in enumerate(instance.disks):
        if volumes is not None and disk.template in FILE_TEMPLATES:
            text = f"disk {index} ({disk.logical_id[1]}) is not on node {primary.name}"
            found.check(disk.logical_id[1] in volumes, "EINSTANCEMISSINGDISK", name, text)
        else:
            _device(config, instance, index, answers, found)
    secondaries = instance.secondary_nodes
    offline = [config.nodes[node].name for node in secondaries if config.nodes[node].offline]
    text = f"its secondary node {', '.join(offline)} is offline"
    found.check(not offline, "EINSTANCEBADNODE", name, text, is_warning=True)
    unsuitable = [config.nodes[node].name for node in instance.nodes if not config.nodes[node].vm_capable]
    text = f"its node {', '.join(unsuitable)} may not hold instances"
    found.check(not unsuitable, "EINSTANCEUNSUITABLENODE", name, text)
    found.check(
        len(secondaries) <= 1, "EINSTANCELAYOUT", name, f"it has {len(secondaries)} secondaries", is_warning=True
    )
    groups = {config.nodes[node].group for node in instance.nodes}
    found.check(len(groups) == 1, "EINSTANCESPLITGROUPS", name, "its nodes are in different groups", is_warning=True)
    broken = guests.policy_violations(config, instance)
    found.check(
        not broken, "EINSTANCEPOLICY", name, "it breaks the instance policy: " + "; ".join(broken), is_warning=True
    )


def _device(config: Config, instance: Instance, index: int, answers: Answers, found: Findings) -> None:
    """A disk that is more than a file, on each node that told."""
    disk = instance.disks[index]
    for node in nodes_of(instance, disk):
        look = answers.looks.get((instance.uuid, node, index))
        if look is None:
            continue
        where = f"disk {index} on node {config.nodes[node].name}"
        if not found.check(not look.problem, "EINSTANCEFAULTYDISK", instance.name, f"{where}: {look.problem}"):
            continue
        text = f"{where} is missing: {volume_name(disk)}"
        is_there = found.check(look.volume.exists, "EINSTANCEMISSINGDISK", instance.name, text)
        if is_there and look.mirror is not None and instance.disks_active:
            problem = look.mirror.problem
            found.check(
                not problem,
                "EINSTANCEFAULTYDISK",
                instance.name,
                f"{where} {problem}",
                is_warning=look.mirror.is_syncing,
            )


def check_orphans(config: Config, answers: Answers, found: Findings) -> Iterator[None]:
    """Guests and volumes that belong to nothing."""
    local: dict[Uuid, set[str]] = {}
    shared: set[str] = set()
    reserved = [re.compile(pattern) for pattern in config.cluster.reserved_lvs]

    def note(disk: Disk, nodes: Iterable[Uuid]) -> None:
        for volume in disks.node_volumes(disk):
            for node in nodes:
                if volume.template is DiskTemplate.FILE:
                    local.setdefault(node, set()).add(str(volume.logical_id[1]))
                elif volume.template is DiskTemplate.PLAIN:
                    local.setdefault(node, set()).add("/dev/" + "/".join(map(str, volume.logical_id)))
                elif volume.template in FILE_TEMPLATES:
                    shared.add(str(volume.logical_id[1]))

    for instance in config.instances.values():
        for disk in instance.disks:
            note(disk, nodes_of(instance, disk))
        yield
    for detached in config.disks.values():
        note(detached.disk, detached.nodes)
    for node in answers.verify:
        name = config.nodes[node].name
        known = local.get(node, set()) | shared
        for path in sorted((answers.volumes(node) or frozenset()) - known):
            if any(pattern.match(path.removeprefix("/dev/")) for pattern in reserved):
                continue
            origin = answers.origins(node).get(path)
            # a node that has something to undo may still hold what the undo is about
            found.check(
                False,
                "ENODEORPHANLV",
                name,
                f"volume {path} belongs to no instance" + (f" (it was made for {origin})" if origin else ""),
                is_warning=node in answers.indebted,
            )
        _strays(name, answers.verify[node], known, reserved, found)
        for uuid, guest in sorted((answers.running(node) or {}).items()):
            if uuid not in config.instances:
                found.check(False, "ENODEORPHANINSTANCE", name, f"the guest {guest} belongs to no instance")
        yield


def _strays(
    node: str,
    reply: VerifyReply | errors.RpcError,
    known: Collection[str],
    reserved: Sequence[re.Pattern[str]],
    found: Findings,
) -> None:
    """What somebody put among our volumes: never touched, but it takes their room and their names."""
    if isinstance(reply, errors.RpcError):
        return
    for path in reply.strays:
        if path not in known and not any(pattern.match(path.removeprefix("/dev/")) for pattern in reserved):
            text = f"{path} lies among the volumes and is not one of this cluster's"
            found.check(False, "ENODEORPHANLV", node, text, is_warning=True)
    if reply.strays_more:
        found.check(False, "ENODEORPHANLV", node, f"and {reply.strays_more} more of that kind", is_warning=True)


def check_takeover(config: Config, group: Uuid, answers: Answers, found: Findings) -> None:
    """Could every node take over the instances of each other one that it is secondary of?"""
    for node in _members(config, group):
        info = answers.info.get(node.uuid)
        if node.offline or not isinstance(info, NodeInfoReply):
            continue
        needed: dict[Uuid, int] = {}
        for uuid in config.secondaries.get(node.uuid, ()):
            instance = config.instances[uuid]
            be = guests.beparams(config, instance)
            if be["auto_balance"]:
                needed[instance.primary_node] = needed.get(instance.primary_node, 0) + be["minmem"]
        free = max((hypervisor.memory_free for hypervisor in info.hypervisors.values()), default=0)
        for primary, memory in needed.items():
            text = f"not enough memory ({free} MiB) to take over from {config.nodes[primary].name} ({memory} MiB)"
            found.check(memory <= free, "ENODEN1", node.name, text)


def _emulating(answers: Answers, members: Iterable[Node]) -> list[str]:
    """Names of nodes whose KVM guests are emulated, and many times slower."""
    found = []
    for node in members:
        info = answers.info.get(node.uuid)
        kvm = info.hypervisors.get("kvm") if isinstance(info, NodeInfoReply) else None
        if kvm is not None and kvm.version.endswith("(tcg)"):
            found.append(node.name)
    return found


def notes(config: Config, group: Uuid, answers: Answers) -> list[str]:
    """What is no fault but should be known."""
    members = _members(config, group)
    instances = [config.instances[uuid] for node in members for uuid in config.primaries.get(node.uuid, ())]
    single = sum(bool(instance.disks) and not instance.secondary_nodes for instance in instances)
    unbalanced = sum(not guests.beparams(config, instance)["auto_balance"] for instance in instances)
    offline = sum(node.offline for node in members)
    drained = sum(node.drained for node in members)
    slow = _emulating(answers, members)
    emulated = "node(s) without working hardware virtualisation, whose KVM guests are emulated"
    counted = (
        (single, "instance(s) without a second copy of their disks"),
        (unbalanced, "instance(s) that are not balanced automatically"),
        (offline, "offline node(s)"),
        (drained, "drained node(s)"),
        (len(slow), f"{emulated} ({', '.join(slow)})"),
    )
    return [f"  - NOTICE: {count} {what} found." for count, what in counted if count]
