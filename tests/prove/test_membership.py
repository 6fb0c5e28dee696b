"""Engines are added and taken away while signals come: how long their acknowledgements take.

What is measured stands in docs/explanation/engine.md. ROUNDS says how often an engine is added and stopped.
"""

import asyncio
import os
import time

import pytest

from backbeat import Client
from backbeat.compose.local.stack import Stack
from tests.integration.rig import START_SECONDS_MAX

pytestmark = [pytest.mark.prove, pytest.mark.integration]

PER_SECOND = 30
ACKNOWLEDGED_SECONDS_MAX = 5.0
_PAUSE_SECONDS = 15.0


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def test_acknowledgements_while_engines_come_and_go():
    rounds = int(os.environ.get("ROUNDS") or 5)
    with Stack(ephemeral=True, partitions=8, engines=2) as stack:
        seconds: list[float] = []
        sent, going_on = 0, True

        async def signal(client: Client, number: int) -> None:
            began = time.monotonic()
            await client.signal("Sale", number, "Start")
            seconds.append(time.monotonic() - began)

        async def load(client: Client) -> None:
            nonlocal sent
            async with asyncio.TaskGroup() as signals:
                while going_on:
                    signals.create_task(signal(client, sent))
                    sent += 1
                    await asyncio.sleep(1 / PER_SECOND)

        async with Client(stack.bootstrap_servers, timeout=120.0) as client:
            loading = asyncio.create_task(load(client))
            await asyncio.sleep(_PAUSE_SECONDS)
            for number in range(rounds):
                if number == 0:
                    await asyncio.to_thread(stack.add_engine)
                else:
                    await asyncio.to_thread(stack.start_engine, 2)
                await asyncio.to_thread(stack.wait_ready, 2, START_SECONDS_MAX)
                await asyncio.sleep(_PAUSE_SECONDS)
                await asyncio.to_thread(stack.stop_engine, 2)
                await asyncio.sleep(_PAUSE_SECONDS)
            going_on = False
            await loading
        print(
            f"{len(seconds)} signals, {rounds} engines added and stopped, load {os.getloadavg()[0]:.0f}: p50 "
            f"{quantile(seconds, 0.5):.3f} s, p99 {quantile(seconds, 0.99):.2f} s, most {max(seconds):.2f} s",
            flush=True,
        )
        assert len(seconds) == sent
        assert quantile(seconds, 0.99) < ACKNOWLEDGED_SECONDS_MAX
