"""Calls that replicate the state and win masterships (doc/design/store.rst)."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, Reserve, Time, call


class StateReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a voter has on disk."""

    term: int  # of its last batch
    serial: int
    hash: str  # hex
    promised_term: int
    promised_to: str  # uuid of the claimant, empty: none
    seen_term: int


@call(reply=StateReply, time=Time.URGENT, reserve=Reserve.QUORUM)
class StoreState(Call[StateReply], frozen=True, tag="store_state"):
    """The voter's position."""


class CheckReply(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a copy, read at one moment."""

    serial: int = 0  # of its last batch, 0: there is no copy
    hash: str = ""
    content: str = ""  # SHA-256 of the configuration's rows
    problem: str = ""  # what is wrong with the file, and what to do


@call(reply=CheckReply, time=Time.SLOW)
class StoreCheck(Call[CheckReply], frozen=True, tag="store_check"):
    """Read the whole copy: is the file sound, do its batches match their hashes, what does it hold?"""


class PromiseReply(msgspec.Struct, frozen=True, kw_only=True):
    granted: bool
    state: StateReply
    why_not: str = ""


@call(reply=PromiseReply, time=Time.URGENT, reserve=Reserve.QUORUM)
class StorePromise(Call[PromiseReply], frozen=True, tag="store_promise"):
    """Ask for a durable promise: this claimant in this term, and nobody in a lower one."""

    claim: int  # the new term
    claimant: str  # node uuid
    last_term: int  # of the claimant's last batch
    last_serial: int


class AppendReply(msgspec.Struct, frozen=True, kw_only=True):
    accepted: bool
    state: StateReply
    why_not: str = ""  # gap | hash | term | full | in use


@call(reply=AppendReply, time=Time.NORMAL, reserve=Reserve.QUORUM, has_effect=True)
class StoreAppend(Call[AppendReply], frozen=True, tag="store_append"):
    """Apply batches on top of `previous_hash`; the reply comes after fsync."""

    previous_hash: str
    batches: tuple[str, ...]  # encoded `store.batch.Batch`, oldest first
    secrets: dict[str, str | None] | None = None  # changed secret values; None as a value: deleted
    all_secrets: bool = False  # `secrets` is the whole table
    leader: str = ""  # node uuid
    leader_term: int = 0  # batches of a catch-up have lower ones


@call(reply=AppendReply, time=Time.SLOW, reserve=Reserve.QUORUM, has_effect=True)
class StoreSnapshot(Call[AppendReply], frozen=True, tag="store_snapshot"):
    """One part of a whole state that replaces the voter's, in one transaction when the last part is there."""

    transfer: str  # id of this transfer
    part: int  # from 0
    is_last: bool
    rows: tuple[tuple[str, str, str], ...]  # table, key, value
    term: int
    serial: int
    hash: str
    secrets: dict[str, str] = {}  # with the last part: the whole table
    leader: str = ""  # node uuid
    leader_term: int = 0


class FetchReply(msgspec.Struct, frozen=True, kw_only=True):
    is_known: bool  # the position asked about is in this voter's history
    batches: tuple[str, ...] = ()  # encoded, oldest first; empty: there are no more
    secrets: dict[str, str] = {}  # the whole table


@call(reply=FetchReply, time=Time.NORMAL, reserve=Reserve.QUORUM)
class StoreFetch(Call[FetchReply], frozen=True, tag="store_fetch"):
    """The batches after a position: what a restarted master's own disk has missed."""

    serial: int
    hash: str


@call(reply=None, time=Time.NORMAL, reserve=Reserve.QUORUM, has_effect=True)
class StoreDrop(Call[None], frozen=True, tag="store_drop"):
    """The node is no candidate any more: put its copy of the state aside, unless it has followed any further."""

    serial: int | None = None  # of the batch that ended its vote; None: drop it in any case
    leader: str = ""  # node uuid
    leader_term: int = 0
