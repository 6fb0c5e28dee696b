import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from backbeat import BackbeatError, Worker
from backbeat.context import Activity
from backbeat.errors import InvalidParameters
from backbeat.threads import Threads

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
    assert (worker.defaults("work").retries, worker.defaults("work").mode) == (2, "non_blocking")
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
