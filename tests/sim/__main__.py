"""python -m tests.sim [SEED]: one run of the simulator, told line by line."""

from __future__ import annotations

import sys

from .runs import run_seed

if __name__ == "__main__":
    world = run_seed(int(sys.argv[1]), verbose="-q" not in sys.argv)
    sys.stdout.write(f"seed {world.seed}: {world.steps} steps, digest {world.digest}, {world.faults.happened}\n")
