"""`tools/simulate`: many seeds, or the mutants, with what was found."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from ganeti.testing.sim.mutants import MUTANTS
from ganeti.testing.sim.story import Outcome, play
from ganeti.testing.sim.world import REAL

#: a mutant that survives so many seeds is not caught
MUTANT_SEEDS = 1500
#: lines of a failing seed's trace that are shown without --verbose
TAIL = 40


def run(seed: int, mutant: str = "", *, is_verbose: bool = False) -> Outcome:
    # what the product logs would be written for a dead daemon's sake only
    logging.disable(logging.CRITICAL)
    return play(seed, kinds=MUTANTS[mutant] if mutant else REAL, is_verbose=is_verbose)


class Totals:
    def __init__(self) -> None:
        self.seeds = self.jobs = self.calls = self.batches = 0
        self.virtual_s = 0.0
        self.faults: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.failed: list[int] = []

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.jobs += outcome.jobs
        self.calls += outcome.calls
        self.batches += outcome.batches
        self.virtual_s += outcome.virtual_s
        self.faults.update(outcome.faults)
        self.statuses.update(outcome.statuses)
        if outcome.violations:
            self.failed.append(outcome.seed)

    def lines(self, seconds: float) -> Iterator[str]:
        yield (
            f"{self.seeds} seeds in {seconds:.1f} s ({self.seeds / seconds:.1f} per second), "
            f"{self.virtual_s / 3600:.1f} hours of virtual time"
        )
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        yield f"{self.jobs} jobs ({ended}), {self.calls} node calls, {self.batches} batches published"
        yield f"{self.faults.total()} faults injected:"
        for fault, count in sorted(self.faults.items()):
            yield f"  {count:7} {fault}"
        names = ", ".join(map(str, self.failed[:20])) + (" ..." if len(self.failed) > 20 else "")
        yield f"failing seeds: {len(self.failed)}" + (f" ({names})" if names else "")


def explain(outcome: Outcome, *, is_verbose: bool) -> None:
    print(f"seed {outcome.seed} FAILS (trace {outcome.trace_hash}):")
    for violation in outcome.violations:
        print(f"  {violation}")
    if not is_verbose:
        print(f"  the last of {len(outcome.trace)} lines of its trace; all of it: --seed {outcome.seed} --verbose")
        for line in outcome.trace[-TAIL:]:
            print(f"    {line}")
    sys.stdout.flush()


def seeds(wanted: Iterable[int], jobs: int, *, is_verbose: bool) -> int:
    """Exit status."""
    totals, began = Totals(), time.perf_counter()
    work = partial(run, is_verbose=is_verbose)
    with ProcessPoolExecutor(jobs) as pool:
        for outcome in pool.map(work, wanted, chunksize=1) if jobs > 1 else map(work, wanted):
            totals.add(outcome)
            if outcome.violations:
                explain(outcome, is_verbose=is_verbose)
    for line in totals.lines(time.perf_counter() - began):
        print(line)
    if totals.seeds == 1:
        print(f"trace {outcome.trace_hash}")
    return 1 if totals.failed else 0


def mutants(names: Sequence[str], first: int, jobs: int) -> int:
    """Exit status: 0 when each is caught."""
    survivors = []
    with ProcessPoolExecutor(jobs) as pool:
        for name in names:
            began = time.perf_counter()
            caught = _caught(pool, name, first, jobs)
            spent = f"{time.perf_counter() - began:.1f} s"
            if caught is None:
                survivors.append(name)
                print(f"SURVIVES {MUTANT_SEEDS} seeds: {name} ({spent})", flush=True)
            else:
                print(f"seed {caught.seed:5} catches: {name} ({spent})\n    {caught.violations[0]}", flush=True)
    print(f"{len(names) - len(survivors)} of {len(names)} mutants are caught")
    return 1 if survivors else 0


def _caught(pool: ProcessPoolExecutor, name: str, first: int, jobs: int) -> Outcome | None:
    """By a seed that the real system passes."""
    for start in range(first, first + MUTANT_SEEDS, 2 * jobs):
        for outcome in pool.map(partial(run, mutant=name), range(start, start + 2 * jobs)):
            if outcome.violations and not run(outcome.seed).violations:
                return outcome
    return None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/simulate",
        description="Plays the whole control plane on virtual time with seeded faults. Exit status 1: a seed failed.",
    )
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many (100)")
    parser.add_argument("--seed", type=int, metavar="S", help="the first one (1); alone: only this one")
    parser.add_argument("--mutants", action="store_true", help="look for a seed that catches each seeded mistake")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), metavar="NAME", help="only this mutant")
    parser.add_argument("--verbose", action="store_true", help="print each trace as it goes")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    options = parser.parse_args(argv)
    first = 1 if options.seed is None else options.seed
    if options.mutants or options.mutant:
        return mutants([options.mutant] if options.mutant else list(MUTANTS), first, max(1, options.jobs))
    alone = options.seed is not None and "--seeds" not in " ".join(argv if argv is not None else sys.argv)
    count = 1 if alone else options.seeds
    jobs = 1 if options.verbose or count == 1 else max(1, options.jobs)
    return seeds(range(first, first + count), jobs, is_verbose=options.verbose)


if __name__ == "__main__":
    sys.exit(main())
