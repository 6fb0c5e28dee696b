"""The same scenarios in memory and on Kafka leave the same trees, statuses, histories and errors."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from backbeat import Client, Worker
from backbeat.streams.kafka.registration import add_client
from backbeat.testing import Backbeat
from tests.empty_kafka import stack_on
from tests.sdk.testing import scenarios
from tests.sdk.testing.places import Kafka, Memory

pytestmark = pytest.mark.integration
PARTITIONS = 2
#: Arguments of examples: so many files.
_MORE = {"pipeline": ("400",)}


@pytest.fixture(scope="module")
def on_kafka(kafka: str) -> dict[str, Any]:
    """What was seen in each scenario, all of them at the same time on one engine and one worker; or what went wrong."""
    with stack_on(kafka, partitions=PARTITIONS) as stack:
        name = add_client(stack.bootstrap_servers, "same-on-both", partitions=PARTITIONS).name
        return asyncio.run(_play(stack.bootstrap_servers, name))


async def _play(bootstrap_servers: str, name: str) -> dict[str, Any]:
    worker = Worker(bootstrap_servers, name, activities=[scenarios])
    async with Client(bootstrap_servers, name) as client:
        running = asyncio.create_task(worker.run(handle_signals=False))
        try:
            place = Kafka(client)
            outcomes = await asyncio.gather(
                *(scenario(place) for scenario in scenarios.SCENARIOS), return_exceptions=True
            )
            # One after the other: both are workers of the same client, for different activities.
            names = ("camera", "payment", "pipeline", "subscription", "order")
            examples = [await _run(name, bootstrap_servers) for name in names]
        finally:
            worker.stop()
            await running
    names = [scenario.__name__ for scenario in scenarios.SCENARIOS]
    return dict(zip(names, outcomes, strict=True)) | dict(examples)


async def _run(example: str, bootstrap_servers: str) -> tuple[str, tuple[int | None, str]]:
    """An example as its first lines say: its exit code and what it writes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"backbeat.examples.{example}", bootstrap_servers, *_MORE.get(example, ())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    return example, (process.returncode, written.decode())


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_memory_and_kafka_do_the_same(scenario, on_kafka):
    async with Backbeat(Worker(activities=[scenarios]), skip_time=True) as backbeat:
        in_memory = await scenario(Memory(backbeat))

    seen = on_kafka[scenario.__name__]
    if isinstance(seen, BaseException):
        raise seen
    assert in_memory == seen


def test_the_examples_run_on_a_broker(on_kafka):
    code, camera = on_kafka["camera"]
    assert (code, "|-- Successful Purchase: complete" in camera) == (0, True), camera
    code, payment = on_kafka["payment"]
    assert (code, "|-- Send to Bank: complete" in payment) == (0, True), payment
    code, pipeline = on_kafka["pipeline"]
    assert (code, "Index(files=397, most_common='file'" in pipeline) == (0, True), pipeline
    code, subscription = on_kafka["subscription"]
    assert (code, "the end: {'Ada': 'too dear'}" in subscription) == (0, True), subscription
    code, order = on_kafka["order"]
    assert (code, "|-- Ship: complete" in order) == (0, True), order
