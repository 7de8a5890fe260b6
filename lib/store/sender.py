"""Brings one voter's copy up to date and keeps it there. A slow one delays nobody else."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable

from ganeti import errors
from ganeti.calls.base import CONNECTING_S
from ganeti.calls.port import Rpc
from ganeti.calls.store import AppendReply, StateReply, StoreAppend, StoreSnapshot, StoreState
from ganeti.host.clock import Clock
from ganeti.model.types import Uuid
from ganeti.store.api import Position
from ganeti.store.chain import Chain
from ganeti.store.quorum import Limits, Standing

log = logging.getLogger(__name__)

#: refusals of an append in words
REFUSALS = {
    "full": "no space left for the state on its disk",
    "in use": "a master daemon runs there and keeps the state to itself",
}


class Outrun(Exception):
    """A voter follows somebody else in this term or a higher one. The text says whom."""


class Sender:
    """One task for one voter; runs until it is cancelled or the mastership is found lost (Outrun)."""

    def __init__(
        self,
        node: str,
        *,
        own: str,
        term: int,
        chain: Chain,
        rpc: Rpc,
        clock: Clock,
        limits: Limits,
        name: str,
        progress: Callable[[], None],
    ) -> None:
        """`own` is the leader's node, `name` the voter's for messages; `progress` is called when `standing` changed."""
        self.standing = Standing(node)
        self._own, self._term, self._name = own, term, name
        self._chain, self._rpc, self._clock, self._limits = chain, rpc, clock, limits
        self._progress = progress
        self._wake = asyncio.Event()
        self._has_all_secrets = False
        self._must_replace = False

    def wake(self) -> None:
        """There is a new batch."""
        self.standing.follow(self._chain.tip.serial, self._clock.monotonic())
        self._wake.set()

    async def run(self) -> None:
        pause = self._limits.retry_min_s
        while True:
            try:
                self._wake.clear()
                await self._step()
                if self.standing.why:
                    log.info("candidate %s answers again", self._name)
                self.standing.answered()
                pause = self._limits.retry_min_s
            except (errors.GanetiError, TimeoutError) as err:
                self._note_failure(err)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._limits.retry_max_s)

    def _note_failure(self, err: Exception) -> None:
        if isinstance(err, errors.RpcError) and err.kind == "stale_term":
            raise Outrun(f"{self._name} refuses our term {self._term}: {err.message}") from err
        if not self.standing.why:
            log.warning("candidate %s fails: %s", self._name, str(err) or "no answer in time")
        self.standing.failed(str(err) or "no answer in time", self._clock.monotonic())
        self._progress()

    async def _step(self) -> None:
        """One exchange with the voter, or a wait for something to send."""
        standing = self.standing
        if standing.position is None:
            await self._look()
        elif self._must_replace:
            await self._replace()
        elif standing.matched < self._chain.tip.serial or not self._has_all_secrets:
            await self._append(standing.position)
        else:
            try:
                async with asyncio.timeout(self._limits.probe_s):
                    await self._wake.wait()
            except TimeoutError:
                await self._look()

    async def _look(self) -> None:
        async with asyncio.timeout(StoreState.time.value + CONNECTING_S):
            reply = await self._rpc.one(Uuid(self.standing.node), StoreState())
        await self._place(reply)

    async def _place(self, state: StateReply) -> None:
        """Note what the voter has, as its own answer says."""
        if state.promised_term > self._term or (
            state.promised_term == self._term and state.promised_to not in ("", self._own)
        ):
            raise Outrun(
                f"{self._name} has promised term {state.promised_term} to node {state.promised_to}, "
                f"ours is {self._term}"
            )
        position = Position(state.term, state.serial, state.hash)
        is_ours = await self._chain.has(position)
        if not is_ours and position != self.standing.position:
            log.warning("the copy of candidate %s is not on our chain or too old: it gets a snapshot", self._name)
        self._must_replace = not is_ours
        self.standing.position = position
        self.standing.matched = position.serial if is_ours else -1
        self.standing.follow(self._chain.tip.serial, self._clock.monotonic())
        self._progress()

    async def _append(self, position: Position) -> None:
        parcel = await self._chain.after(position, self._limits.append_size)
        secrets: dict[str, str | None] | None = parcel.secrets or None
        sends_all = parcel.secrets is None or not self._has_all_secrets
        if sends_all:
            secrets = dict(await self._chain.secrets())
        reply = await self._rpc.one(
            Uuid(self.standing.node),
            StoreAppend(
                previous_hash=parcel.previous,
                batches=parcel.texts,
                secrets=secrets,
                all_secrets=sends_all,
                leader=self._own,
                leader_term=self._term,
            ),
        )
        # when it was refused because an earlier reply got lost, whose secrets arrived with it is not known
        self._has_all_secrets = reply.accepted
        await self._accept(reply)

    async def _replace(self) -> None:
        snapshot = await self._chain.snapshot()
        try:
            transfer, part = str(uuid.uuid4()), 0
            rows = await self._chain.read(snapshot.part, self._limits.snapshot_size)
            while True:
                following = await self._chain.read(snapshot.part, self._limits.snapshot_size) if rows else []
                reply = await self._rpc.one(
                    Uuid(self.standing.node),
                    StoreSnapshot(
                        transfer=transfer,
                        part=part,
                        is_last=not following,
                        rows=tuple(rows),
                        term=snapshot.position.term,
                        serial=snapshot.position.serial,
                        hash=snapshot.position.hash,
                        secrets=snapshot.secrets if not following else {},
                        leader=self._own,
                        leader_term=self._term,
                    ),
                )
                if not reply.accepted or not following:
                    break
                rows, part = following, part + 1
                self.standing.answered()
        finally:
            await self._chain.read(snapshot.close)
        self._has_all_secrets = False
        await self._accept(reply)

    async def _accept(self, reply: AppendReply) -> None:
        before = self.standing.position
        await self._place(reply.state)
        if not reply.accepted and (reply.why_not in REFUSALS or self.standing.position == before):
            why = REFUSALS.get(reply.why_not, f"it refused a batch ({reply.why_not})")
            raise errors.RpcError(self._name, "failed", why)
