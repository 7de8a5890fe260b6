"""Instances that were never created: one batch on top of every candidate's state, while all daemons are down."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from ganeti import paths
from ganeti.master.state import write_of
from ganeti.model.objects import AdminState, Disk, DiskTemplate, Instance, Nic, Node, Put
from ganeti.model.types import Uuid
from ganeti.storage.file import mark
from ganeti.storage.file.places import MARK
from ganeti.store.api import Batch, Note, Write
from ganeti.store.batch import seal
from ganeti.store.db import Database
from ganeti.testing.vcluster import VirtualCluster
from ganeti.wire import codec


def _uuid(kind: int, number: int) -> Uuid:
    return Uuid(f"{kind:08x}-0000-4000-8000-{number:012x}")


def instances(count: int, nodes: list[Node], now: float) -> Iterator[Instance]:
    """As they would be: a file disk, a NIC, their own memory; stopped."""
    for number in range(count):
        disk = Disk(
            uuid=_uuid(2, number), template=DiskTemplate.FILE, size=1 + number % 2,
            logical_id=("loop", f"/srv/ganeti/file-storage/inst{number}/disk0"),
        )  # fmt: skip
        mac = ":".join(f"{part:02x}" for part in (0xAA, 0, 1, number >> 16, number >> 8 & 255, number & 255))
        yield Instance(
            uuid=_uuid(1, number), name=f"inst{number}.bench.example", primary_node=nodes[number % len(nodes)].uuid,
            os="noop", hypervisor="fake", admin_state=AdminState.DOWN, disks=(disk,),
            nics=(Nic(uuid=_uuid(3, number), mac=mac),), beparams={"minmem": 128, "maxmem": 128 + number % 5},
            ctime=now, mtime=now, tags=(f"rack{number % 20}",),
        )  # fmt: skip


def load(cluster: VirtualCluster, count: int) -> None:
    """The same batch for every node that holds the state, so that they stay equal; and the volumes on the nodes."""
    now = time.time()
    batch: Batch | None = None
    for virtual in cluster.layout.nodes:
        database = Database.open(virtual.paths.local(paths.STATE_DB), owner="bench")
        try:
            position = database.position
            if batch is None:
                batch = Batch(
                    term=position.term, serial=position.serial + 1, time=now, writes=_writes(database, count, now),
                    notes=(Note(actor="bench", reason=f"{count} synthetic instances"),),
                )  # fmt: skip
            database.apply([seal(batch, position.hash)])
        finally:
            database.close()
    if batch is not None:
        _make_volumes(cluster, batch)


def _make_volumes(cluster: VirtualCluster, batch: Batch) -> None:
    """As the storage driver does, without syncing each."""
    places = {node.name: node.paths for node in cluster.layout.nodes}
    database = Database.open(cluster.layout.nodes[0].paths.local(paths.STATE_DB), owner="bench")
    nodes = {node.uuid: places[node.name] for node in _nodes(database)}
    database.close()
    for write in batch.writes:
        instance = codec.unpack((write.value or "").encode(), Instance)
        for disk in instance.disks:
            local = nodes[instance.primary_node].local(str(disk.logical_id[1]))
            os.makedirs(os.path.dirname(local))
            with open(local, "wb") as file:
                file.truncate(disk.size << 20)
            with open(local + MARK, "wb") as file:
                file.write(mark.encode(mark.Mark(owner=instance.uuid, disk=disk.uuid)))


def _nodes(database: Database) -> list[Node]:
    return [codec.unpack(value.encode(), Node) for key, value in database.rows("object") if key.startswith("node/")]


def _writes(database: Database, count: int, now: float) -> tuple[Write, ...]:
    return tuple(write_of(Put(made)) for made in instances(count, _nodes(database), now))
