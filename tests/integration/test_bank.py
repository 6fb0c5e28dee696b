"""At most three at once at the bank, whatever ends, joins or is killed."""

import os
import random

import pytest

from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import stack_on
from tests.integration import bank

pytestmark = pytest.mark.integration


async def test_never_a_fourth_connection_and_no_slot_lost(kafka: str, unique: str) -> None:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    with stack_on(kafka, partitions=4, engines=2) as stack:
        name = add_client(stack.bootstrap_servers, unique, partitions=4).name
        async with bank.Bank(transfer_seconds=0.15) as ledger:
            await bank.pay(stack, name, ledger, merchants=60, disturbances=3, engine_kills=1, seed=seed)
