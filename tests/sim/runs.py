"""Running seeds."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from backbeat.streams.core.jobs import slices

from .checks import ViolationError
from .simulation import Simulation

#: How long a job that has ended is kept here: in a run as short as these its timer is to be due, too.
JOB_RETENTION_MS = 4_000


def run_seed(seed: int, *, verbose: bool = False, rates: Mapping[str, float] | None = None) -> Simulation:
    """One run; with `rates` of its faults, of the safety phase alone. What goes wrong says how to repeat it."""
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory where there is one: RocksDB opens much faster there
    folder = Path(tempfile.mkdtemp(prefix="backbeat-sim-", dir=memory if memory.is_dir() else None))
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), mock.patch.object(slices, "RETENTION_MS", JOB_RETENTION_MS):
            # What a crash cut off was never awaited: that is the point of it.
            warnings.simplefilter("ignore", RuntimeWarning)
            world = Simulation(seed, folder, verbose=verbose, rates=rates)
            world.run()
    except Exception as error:
        kind = type(error) if isinstance(error, ViolationError) else ViolationError
        raise kind(f"{type(error).__name__}: {error}\n\nrepeat it with: make sim SEED={seed}") from error
    else:
        return world
    finally:
        logging.disable(logging.NOTSET)
        shutil.rmtree(folder)
