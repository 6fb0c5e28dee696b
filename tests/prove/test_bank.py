"""Five hundred merchants, three lines at the bank: kept busy, never one too many. SEED repeats a run's schedule."""

import os
import random

import pytest

from backbeat.compose.local.stack import Stack
from backbeat.streams.kafka.registration import add_client
from tests.integration import bank

pytestmark = [pytest.mark.prove, pytest.mark.integration]


@pytest.mark.parametrize(("disturbances", "engine_kills"), [(0, 0), (20, 5)], ids=["quiet", "killed"])
async def test_five_hundred_merchants(unique: str, disturbances: int, engine_kills: int) -> None:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    with Stack(ephemeral=True, partitions=4, engines=2) as stack:
        name = add_client(stack.bootstrap_servers, unique, partitions=4).name
        async with bank.Bank(transfer_seconds=0.3) as ledger:
            used = await bank.pay(
                stack, name, ledger, merchants=500, disturbances=disturbances, engine_kills=engine_kills, seed=seed
            )
    print(f"{used:.1%} of the bank's lines were used, {sum(ledger.transfers.values())} transfers for 500 merchants")
    if not disturbances:
        assert used >= 0.95
