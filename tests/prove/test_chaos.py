"""The storm of tests/integration/test_chaos.py, ten times as long. SEED repeats one, COMMANDS says how long."""

import os
import random

import pytest

from tests.integration import chaos

pytestmark = [pytest.mark.prove, pytest.mark.integration]


def test_state_is_exact_and_every_effect_sent_over_many_commands(kafka, tmp_path):
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    count = int(os.environ.get("COMMANDS") or 50_000)
    chaos.run(kafka, tmp_path, seed, count=count, per_second=250, subjects=200)
