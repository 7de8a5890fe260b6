"""A few seeds of `tools/simulate`, that a seed replays, and that a seeded mistake is found."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest

from ganeti.testing.sim.main import main, run
from ganeti.testing.sim.mutants import MUTANTS

#: some that a few seeds find; `tools/simulate --mutants` looks for all
QUICKLY_CAUGHT = (
    "the term check dropped",
    "an undo not journalled before its effect",
    "a submission answered before it is stored",
    "the journal dropped too early",
    "a migration begun without its way to an end",
)
SEEDS = range(1, 16)
#: found volumes or minors that nobody owned: of a node that could not be told to remove them, of a call without undo
#: that ended after the way back, of undos that depend on one that failed
MENDED = (116, 182, 585, 783, 1108, 1289, 1391, 1431, 1773, 1855)
played = functools.cache(run)


@pytest.mark.parametrize("seed", SEEDS)
def test_seed_when_played_then_nothing_is_violated(seed: int) -> None:
    outcome = played(seed)
    assert outcome.violations == ()
    assert outcome.jobs > 0
    assert outcome.batches > 0


@pytest.mark.parametrize("seed", MENDED)
def test_seed_that_found_a_mistake_finds_it_no_more(seed: int) -> None:
    assert run(seed).violations == ()


def test_seeds_together_inject_many_kinds_of_faults_and_jobs_end_in_all_ways() -> None:
    outcomes = [played(seed) for seed in SEEDS]
    assert len({fault for outcome in outcomes for fault in outcome.faults}) > 15
    assert {"success", "error"} <= {status for outcome in outcomes for status in outcome.statuses}


def test_seed_when_played_in_two_processes_then_traces_are_equal() -> None:
    script = "from ganeti.testing.sim.main import run; print(*[run(seed).trace_hash for seed in (5, 7)])"
    variables = os.environ | {"PYTHONHASHSEED": "0"}
    hashes = [
        subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert hashes[0] == hashes[1] != ""


@pytest.mark.parametrize("mutant", QUICKLY_CAUGHT)
def test_mutant_when_played_then_a_violation_is_found(mutant: str) -> None:
    # what a seed meets depends on the order of sets too: with any order, a few seeds may all miss it
    script = f"from ganeti.testing.sim.main import run; print(any(run(n, {mutant!r}).violations for n in range(1, 16)))"
    variables = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "True"


def test_simulate_when_all_is_well_then_figures_and_exit_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--seed", "1", "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "2 seeds in" in shown
    assert "faults injected" in shown
    assert "failing seeds: 0" in shown


def test_mutants_are_at_least_ten() -> None:
    assert len(MUTANTS) >= 10
