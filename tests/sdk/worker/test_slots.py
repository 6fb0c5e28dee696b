"""Whatever a handler does, its slot is free again, and its node is told."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from backbeat import Fail, current
from backbeat.errors import Rejected
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.worker import attempts
from tests.sdk.worker.ports import Bench, Receipt
from tests.waiting import until_async


class OwnError(BaseException):
    """No Exception."""


class Unprintable(Exception):  # noqa: N818 - what its text says is its own fault
    """An error without a text."""

    def __str__(self) -> str:
        raise OwnError


def hold_itself() -> list[Any]:
    result: list[Any] = []
    result.append(result)
    return result


def nest() -> list[Any]:
    result: list[Any] = []
    for _ in range(3_000):
        result = [result]
    return result


def raising(error: BaseException | type[BaseException]) -> Callable[[], Any]:
    def handler() -> Any:
        raise error

    return handler


#: By name: the handler, and the status of its answer.
HANDLERS: dict[str, tuple[Callable[[], Any], str]] = {
    "returns": (lambda: "ok", "completed"),
    "returns nothing": (lambda: None, "completed"),
    "ends the process": (lambda: sys.exit(3), "errored"),
    "is interrupted": (raising(KeyboardInterrupt), "errored"),
    "raises what is no Exception": (raising(OwnError), "errored"),
    "raises what has no text": (raising(Unprintable), "errored"),
    "closes itself": (raising(GeneratorExit), "errored"),
    "stops an iteration": (raising(StopIteration), "errored"),
    "cancels itself": (raising(asyncio.CancelledError), "errored"),
    "runs out of memory": (raising(MemoryError), "errored"),
    "fails for good": (raising(Fail("never")), "errored"),
    "holds itself": (hold_itself, "errored"),
    "is nested": (nest, "errored"),
    "has no JSON": (object, "errored"),
    "has keys that are no text": (lambda: {(1, 2): 3}, "errored"),
    "has half a character": (lambda: "\ud800", "errored"),
    "adds what has no JSON": (lambda: current().add("child", object()), "errored"),
}


@pytest.mark.parametrize("way", ["plain", "async", "awaited"])
async def test_whatever_a_handler_raises_or_returns_its_slot_is_free_again(way: str) -> None:
    # The worst handlers have all slots at once.
    bench = Bench(concurrency=2)
    for name, (function, _) in HANDLERS.items():

        async def run(function: Callable[[], Any] = function) -> Any:
            await asyncio.sleep(0)
            return function()

        def begin(run: Callable[[], Any] = run) -> Any:
            # As of a decorator that is not async.
            return run()

        bench.worker.activity(name, heartbeat=1)({"plain": function, "async": run, "awaited": begin}[way])
    async with bench.running():
        bench.put(*HANDLERS, *HANDLERS)
        await bench.is_settled(*HANDLERS)
        await until_async(lambda: bench.is_idle, 60)
        assert {name: bench.status(name) for name in HANDLERS} == {
            name: status for name, (_, status) in HANDLERS.items()
        }
        assert (bench.consumer.settled, bench.consumer.room) == ({}, 2)


async def test_a_thread_that_cannot_be_started_is_its_nodes_error_and_the_next_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(concurrency=1)
    for name in ("first", "second", "third", "fourth"):
        bench.worker.activity(name)(lambda: threading.current_thread().name)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with bench.running():
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            bench.put("first", "second", "third")
            assert {bench.error(name)[:42] for name in ("first", "second", "third")} == {
                "BackbeatError: no thread can be started be"
            }
        bench.put("fourth")
        await bench.is_settled("fourth")
        assert bench.status("fourth") == "completed"


async def test_commands_that_cannot_be_written_are_an_error_of_their_node(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, errors = Bench(concurrency=1), iter([MemoryError("no room for the answer")])
    bench.worker.activity("Work")(lambda: "ok")
    routed = attempts.routed

    def written(command: AnyCommand) -> tuple[bytes, bytes]:
        for error in errors:
            raise error
        return routed(command)

    monkeypatch.setattr(attempts, "routed", written)
    async with bench.running():
        bench.put("Work", "Work:again")
        await bench.is_settled("Work", "Work:again")
    assert (bench.error("Work"), bench.status("Work:again")) == ("MemoryError: no room for the answer", "completed")


async def test_plain_functions_run_at_the_same_time() -> None:
    bench, together = Bench(), threading.Barrier(3)
    for name in ("a", "b", "c"):
        bench.worker.activity(name)(lambda: together.wait(60))
    async with bench.running():
        bench.put("a", "b", "c")
        await bench.is_settled("a", "b", "c")


async def test_no_more_of_a_name_run_at_once_than_is_allowed_and_they_hold_up_nobody() -> None:
    bench, free = Bench(), asyncio.Event()
    running, most = 0, 0

    @bench.worker.activity("Limited", max_concurrent=3)
    async def limited() -> None:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await free.wait()
        running -= 1

    @bench.worker.activity("Free")
    async def run_free() -> None:
        free.set()

    async with bench.running():
        bench.put(*["Limited"] * 20, "Free")
        await until_async(lambda: bench.is_idle and bench.worker._slots.waiting == 0, 60)
    assert most == 3


async def test_an_activity_that_nobody_registered_is_answered_with_what_is() -> None:
    bench = Bench(concurrency=1)
    bench.worker.activity("Charge")(lambda: None)
    async with bench.running():
        bench.put("Chagre", "Charge")
        await bench.is_settled("Chagre", "Charge")
    assert bench.error("Chagre") == ("no activity 'Chagre' is registered here; did you mean 'Charge'? known: Charge")
    assert bench.consumer.settled == {}


async def test_a_notification_needs_no_answer_whatever_its_hook_raises() -> None:
    bench = Bench(concurrency=1)
    hooks = iter([lambda: None, raising(ValueError("no")), raising(OwnError)])
    bench.worker.on_error(lambda _, __: next(hooks)())
    async with bench.running():
        bench.put("a", "b", "c", kind=ActivityKind.NOTIFICATION)
        await bench.is_settled("a", "b", "c")
        await until_async(lambda: bench.is_idle, 60)
    assert bench.consumer.settled == {"a": True, "b": True, "c": True}


# --- what is not begun -----------------------------------------------------------------------------------------------


class Revoked(Receipt):
    """A record that is another worker's by now."""

    revoked = True


async def test_what_is_anothers_by_now_is_given_back_and_its_slot_is_free() -> None:
    bench = Bench(concurrency=1)
    bench.worker.activity("Work")(lambda: pytest.fail("it is another worker's"))
    bench.worker.activity("Other")(lambda: None)
    async with bench.running():
        bench.put("Work", receipt=Revoked())
        bench.put("Other")
        await bench.is_settled("Work", "Other")
    assert (bench.consumer.settled, list(bench.consumer.answers)) == ({"Work": False}, ["Other"])


@pytest.mark.parametrize("ending", ["runs", "is superseded", "stops before an answer"])
async def test_a_limited_one_that_begins_late_asks_whether_it_still_runs(ending: str) -> None:
    bench, asked = Bench(concurrency=1), asyncio.Event()
    bench.worker.activity("Work")(lambda: None)

    def answer(_: Any) -> None:
        asked.set()
        if ending == "is superseded":
            raise Rejected("invalid_client_status", "another attempt runs")
        if ending == "stops before an answer":
            raise ConnectionError("nobody answers")

    bench.environment.command = answer
    async with bench.running():
        bench.put("Work", granted_at=int(bench.environment.time - 60) * 1000)
        await asyncio.wait_for(asked.wait(), 60)
        if ending != "stops before an answer":
            await bench.is_settled("Work")
    settled = {"runs": {}, "is superseded": {"Work": True}, "stops before an answer": {"Work": False}}[ending]
    assert (bench.consumer.settled, bench.is_idle) == (settled, True)
    assert list(bench.consumer.answers) == (["Work"] if ending == "runs" else [])
