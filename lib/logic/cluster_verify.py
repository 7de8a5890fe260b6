"""OP_CLUSTER_VERIFY, OP_CLUSTER_VERIFY_CONFIG: the jobs of a check, and the check of the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.node import NodeVerify, VerifyReply
from ganeti.calls.store import CheckReply, StoreCheck
from ganeti.logic import findings, owing, verify_config, verify_host
from ganeti.logic.base import Env, LogicalUnit, StateHolder, implements
from ganeti.logic.findings import Finding, Findings
from ganeti.model.config import Config
from ganeti.model.jobs import Undo
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.base import OpCode
from ganeti.ops.cluster import OpClusterVerify, OpClusterVerifyConfig, OpClusterVerifyGroup

SKIPPABLE = ("nplusone_mem",)
#: objects checked before others get their turn
_SLICE = 100
#: how long a candidate may take to get the last batch before it counts as behind
_SETTLE_TRIES, _SETTLE_S = 20, 0.1


def known_skips(untrusted: Iterable[str]) -> None:
    unknown = sorted(set(untrusted) - set(SKIPPABLE))
    if unknown:
        raise errors.PrereqError(
            "wrong_input", f"there is no check {unknown[0]!r} to skip", hint="there are " + ", ".join(SKIPPABLE)
        )


async def in_slices(work: Iterator[None]) -> None:
    """Run it to its end, letting other tasks run every few objects."""
    for number, _ in enumerate(work, start=1):
        if number % _SLICE == 0:
            await asyncio.sleep(0)


def tell(env: Env, found: Sequence[Finding], *, with_codes: bool) -> bool:
    """Report the lines. Returns whether there was no error among them."""
    for finding in found:
        env.report(findings.line(finding, with_codes=with_codes))
    return all(finding.is_warning for finding in found)


class VerifyFacts(msgspec.Struct, frozen=True, kw_only=True):
    jobs: tuple[OpCode, ...]


@implements(OpClusterVerify)
class ClusterVerify(LogicalUnit[OpClusterVerify, VerifyFacts]):
    """Submits one job for the configuration (unless one group was named) and one for each node group."""

    async def check(self, env: Env) -> VerifyFacts:
        op = self.op
        findings.known_codes(op.ignore_errors)
        known_skips(op.skip_checks)
        common: dict[str, Any] = {  # Any: fields that both jobs have
            "error_codes": op.error_codes,
            "ignore_errors": op.ignore_errors,
            "verbose": op.verbose,
            "debug_simulate_errors": op.debug_simulate_errors,
        }
        jobs: list[OpCode] = []
        if op.group_name:
            groups = [env.config.group(op.group_name)]
        else:
            groups = sorted(env.config.groups.values(), key=lambda group: nice_key(group.name))
            jobs.append(OpClusterVerifyConfig(**common))
        jobs += [
            OpClusterVerifyGroup(
                group_name=group.name, skip_checks=op.skip_checks, verify_clutter=op.verify_clutter, **common
            )
            for group in groups
        ]
        return VerifyFacts(jobs=tuple(jobs))

    async def execute(self, facts: VerifyFacts, env: Env) -> dict[str, Any]:
        submitted = await env.submit([[job] for job in facts.jobs])
        return {"jobs": [list(pair) for pair in submitted]}


@implements(OpClusterVerifyConfig)
class ClusterVerifyConfig(LogicalUnit[OpClusterVerifyConfig, frozenset[str]]):
    """The configuration in itself, and who holds a copy of the state."""

    async def check(self, env: Env) -> frozenset[str]:
        return findings.known_codes(self.op.ignore_errors)

    async def execute(self, facts: frozenset[str], env: Env) -> bool:
        op = self.op
        found = Findings(simulate=op.debug_simulate_errors, ignore=facts)
        env.report("* Verifying cluster config")
        await in_slices(verify_config.check_config(env.config, found))
        is_well = tell(env, found.take(), with_codes=op.error_codes)
        env.report("* Verifying certificates")
        await check_authority(env, found)
        env.report("* Verifying copies of the state")
        check_holders(env.config, await settled_holders(env), found)
        await check_copies(env, found)
        check_debts(env.config, env.debts, found)
        return tell(env, found.take(), with_codes=op.error_codes) and is_well


async def check_authority(env: Env, found: Findings) -> None:
    """The certificate that vouches for all nodes, as the master has it."""
    reply = (await env.rpc.many([env.config.cluster.master_node], NodeVerify()))[env.config.cluster.master_node]
    if isinstance(reply, VerifyReply):
        verify_host.check_certificate_authority(reply.authority_ends, env.now(), found)


async def settled_holders(env: Env) -> Sequence[StateHolder]:
    """The copies when none is in the middle of taking a batch: this job's own lines are batches too."""
    for _ in range(_SETTLE_TRIES):
        holders = env.membership.holders()
        if all(holder.is_current or not holder.is_reachable for holder in holders):
            return holders
        await env.sleep(_SETTLE_S)
    return env.membership.holders()


def check_holders(config: Config, holders: Sequence[StateHolder], found: Findings) -> None:
    """Every candidate holds the state, and the same one."""
    by_node = {holder.node: holder for holder in holders}
    for node in config.candidates:
        holder = by_node.get(node.uuid)
        found.check(holder is not None, "ECLUSTERFILECHECK", node.name, "the candidate does not hold the state")
        if holder is None or node.uuid == config.cluster.master_node:
            continue
        why = f": {holder.why}" if holder.why else ""
        text = f"its copy of the state takes no changes{why}"
        if found.check(holder.is_reachable, "ECLUSTERFILECHECK", node.name, text):
            text = f"its copy of the state is behind (serial {holder.serial}){why}"
            found.check(holder.is_current, "ECLUSTERFILECHECK", node.name, text)
    by_serial: dict[int, set[str]] = {}
    for holder in holders:
        if holder.is_reachable and holder.hash:
            by_serial.setdefault(holder.serial, set()).add(holder.hash)
    split = sorted(serial for serial, hashes in by_serial.items() if len(hashes) > 1)
    found.check(
        not split, "ECLUSTERFILECHECK", "", f"copies of the state differ at serial {', '.join(map(str, split))}"
    )


async def check_copies(env: Env, found: Findings) -> None:
    """Every copy is sound, and the configuration in it is the master's. Those who do not answer are told elsewhere."""
    master = env.config.cluster.master_node
    for attempt in range(_SETTLE_TRIES):
        holders = [node.uuid for node in env.config.candidates if not node.offline]
        replies = {
            node: reply
            for node, reply in (await env.rpc.many(holders, StoreCheck())).items()
            if isinstance(reply, CheckReply) and (reply.serial or reply.problem)
        }
        own = replies.get(master)
        different = [
            node
            for node, reply in replies.items()
            if own is not None and reply.content and own.content and reply.content != own.content
        ]
        # asked at different moments, they may be different without any harm
        if not different or attempt == _SETTLE_TRIES - 1:
            break
        await env.sleep(_SETTLE_S)
    for node, reply in replies.items():
        name = env.config.nodes[node].name
        found.check(not reply.problem, "ECLUSTERFILECHECK", name, f"its copy of the state is bad: {reply.problem}")
        text = (
            "its copy of the state differs from the master's in content; move the files state.db* on it aside: "
            "the master sends it a new copy"
        )
        found.check(node not in different, "ECLUSTERFILECHECK", name, text)


def check_debts(config: Config, debts: Sequence[Undo], found: Findings) -> None:
    """Undos that wait for their node, or for an instance's disks; what they are about stays reserved until then."""
    heads = {False: "to be undone when the node is back", True: "kept, it may be the only good copy of data"}
    by_node: dict[tuple[Uuid, bool], list[str]] = {}
    for undo in debts:
        is_kept = undo.until_good is not None and undo.until_good in config.instances
        by_node.setdefault((undo.node, is_kept), []).append(owing.told(config, undo))
    for (node, is_kept), texts in by_node.items():
        name = config.nodes[node].name if node in config.nodes else node
        found.check(False, "ECLUSTERCFG", name, f"{heads[is_kept]}: {'; '.join(texts)}", is_warning=True)
