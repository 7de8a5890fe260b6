"""The pool of master candidates: how many there should be, who comes next."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.logic.base import Env
from ganeti.model.config import Config
from ganeti.model.objects import Node, Put
from ganeti.model.types import Uuid


def can_be_candidate(node: Node) -> bool:
    return node.master_capable and not node.offline and not node.drained


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    present: int  # candidates now
    wanted: int  # as many as the pool size says, if there are so many nodes

    @property
    def is_short(self) -> bool:
        return self.present < self.wanted


def pool(config: Config, *, without: Uuid | None = None) -> Pool:
    """Counted over all nodes but one."""
    nodes = [node for node in config.nodes.values() if node.uuid != without]
    return Pool(
        present=sum(node.master_candidate for node in nodes),
        wanted=min(sum(map(can_be_candidate, nodes)), config.cluster.candidate_pool_size),
    )


def joins(config: Config, *, without: Uuid | None = None) -> bool:
    """Whether one more eligible node should become a candidate."""
    others = pool(config, without=without)
    return others.present < min(others.wanted + 1, config.cluster.candidate_pool_size)


def next_one(config: Config, rng: random.Random, *, without: Sequence[Uuid] = ()) -> Node | None:
    """A node to promote when the pool is short, by chance among the eligible."""
    if not pool(config).is_short:
        return None
    waiting = [
        node
        for node in config.nodes.values()
        if can_be_candidate(node) and not node.master_candidate and node.uuid not in without
    ]
    return rng.choice(sorted(waiting, key=lambda node: node.name)) if waiting else None


async def promote(env: Env, node: Node) -> None:
    """`node` as it shall be, but for the flag."""
    await env.membership.add_voter(node.uuid, [Put(msgspec.structs.replace(node, master_candidate=True))])


async def promote_if_short(env: Env, node: Node) -> bool:
    """The same, if there is room in the pool when its turn comes: others may be promoted at the same time."""
    return await env.membership.add_voter(
        node.uuid,
        [Put(msgspec.structs.replace(node, master_candidate=True))],
        if_still=lambda config: joins(config, without=node.uuid),
    )


async def demote(env: Env, node: Node) -> None:
    """`node` as it shall be, but for the flag."""
    await env.membership.remove_voter(node.uuid, [Put(msgspec.structs.replace(node, master_candidate=False))])


async def trim_pool(env: Env) -> list[str]:
    """Demote, by chance and never the master, what is more than the pool's size. The names of the demoted."""
    demoted: list[str] = []
    master = env.config.cluster.master_node
    while len(env.config.candidates) > env.config.cluster.candidate_pool_size:
        others = [node for node in env.config.candidates if node.uuid != master]
        if not others:
            break
        # one that cannot be asked goes first: it is the least worth having
        reachable = {holder.node for holder in env.membership.holders() if holder.is_reachable}
        silent = [node for node in others if node.uuid not in reachable]
        node = env.rng.choice(sorted(silent or others, key=lambda each: each.name))
        await demote(env, node)
        env.report(f"node {node.name} is no master candidate any more: {len(env.config.candidates)} are enough")
        demoted.append(node.name)
    return demoted


async def fill_pool(env: Env, *, without: Sequence[Uuid] = ()) -> list[str]:
    """Promote until the pool is full; a node that cannot be promoted is warned of. The names of the promoted."""
    promoted: list[str] = []
    failed: list[Uuid] = list(without)
    while (node := next_one(env.config, env.rng, without=failed)) is not None:
        try:
            is_promoted = await promote_if_short(env, node)
        except errors.GanetiError as err:
            env.warn(f"cannot promote node {node.name} to master candidate: {err}")
            failed.append(node.uuid)
            continue
        if not is_promoted:
            continue
        env.report(f"promoted node {node.name} to master candidate")
        promoted.append(node.name)
    there = pool(env.config)
    if there.is_short:
        env.warn(f"there are {there.present} master candidates, {there.wanted} are wanted")
    elif there.present > env.config.cluster.candidate_pool_size:
        env.report(f"there are more master candidates ({there.present}) than wanted ({there.wanted})")
    return promoted
