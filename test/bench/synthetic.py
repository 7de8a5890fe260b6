"""Instances that were never created: one batch on top of every candidate's state, while all daemons are down."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ganeti import paths
from ganeti.master.state import write_of
from ganeti.model.objects import AdminState, Disk, DiskTemplate, Instance, Nic, Node, Put
from ganeti.model.types import Uuid
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
            uuid=_uuid(2, number), template=DiskTemplate.FILE, size=1024 + number % 7,
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
    """The same batch for every node that holds the state, so that they stay equal."""
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


def _writes(database: Database, count: int, now: float) -> tuple[Write, ...]:
    nodes = [codec.unpack(value.encode(), Node) for key, value in database.rows("object") if key.startswith("node/")]
    return tuple(write_of(Put(made)) for made in instances(count, nodes, now))
