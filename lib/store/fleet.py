"""The leader's senders, one per voter, and what their standings allow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ganeti import errors
from ganeti.calls.port import Rpc
from ganeti.host.clock import Clock
from ganeti.store import quorum
from ganeti.store.api import VoterState
from ganeti.store.chain import Chain
from ganeti.store.quorum import Limits, Standing
from ganeti.store.sender import Sender

log = logging.getLogger(__name__)


class Fleet:
    """All methods belong to the loop."""

    def __init__(
        self,
        own: str,
        *,
        chain: Chain,
        rpc: Rpc,
        clock: Clock,
        limits: Limits,
        name_of: Callable[[str], str],
        ended: Callable[[asyncio.Task[None]], None],
    ) -> None:
        """`ended` is called with each sender's task when it is over."""
        self._own, self._chain, self._rpc, self._clock, self._limits = own, chain, rpc, clock, limits
        self._name_of, self._ended = name_of, ended
        self._term = 0
        self._senders: dict[str, Sender] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.voters: tuple[str, ...] = ()
        self.is_forced = False  # the mastership was won without a majority
        self.progress = asyncio.Event()  # set when a standing changed

    # Senders

    def begin(self, term: int, *, is_forced: bool) -> None:
        """Send to all voters in the name of this term."""
        self._term, self.is_forced = term, is_forced
        self.follow(self.voters)

    def follow(self, voters: tuple[str, ...]) -> None:
        """From now on these count. Without a term nothing is sent yet."""
        self.voters = voters
        if not self._term:
            return
        for node in [node for node in self._senders if node not in voters]:
            self.dismiss(node)
        for node in voters:
            if node != self._own:
                self.enlist(node)

    def enlist(self, node: str) -> Standing:
        """Bring a node's copy up to date and keep it there; it counts only when it is a voter."""
        if node not in self._senders:
            sender = Sender(
                node,
                own=self._own,
                term=self._term,
                chain=self._chain,
                rpc=self._rpc,
                clock=self._clock,
                limits=self._limits,
                name=self._name_of(node),
                progress=self.progress.set,
            )
            self._senders[node] = sender
            self._tasks[node] = asyncio.create_task(sender.run(), name=f"store sender to {node}")
            self._tasks[node].add_done_callback(self._ended)
            sender.wake()
        return self._senders[node].standing

    def dismiss(self, node: str) -> None:
        self._senders.pop(node, None)
        task = self._tasks.pop(node, None)
        if task is not None:
            task.cancel()

    def wake(self) -> None:
        """The chain has grown."""
        for sender in self._senders.values():
            sender.wake()

    def cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        self.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._senders.clear()
        self._term, self.is_forced = 0, False

    # Standings

    def _standings(self) -> list[Standing]:
        return [self._senders[node].standing for node in self.voters if node in self._senders]

    def _missing(self) -> list[Standing]:
        return quorum.missing(self._standings(), self._clock.monotonic(), self._limits)

    @property
    def _may_go_solo(self) -> bool:
        return self.is_forced or len(self.voters) <= 2

    @property
    def _is_below_majority(self) -> bool:
        return len(self.voters) - len(self._missing()) < quorum.majority(len(self.voters))

    @property
    def is_solo(self) -> bool:
        return self._may_go_solo and self._is_below_majority

    def missing(self) -> list[str]:
        return [standing.node for standing in self._missing()]

    def check(self) -> None:
        """Raises QuorumError when too few voters follow."""
        if self._may_go_solo or not self._is_below_majority:
            return
        gone = self._missing()
        reasons = ", ".join(f"{self._name_of(standing.node)} ({standing.why or 'it is behind'})" for standing in gone)
        count, needed = len(self.voters), quorum.majority(len(self.voters))
        raise errors.QuorumError(
            f"only {count - len(gone)} of {count} master candidates hold the state, {needed} are needed; "
            f"missing: {reasons}",
            hint="start the node daemons of those that do not answer; remedy what is said of the others",
        )

    def is_acknowledged(self, serial: int) -> bool:
        """Whether a batch that is on the own disk may be published."""
        standings = self._standings()
        count = 1 + sum(standing.has(serial) for standing in standings)
        if self.is_forced and count >= quorum.majority(len(self.voters)):
            log.info("a majority of the master candidates is back")
            self.is_forced = False
        now = self._clock.monotonic()
        return quorum.is_acknowledged(serial, standings, now, self._limits, may_go_solo=self._may_go_solo)

    def is_level(self, serial: int) -> bool:
        """Whether all voters that answer have that batch."""
        return all(standing.has(serial) or bool(standing.why) for standing in self._standings())

    def states(self, published: int) -> Sequence[VoterState]:
        """`published`: serial of the last published batch."""
        return [self._state(node, published) for node in self.voters]

    def _state(self, node: str, published: int) -> VoterState:
        if node == self._own:
            return VoterState(node=node, is_reachable=True, is_current=True, position=self._chain.tip)
        if node not in self._senders:
            return VoterState(node=node, is_reachable=False, is_current=False, position=None, why="it was not asked")
        standing, now = self._senders[node].standing, self._clock.monotonic()
        return VoterState(
            node=node,
            is_reachable=not standing.is_failing(now, self._limits),
            is_current=standing.has(published) and not standing.is_missing(now, self._limits),
            position=standing.position,
            why=standing.why,
        )
