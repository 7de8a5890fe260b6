"""Seeded chance: which faults a run has, when they strike, and the trace that proves that a seed replays."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

#: fault → chance per occasion when the run has it at its usual strength
USUAL = {
    "call lost": 0.02,
    "call refused": 0.02,
    "reply lost": 0.03,
    "late arrival": 0.02,
    "duplicate": 0.02,
    "delay": 0.05,
    "driver fails before": 0.02,
    "driver fails after": 0.02,
    "driver is slow": 0.05,
    "node dies at an effect": 0.004,
    "process dies at a durable step": 0.0015,
    "script fails": 0.05,
    "client loses the reply": 0.15,
}
#: fault → how often per 100 s of virtual time it strikes by itself
SCHEDULED = {
    "node power off": 0.8,
    "node daemon killed": 1.0,
    "master killed": 1.2,
    "failover": 0.8,
    "partition": 0.8,
    "node daemon paused": 0.8,
    "master paused": 0.6,
    "disk full": 0.5,
    "disk full at the master": 0.2,
    "job cancelled": 4.0,
    "job killed": 4.0,
}
#: as those; drawn apart, so that seeds keep the course that they had before there were these
SCHEDULED_APART = {
    "failovers at one moment": 0.8,
}


class Chance:
    """The one source of randomness of a run, its counters and its trace."""

    def __init__(self, seed: int, *, is_verbose: bool = False) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.now = 0.0
        # where the run's files lie; like our process number it is another each time, so no part of the trace
        self.root = ""
        self.lines: list[str] = []
        self._digest = hashlib.sha256()
        self._is_verbose = is_verbose
        self.is_calm = False
        # each run has its own mixture: many faults at once hide what one of them does alone
        calm = self.rng.choice((0.3, 0.5, 0.8))
        self._strength = _strengths(self.rng, calm, (*USUAL, *SCHEDULED))
        self._strength |= _strengths(random.Random(f"{seed} apart"), calm, SCHEDULED_APART)

    def strikes(self, fault: str) -> bool:
        """Whether it happens on this occasion; counted when it does."""
        if self.is_calm or self.rng.random() >= USUAL[fault] * self._strength[fault]:
            return False
        self.counts[fault] += 1
        return True

    def wait_for(self, fault: str) -> float | None:
        """Seconds until a scheduled fault strikes next; None: this run does not have it."""
        rate = (SCHEDULED | SCHEDULED_APART)[fault] * self._strength[fault] / 100
        return self.rng.expovariate(rate) if rate else None

    def has(self, fault: str) -> bool:
        """Whether this run has it at all."""
        return self._strength[fault] > 0

    def between(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def trace(self, text: str) -> None:
        if self.root:
            text = text.replace(self.root, "").replace(f"(process {os.getpid()})", "(process)")
        line = f"{self.now:10.4f} {text}"
        self._digest.update(line.encode() + b"\n")
        self.lines.append(line)
        if self._is_verbose:
            print(line, flush=True)

    @property
    def trace_hash(self) -> str:
        return self._digest.hexdigest()[:16]


def _strengths(rng: random.Random, calm: float, names: Iterable[str]) -> dict[str, float]:
    return {name: 0.0 if rng.random() < calm else rng.choice((0.5, 1.0, 3.0)) for name in names}
