"""Who has what, and whether that is enough: the decisions of the leader, without clock and without effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ganeti.store.api import Position


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Patience of the leader, in seconds, and sizes, in characters."""

    probe_s: float = 2.0  # an idle voter is asked for its position
    patience_s: float = 1.0  # calls that fail for so long: missing
    slow_s: float = 5.0  # behind for so long: missing
    retry_min_s: float = 0.1
    retry_max_s: float = 2.0
    soon_s: float = 1.0  # what nobody waits for
    grace_s: float = 0.5  # for the rest, once a majority has answered
    claim_s: float = 30.0  # for the first batch of a term
    catch_up_s: float = 3600.0  # for a new voter
    drain_s: float = 2.0  # for what is under way at the end
    append_size: int = 1 << 20
    snapshot_size: int = 1 << 20
    group_size: int = 4 << 20
    recent_size: int = 8 << 20  # batches kept in memory for the senders


DEFAULT_LIMITS = Limits()


class Standing:
    """What the leader knows of one voter's copy."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.position: Position | None = None
        self.matched = -1  # serial up to which its copy is on our chain, -1: unknown
        self.failing_since: float | None = None
        self.behind_since: float | None = None
        self.why = ""  # it fails

    def answered(self) -> None:
        self.failing_since, self.why = None, ""

    def failed(self, why: str, now: float) -> None:
        self.why = why
        if self.failing_since is None:
            self.failing_since = now

    def has(self, serial: int) -> bool:
        return self.matched >= serial

    def follow(self, tip: int, now: float) -> None:
        """Note whether it is behind a tip with that serial."""
        if self.has(tip):
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now

    def is_failing(self, now: float, limits: Limits) -> bool:
        return self.failing_since is not None and now - self.failing_since >= limits.patience_s

    def is_missing(self, now: float, limits: Limits) -> bool:
        is_late = self.behind_since is not None and now - self.behind_since >= limits.slow_s
        return is_late or self.is_failing(now, limits)


#: how to go on without the others, and the price
NO_VOTING = (
    "`gnt-cluster master-failover --no-voting` makes a master without them: changes that only they know are LOST, "
    "and two masters act at the same time if the old one is alive"
)


def advice(silent: Iterable[str], refusing: Iterable[str]) -> str:
    """What to do about candidates that do not answer, and about those that answer but are of no use; names."""
    lines = []
    if gone := ", ".join(sorted(silent)):
        lines.append(f"start the node daemons of {gone}")
    if bad := ", ".join(sorted(refusing)):
        lines.append(f"the node daemons of {bad} run: remedy there what is said above")
    return "; ".join([*lines, "as a last resort, " + NO_VOTING])


def majority(count: int) -> int:
    return count // 2 + 1


def is_acknowledged(serial: int, others: Sequence[Standing], now: float, limits: Limits, *, may_go_solo: bool) -> bool:
    """Whether a batch that is on the leader's disk may be published. `others` are the voters but the leader."""
    count = 1 + sum(voter.has(serial) for voter in others)
    if count >= majority(1 + len(others)):
        return True
    return may_go_solo and all(voter.has(serial) or voter.is_missing(now, limits) for voter in others)


def missing(others: Iterable[Standing], now: float, limits: Limits) -> list[Standing]:
    return [voter for voter in others if voter.is_missing(now, limits)]
