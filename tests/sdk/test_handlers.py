import asyncio
import dataclasses
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from backbeat import BackbeatError, Worker, activity
from backbeat.activities.context import Activity
from backbeat.errors import InvalidParameters
from backbeat.testing import Backbeat, PlainBackbeat
from backbeat.worker.threads import Threads

Make = Callable[..., Activity]


@pytest.mark.parametrize(
    ("client_data", "expected"),
    [
        (b'{"name":"f","params":[1,"b"]}', ((1, "b"), {})),
        (b'{"params":{"a":1}}', ((), {"a": 1})),
        (b'{"params":[]}', ((), {})),
        (b'{"params":null}', ((), {})),
        (b'{"params":7}', ((7,), {})),
        (b'{"other":1}', ((), {})),
        (b"{}", ((), {})),
    ],
)
def test_client_data_says_the_arguments(activity: Make, client_data: bytes, expected: Any) -> None:
    worker = Worker()
    worker.activity("f")(lambda *args, **kwargs: (args, kwargs))
    handler = worker.defaults("f")
    assert handler.call(handler.params(activity(client_data=client_data))) == expected


def test_a_registered_function_stays_what_it_was() -> None:
    worker = Worker()

    @worker.activity(retries=2, mode="non_blocking")
    def work(number: int) -> int:
        return number + 1

    assert work(1) == 2
    assert worker.defaults(work) is worker.defaults("work")
    assert (worker.defaults("work").retry.times, worker.defaults("work").mode) == (2, "non_blocking")
    assert worker.defaults("other") is None


def test_a_name_is_registered_once() -> None:
    worker = Worker()
    worker.activity("a")(lambda: None)
    with pytest.raises(BackbeatError, match="'a' is registered already"):
        worker.activity("a")(lambda: None)


@pytest.mark.parametrize("wrong", [{"retries": -1}, {"backoff": -1}, {"mode": "odd"}])
def test_wrong_options_are_refused_where_they_stand(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameters):
        Worker().activity("a", **wrong)(lambda: None)
    with pytest.raises(ValueError, match="max_concurrent"):
        Worker().activity("a", max_concurrent=0)(lambda: None)


async def test_threads_bring_their_ends_to_the_loop() -> None:
    threads = Threads(4, asyncio.get_running_loop())
    ended: list[int] = []
    all_ended = asyncio.Event()

    def end(number: int) -> None:
        ended.append(number)
        if len(ended) == 1_000:
            all_ended.set()

    for number in range(1_000):
        threads.run(lambda number=number: functools.partial(end, number))
    await asyncio.wait_for(all_ended.wait(), 120)
    threads.stop()
    assert sorted(ended) == list(range(1_000))


async def test_a_thread_that_cannot_be_started_leaves_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(2, asyncio.get_running_loop())
    ended = asyncio.Event()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(BackbeatError, match="no thread can be started beside the 0 that run handlers"):
                threads.run(lambda: ended.set)
    threads.run(lambda: ended.set)
    await asyncio.wait_for(ended.wait(), 60)
    threads.stop()


class Service:
    async def __call__(self, value: int) -> int:
        return value


@dataclasses.dataclass
class Unhashable:
    value: int = 1

    async def __call__(self, value: int) -> int:
        return value * self.value


class Shop:
    @activity("method", retries=0)
    async def method(self, value: int) -> int:
        assert isinstance(self, Shop)
        return value

    @activity("static")
    @staticmethod
    def static(value: int) -> int:
        return value


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


async def echo(value: int) -> int:
    return value


@pytest.mark.parametrize(
    "function",
    [
        Service(),
        Unhashable(),
        decorated(echo),
        functools.partial(decorated(echo)),
        lambda value: echo(value + 0),
        Shop().method,
        Shop().static,
        Shop.static,
    ],
)
async def test_a_callable_that_gives_a_coroutine_is_awaited(function: Any) -> None:
    declared = function if hasattr(function, "declared") else activity("echo", retries=0)(function)
    async with Backbeat(Worker(activities=[declared])) as backbeat:
        node = await backbeat.client().signal("W", "s", declared.name, args=[5], retries=0)
        assert await node.result() == 5


def generator(value: int) -> Iterator[int]:
    yield value


async def async_generator(value: int) -> AsyncIterator[int]:
    yield value


class Generator:
    def __call__(self, value: int) -> Iterator[int]:
        yield value


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (generator, r"'f' is a generator \(.*\.generator\)"),
        (async_generator, "is a generator"),
        (functools.partial(generator, 1), "is a generator"),
        (Generator(), "is a generator"),
        (Shop.method, r"'method' is the method .*Shop\.method, and .* Worker\(activities=\[Shop\(…\)\.method\]\)"),
    ],
)
def test_what_can_never_run_is_refused_where_it_is_registered(function: Any, why: str) -> None:
    declared = function if hasattr(function, "declared") else activity("f")(function)
    with pytest.raises(BackbeatError, match=why):
        Worker(activities=[declared])


class Till:
    @activity("Static")
    @staticmethod
    def static(amount: int) -> int:
        return amount + 1

    @staticmethod
    @activity("Static below")
    def static_below(amount: int) -> int:
        return amount + 2

    @activity("Of the class")
    @classmethod
    def of_the_class(cls, amount: int) -> str:
        return f"{cls.__name__} {amount}"


@pytest.mark.parametrize(
    ("find", "result"),
    [
        (lambda: Till.static, 2),
        (lambda: Till().static, 2),
        (lambda: Till.static_below, 3),
        (lambda: Till.of_the_class, "Till 1"),
        (lambda: Till().of_the_class, "Till 1"),
        (lambda: activity("Partial")(functools.partial(_add, 4)), 5),
        (lambda: activity("Lambda")(lambda amount: amount + 5), 6),
    ],
)
def test_whatever_can_be_called_runs(find: Any, result: Any) -> None:
    with PlainBackbeat(Worker(activities=[find()])) as backbeat:
        name = find().name
        assert backbeat.client().signal("W", "s", name, args=[1]).result() == result


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (lambda: activity("Five")(5), "5 cannot be called, so it is no activity"),  # type: ignore[arg-type]
        (lambda: activity("Text")("run"), "'run' cannot be called, so it is no activity"),  # type: ignore[arg-type]
        (lambda: activity(5), "an activity's name is text, not 5"),  # type: ignore[call-overload]
    ],
)
def test_what_cannot_be_called_is_refused_where_it_is_declared(declare: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        declare()


def _add(a: int, b: int) -> int:
    return a + b
