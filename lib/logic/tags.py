"""OP_TAGS_GET, OP_TAGS_SEARCH, OP_TAGS_SET, OP_TAGS_DEL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ganeti import errors
from ganeti.logic import checks, patterns
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive
from ganeti.model.objects import AnyObject, Put
from ganeti.ops.tags import OpTagsDel, OpTagsGet, OpTagsSearch, OpTagsSet

#: objects that are searched before others get their turn
_SLICE = 50


def tagged(config: Config, kind: str, name: str) -> AnyObject:
    """Raises PrereqError."""
    if kind == "cluster":
        return config.cluster
    if not name:
        raise errors.PrereqError("wrong_input", f"the name of the {kind} is missing")
    match kind:
        case "node":
            return config.node(name)
        case "instance":
            return config.instance(name)
        case "nodegroup":
            return config.group(name)
    return config.network(name)


def _lock(config: Config, kind: str, name: str) -> LockPlan:
    """The object, so that no other job changes it at the same time."""
    uuid = tagged(config, kind, name).uuid
    match kind:
        case "node":
            return LockPlan.of(nodes=exclusive(uuid))
        case "instance":
            return LockPlan.of(instances=exclusive(uuid))
        case "nodegroup":
            return LockPlan.of(groups=exclusive(uuid))
        case "network":
            return LockPlan.of(networks=exclusive(uuid))
    return LockPlan.of(cluster_object=True)


def _with_tags(obj: AnyObject, tags: Iterable[str]) -> AnyObject:
    return msgspec.structs.replace(obj, tags=tuple(sorted(tags)))


class TagFacts(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    old: AnyObject
    new: AnyObject


def _plan(facts: TagFacts) -> Sequence[Step]:
    if facts.new.tags == facts.old.tags:
        return ()
    return (Commit(title=facts.title, changes=(Put(facts.new),), is_final=True),)


def _name(obj: AnyObject) -> str:
    return f"{obj.kind} {obj.name}"


@implements(OpTagsSet)
class TagsSet(LogicalUnit[OpTagsSet, TagFacts]):
    def locks(self, config: Config) -> LockPlan:
        return _lock(config, self.op.kind, self.op.name)

    async def check(self, env: Env) -> TagFacts:
        wanted = checks.tags(self.op.tags)
        old = tagged(env.config, self.op.kind, self.op.name)
        all_tags = {*old.tags, *wanted}
        if len(all_tags) > checks.MAX_TAGS:
            raise errors.PrereqError(
                "wrong_input",
                f"{_name(old)} would have {len(all_tags)} tags",
                hint=f"{checks.MAX_TAGS} are allowed; remove some first",
            )
        return TagFacts(title=f"tag {_name(old)}", old=old, new=_with_tags(old, all_tags))

    def plan(self, facts: TagFacts, env: Env) -> Sequence[Step]:
        return _plan(facts)


@implements(OpTagsDel)
class TagsDel(LogicalUnit[OpTagsDel, TagFacts]):
    def locks(self, config: Config) -> LockPlan:
        return _lock(config, self.op.kind, self.op.name)

    async def check(self, env: Env) -> TagFacts:
        old = tagged(env.config, self.op.kind, self.op.name)
        missing = sorted(set(self.op.tags) - set(old.tags))
        if missing:
            listed = ", ".join(repr(tag[:140]) for tag in missing)
            raise errors.PrereqError("unknown_entity", f"Tag(s) {listed} not found at {_name(old)}")
        new = _with_tags(old, set(old.tags) - set(self.op.tags))
        return TagFacts(title=f"remove tags of {_name(old)}", old=old, new=new)

    def plan(self, facts: TagFacts, env: Env) -> Sequence[Step]:
        return _plan(facts)


@implements(OpTagsGet)
class TagsGet(LogicalUnit[OpTagsGet, tuple[str, ...]]):
    """Needs no lock: what it reads is one immutable object."""

    async def check(self, env: Env) -> tuple[str, ...]:
        return tagged(env.config, self.op.kind, self.op.name).tags

    def result(self, facts: tuple[str, ...]) -> list[str]:
        return sorted(facts)


@implements(OpTagsSearch)
class TagsSearch(LogicalUnit[OpTagsSearch, re.Pattern[str]]):
    async def check(self, env: Env) -> re.Pattern[str]:
        return patterns.compile_safe(self.op.pattern)

    async def execute(self, facts: re.Pattern[str], env: Env) -> list[tuple[str, str]]:
        found = []
        for number, (path, obj) in enumerate(_places(env.config)):
            found += [(path, tag) for tag in obj.tags if facts.search(tag)]
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        return sorted(found)


def _places(config: Config) -> Iterator[tuple[str, AnyObject]]:
    yield "/cluster", config.cluster
    tables = (
        ("nodes", config.nodes), ("instances", config.instances), ("nodegroup", config.groups),
        ("network", config.networks),
    )  # fmt: skip
    for folder, table in tables:
        for obj in table.values():
            yield f"/{folder}/{obj.name}", obj
