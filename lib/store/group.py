"""Which waiting commits go together into the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from ganeti.store.api import Note, Position, Write


class Pending:
    """A commit that waits for the writer. `waiter` None: nobody waits for it."""

    __slots__ = ("is_alone", "note", "secrets", "size", "waiter", "writes")

    def __init__(
        self, writes: tuple[Write, ...], note: Note, secrets: Mapping[str, str | None], *, is_alone: bool = False
    ) -> None:
        """`is_alone`: in a batch of its own, as a change of the voters has to be."""
        self.writes, self.note, self.secrets, self.is_alone = writes, note, secrets, is_alone
        self.size = sum(len(write.key) + len(write.value or "") + 20 for write in writes)
        self.waiter: asyncio.Future[Position] | None = None


def take(queue: deque[Pending], max_size: int) -> list[Pending]:
    """Remove the next group from the queue: in order, at least one, then as many as fit."""
    group = [queue.popleft()]
    size = group[0].size
    while queue and not group[0].is_alone and not queue[0].is_alone and size + queue[0].size <= max_size:
        size += queue[0].size
        group.append(queue.popleft())
    return group
