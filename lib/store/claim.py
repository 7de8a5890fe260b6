"""How a mastership is won: questions, promises, the term's acceptance (doc/design/store.rst, rule 8)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TypeVar

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.node import NodeVersion, TermPush
from ganeti.calls.port import Rpc
from ganeti.calls.store import StateReply, StoreFetch, StorePromise, StoreState
from ganeti.model.types import Uuid
from ganeti.store.api import Position
from ganeti.store.batch import Entry, unseal_all
from ganeti.store.quorum import advice, majority

log = logging.getLogger(__name__)

R = TypeVar("R")


class Claim:
    """One attempt of one node. Changes nothing but the promises it asks for."""

    def __init__(self, own: str, rpc: Rpc, *, name_of: Callable[[str], str], grace_s: float, is_forced: bool) -> None:
        """`grace_s`: how long the others may take once a majority has answered; `is_forced`: needs no majority."""
        self._own, self._rpc, self._name_of = own, rpc, name_of
        self._grace_s, self._is_forced = grace_s, is_forced

    async def ask_states(self, voters: Sequence[str]) -> dict[str, StateReply]:
        """What the other voters have. Raises QuorumError when less than a majority of all can be asked."""
        replies = await self._ask(self._others(voters), StoreState(), need=majority(len(voters)) - 1)
        states = {node: reply for node, reply in replies.items() if isinstance(reply, StateReply)}
        useful = [node for node, state in states.items() if state.serial]
        whys = {node: _why(reply) for node, reply in replies.items() if isinstance(reply, errors.RpcError)}
        whys |= {node: "has no copy of the state" for node in states if node not in useful}
        self._need_majority(voters, useful, whys, "have a copy of the state that can be read", _silent(replies))
        return states

    def ahead(self, states: Mapping[str, StateReply], position: Position) -> str | None:
        """The voter that has most, if it has more than we."""
        best = max(states, key=lambda node: (states[node].term, states[node].serial), default=None)
        if best is None or (states[best].term, states[best].serial) <= (position.term, position.serial):
            return None
        return best

    def refusal(self, node: str, state: StateReply, position: Position) -> errors.StaleTermError:
        name = self._name_of(node)
        return errors.StaleTermError(
            f"node {name} has a newer state ({state.term}/{state.serial}) than this one "
            f"({position.term}/{position.serial}): this node must not become master",
            hint=f"the master runs elsewhere, or make {name} the master: run `gnt-cluster master-failover` there",
        )

    async def fetch(self, node: str, position: Position) -> tuple[list[Entry], dict[str, str]] | None:
        """Some of the batches that the voter has on top of `position`, and its secrets; None: not its past."""
        reply = await self._rpc.one(Uuid(node), StoreFetch(serial=position.serial, hash=position.hash))
        return (unseal_all(reply.batches, position.hash), reply.secrets) if reply.is_known else None

    async def highest_term(self, nodes: Iterable[str], states: Mapping[str, StateReply]) -> int:
        """That anybody who answers has seen. A forced claim asks all nodes, others learn by the refusal."""
        terms = [max(state.term, state.promised_term, state.seen_term) for state in states.values()]
        if self._is_forced:
            replies = await self._ask(self._others(nodes), NodeVersion(), need=0)
            terms += [reply.term for reply in replies.values() if not isinstance(reply, errors.RpcError)]
        return max(terms, default=0)

    async def ask_promises(self, voters: Sequence[str], term: int, position: Position) -> None:
        """Raises QuorumError without promises of a majority; the own one counts and is to be written next."""
        call = StorePromise(claim=term, claimant=self._own, last_term=position.term, last_serial=position.serial)
        replies = await self._ask(
            self._others(voters), call, need=majority(len(voters)) - 1, counts=lambda reply: reply.granted
        )
        granted = [n for n, reply in replies.items() if not isinstance(reply, errors.RpcError) and reply.granted]
        whys = {
            node: _why(reply) if isinstance(reply, errors.RpcError) else reply.why_not
            for node, reply in replies.items()
            if node not in granted
        }
        taken = sum(
            not isinstance(reply, errors.RpcError) and not reply.granted and reply.state.serial > 0
            for reply in replies.values()
        )
        self._need_majority(voters, granted, whys, f"promise to follow in term {term}", _silent(replies), taken=taken)

    async def push_term(self, nodes: Sequence[str], term: int) -> None:
        """Tell all nodes. Raises QuorumError when a majority did not accept (the own one does)."""
        everybody = list(dict.fromkeys([*nodes, self._own]))
        call = TermPush(master=self._name_of(self._own))
        replies = await self._ask(
            everybody, call, need=majority(len(everybody)), counts=lambda reply: reply.term <= term
        )
        accepted = {n for n, reply in replies.items() if not isinstance(reply, errors.RpcError) and reply.term <= term}
        whys = {
            node: _why(reply) if isinstance(reply, errors.RpcError) else f"saw term {reply.term}"
            for node, reply in replies.items()
            if node not in accepted
        }
        others = sorted(accepted - {self._own})
        taken = sum(not isinstance(reply, errors.RpcError) and reply.term > term for reply in replies.values())
        self._need_majority(everybody, others, whys, f"accept term {term}", _silent(replies), what="nodes", taken=taken)

    def _others(self, nodes: Iterable[str]) -> list[str]:
        return [node for node in dict.fromkeys(nodes) if node != self._own]

    def _need_majority(
        self,
        everybody: Sequence[str],
        others: Sequence[str],
        whys: Mapping[str, str],
        what_for: str,
        silent: Container[str],
        *,
        what: str = "master candidates",
        taken: int = 0,
    ) -> None:
        """`taken`: how many said no for the sake of another claimant."""
        if self._is_forced or 1 + len(others) >= majority(len(everybody)):
            return
        reasons = "; ".join(f"{self._name_of(node)} ({why})" for node, why in sorted(whys.items()))
        is_contended = 1 + len(others) + taken >= majority(len(everybody))
        raise (errors.ContendedError if is_contended else errors.QuorumError)(
            f"only {1 + len(others)} of {len(everybody)} {what} {what_for}, {majority(len(everybody))} are needed; "
            f"missing: {reasons}",
            hint=advice(
                [self._name_of(node) for node in whys if node in silent],
                [self._name_of(node) for node in whys if node not in silent],
            ),
        )

    async def _ask(
        self,
        nodes: Sequence[str],
        call: Call[R],
        *,
        need: int,
        counts: Callable[[R], bool] = lambda reply: True,
    ) -> dict[str, R | errors.RpcError]:
        """One result per node. Once `need` replies count, the rest have `grace_s` left."""
        tasks: dict[asyncio.Task[R | errors.RpcError], str] = {}
        for node in nodes:
            question = self._one(node, call)
            tasks[asyncio.create_task(question)] = node
        replies: dict[str, R | errors.RpcError] = {}
        limit = call.time.value
        try:
            async with asyncio.timeout(limit) as timer:
                is_enough = False
                waiting = set(tasks)
                while waiting:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    replies |= {tasks[task]: task.result() for task in done}
                    good = sum(not isinstance(reply, errors.RpcError) and counts(reply) for reply in replies.values())
                    if good >= need and not is_enough and need:
                        is_enough = True
                        timer.reschedule(asyncio.get_running_loop().time() + self._grace_s)
        except TimeoutError:
            log.debug("%s: not everybody answered in time", call.call_name)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for node in nodes:
            if node not in replies:
                replies[node] = errors.RpcError(self._name_of(node), "timeout", "no answer in time")
        return replies

    async def _one(self, node: str, call: Call[R]) -> R | errors.RpcError:
        try:
            return await self._rpc.one(Uuid(node), call)
        except errors.RpcError as err:
            return err


def _silent(replies: Mapping[str, object]) -> set[str]:
    """Those whose node daemon did not answer at all."""
    return {node for node, reply in replies.items() if isinstance(reply, errors.RpcError) and reply.is_silence}


def _why(err: errors.RpcError) -> str:
    return str(err).removeprefix(f"node {err.node}: ")
