"""What a handler may ask for while it runs, on a real Kafka with a real engine."""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backbeat import Client, Fail, NodeFailed, Worker, activity, current
from backbeat.activities.context import Activity
from backbeat.compose.local.stack import Stack
from backbeat.errors import BackbeatError, Cancelled, NotFound
from backbeat.several import run
from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import stack_on
from tests.integration import killing
from tests.integration.test_worker import PARTITIONS, running
from tests.waiting import until_async


@pytest.fixture(scope="module")
def stack(kafka: str) -> Iterator[Stack]:
    with stack_on(kafka, partitions=PARTITIONS) as stack:
        yield stack


@pytest.fixture
def bootstrap(stack: Stack) -> str:
    return stack.bootstrap_servers


@pytest.fixture
def name(bootstrap: str, unique: str) -> str:
    """A client application of this test's own, with topics of its own."""
    return add_client(bootstrap, unique, partitions=PARTITIONS).name


@pytest.fixture
async def client(bootstrap: str, name: str) -> AsyncIterator[Client]:
    async with Client(bootstrap, name) as client:
        yield client


@pytest.fixture
def worker(bootstrap: str, name: str) -> Worker:
    return Worker(bootstrap, name, session_timeout_seconds=2)


async def test_a_thousand_are_spread_and_joined(client: Client, worker: Worker) -> None:
    packed: list[int] = []
    at_the_end: list[int] = []

    @worker.activity("Hold Sale")
    async def hold_sale(orders: int) -> None:
        current().spread(pack, range(orders))
        current().add(summary)

    @worker.activity
    async def wrongly_used() -> None: ...

    @worker.activity("Pack")
    async def pack(number: int) -> None:
        packed.append(number)

    @worker.activity("Summary")
    async def summary() -> int:
        at_the_end.append(len(packed))
        return len(packed)

    async with running(worker):
        node = await client.signal("Sale", "A", "Hold Sale", args=[1_000])
        await node.result(120)
        tree = await client.tree(node.workflow_id)
    assert (sorted(packed), at_the_end) == (list(range(1_000)), [1_000])
    group, join = tree.children[0].children
    assert (group.node.name, len(group.children), join.node.name) == ("Pack (1000)", 1_000, "Summary")
    assert {below.status for _, below in tree.walk()} == {"complete"}


async def test_signals_from_inside_linked_and_not_and_the_next_round(client: Client, worker: Worker) -> None:
    ran: list[Any] = []
    go_on = asyncio.Event()

    @worker.activity("Round")
    async def go_round(number: int) -> int:
        handled = current()
        ran.append(number)
        if number == 1:
            handled.signal("Other", "its own subject", "Linked", linked=True)
            handled.signal("Other", "another subject", "Free", args=["x"])
            handled.continue_as(2)
        return number

    @worker.activity("Linked")
    async def linked() -> None:
        await go_on.wait()
        ran.append("linked")

    @worker.activity("Free")
    async def free(word: str) -> None:
        ran.append(word)

    async with running(worker):
        node = await client.signal("Rounds", "A", "Round", args=[1])
        await until_async(lambda: "x" in ran)
        # The node and the next round wait for what is linked.
        assert (await node.refresh()).status == "processing_children"
        assert ran == [1, "x"]
        go_on.set()
        assert await node.result(120) == 1
        await until_async(lambda: 2 in ran)
        tree = await client.tree(node.workflow_id)
    assert ran == [1, "x", "linked", 2]
    assert [branch.node.name for branch in tree.children] == ["Round", "Round"]


async def test_fail_stops_the_retries_and_calls_the_rescue_until_it_returns(client: Client, worker: Worker) -> None:
    rescued: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    calls: list[str] = []

    async def rescue(purchase: Activity, error: dict[str, Any]) -> None:
        calls.append(purchase.name)
        if len(calls) == 1:
            raise ConnectionError("nobody hears of it")
        await rescued.put((purchase.name, error["message"]))

    @worker.activity("Pay", retries=5, rescue=rescue)
    async def pay() -> None:
        raise Fail("the card is stolen")

    async with running(worker):
        node = await client.signal("Sale", "A", "Pay", retries=5)
        with pytest.raises(NodeFailed) as failed:
            await node.result(120)
        assert failed.value.message == "Fail: the card is stolen"
        assert failed.value.status == "retries_exhausted"
        assert await asyncio.wait_for(rescued.get(), 120) == ("Pay", "Fail: the card is stolen")
        now = await node.refresh()
    assert (now.attempt, now.retries_remaining) == (1, 5)


async def test_a_handler_asks_about_its_node(client: Client, worker: Worker, name: str) -> None:
    asked: dict[str, Any] = {}

    @worker.activity("Outer")
    async def outer() -> None:
        current().add("Inner", retries=1, backoff=0)

    @worker.activity("Inner")
    async def inner() -> None:
        handled = current()
        if handled.attempt == 1:
            raise ValueError("the first time")
        asked["error"] = await handled.previous_error()
        asked["parent"] = await handled.parent()
        asked["workflow"] = await handled.workflow()
        asked["history"] = [change.to_status for change in await handled.history()]
        current().add(plain)
        with pytest.raises(BackbeatError, match="await the answer"):
            handled.history().result()

    @worker.activity("Plain")
    def plain() -> list[str]:
        return [node.name for _, node in current().tree().result(120).walk()]

    async with running(worker):
        node = await client.signal("Sale", "A", "Outer")
        await node.result(120)
        tree = await client.tree(node.workflow_id)
    assert asked["error"]["message"] == "ValueError: the first time"
    assert asked["error"]["data"][-1] == "ValueError: the first time"
    assert (asked["parent"].name, asked["workflow"].name) == ("Outer", "Sale")
    assert asked["history"][-2:] == ["sent_to_client", "received"]
    (deepest,) = [below for _, below in tree.walk() if below.name == "Plain"]
    assert await_result(await client.history(deepest.id)) == ["Outer", "Inner", "Plain"]


def await_result(changes: list[Any]) -> Any:
    (response,) = {str(change.response): change.response for change in changes if change.response}.values()
    return response["result"]


async def test_a_node_that_is_cancelled_while_it_runs_is_told(client: Client, worker: Worker) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    ended: list[str] = []
    done = asyncio.Event()
    plain_ended = threading.Event()

    @worker.activity("Async")
    async def wait() -> None:
        await begun.put("async")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("async")
            done.set()
            raise

    loop = asyncio.get_running_loop()

    @worker.activity("Plain")
    def look() -> None:
        loop.call_soon_threadsafe(begun.put_nowait, "plain")
        try:
            while True:
                plain_ended.wait(0.01)
                current().raise_if_cancelled()
        except Cancelled:
            ended.append("plain")
            plain_ended.set()
            raise

    async with running(worker):
        nodes = [await client.signal("Sale", kind, kind) for kind in ("Async", "Plain")]
        assert {await begun.get(), await begun.get()} == {"async", "plain"}
        for node in nodes:
            await node.cancel()
        await asyncio.wait_for(done.wait(), 120)
        assert await asyncio.to_thread(plain_ended.wait, 20)
        await until_async(lambda: worker._slots.running == 0)
        assert [(await node.refresh()).status for node in nodes] == ["deactivated", "deactivated"]
        # What was dropped holds up nothing.
        other = await client.signal("Sale", "B", "Async")
        await begun.get()
        await other.cancel()
    assert sorted(ended[:2]) == ["async", "plain"]


async def test_heartbeats_keep_the_deadline_away(client: Client, worker: Worker) -> None:
    attempts: list[int] = []

    @worker.activity("By itself", heartbeat=0.3)
    async def by_itself() -> None:
        attempts.append(current().attempt)
        await asyncio.sleep(12)

    @worker.activity("By hand")
    async def by_hand() -> None:
        attempts.append(current().attempt)
        for _ in range(24):
            await asyncio.sleep(0.5)
            await current().heartbeat()

    async with running(worker):
        nodes = [await client.signal("Sale", kind, kind, timeout=10) for kind in ("By itself", "By hand")]
        for node in nodes:
            await node.result(120)
    assert attempts == [1, 1]


async def test_a_handler_that_is_too_late_hears_of_it_by_its_heartbeat(client: Client, worker: Worker) -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()

    @worker.activity("Work")
    async def work() -> str:
        handled = current()
        if handled.attempt == 1:
            await until_async(lambda: is_over(handled))
            try:
                await handled.heartbeat()
            except (Cancelled, asyncio.CancelledError):
                await heard.put(handled.attempt)
                raise
        return "second"

    async def is_over(handled: Activity) -> bool:
        (tree,) = [await client.node(handled.id)]
        return tree.attempt > 1 or tree.status == "retrying"

    async with running(worker):
        # Retries for a machine on which the later attempts are too late, too.
        node = await client.signal("Sale", "A", "Work", timeout=0.5, retries=100, backoff=0)
        assert await node.result(120) == "second"
        assert await asyncio.wait_for(heard.get(), 120) == 1


async def test_an_asynchronous_activity_is_answered_by_somebody_else(client: Client, worker: Worker) -> None:
    begun = asyncio.Event()

    @worker.activity("Ask", asynchronous=True)
    async def ask() -> None:
        current().add("After")
        begun.set()

    @worker.activity("After")
    async def after() -> None: ...

    async with running(worker):
        node = await client.signal("Sale", "A", "Ask")
        await asyncio.wait_for(begun.wait(), 120)
        await until_async(lambda: worker._slots.running == 0)
        assert (await node.refresh()).client_status == "received"
        await client.answer(node.id, result="yes")
        assert await node.result(120) == "yes"
        tree = await client.tree(node.workflow_id)
    assert [below.status for _, below in tree.walk()] == ["complete", "complete"]


async def test_several_workers_run_in_one_loop(bootstrap: str, client: Client, name: str, unique: str) -> None:
    other_name = add_client(bootstrap, f"{unique}-other", partitions=PARTITIONS).name

    @activity
    async def who() -> str:
        return "the same function"

    first, second = Worker(bootstrap, name, activities=[who]), Worker(bootstrap, other_name, activities=[who])
    task = asyncio.create_task(run(first, second, handle_signals=False))
    async with Client(bootstrap, other_name) as other:
        nodes = [await sender.signal("Sale", "A", "who") for sender in (client, other)]
        assert [await node.result(120) for node in nodes] == ["the same function"] * 2
    first.stop()
    second.stop()
    await task


async def test_one_that_fails_stops_the_others(bootstrap: str, name: str) -> None:
    good, bad = Worker(bootstrap, name), Worker(bootstrap, "nobody-of-this-name")
    with pytest.raises(NotFound, match="nobody-of-this-name"):
        await asyncio.wait_for(run(good, bad, handle_signals=False), 120)


async def test_a_timed_next_round_waits(client: Client, worker: Worker) -> None:
    @worker.activity("Round")
    async def go_round() -> None:
        current().continue_as(at=timedelta(hours=1))

    async with running(worker):
        node = await client.signal("Rounds", "A", "Round")
        await node.result(120)
        tree = await client.tree(node.workflow_id)
    assert [branch.node.status for branch in tree.children] == ["complete", "started"]


async def test_workers_killed_at_random_lose_nothing(bootstrap: str, name: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    await killing.run(bootstrap, name, tmp_path, seed=seed, count=500, kills=2)
