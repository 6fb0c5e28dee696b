"""A worker's run: how it begins, stops, is cancelled and interrupted, and what becomes of what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from backbeat import BackbeatError, Worker
from backbeat.errors import NotFound, Unavailable
from backbeat.several import run as run_workers
from backbeat.worker import attempts
from tests.sdk.worker.ports import Bench
from tests.waiting import until_async


class Long:
    """A handler that runs until it is let go, and what became of it."""

    def __init__(self, bench: Bench, name: str = "Long", **options: Any) -> None:
        self.begun, self.go_on, self.tidied_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

        @bench.worker.activity(name, **options)
        async def long() -> str:
            self.begun.set()
            try:
                await self.go_on.wait()
            finally:
                self.tidied_up.set()
            return "by itself"


async def ended(task: asyncio.Task[None]) -> BaseException | None:
    """The error that a run ends with."""
    await asyncio.wait([task], timeout=60)
    assert task.done()
    return asyncio.CancelledError() if task.cancelled() else task.exception()


# --- stopping --------------------------------------------------------------------------------------------------------


async def test_a_stop_finishes_what_is_begun_and_gives_back_the_rest() -> None:
    bench = Bench()
    long = Long(bench, max_concurrent=1)
    async with bench.running() as run:
        bench.put("Long", "Long:waiting")
        await long.begun.wait()
        bench.worker.stop()
        await until_async(lambda: bench.consumer.settled == {"Long:waiting": False}, 60)
        assert (bench.consumer.log, run.done()) == (["drain"], False)
        long.go_on.set()
    assert bench.status("Long") == "completed"
    assert (bench.consumer.log, bench.environment.log) == (["drain", "stop"], ["start shop", "stop"])


async def test_a_stop_before_the_start_runs_nothing() -> None:
    bench = Bench()
    bench.worker.stop()
    await asyncio.wait_for(bench.worker.run(handle_signals=False), 60)
    assert bench.consumer.log == ["drain", "stop"]
    with pytest.raises(BackbeatError, match="a worker runs once"):
        await bench.worker.run(handle_signals=False)


async def test_a_stop_ends_a_lifespan_that_waits_to_open() -> None:
    opening = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        opening.set()
        await asyncio.Event().wait()
        yield

    bench = Bench(lifespan=lifespan)
    run = asyncio.create_task(bench.worker.run(handle_signals=False))
    await opening.wait()
    bench.worker.stop()
    await asyncio.wait_for(run, 60)
    assert (bench.consumer.log, bench.environment.log) == (["drain", "stop"], ["start shop", "stop"])


async def test_the_grace_has_an_end_and_cuts_off_what_still_runs() -> None:
    bench = Bench(grace_seconds=0.01)
    long = Long(bench)
    async with bench.running():
        bench.put("Long")
        await long.begun.wait()
    assert long.tidied_up.is_set()
    assert (bench.consumer.settled, bench.consumer.answers) == ({"Long": False}, {})


async def test_a_handler_that_does_not_end_when_it_is_cut_off_keeps_nobody_from_leaving(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attempts, "_CUT_OFF_SECONDS", 0.01)
    bench, begun, go_on = Bench(grace_seconds=0.01), asyncio.Event(), asyncio.Event()

    @bench.worker.activity("Deaf")
    async def deaf() -> None:
        while not go_on.is_set():
            begun.set()
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    async with bench.running():
        bench.put("Deaf")
        await begun.wait()
    assert bench.consumer.log == ["drain", "stop"]
    assert "1 activities go on though they are cancelled" in caplog.text
    go_on.set()
    await until_async(lambda: bench.is_idle, 60)


async def test_a_thread_that_does_not_end_keeps_nobody_from_leaving() -> None:
    bench, begun, go_on = Bench(grace_seconds=0.01), threading.Event(), threading.Event()

    @bench.worker.activity("Plain")
    def plain() -> None:
        begun.set()
        assert go_on.wait(60)

    async with bench.running():
        bench.put("Plain")
        assert await asyncio.to_thread(begun.wait, 60)
    assert bench.consumer.log == ["drain", "stop"]
    go_on.set()
    await until_async(lambda: bench.is_idle, 60)


# --- failing ---------------------------------------------------------------------------------------------------------


async def test_a_consumer_that_fails_ends_the_run_with_its_error() -> None:
    bench = Bench()
    long = Long(bench)
    run = asyncio.create_task(bench.worker.run(handle_signals=False))
    await bench.is_up()
    bench.put("Long")
    await long.begun.wait()
    error = Unavailable("Kafka is gone")
    bench.consumer.fail(error)
    bench.consumer.fail(Unavailable("the second one is no news"))
    # Nothing is waited for: nobody would take its answer.
    assert await ended(run) is error
    assert (bench.consumer.settled, bench.consumer.log) == ({"Long": False}, ["drain", "stop"])


@pytest.mark.parametrize("way", ["plain", "async", "not registered"])
async def test_a_worker_that_cannot_answer_ends_and_gives_the_activity_back(way: str) -> None:
    bench = Bench()
    bench.consumer.send_error = MemoryError("no room for an answer")
    if way == "plain":
        bench.worker.activity("Work")(lambda: None)
    elif way == "async":
        Long(bench, "Work").go_on.set()
    run = asyncio.create_task(bench.worker.run(handle_signals=False))
    await bench.is_up()
    bench.put("Work")
    assert await ended(run) is bench.consumer.send_error
    assert (bench.consumer.settled, bench.is_idle) == ({"Work": False}, True)


async def test_a_client_that_does_not_exist_ends_the_run_before_anything_is_taken() -> None:
    bench = Bench()
    bench.environment.start_error = NotFound("not_found", "there is no client shop")
    with pytest.raises(NotFound):
        await bench.worker.run(handle_signals=False)
    assert not bench.consumer.is_started.is_set()
    assert (bench.consumer.log, bench.environment.log) == (["drain", "stop"], ["start shop", "stop"])


async def test_of_several_workers_all_stop_when_one_fails() -> None:
    first, second = Bench(), Bench()
    run = asyncio.create_task(run_workers(first.worker, second.worker, handle_signals=False))
    for bench in (first, second):
        await bench.is_up()
    first.consumer.fail(Unavailable("Kafka is gone"))
    assert str(await ended(run)) == "Kafka is gone"
    assert second.consumer.log == ["drain", "stop"]


async def test_a_status_port_that_is_taken_ends_the_worker_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BackbeatError, match=rf"cannot be served on 127.0.0.1:{port}: .* another status_port"):
            await Worker("127.0.0.1:1", status_port=port).run(handle_signals=False)


# --- cancelled -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "run several"])
async def test_a_run_that_is_cancelled_gives_back_what_it_cannot_finish(way: str) -> None:
    bench, before = Bench(grace_seconds=0.1), asyncio.all_tasks()
    long = Long(bench)
    working = bench.worker.run(handle_signals=False)
    run = asyncio.create_task(working if way == "run" else run_workers(bench.worker, handle_signals=False))
    if way == "run several":
        working.close()
    await bench.is_up()
    bench.put("Long")
    await long.begun.wait()
    run.cancel()
    assert isinstance(await ended(run), asyncio.CancelledError)
    assert long.tidied_up.is_set()
    assert asyncio.all_tasks() <= before
    assert (bench.consumer.settled, bench.consumer.answers) == ({"Long": False}, {})
    assert (bench.consumer.log, bench.environment.log) == (["drain", "stop"], ["start shop", "stop"])


async def test_a_task_group_that_fails_lets_it_finish_within_its_grace() -> None:
    bench = Bench()
    long = Long(bench)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.worker.run(handle_signals=False))
            await bench.is_up()
            bench.put("Long")
            await long.begun.wait()
            raise ValueError("another task fails")

    running = asyncio.create_task(run())
    await until_async(lambda: "drain" in bench.consumer.log, 60)
    long.go_on.set()
    assert isinstance(await ended(running), ExceptionGroup)
    assert bench.status("Long") == "completed"


async def test_a_timeout_stops_it_and_is_raised() -> None:
    bench = Bench()

    async def run() -> None:
        async with asyncio.timeout(0.05):
            await bench.worker.run(handle_signals=False)

    assert isinstance(await ended(asyncio.create_task(run())), TimeoutError)
    assert bench.consumer.log == ["drain", "stop"]


async def test_a_second_cancel_does_not_wait_for_what_is_begun() -> None:
    bench = Bench(grace_seconds=600)
    long = Long(bench)
    run = asyncio.create_task(bench.worker.run(handle_signals=False))
    await bench.is_up()
    bench.put("Long")
    await long.begun.wait()
    run.cancel()
    await until_async(lambda: "drain" in bench.consumer.log, 60)
    run.cancel()
    assert isinstance(await ended(run), asyncio.CancelledError)
    assert (bench.consumer.settled, bench.consumer.log) == ({"Long": False}, ["drain", "stop"])


async def test_a_run_that_is_cancelled_while_it_connects_stops_its_consumer() -> None:
    bench = Bench()
    bench.consumer.may_start.clear()
    run = asyncio.create_task(bench.worker.run(handle_signals=False))
    await bench.consumer.is_started.wait()
    run.cancel()
    assert isinstance(await ended(run), asyncio.CancelledError)
    assert (bench.consumer.log, bench.environment.log) == (["drain", "stop"], ["start shop", "stop"])


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def handlers() -> Iterator[dict[int, Any]]:
    """What the program does on each signal before a worker runs in it; set back at the end."""
    own: dict[int, Any] = {signal.SIGTERM: lambda *_: None, signal.SIGINT: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in own.items()}
    yield own
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_worker_when_what_is_begun_has_ended(number: int, handlers: dict[int, Any]) -> None:
    bench = Bench(grace_seconds=600)
    long = Long(bench)
    run = asyncio.create_task(bench.worker.run())
    await bench.is_up()
    bench.put("Long")
    await long.begun.wait()
    os.kill(os.getpid(), number)
    await until_async(lambda: bench.consumer.log == ["drain"], 60)
    bench.put("Long:later")
    assert (run.done(), len(bench.worker._attempts._tasks)) == (False, 1)
    long.go_on.set()
    assert await ended(run) is None
    assert bench.status("Long") == "completed"
    assert {signal_number: signal.getsignal(signal_number) for signal_number in handlers} == handlers


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait_for_what_is_begun(second: int, handlers: dict[int, Any]) -> None:
    bench = Bench(grace_seconds=600)
    long = Long(bench)
    run = asyncio.create_task(bench.worker.run())
    await bench.is_up()
    bench.put("Long")
    await long.begun.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await until_async(lambda: bench.consumer.log == ["drain"], 60)
    os.kill(os.getpid(), second)
    assert await ended(run) is None
    assert (bench.consumer.settled, bench.consumer.log) == ({"Long": False}, ["drain", "stop"])
    assert {number: signal.getsignal(number) for number in handlers} == handlers


async def test_a_signal_while_it_connects_stops_it(handlers: dict[int, Any]) -> None:
    bench = Bench()
    bench.consumer.may_start.clear()
    run = asyncio.create_task(bench.worker.run())
    await bench.consumer.is_started.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await until_async(bench.worker._stopping.is_set, 60)
    bench.consumer.may_start.set()
    assert await ended(run) is None
    assert bench.consumer.log == ["drain", "stop"]
