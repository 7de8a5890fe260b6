"""OP_DETACHED_DISKS_QUERY and OP_DETACHED_DISK_REMOVE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti.calls.base import ChangingCall, encode
from ganeti.calls.volume import VolumeRemove
from ganeti.logic import detached_disks
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Commit, Effect, OnFailure, Parallel, Step
from ganeti.model.config import Config
from ganeti.model.jobs import Undo
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import Delete, DetachedDisk
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.disks import OpDetachedDiskRemove, OpDetachedDisksQuery

# Any: JSON.


@implements(OpDetachedDisksQuery)
class DetachedDisksQuery(LogicalUnit[OpDetachedDisksQuery, list[list[Any]]]):
    async def check(self, env: Env) -> list[list[Any]]:
        config = env.config
        return [
            [
                each.uuid,
                each.disk.name,
                each.disk.size,
                each.disk.template.value,
                [config.nodes[node].name for node in each.nodes],
                each.instance_name,
                each.ctime,
            ]
            for each in sorted(config.disks.values(), key=lambda each: (each.ctime, each.uuid))
        ]

    def result(self, facts: list[list[Any]]) -> list[list[Any]]:
        return facts


class RemoveFacts(msgspec.Struct, frozen=True, kw_only=True):
    disk: DetachedDisk


@implements(OpDetachedDiskRemove)
class DetachedDiskRemove(LogicalUnit[OpDetachedDiskRemove, RemoveFacts]):
    """First it leaves the configuration, then its volumes go; a node that cannot be reached owes them."""

    def locks(self, config: Config) -> LockPlan:
        disk = config.detached_disk(self.op.disk)
        return LockPlan.of(
            instances=exclusive(detached_disks.lock(disk)),
            nodes=shared(*disk.nodes),
            node_res=exclusive(*disk.nodes),
        )

    async def check(self, env: Env) -> RemoveFacts:
        disk = env.config.detached_disk(self.op.disk)
        for node in (env.config.nodes[uuid] for uuid in disk.nodes):
            if node.offline:
                env.warn(f"node {node.name} is offline: it removes its volumes when it is back")
        return RemoveFacts(disk=disk)

    def plan(self, facts: RemoveFacts, env: Env) -> Sequence[Step]:
        disk, config = facts.disk, env.config
        told = disk.disk.name or disk.uuid

        def call(undoes: RequestId | None) -> ChangingCall[Any]:
            return VolumeRemove(disk=disk.disk, owner=disk.owner, request=env.new_request(), undoes=undoes)

        def owed(node: Uuid) -> Undo:
            # it takes nothing back; the id makes a failure of it one that is tried again
            request = env.new_request()
            title = f"remove detached disk {told} on {config.nodes[node].name}"
            return Undo(node=node, call=encode(call(request)), effect=request, title=title)

        gone = Commit(
            title=f"forget the detached disk {told}",
            changes=(Delete("disk", disk.uuid),),
            recoveries=tuple(owed(node) for node in disk.nodes),
        )
        removals = tuple(
            Effect(
                title=f"remove detached disk {told} on {config.nodes[node].name}",
                node=node,
                call=call(None),
                on_failure=OnFailure.OWE,
            )
            for node in disk.nodes
        )
        return (gone, Parallel(effects=removals))
