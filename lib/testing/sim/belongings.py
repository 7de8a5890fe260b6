"""Volumes that people had on the nodes before the cluster, and what must be true of them in the end."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from ganeti.master.state import change_of
from ganeti.model.objects import DiskTemplate, Instance, Put
from ganeti.model.types import Uuid
from ganeti.paths import FAKE_LVM_DIR
from ganeti.storage.file import places
from ganeti.store.api import Batch
from ganeti.testing.sim.node import SimNode

if TYPE_CHECKING:
    from ganeti.testing.sim.master import MasterProcess
    from ganeti.testing.sim.world import World

VG = "xenvg"
#: on each node; few, so that jobs want the same ones
NAMES = ("old-1", "old-2", "old-3")
_SIZE = 1 << 20


def put(node: SimNode) -> None:
    """Make them, each with its own content."""
    home = _home(node)
    os.makedirs(home, mode=0o750)
    for name in NAMES:
        with open(f"{home}/{name}", "wb") as file:
            file.write(_content(node, name))
            file.truncate(_SIZE)


def check(
    world: World, master: MasterProcess, history: Sequence[Batch], *, partly_removed: Collection[str] = ()
) -> None:
    """Each is as it was, or a disk of one instance with its content, or it went with an instance that was removed."""
    for node in world.nodes.values():
        found = dict(_found(node))
        for name in NAMES:
            where = [path for path, content in found.items() if content == _content(node, name)]
            if len(where) > 1:
                world.witness.blame(f"{node.short}: what was in {name} is in {' and '.join(where)}")
            elif not where and not _went(node, name, master, history, partly_removed):
                world.witness.blame(f"{node.short}: {name} is lost, and no instance took it along")
            elif where and where[0] != name and where[0] not in _disks(master, node.uuid):
                world.witness.blame(f"{node.short}: {name} is called {where[0]}, which is no disk")
            elif where == [name] and os.path.lexists(f"{_home(node)}/{name}{places.MARK}"):
                world.witness.blame(f"{node.short}: {name} has a mark")


def _home(node: SimNode) -> str:
    return f"{node.paths.local(FAKE_LVM_DIR)}/{VG}"


def _content(node: SimNode, name: str) -> bytes:
    return f"{node.short} {name}|".encode()


def _found(node: SimNode) -> Iterator[tuple[str, bytes]]:
    """Name of each volume, with the beginning of its content."""
    home = _home(node)
    for name in os.listdir(home) if os.path.isdir(home) else ():
        if not name.endswith(places.MARK):
            with open(f"{home}/{name}", "rb") as file:
                yield name, file.read(64).partition(b"|")[0] + b"|"


def _disks(master: MasterProcess, node: Uuid) -> set[str]:
    return {
        str(disk.logical_id[1])
        for instance in master.state.config.instances.values()
        if instance.primary_node == node
        for disk in instance.disks
        if disk.template is DiskTemplate.PLAIN
    }


def _went(
    node: SimNode, name: str, master: MasterProcess, history: Sequence[Batch], partly_removed: Collection[str]
) -> bool:
    """The instance that a job adopted it for was in the configuration and is removed, or partly is."""
    takers = {
        job.id
        for job in master.state.jobs.values()
        for op in job.ops
        if op.input.get("pnode") == node.name and {"adopt": name} in op.input.get("disks", ())
    }
    present = master.state.config.instances
    for batch in history:
        if not any(note.job in takers for note in batch.notes):
            continue
        for change in (change_of(write) for write in batch.writes if write.table == "object"):
            if isinstance(change, Put) and isinstance(change.object, Instance):
                made = change.object
                is_left = made.uuid in present and present[made.uuid].name not in partly_removed
                if not is_left and made.disk_template == DiskTemplate.PLAIN.value:
                    return True
    return False
