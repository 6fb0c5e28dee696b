"""Handlers that run for long: they are told when their attempt is over, and their deadlines are renewed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from backbeat import current
from backbeat.errors import Cancelled, InvalidStatus, NotFound, Timeout
from backbeat.schemas.messages.commands import Heartbeat
from backbeat.schemas.messages.queries import WaitNode
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.worker import cancellation_watcher
from tests.sdk.worker.ports import Bench
from tests.waiting import until_async


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation_watcher, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(cancellation_watcher, "_SLICE_SECONDS", 0.01)


#: What ends an attempt, as its node shows it.
ENDS: dict[str, Callable[[Any], Any]] = {
    "canceled": lambda node: msgspec.structs.replace(node, server=ServerStatus.DEACTIVATED),
    "answered by somebody else": lambda node: msgspec.structs.replace(node, client=ClientStatus.COMPLETE),
    "tried again": lambda node: msgspec.structs.replace(node, attempt=node.attempt + 1),
}


@pytest.mark.parametrize("end", ENDS)
async def test_an_async_handler_is_cancelled_when_its_attempt_is_over_and_its_answer_is_dropped(end: str) -> None:
    bench, noticed = Bench(concurrency=1), asyncio.Event()
    #: By number of the question: the engine starts, it is not reachable, the attempt runs, it is over.
    answers: Iterator[Any] = iter([Timeout("nobody answers"), ConnectionError("not now"), None, end])
    queries: list[Any] = []

    @bench.worker.activity("Long")
    async def long() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert current().cancelled
            noticed.set()
        return "nobody hears it"

    def query(query: Any) -> Any:
        queries.append(query)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return node if answer is None else ENDS[answer](node)

    bench.environment.query = query
    async with bench.running():
        (delivery,) = bench.put("Long")
        node = delivery.record.node
        await asyncio.wait_for(noticed.wait(), 60)
        await until_async(lambda: bench.is_idle, 60)
    assert bench.consumer.settled == {"Long": True}
    assert [type(query) for query in queries] == [WaitNode] * 4


async def test_a_node_that_cannot_be_asked_about_is_not_followed_and_its_handler_goes_on() -> None:
    bench, asked, go_on = Bench(), asyncio.Event(), asyncio.Event()

    @bench.worker.activity("Long")
    async def long() -> None:
        await go_on.wait()

    def refuse(_: Any) -> None:
        asked.set()
        raise NotFound("not_found", "it was removed")

    bench.environment.query = refuse
    async with bench.running():
        bench.put("Long")
        await asyncio.wait_for(asked.wait(), 60)
        go_on.set()
        await bench.is_settled("Long")
    assert bench.status("Long") == "completed"


async def test_only_what_is_seen_twice_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation_watcher, "_LOOK_SECONDS", 3_600.0)
    bench, begun, go_on = Bench(), asyncio.Event(), asyncio.Event()
    asked: list[WaitNode] = []

    @bench.worker.activity("Long")
    async def long() -> None:
        begun.set()
        await go_on.wait()

    def query(query: WaitNode) -> Any:
        asked.append(query)
        go_on.set()
        return delivery.record.node

    bench.environment.query = query
    async with bench.running():
        (delivery,) = bench.put("Long")
        await begun.wait()
        bench.worker._watcher._look()
        (run,) = bench.worker._watcher._runs.values()
        assert (run.followed, run.tasks) == (False, [])
        bench.worker._watcher._look()
        await bench.is_settled("Long")
    assert asked


@pytest.mark.parametrize("way", ["async", "plain"])
async def test_a_deadline_is_renewed_until_the_engine_says_that_the_attempt_is_over(way: str) -> None:
    bench = Bench()
    beats: list[Heartbeat] = []

    @bench.worker.activity("Async", heartbeat=0.01)
    async def run() -> None:
        await asyncio.Event().wait()

    @bench.worker.activity("Plain", heartbeat=0.01)
    def run_plain() -> None:
        activity = current()
        while True:
            activity.raise_if_cancelled()

    def beat(command: Heartbeat) -> None:
        beats.append(command)
        if len(beats) == 2:
            raise ConnectionError("the next may come through")
        if len(beats) == 4:
            raise InvalidStatus("invalid_client_status", "another attempt runs")

    bench.environment.command = beat
    # It is told by its heartbeats alone.
    bench.worker._watcher._look = lambda: None  # type: ignore[method-assign]
    label = way.capitalize()
    async with bench.running():
        (delivery,) = bench.put(label)
        await bench.is_settled(label)
        await until_async(lambda: bench.is_idle, 60)
    assert {(beat.node_id, beat.attempt) for beat in beats} == {(delivery.record.node.id, 1)}
    assert (len(beats), bench.consumer.settled, bench.consumer.answers) == (4, {label: True}, {})


async def test_a_heartbeat_by_hand_raises_when_the_attempt_is_over() -> None:
    bench, raised = Bench(), asyncio.Event()

    @bench.worker.activity("Work")
    async def work() -> None:
        try:
            await current().heartbeat()
        except Cancelled:
            raised.set()
            raise

    def refuse(_: Any) -> None:
        raise InvalidStatus("invalid_client_status", "another attempt runs")

    bench.environment.command = refuse
    async with bench.running():
        bench.put("Work")
        await bench.is_settled("Work")
    assert bench.consumer.answers == {}
