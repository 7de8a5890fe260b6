"""How much of a message to the candidates a change takes: what does not fit could never be acknowledged."""

from __future__ import annotations

from collections.abc import Iterable

from ganeti import errors
from ganeti.store.api import Write
from ganeti.wire import codec

#: bytes of one commit; node daemons take messages of 64 MiB, and other things travel with it
MAX_COMMIT = 48 << 20
#: bytes that one character of a value may become: one beyond the basic plane is two escapes of six
_WORST = 12


def sent_size(writes: Iterable[Write]) -> int:
    """Bytes of these rows in a message."""
    return sum(len(codec.dumps(codec.pack([write.table, write.key, write.value]).decode())) for write in writes)


def fits(writes: Iterable[Write], limit: int) -> bool:
    """Whether they take no more bytes. Costs next to nothing when it is plain that they do not."""
    every = list(writes)
    longest = sum(len(write.value or "") + len(write.key) + 40 for write in every) * _WORST
    return longest <= limit or sent_size(every) <= limit


def check(writes: Iterable[Write]) -> None:
    """Raises StoreError."""
    if not fits(writes, MAX_COMMIT):
        raise errors.StoreError(
            f"the change is too large: it would take more than {MAX_COMMIT >> 20} MiB of a message to the candidates",
            hint="ask for less at once",
        )
