"""How a batch is encoded and chained to the one before it."""

from __future__ import annotations

import hashlib

import msgspec

from ganeti import errors
from ganeti.store.api import TABLES, Batch, Position
from ganeti.wire import codec

#: the position of a copy that holds nothing
NOWHERE = Position(0, 0, "")


class Entry(msgspec.Struct, frozen=True):
    """A batch with its place in the chain. `text` is what was hashed, and what is stored and sent."""

    batch: Batch
    text: str
    previous: str  # hash, empty before the first batch
    hash: str

    @property
    def position(self) -> Position:
        return Position(self.batch.term, self.batch.serial, self.hash)


def chain(previous: str, term: int, serial: int, text: str) -> str:
    """Hash of a batch: 64 lower-case hex digits."""
    return hashlib.sha256(f"{previous}\n{term}\n{serial}\n{text}".encode()).hexdigest()


def seal(batch: Batch, previous: str) -> Entry:
    """Encode a new batch on top of `previous`."""
    text = codec.pack(batch).decode()
    return Entry(batch, text, previous, chain(previous, batch.term, batch.serial, text))


def unseal(untrusted: str, previous: str) -> Entry:
    """A batch that was stored or received, on top of `previous`. Raises StoreError when it is no batch."""
    try:
        batch = codec.unpack(untrusted.encode(), Batch)
    except codec.CodecError as err:
        raise errors.StoreError(f"a batch of the state cannot be read: {err}") from err
    unknown = {write.table for write in batch.writes} - set(TABLES)
    if unknown:
        raise errors.StoreError(
            f"batch {batch.serial} has rows of unknown tables: {', '.join(sorted(unknown))}",
            hint="all master candidates must run the same version",
        )
    return Entry(batch, untrusted, previous, chain(previous, batch.term, batch.serial, untrusted))


def unseal_all(untrusted: tuple[str, ...], previous: str) -> list[Entry]:
    """Consecutive batches, the first on top of `previous`. Raises StoreError."""
    entries: list[Entry] = []
    for text in untrusted:
        entries.append(unseal(text, entries[-1].hash if entries else previous))
    return entries
