"""Retries in a user's words: the waits of an activity, and what it gives up on, from its declaration to the engine."""

import pickle
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from backbeat import Fail, Retry, RetryAfter, Worker, activity, current
from backbeat.errors import InvalidParameters
from backbeat.schemas.messages.values import Backoff
from backbeat.testing import PlainBackbeat

#: A wait of the given length is this much shorter or longer, at most.
_JITTER = 0.2


class CardStolenError(Exception):
    """Trying again is no use."""


class StolenAbroadError(CardStolenError):
    """A subclass is given up on, too."""


def waits(error: Any, count: int, **options: Any) -> list[float]:
    """Seconds between the attempts of a child that is declared so and fails each time."""
    begun: list[float] = []

    @activity("Charge", **options)
    def charge() -> None:
        begun.append(backbeat.now.timestamp())
        raise error

    @activity("Order")
    def order() -> None:
        current().add(charge)

    with PlainBackbeat(Worker(activities=[charge, order])) as backbeat:
        backbeat.client().signal("Orders", 1, "Order")
        backbeat.run()
        while backbeat.next_due is not None:
            backbeat.advance(to=backbeat.next_due)
    assert len(begun) == count + 1
    return [later - earlier for earlier, later in pairwise(begun)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"retries": 1, "backoff": 60}, [60]),
        ({"retries": 5, "backoff": timedelta(minutes=1)}, [60, 120, 240, 480, 960]),
        ({"retries": 2, "backoff": 7200}, [7200, 7200]),
        ({}, [1200, 2400, 3600, 3600, 3600, 3600]),
        ({"retry": Retry(times=4, first=1, factor=3, longest=20)}, [1, 3, 9, 20]),
        ({"retry": Retry(times=3, first=5, factor=1)}, [5, 5, 5]),
        ({"retry": Retry(times=0)}, []),
    ],
)
def test_the_first_wait_is_the_backoff_and_each_is_longer(options: dict[str, Any], expected: list[float]) -> None:
    intervals = waits(RuntimeError("no"), len(expected), **options)
    for wait, middle in zip(intervals, expected, strict=True):
        assert (1 - _JITTER) * middle - 0.001 <= wait <= (1 + _JITTER) * middle


def test_without_jitter_they_are_exact() -> None:
    assert waits(RuntimeError("no"), 3, retry=Retry(times=3, first=1, jitter=0)) == [1, 2, 4]


def test_a_handler_says_how_long_one_wait_is() -> None:
    assert waits(RetryAfter(90), 2, retries=2, backoff=1) == [90, 90]
    assert waits(RetryAfter(timedelta(minutes=2)), 1, retries=1, backoff=1) == [120]


@pytest.mark.parametrize("error", [CardStolenError(), StolenAbroadError(), Fail("no")])
def test_what_is_given_up_on_is_not_tried_again(error: Exception) -> None:
    assert waits(error, 0, retry=Retry(times=5, first=1, give_up_on=(CardStolenError,))) == []


def test_another_error_is_tried_again() -> None:
    assert len(waits(KeyError("x"), 2, retry=Retry(times=2, first=1, give_up_on=(CardStolenError,)))) == 2


def test_an_answer_from_outside_carries_retry_after() -> None:
    @activity("Approve", asynchronous=True, retries=1)
    def approve() -> None: ...

    with PlainBackbeat(Worker(activities=[approve])) as backbeat:
        node = backbeat.client().signal("Orders", 1, "Approve")
        backbeat.run()
        node.answer(error=RetryAfter(30, "nobody is there"))
        assert backbeat.next_due == backbeat.now + timedelta(seconds=30)


def test_what_is_said_of_a_child_counts_before_its_declaration() -> None:
    @activity("Charge", retry=Retry(times=5, first=10, factor=3, longest=20, give_up_on=(CardStolenError,)))
    def charge() -> None: ...

    @activity("Order")
    def order() -> None:
        current().add(charge)
        current().add(charge.with_options(retries=1))
        current().add(charge.with_options(backoff=50))
        current().add(charge.with_options(retry=Retry(times=2)))
        current().add("Elsewhere", backoff=5)
        made.extend(current().children)

    made: list[Any] = []
    with PlainBackbeat(Worker(activities=[charge, order])) as backbeat:
        node = backbeat.client().signal("Orders", 1, "Order", retries=4, backoff=2)
        backbeat.run()
        assert (node.retries_remaining, node.view.retry_interval_seconds) == (4, 2.0)
    assert [(child.retries, child.retry_interval_seconds, child.backoff) for child in made] == [
        (5, 10.0, Backoff(3.0, 20.0, 0.2)),
        (1, 10.0, Backoff(3.0, 20.0, 0.2)),
        (5, 50.0, Backoff(3.0, 50.0, 0.2)),
        (2, 1200.0, Backoff(2.0, 3600.0, 0.2)),
        (6, 5.0, Backoff(2.0, 3600.0, 0.2)),
    ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"times": -1}, "times is below 0"),
        ({"times": 1.5}, "times is no whole number"),
        ({"first": -1}, "first is below 0"),
        ({"first": "1"}, "first is a str"),
        ({"first": 60, "longest": 30}, "longest is 30 s, and the first wait is 60 s already"),
        ({"factor": 0.5}, "factor is 0.5; it must be 1 or more"),
        ({"factor": float("nan")}, "factor is nan"),
        ({"jitter": 1.5}, "jitter is 1.5; it must be 0 to 1"),
        ({"give_up_on": CardStolenError}, "must be a tuple of exceptions"),
        ({"give_up_on": ("CardStolen",)}, "must be a tuple of exceptions"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_where_it_is_made(given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameters, match=text):
        Retry(**given)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"retry": 3}, r"retry is 3. What to do: retries=3, or retry=Retry\(times=…, first=…\)"),
        ({"retry": Retry(), "retries": 3}, "Give retry, or retries and backoff, not both"),
        ({"retry": Retry(give_up_on=(ValueError,))}, "give_up_on stands where the activity is declared"),
        ({"retries": -1}, "retries is below 0"),
        ({"backoff": -1}, "backoff is below 0"),
    ],
)
def test_wrong_retry_options_are_refused_by_every_call(options: dict[str, Any], text: str) -> None:
    @activity("Charge")
    def charge() -> None: ...

    @activity("Order", retries=0)
    def order() -> None:
        with pytest.raises(InvalidParameters, match=text):
            current().add(charge.with_options(**options))

    with PlainBackbeat(Worker(activities=[charge, order])) as backbeat:
        client = backbeat.client()
        with pytest.raises(InvalidParameters, match=text):
            client.signal("Orders", 1, "Charge", **options)
        with pytest.raises(InvalidParameters, match=text):
            client.schedules.put("nightly", "Orders", 1, "Charge", every=60, **options)
        client.signal("Orders", 2, "Order").result()


def test_a_repeat_of_before_and_after_an_upgrade_is_the_same_request() -> None:
    # The rule that a client of before did not know of must not make its repeat another request.
    with PlainBackbeat() as backbeat:
        client = backbeat.client()
        first = client.signal("Orders", 1, "Charge", idempotency_key="k", retries=2)
        assert client.signal("Orders", 1, "Charge", idempotency_key="k", retry=Retry(times=2)).id == first.id


def test_a_wait_survives_a_pickle_and_has_a_text() -> None:
    error = pickle.loads(pickle.dumps(RetryAfter(timedelta(minutes=1))))  # noqa: S301 - our own
    assert (error.seconds, str(error)) == (60.0, "to be tried again in 60 s")
    for wrong in (-1, float("inf"), "soon", True):
        with pytest.raises(InvalidParameters, match="RetryAfter is of seconds"):
            RetryAfter(wrong)  # type: ignore[arg-type]
