"""The same for many ids: some at a time, in order, each outcome told."""

import asyncio

import pytest

from backbeat.compose.cli.batch import run_each
from backbeat.errors import InvalidStatus, Unavailable

REFUSAL = InvalidStatus("invalid_client_status", "Cannot transition")


async def test_outcomes_come_in_order_and_so_many_are_under_way():
    under_way, most = 0, 0

    async def act(identity):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if identity == "3":
            raise REFUSAL

    outcomes = [outcome async for outcome in run_each([str(number) for number in range(10)], act, concurrency=4)]

    assert [outcome.id for outcome in outcomes] == [str(number) for number in range(10)]
    assert [outcome.id for outcome in outcomes if outcome.refusal is REFUSAL] == ["3"]
    assert most == 4


async def test_an_error_that_is_no_refusal_ends_the_batch():
    done = []

    async def act(identity):
        if identity == "2":
            raise Unavailable("Kafka is gone")
        done.append(identity)

    with pytest.raises(Unavailable):
        async for _ in run_each(["1", "2", "3"], act, concurrency=1):
            pass

    assert done == ["1"]
