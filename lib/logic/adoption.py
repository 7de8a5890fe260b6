"""Storage that was there before the cluster knew of it, and becomes the disks of a new instance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from ganeti import errors
from ganeti.calls.adoption import Candidate, CandidatesLook, LogicalId, VolumeAdopt, VolumeGiveBack
from ganeti.logic import checks, new_volumes
from ganeti.logic.base import Env
from ganeti.logic.devices import DiskSpec
from ganeti.logic.steps import Effect, Parallel, Step
from ganeti.model import disks
from ganeti.model.config import Config
from ganeti.model.locks import new_name
from ganeti.model.objects import Disk, DiskTemplate, Instance, Node
from ganeti.model.types import Uuid
from ganeti.storage.blockdev import names

#: lock at the level of instances: a device has several names, and different ones on different nodes, so that those who
#: want some wait for each other; the later one sees the earlier one's in the configuration
DEVICES_LOCK = new_name("devices to adopt")


async def find(env: Env, node: Node, template: DiskTemplate, specs: Sequence[DiskSpec]) -> tuple[Candidate, ...]:
    """What the node has under the names that were given, fit to be adopted. Raises PrereqError."""
    config = env.config
    checks.takes_instances(node)
    wanted = [logical_id(config, template, spec) for spec in specs]
    for index, name in enumerate(wanted):
        if name in wanted[:index]:
            raise errors.PrereqError("wrong_input", f"{_told(name)} is given for two disks")
        _check_free(config, node, template, name)
    question = CandidatesLook(template=template, logical_ids=tuple(wanted), known=_known_everywhere(config, template))
    found = await checks.ask(env, node.uuid, question, "look at what shall be adopted")
    for each in found:
        if each.problem:
            text = f"{_told(each.logical_id)} on {node.name} cannot be adopted: {each.problem}"
            raise errors.PrereqError("wrong_state", text, hint=each.hint or _still_to_undo(env, node))
    return found


def _still_to_undo(env: Env, node: Node) -> str:
    """It may be what an earlier attempt has not given back yet."""
    waiting = [undo.title for undo in env.debts if undo.node == node.uuid]
    return f"{node.name} has still to undo: " + "; ".join(waiting) if waiting else ""


def measured(specs: Sequence[DiskSpec], found: Sequence[Candidate]) -> tuple[DiskSpec, ...]:
    """With the sizes that were found."""
    return tuple(
        msgspec.structs.replace(spec, size=candidate.size) for spec, candidate in zip(specs, found, strict=True)
    )


def steps(config: Config, env: Env, instance: Instance, found: Sequence[Candidate]) -> list[Step]:
    """Its disks take the place of what was found; taken back by giving that its name back, never by removing it."""
    node = config.nodes[instance.primary_node]
    effects = []
    for index, (disk, candidate) in enumerate(zip(instance.disks, found, strict=True)):
        request = env.new_request()
        effects.append(
            Effect(
                title=f"adopt {_told(candidate.logical_id)} on {node.name} as disk {index} of {instance.name}",
                node=node.uuid,
                call=VolumeAdopt(
                    disk=disk, owner=instance.uuid, origin=instance.name, found=candidate, request=request
                ),
                undo=VolumeGiveBack(
                    disk=disk,
                    owner=instance.uuid,
                    origin=instance.name,
                    found=candidate,
                    request=env.new_request(),
                    undoes=request,
                ),
            )
        )
    return [Parallel(effects=tuple(effects))]


def logical_id(config: Config, template: DiskTemplate, spec: DiskSpec) -> LogicalId:
    """Of what is adopted, as it is found."""
    if template is DiskTemplate.BLOCKDEV:
        return (names.DRIVER, spec.adopt)
    return (new_volumes.group(config, spec.vg), spec.adopt)


def _told(found: LogicalId) -> str:
    return str(found[1]) if found[0] == names.DRIVER else "/".join(str(part) for part in found)


def device(env: Env, spec: DiskSpec) -> Disk:
    """The disk that an existing device is."""
    return Disk(
        uuid=env.new_uuid(),
        template=DiskTemplate.BLOCKDEV,
        size=spec.size,
        mode=spec.mode,
        name=spec.name,
        exportable=spec.exportable,
        logical_id=logical_id(env.config, DiskTemplate.BLOCKDEV, spec),
    )


def _known_everywhere(config: Config, template: DiskTemplate) -> tuple[LogicalId, ...]:
    """What all nodes see may be in use from any of them, under another name too."""
    if template is not DiskTemplate.BLOCKDEV:
        return ()
    return tuple(disk.logical_id for _, disk in _known(config, None) if disk.template is template)


def _check_free(config: Config, node: Node, template: DiskTemplate, wanted: LogicalId) -> None:
    """It is nobody's yet. Raises PrereqError."""
    name = _told(wanted)
    for owner, disk in _known(config, None if template is DiskTemplate.BLOCKDEV else node.uuid):
        if (template, wanted) in disks.names([disk]):
            raise errors.PrereqError("resource_not_unique", f"{name} on {node.name} belongs to {owner}")
    for pattern in config.cluster.reserved_lvs if template is DiskTemplate.PLAIN else ():
        if re.match(pattern, name):
            raise errors.PrereqError(
                "wrong_state",
                f"{name} is reserved by the administrator ({pattern})",
                hint="gnt-cluster modify --reserved-lvs changes that",
            )


def _known(config: Config, node: Uuid | None) -> Iterator[tuple[str, Disk]]:
    """Every disk that lies there (None: anywhere), with whose it is."""
    for instance in config.instances.values():
        if node is None or node in instance.nodes:
            for disk in instance.disks:
                yield f"instance {instance.name}", disk
    for detached in config.disks.values():
        if node is None or node in detached.nodes:
            yield f"the detached disk {detached.disk.name or detached.uuid}", detached.disk
