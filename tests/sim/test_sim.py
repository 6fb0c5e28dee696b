"""The real engine, store, commit and restore over a broker in memory, with faults from a seed.

`make sim` draws seeds and prints them; `make sim SEED=…` repeats one run, told line by line. What is checked stands in
`checks` (safety) and at the end of `simulation` (liveness).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from backbeat.streams.compiled import is_compiled

from .breaks import BREAKS, RATES, SEEDS, broken
from .checks import ViolationError
from .runs import run_seed

_SEED = os.environ.get("BACKBEAT_SIM_SEED") or os.environ.get("SEED")
_RUNS = int(os.environ.get("BACKBEAT_SIM_RUNS") or os.environ.get("SIM_RUNS") or 8)
_PROVE_RUNS = int(os.environ.get("BACKBEAT_SIM_RUNS") or os.environ.get("SIM_RUNS") or 2_000)
#: Seeds in which a deliberate defect must show.
_BREAK_SEEDS = 200

one_seed_only = pytest.mark.skipif(bool(_SEED), reason="one seed was asked for")


def _run_all(seeds: list[int], *, verbose: bool) -> None:
    for seed in seeds:
        print(f"seed {seed}", flush=True)
        run_seed(seed, verbose=verbose)


def test_nothing_is_lost_or_done_twice_whatever_fails():
    if _SEED:
        _run_all([int(_SEED)], verbose=True)
    else:
        # Half of them are the same every time, half are new: what fails tells its seed.
        _run_all([*range(_RUNS // 2), *random.sample(range(10**9), _RUNS - _RUNS // 2)], verbose=False)


@one_seed_only
@pytest.mark.skipif(is_compiled(), reason="compiled code does not look at what a test puts in its place")
@pytest.mark.parametrize("name", BREAKS)
def test_the_simulator_notices_a_defect(name: str):
    with broken(name):
        for seed in [SEEDS.get(name, 0), *range(_BREAK_SEEDS)]:
            try:
                run_seed(seed, rates=RATES.get(name, {}))
            except ViolationError as violation:
                print(f"seed {seed}: {violation}")
                return
    pytest.fail(f"{name}: nobody notices within {_BREAK_SEEDS} seeds")


@one_seed_only
def test_a_seed_repeats_its_run_exactly():
    """Also in another process, where sets and dictionaries of bytes have another order."""
    outputs = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-m", "tests.sim", "7", "-q"],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1, outputs


@one_seed_only
@pytest.mark.prove
def test_many_seeds():
    _run_all(random.sample(range(10**9), _PROVE_RUNS), verbose=False)
