"""What hooks of node operations are told."""

from __future__ import annotations

from collections.abc import Iterable

from ganeti.logic.base import HookPlan
from ganeti.model.objects import Node
from ganeti.model.types import Uuid


def plan(
    node: Node, extra: dict[str, str], *, pre: Iterable[Uuid], post: Iterable[Uuid], leaving: Iterable[Uuid] = ()
) -> HookPlan:
    environment = {"OP_TARGET": node.name, **extra}
    return HookPlan(environment=environment, pre=tuple(pre), post=tuple(post), leaving=tuple(leaving))


def abilities(master_capable: bool | None, vm_capable: bool | None) -> dict[str, str]:
    return {"MASTER_CAPABLE": str(master_capable), "VM_CAPABLE": str(vm_capable)}
