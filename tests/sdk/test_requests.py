"""Requests to an engine: clocks that differ from the broker's, and published signals that nobody asks about."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest

from backbeat.client.waiting import wait_for_result
from backbeat.errors import Timeout
from backbeat.schemas.messages.queries import WaitNode
from backbeat.transport import failed_signals, requests
from backbeat.transport.base import NOBODY
from backbeat.transport.failed_signals import FailedSignals
from backbeat.transport.requests import RequestClient
from backbeat.worker.environment import Environment


class HeardError(Exception):
    """The engine has heard a query."""


def record_at(seconds: float) -> Any:
    """A record that the broker has had at this time."""
    return SimpleNamespace(timestamp=lambda: (2, int(seconds * 1000)))


def test_a_clock_that_is_behind_the_brokers_goes_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client, now = RequestClient("127.0.0.1:1", 10.0), 1_700_000_000.0
    monkeypatch.setattr(requests.time, "time", lambda: now)
    assert client.now() == now
    # A record comes later than it was written, however late.
    for seconds, expected in [(-5.0, 0.0), (2.0, 2.0), (1.5, 2.0), (3.0, 3.0), (-60.0, 3.0)]:
        client._note_time(record_at(now + seconds))
        assert client.now() == pytest.approx(now + expected), seconds
    client._note_time(SimpleNamespace(timestamp=lambda: (0, -1)))  # type: ignore[arg-type]  # an error of the library's
    client._behind_at -= requests._CLOCK_SECONDS + 1
    client._note_time(record_at(now - 0.5))
    assert client.now() == now, "the clock was set"


def test_a_workers_time_is_that_of_its_connection() -> None:
    environment = Environment("127.0.0.1:1")
    assert environment.now() == pytest.approx(time.time(), abs=60)
    environment._transport = SimpleNamespace(now=lambda: 17.0)  # type: ignore[assignment]
    assert environment.now() == 17.0


async def test_a_result_is_waited_for_in_slices_that_a_clock_behind_does_not_end() -> None:
    """The engine passes over what comes after its deadline, by a clock that is two seconds ahead of this one."""
    deadlines = []

    async def query(query: WaitNode, *_: Any) -> Any:
        deadlines.append(query.deadline / 1000 - time.time())
        if deadlines[-1] < 2.0:
            raise Timeout("nobody answers")
        raise HeardError

    session: Any = SimpleNamespace(
        transport=SimpleNamespace(now=time.time),
        query=query,
        query_fields=lambda: {"reply_to": NOBODY, "deadline": 0, "user_id": b"u" * 16, "tid": ""},
    )
    with pytest.raises(HeardError):
        await wait_for_result(session, b"n" * 16, None)
    assert len(deadlines) == 3


def test_failed_signals_are_counted_and_logged_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = FailedSignals("Kafka")
    assert failed.take() is None
    with caplog.at_level(logging.WARNING):
        for number in range(1_000):
            failed.note(f"reason {number}")
        monkeypatch.setattr(failed_signals, "_LOG_SECONDS", 0.0)
        failed.note("at last")
    assert str(failed.take()) == "Kafka did not take 1001 of the published signals: reason 0"
    assert failed.take() is None
    assert [record.getMessage() for record in caplog.records] == [
        "Kafka did not take 1 of the published signals so far; the last: reason 0",
        "Kafka did not take 1001 of the published signals so far; the last: at last",
    ]
    assert not [value for value in vars(failed).values() if isinstance(value, list | dict | set)]
