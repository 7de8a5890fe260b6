"""Volume groups of nodes that have lost physical volumes: what went with them, and whether there is another copy."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.mirror import MirrorDetach
from ganeti.calls.power import LostVolume, StorageLoss, StorageLost
from ganeti.logic import checks, mirrors
from ganeti.logic.base import Env
from ganeti.logic.steps import Effect, OnFailure, Parallel, Step
from ganeti.model.config import Config
from ganeti.model.disks import Mirror, is_mirror, node_volumes
from ganeti.model.objects import Disk, DiskTemplate, Instance, Node
from ganeti.model.types import Uuid


class LostDisk(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    index: int

    @property
    def disk(self) -> Disk:
        return self.instance.disks[self.index]

    @property
    def name(self) -> str:
        return f"disk {self.index} of {self.instance.name}"


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair of the volume group takes along."""

    loss: StorageLoss
    mirrored: tuple[LostDisk, ...] = ()  # halves of mirrors
    objections: tuple[str, ...] = ()  # what would be lost for good, or is not known not to be

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(volume.name for volume in self.loss.volumes)


async def assess(env: Env, node: Node, vg: str) -> Assessment:
    """Asks the node, and those with the other halves. Raises PrereqError when the node does not answer."""
    call = StorageLost(name=vg)
    loss = await checks.ask(env, node.uuid, call, f"find out what volume group {vg} of {node.name} has lost")
    return await judge(env, node, vg, loss)


async def judge(env: Env, node: Node, vg: str, loss: StorageLoss) -> Assessment:
    known = _disks(env.config, node.uuid, vg)
    mirrored: list[LostDisk] = []
    objections: list[str] = []
    for volume in loss.volumes:
        found = known.get(volume.name)
        if found is None:
            objections.append(f"volume {vg}/{volume.name} is no disk of an instance of this cluster" + _marked(volume))
        elif not is_mirror(found.disk):
            objections.append(f"volume {vg}/{volume.name} is {found.name}, of which there is no other copy")
        elif found not in mirrored:
            mirrored.append(found)
    for one in mirrored:
        problem = await _why_not(env, one, node.uuid)
        if problem:
            objections.append(problem)
    return Assessment(loss=loss, mirrored=tuple(mirrored), objections=tuple(objections))


def _marked(volume: LostVolume) -> str:
    told = volume.origin or volume.owner
    return f" (it is marked as one of {told})" if told else ""


def _disks(config: Config, node: Uuid, vg: str) -> dict[str, LostDisk]:
    """By the names of the volumes in that group of the node."""
    held = config.primaries.get(node, frozenset()) | config.secondaries.get(node, frozenset())
    found = {}
    for instance in (config.instances[uuid] for uuid in sorted(held)):
        for index, disk in enumerate(instance.disks):
            for volume in node_volumes(disk):
                if volume.template is DiskTemplate.PLAIN and volume.logical_id[0] == vg:
                    found[str(volume.logical_id[1])] = LostDisk(instance=instance, index=index)
    return found


async def _why_not(env: Env, lost: LostDisk, node: Uuid) -> str:
    """Why the other half of a mirror may not be all that is left of it; empty: it is complete and up to date."""
    if lost.instance.blocked or lost.instance.moving is not None:
        return f"{lost.name}: the instance is half-way between two nodes"
    peer = Mirror.of(lost.disk).peer(node)
    name = env.config.nodes[peer].name
    try:
        state = (await mirrors.states(env, lost.instance, peer))[lost.index]
    except errors.RpcError as err:
        return f"{lost.name}: its half on {name} cannot be looked at: {err}"
    # a half that has not heard of the other may be older than it, and think well of itself all the same
    if state.is_local_good and state.is_connected:
        return ""
    return f"{lost.name}: its half on {name} {state.problem}"


def let_go(env: Env, node: Node, lost: Sequence[LostDisk]) -> list[Step]:
    """The mirrors go on by their other halves; DRBD itself refuses that where these are not good."""
    effects = [
        Effect(
            title=f"detach {each.name} from its lost volumes on {node.name}",
            node=node.uuid,
            call=MirrorDetach(disk=each.disk, owner=each.instance.uuid, request=env.new_request()),
            on_failure=OnFailure.WARN,
        )
        for each in lost
    ]
    return [Parallel(effects=tuple(effects))] if effects else []
