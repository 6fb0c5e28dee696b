"""Engines that are killed, stopped for longer than their session, ended and started again while commands flow.

SEED repeats a run's schedule and load (what happens when is still up to the machine).
"""

import os
import random

from tests.integration import chaos


def test_state_is_exact_and_every_effect_sent(kafka, tmp_path):
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    chaos.run(kafka, tmp_path, seed, count=1_500, per_second=100, subjects=40)
