"""The rules of doc/design/store.rst as a small model: whatever happens, what was acknowledged stays.

No files, no clock, no messages: each step is one exchange that succeeded. Lost calls and replies are steps not taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

NODES = tuple("abcde")
START = frozenset("abc")
FEW = st.frozensets(st.sampled_from(NODES), max_size=1)
PICK = st.integers(0, 5)
SOME = st.frozensets(st.sampled_from(NODES))

#: a batch: (term, number that makes it unique, the voters it sets or None)
LogEntry = tuple[int, int, frozenset[str] | None]


@dataclass
class Copy:
    log: list[LogEntry] = field(default_factory=list)
    promise: tuple[int, str] = (0, "")

    @property
    def position(self) -> tuple[int, int]:
        return (self.log[-1][0] if self.log else 0, len(self.log))

    def voters(self, upto: int | None = None) -> frozenset[str]:
        return next((v for _, _, v in reversed(self.log[:upto]) if v is not None), frozenset())


@dataclass
class Mastership:
    node: str
    term: int
    published: int  # length of the log
    has: dict[str, int] = field(default_factory=dict)  # what the voters acknowledged


def majority(votes: set[str], voters: frozenset[str]) -> bool:
    return 2 * len(votes & voters) > len(voters)


class Rules(RuleBasedStateMachine):
    """Flags are rules that a mutant forgets."""

    newest_state_wins = True  # 8d: a voter refuses a claimant that is behind it
    promises_bind_appends = True  # 1
    old_majority_publishes = True  # 10

    def __init__(self) -> None:
        super().__init__()
        first: LogEntry = (1, 0, START)
        self.copies = {node: Copy([first] if node in START else [], (1, "a")) for node in NODES}
        self.masters: dict[str, Mastership] = {}
        self.wins: list[tuple[int, list[LogEntry]]] = []
        self.acknowledged: list[tuple[int, int, LogEntry]] = []  # term of the publisher, place, batch
        self.publishers: dict[int, str] = {}
        self.unique = 0

    # What a mastership is made of

    def _promise(self, voter: str, node: str, term: int, position: tuple[int, int]) -> bool:
        copy = self.copies[voter]
        if not copy.log or voter in self.masters or term < copy.promise[0] or term <= copy.position[0]:
            return False
        if term == copy.promise[0] and copy.promise[1] != node:
            return False
        if self.newest_state_wins and copy.position > position:
            return False
        copy.promise = (term, node)
        return True

    def _new(self, node: str, voters: frozenset[str] | None = None) -> None:
        self.unique += 1
        self.copies[node].log.append((self.masters[node].term, self.unique, voters))

    def _send(self, node: str, voter: str) -> None:
        """An append or a snapshot: the voter becomes a copy of the leader."""
        master, copy = self.masters[node], self.copies[voter]
        is_bound = master.term < copy.promise[0] or (master.term == copy.promise[0] and copy.promise[1] != node)
        if voter in self.masters or (is_bound and self.promises_bind_appends):
            return
        copy.log = list(self.copies[node].log)
        copy.promise = (master.term, node)
        master.has[voter] = len(copy.log)

    def _publish(self, node: str) -> None:
        master, log = self.masters[node], self.copies[node].log
        voters = self.copies[node].voters(len(log) - 1)
        holders = {voter for voter, length in master.has.items() if length == len(log)} | {node}
        if master.published == len(log) or not (majority(holders, voters) or not self.old_majority_publishes):
            return
        assert self.publishers.setdefault(master.term, node) == node, "two masters acknowledged in one term"
        # the first batch of a term publishes whatever lay before it
        for place, entry in enumerate(log):
            if (place, entry) not in [known[1:] for known in self.acknowledged]:
                self.acknowledged.append((master.term, place, entry))
        master.published = len(log)

    # What happens

    @rule(node=st.sampled_from(NODES), asked=SOME, sees=FEW)
    def claim(self, node: str, asked: frozenset[str], sees: frozenset[str]) -> None:
        """A claimant that learns the highest term of some only, and whom some hear."""
        own = self.copies[node]
        if node not in own.voters() or node in self.masters:
            return
        term = max(max(self.copies[n].promise[0], self.copies[n].position[0]) for n in sees | {node}) + 1
        votes = {voter for voter in asked - {node} if self._promise(voter, node, term, own.position)} | {node}
        if majority(votes, own.voters()):
            own.promise = (term, node)
            self.masters[node] = Mastership(node, term, len(own.log))
            self.wins.append((term, list(own.log)))
            self._new(node)

    @precondition(lambda self: self.masters)
    @rule(pick=PICK, heard=SOME)
    def send(self, pick: int, heard: frozenset[str]) -> None:
        self._replicate(self._master(pick), heard)

    @precondition(lambda self: self.masters)
    @rule(pick=PICK, heard=SOME)
    def write(self, pick: int, heard: frozenset[str]) -> None:
        """One batch at a time."""
        node = self._master(pick)
        if self.masters[node].published == len(self.copies[node].log):
            self._new(node)
        self._replicate(node, heard)

    @precondition(lambda self: self.masters)
    @rule(pick=PICK, other=st.sampled_from(NODES), heard=SOME)
    def change_voters(self, pick: int, other: str, heard: frozenset[str]) -> None:
        """One at a time; a new one is brought up to date first."""
        node = self._master(pick)
        master, copy = self.masters[node], self.copies[node]
        if master.published == len(copy.log) and other != node:
            if other not in copy.voters():
                self._send(node, other)
            if other in copy.voters() or master.has.get(other) == len(copy.log):
                self._new(node, copy.voters() ^ {other})
        self._replicate(node, heard)

    @precondition(lambda self: self.masters)
    @rule(pick=PICK)
    def master_dies(self, pick: int) -> None:
        del self.masters[self._master(pick)]

    def _master(self, pick: int) -> str:
        return sorted(self.masters)[pick % len(self.masters)]

    def _replicate(self, node: str, heard: frozenset[str]) -> None:
        for voter in heard - {node}:
            self._send(node, voter)
        self._publish(node)

    # What holds

    @invariant()
    def nothing_acknowledged_is_contradicted(self) -> None:
        places: dict[int, LogEntry] = {}
        for _, place, entry in self.acknowledged:
            assert places.setdefault(place, entry) == entry, "two different batches were acknowledged in one place"

    @invariant()
    def later_masters_have_all_that_was_acknowledged(self) -> None:
        for term, place, entry in self.acknowledged:
            for won, log in self.wins:
                assert won <= term or log[place : place + 1] == [entry], f"term {won} has lost {entry}"


TestRules = Rules.TestCase
TestRules.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("forgotten", ["newest_state_wins", "promises_bind_appends", "old_majority_publishes"])
def test_a_forgotten_rule_is_noticed(forgotten: str) -> None:
    mutant = type("Mutant", (Rules,), {forgotten: False})
    quick = settings(
        max_examples=2000,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(mutant, settings=quick)
