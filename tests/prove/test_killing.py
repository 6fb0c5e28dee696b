"""Five thousand nodes while workers are killed (-9) at random. SEED repeats a run's schedule."""

import os
import random
from pathlib import Path

import pytest

from backbeat.compose.local.stack import Stack
from backbeat.streams.kafka.registration import add_client
from tests.integration import killing

pytestmark = [pytest.mark.prove, pytest.mark.integration]


async def test_nothing_is_lost_and_each_repeat_is_known(tmp_path: Path, unique: str) -> None:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    with Stack(ephemeral=True, partitions=4) as stack:
        name = add_client(stack.bootstrap_servers, unique, partitions=4).name
        repeats = await killing.run(stack.bootstrap_servers, name, tmp_path, seed=seed, count=5_000, kills=15)
    print(f"{repeats} nodes were run more than once")
    # Else nothing was killed at work.
    assert repeats
