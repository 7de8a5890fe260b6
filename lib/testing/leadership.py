"""A leadership in memory: commits at once, or holds them back, or loses the mastership, as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from ganeti import errors
from ganeti.store.api import Batch, Note, Position, VoterState, Write


class MemoryLeadership:
    """Implements `store.api.Leadership` for one process."""

    def __init__(self, term: int = 1) -> None:
        self.table: dict[tuple[str, str], str] = {}
        self.batches: list[Batch] = []
        self.secrets: dict[str, str] = {}
        self.missing: list[str] = []
        self.why = ""  # no voter takes changes
        self.is_lost = False
        self.gate = asyncio.Event()  # cleared: commits wait
        self.gate.set()
        self.held = 0  # commits that wait for it
        self.secret_gate = asyncio.Event()  # cleared: who asks for secrets waits
        self.secret_gate.set()
        self.voter_names: list[str] = []
        self._term = term
        self._listeners: list[Callable[[Batch], None]] = []
        self._soon: list[tuple[Sequence[Write], Note]] = []

    @property
    def term(self) -> int:
        return self._term

    @property
    def position(self) -> Position:
        return Position(self._term, len(self.batches), "")

    @property
    def is_solo(self) -> bool:
        return False

    def missing_voters(self) -> Sequence[str]:
        return self.missing

    def check_quorum(self) -> None:
        if self.missing:
            raise errors.QuorumError("too few master candidates answer: " + ", ".join(self.missing))

    async def commit(
        self, writes: Sequence[Write], note: Note, *, secrets: Mapping[str, str | None] | None = None
    ) -> Position:
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        if self.is_lost:
            raise errors.StaleTermError("another node is master now")
        every = [write for soon, _ in self._soon for write in soon] + list(writes)
        self._soon.clear()
        await asyncio.sleep(0)
        self._publish(every, note)
        for name, value in (secrets or {}).items():
            if value is None:
                self.secrets.pop(name, None)
            else:
                self.secrets[name] = value
        return self.position

    def _publish(self, writes: Sequence[Write], note: Note) -> None:
        batch = Batch(term=self._term, serial=len(self.batches) + 1, time=0.0, writes=tuple(writes), notes=(note,))
        self.batches.append(batch)
        for write in writes:
            if write.value is None:
                self.table.pop((write.table, write.key), None)
            else:
                self.table[write.table, write.key] = write.value
        for listener in self._listeners:
            listener(batch)

    def commit_soon(self, writes: Sequence[Write], note: Note) -> None:
        self._soon.append((writes, note))

    def on_publish(self, listener: Callable[[Batch], None]) -> None:
        self._listeners.append(listener)

    async def rows(self, table: str, *, prefix: str = "") -> Sequence[tuple[str, str]]:
        return [
            (key, value)
            for (name, key), value in sorted(self.table.items())
            if name == table and key.startswith(prefix)
        ]

    async def history(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        return [batch for batch in self.batches if batch.serial > after][:limit]

    async def secret(self, name: str) -> str | None:
        await self.secret_gate.wait()
        return self.secrets.get(name)

    async def catch_up(self, node: str) -> None:
        await self.gate.wait()

    async def add_voter(self, node: str, writes: Sequence[Write], note: Note) -> None:
        await self.commit(writes, note)
        self.voter_names.append(node)

    async def remove_voter(self, node: str, writes: Sequence[Write], note: Note) -> None:
        await self.commit(writes, note)
        self.voter_names.remove(node)

    def voters(self) -> Sequence[VoterState]:
        return [
            VoterState(
                node=node, is_reachable=not self.why, is_current=not self.why, position=self.position, why=self.why
            )
            for node in self.voter_names
        ]
