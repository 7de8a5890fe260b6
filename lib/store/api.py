"""What the store keeps and what the engine asks of it. Rules: doc/design/store.rst."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

#: the tables of the state; values are packed structs, the store does not look into them
TABLES = ("object", "job", "joblog", "jobop", "journal", "debt", "submission", "archive", "meta")


class Write(msgspec.Struct, frozen=True, array_like=True):
    """One row as it shall be; `value` None deletes it."""

    table: str
    key: str
    value: str | None


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a batch was written: the audit trail."""

    actor: str = ""
    job: int = 0
    reason: str = ""


class Batch(msgspec.Struct, frozen=True):
    """One transaction: all changes that were waiting."""

    term: int
    serial: int
    time: float  # epoch seconds
    writes: tuple[Write, ...]
    notes: tuple[Note, ...] = ()


class Position(msgspec.Struct, frozen=True):
    term: int
    serial: int
    hash: str


class VoterState(msgspec.Struct, frozen=True, kw_only=True):
    node: str  # uuid
    is_reachable: bool
    is_current: bool
    position: Position | None
    why: str = ""


class Leadership(Protocol):
    """The master's side of the store. All methods belong to the event loop."""

    @property
    def term(self) -> int:
        """Of the mastership that was won; 0 before."""
        ...

    @property
    def position(self) -> Position:
        """Last published batch."""
        ...

    @property
    def is_solo(self) -> bool:
        """Goes on although a voter of two is missing: an un-acknowledged tail may be lost at a forced failover."""
        ...

    def missing_voters(self) -> Sequence[str]:
        """Uuids of voters that do not have the last batch within their time; empty when all is well."""
        ...

    def check_quorum(self) -> None:
        """Raises QuorumError, naming the missing candidates, when no new work may be acknowledged.

        Also StaleTermError when the mastership is over, StoreError when the master's own disk is full.
        """
        ...

    async def commit(
        self, writes: Sequence[Write], note: Note, *, secrets: Mapping[str, str | None] | None = None
    ) -> Position:
        """Returns when a majority has it on disk and it was published. Never cancelled by its caller's time-out.

        All writes of one call are in one batch. Callers are batched together (group commit), in order of their calls.
        Waits while there is no majority: ask `check_quorum` before new work. Raises StaleTermError when the
        mastership ends before; whether the change is stored is then for the new master to say.
        """
        ...

    def commit_soon(self, writes: Sequence[Write], note: Note) -> None:
        """Goes with the next batch (at the latest after a second); nobody waits for it."""
        ...

    def on_publish(self, listener: Callable[[Batch], None]) -> None:
        """Called in the loop, in order, for every published batch, before its `commit` returns."""
        ...

    async def rows(self, table: str, *, prefix: str = "") -> Sequence[tuple[str, str]]:
        """Published rows, ordered by key."""
        ...

    async def history(self, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]: ...

    async def secret(self, name: str) -> str | None: ...

    async def catch_up(self, node: str) -> None:
        """Bring the copy of a node that is no voter up to date, and keep it so until the voters change.

        After it, `add_voter` puts its writes in the queue at once, in order with other commits.
        Raises StoreError when the node cannot be brought up to date.
        """
        ...

    async def add_voter(self, node: str, writes: Sequence[Write], note: Note) -> None:
        """Catch up, then one batch with `writes` and the new vote. Raises StoreError as `catch_up`."""
        ...

    async def remove_voter(self, node: str, writes: Sequence[Write], note: Note) -> None:
        """One batch with `writes` and the end of the vote. Raises PrereqError for the master itself."""
        ...

    def voters(self) -> Sequence[VoterState]: ...
