"""Calls that a node has still to be made, because it could not be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ganeti.calls.base import ChangingCall
from ganeti.calls.base import decode as decode_call
from ganeti.calls.base import encode as encode_call
from ganeti.calls.volume import VolumeRemove
from ganeti.logic.base import Env
from ganeti.model.config import Config
from ganeti.model.jobs import Undo
from ganeti.model.objects import Disk, Instance
from ganeti.model.types import Uuid


def owed(env: Env, node: Uuid, call: ChangingCall[Any], title: str, *, until_good: Uuid | None = None) -> Undo:
    """`call` as it was, or would have been, made, for a commit's debts or recoveries.

    `until_good`: not before all disks of that instance are complete on its primary node.

    Only a call that takes something back may fail and be tried again, so it comes as one that takes itself back; the
    node also waits for the first one, or refuses it, should it still be on its way.
    """
    again = msgspec.structs.replace(call, request=env.new_request(), undoes=call.request)
    return Undo(node=node, call=encode_call(again), effect=call.request, title=title, until_good=until_good)


def kept(env: Env, instance: Instance) -> tuple[Undo, ...]:
    """Removals of old volumes that may be the only good copy of its disks."""
    return tuple(undo for undo in env.debts if undo.until_good == instance.uuid)


def removed(undos: Iterable[Undo]) -> Iterator[Disk]:
    """The disks, or volumes, that go with them."""
    for undo in undos:
        call = decode_call(undo.call)
        if isinstance(call, VolumeRemove):
            yield call.disk


def where(config: Config, undo: Undo) -> str:
    """What it is, with its node."""
    return f"{undo.title} on {config.nodes[undo.node].name if undo.node in config.nodes else undo.node}"


def told(config: Config, undo: Undo) -> str:
    """What it is and what it waits for, besides its node."""
    condition = waits_for(config, undo)
    return f"{undo.title} {condition}" if condition else undo.title


def waits_for(config: Config, undo: Undo) -> str:
    """Empty: for its node alone."""
    instance = config.instances.get(undo.until_good) if undo.until_good is not None else None
    if instance is None:
        return ""
    primary = config.nodes[instance.primary_node].name
    return f"when the disks of {instance.name} are active and complete on {primary}"
