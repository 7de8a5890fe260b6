"""Instances that break the policy once something else changes: which ones, and telling it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from ganeti.logic import guests
from ganeti.logic.base import Env
from ganeti.model.config import Config
from ganeti.model.objects import Instance
from ganeti.model.types import Uuid, nice_key

#: as many instances are named in a warning
_NAMED = 20
#: instances looked at before others get their turn
_SLICE = 50


class Violation(msgspec.Struct, frozen=True):
    name: str  # of the instance
    why: tuple[str, ...]


async def new_violations(before: Config, after: Config, instances: Iterable[Instance]) -> list[Violation]:
    """What instances break in `after` and did not in `before`. The instances are those of `after`."""
    found = []
    for number, instance in enumerate(instances, start=1):
        if number % _SLICE == 0:
            await asyncio.sleep(0)
        broken = guests.policy_violations(after, instance)
        if broken:
            old = before.instances.get(instance.uuid)
            known = guests.policy_violations(before, old) if old is not None else []
            fresh = tuple(text for text in broken if text not in known)
            if fresh:
                found.append(Violation(instance.name, fresh))
    return sorted(found, key=lambda violation: nice_key(violation.name))


def in_group(config: Config, group: Uuid) -> list[Instance]:
    """The instances whose primary node is in the group."""
    return [
        config.instances[uuid]
        for node in config.nodes.values()
        if node.group == group
        for uuid in config.primaries.get(node.uuid, ())
    ]


def warn_of(env: Env, violations: list[Violation]) -> None:
    """Tell the administrator; nothing is refused: what runs already may go on."""
    if not violations:
        return
    named = "; ".join(f"{each.name} ({', '.join(each.why)})" for each in violations[:_NAMED])
    more = f"; and {len(violations) - _NAMED} more" if len(violations) > _NAMED else ""
    env.warn(
        f"{len(violations)} instances break the instance policy now: {named}{more}",
        hint="they go on; what moves or changes them needs --ignore-ipolicy",
    )
