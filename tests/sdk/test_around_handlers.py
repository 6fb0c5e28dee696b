"""What is around the handlers of a worker: its lifespan, middleware, and the client that they have."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backbeat import (
    BackbeatError,
    Call,
    CallNext,
    Client,
    Fail,
    InvalidParameters,
    Limit,
    NodeFailed,
    Worker,
    activity,
    current,
)
from backbeat.client.lent import LentPlainClient
from backbeat.testing import Backbeat, PlainBackbeat
from backbeat.worker.extensions.lifespan import Lifespan


@activity("Add", retries=0)
def add(a: int, b: int = 1) -> int:
    return a + b


@activity("Add later", retries=0)
async def add_later(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


@activity("Break", retries=0)
def fall(b: int) -> None:
    raise ValueError(f"broken {b}")


# --- lifespan --------------------------------------------------------------------------------------------------------


async def test_what_a_lifespan_yields_is_the_handlers_state() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def pool() -> AsyncIterator[dict[str, int]]:
        events.append("opened")
        yield {"connections": 3}
        events.append("closed")

    @activity("Look")
    async def look() -> int:
        events.append("ran")
        connections: int = current().state["connections"]
        return connections

    async with Backbeat(Worker(activities=[look], lifespan=pool)) as backbeat:
        assert events == []
        for subject in range(2):
            assert await (await backbeat.client().signal("W", subject, look)).result() == 3
        assert events == ["opened", "ran", "ran"]
    assert events == ["opened", "ran", "ran", "closed"]


def test_without_a_lifespan_there_is_no_state() -> None:
    @activity("Look")
    def look() -> str:
        return repr(current().state)

    with PlainBackbeat(Worker(activities=[look])) as backbeat:
        assert backbeat.client().signal("W", "s", look).result() == "None"


async def test_a_lifespan_that_fails_says_why() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise ConnectionError("no database")
        yield

    with pytest.raises(ConnectionError, match="no database"):
        await Lifespan(broken).start()
    never_entered = Lifespan(broken)
    await never_entered.stop()


async def test_who_waits_for_it_to_open_may_give_up() -> None:
    opening, left = asyncio.Event(), []

    @asynccontextmanager
    async def waiting() -> AsyncIterator[None]:
        opening.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.append("cancelled")
            raise
        yield

    lifespan = Lifespan(waiting)
    starting = asyncio.create_task(lifespan.start())
    await opening.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(starting, 60)
    assert left == ["cancelled"]
    await lifespan.stop()


async def test_it_is_left_in_the_task_that_entered_it() -> None:
    tasks: list[Any] = []

    @asynccontextmanager
    async def mine() -> AsyncIterator[None]:
        async with asyncio.timeout(60):  # it refuses another task
            tasks.append(asyncio.current_task())
            yield
            tasks.append(asyncio.current_task())

    lifespan = Lifespan(mine)
    await asyncio.create_task(lifespan.start())
    await asyncio.create_task(lifespan.stop())
    assert tasks[0] is tasks[1]


# --- middleware ------------------------------------------------------------------------------------------------------


async def test_middleware_sees_arguments_result_and_error_of_every_kind_of_handler() -> None:
    seen: list[Any] = []

    async def outer(call: Call, call_next: CallNext) -> Any:
        seen.append(("in", call.activity.name, call.args, call.kwargs))
        try:
            result = await call_next(call)
        except Exception as error:
            seen.append(("error", repr(error)))
            raise
        seen.append(("out", result))
        return result

    async def inner(call: Call, call_next: CallNext) -> Any:
        assert current() is call.activity
        return await call_next(dataclasses.replace(call, kwargs={"b": 10, **call.kwargs}))

    worker = Worker(activities=[add, add_later, fall], middleware=[outer, inner])
    async with Backbeat(worker) as backbeat:
        client = backbeat.client()
        assert await (await client.signal("W", 1, add, 1)).result() == 11
        assert await (await client.signal("W", 2, add_later, a=1, b=5)).result() == 6
        with pytest.raises(NodeFailed, match="broken 10"):
            await (await client.signal("W", 3, "Break", retries=0)).result()
    assert seen == [
        ("in", "Add", (1,), {}),
        ("out", 11),
        ("in", "Add later", (), {"a": 1, "b": 5}),
        ("out", 6),
        ("in", "Break", (), {}),
        ("error", "ValueError('broken 10')"),
    ]


async def test_middleware_may_answer_by_itself_or_refuse() -> None:
    async def cached(call: Call, call_next: CallNext) -> Any:
        if call.args == (0,):
            raise Fail("0 is not added to")
        return 42

    worker = Worker(activities=[add], middleware=[cached])
    async with Backbeat(worker) as backbeat:
        assert await (await backbeat.client().signal("W", 1, add, 1)).result() == 42
        with pytest.raises(NodeFailed, match="0 is not added to"):
            await (await backbeat.client().signal("W", 2, add, 0)).result()


# --- the client of handlers ------------------------------------------------------------------------------------------


async def test_a_handler_has_a_client_of_its_worker() -> None:
    @activity("Ask")
    async def ask() -> list[Any]:
        client = current().client
        node = await client.signal("Other", "s", add, 1)
        tree = await client.tree(current().workflow_id)
        return [client.name, node.name, len(tree.children), client.workflow_id("Other", "s") == node.workflow_id]

    async with Backbeat(Worker(client="shop", activities=[ask, add])) as backbeat:
        client = backbeat.client("shop")
        assert await (await client.signal("W", "s", ask)).result() == ["shop", "Add", 1, True]
        await backbeat.run()
        (node,) = (await client.tree(client.workflow_id("Other", "s"))).children
        assert await node.node.result() == 2


def test_a_plain_handler_has_a_blocking_one() -> None:
    @activity("Ask")
    def ask() -> str:
        return current().plain_client.signal("Other", "s", add, 1).name

    with PlainBackbeat(Worker(activities=[ask, add])) as backbeat:
        assert backbeat.client().signal("W", "s", ask).result() == "Add"


async def test_a_blocking_call_in_an_event_loop_says_so_and_does_nothing() -> None:
    asked: list[Any] = []
    client = LentPlainClient(Client("127.0.0.1:1", "shop"), asked.append, answers_at_once=False)  # type: ignore[arg-type]
    with pytest.raises(BackbeatError, match=r"await a call of current\(\)\.client"):
        client.signal("Other", "s", add, 1)
    assert asked == []


async def test_two_workers_of_which_one_has_it_are_as_on_kafka() -> None:
    async with Backbeat(Worker(activities=[add]), Worker(activities=[add_later])) as backbeat:
        for subject in range(4):
            assert await (await backbeat.client().signal("W", subject, add, 1)).result() == 2
            assert await (await backbeat.client().signal("V", subject, add_later, 1)).result() == 2


# --- a limit where the activity is declared --------------------------------------------------------------------------


async def test_a_declared_limit_holds_over_all_workers() -> None:
    running, most = 0, 0

    @activity("Process", limit=Limit(concurrency=2, key="metadata.bank"), mode="non_blocking")
    async def process() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    @activity("All")
    def everything() -> None:
        for _ in range(6):
            current().add(process)

    workers = [Worker(activities=[process, everything]) for _ in range(3)]
    async with Backbeat(*workers) as backbeat:
        client = backbeat.client()
        limit = await client.limits.get("Process")
        assert limit is not None
        assert (limit.concurrency, limit.key) == (2, "metadata.bank")
        await (await client.signal("W", "s", everything)).result()
    assert most == 2


@pytest.mark.parametrize(
    ("given", "text"),
    [({"concurrency": 0}, "concurrency is below 1"), ({"rate": "often"}, "often"), ({"burst": 0}, "burst")],
)
def test_a_limit_that_cannot_be_is_refused_where_it_is_declared(given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameters, match=text):
        Limit(**given)
    with pytest.raises(InvalidParameters, match=r"limit is 20; it must be a Limit\(concurrency=…\)"):
        activity("Process", limit=20)(add.function)  # type: ignore[call-overload]
