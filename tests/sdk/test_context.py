import contextvars
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backbeat import BackbeatError, current
from backbeat.activities.context import Activity
from backbeat.activities.running import running, transaction_id
from backbeat.errors import InvalidParameters, LimitExceeded

Make = Callable[..., Activity]


def test_outside_of_a_handler_there_is_no_activity() -> None:
    with pytest.raises(BackbeatError, match="no activity is running here"):
        current()
    assert transaction_id() != transaction_id()


def test_inside_it_is_the_one_that_runs(activity: Make) -> None:
    purchase = activity()

    def inside() -> None:
        running.set(purchase)
        assert current() is purchase
        # What it asks for belongs to the same transaction.
        assert transaction_id() == "tid-1"

    contextvars.copy_context().run(inside)


def test_the_running_activity_shows_its_node(activity: Make) -> None:
    purchase = activity()
    assert (purchase.name, purchase.attempt) == ("Make Purchase", 2)
    assert (purchase.workflow_name, purchase.subject) == ("Camera sale", "Camera 703")
    assert purchase.client_data == {"name": "Make Purchase", "params": ["Ann"]}
    assert (purchase.metadata, purchase.status, purchase.client_status, purchase.mode) == (
        {"shop": 1}, "sent_to_client", "received", "blocking",
    )  # fmt: skip
    assert purchase.node == purchase
    assert purchase.node.created_at == datetime.fromtimestamp(1_700_000_000, UTC)


def test_a_child_is_named_by_its_function_when_that_is_registered(activity: Make) -> None:
    def work() -> None: ...

    def other() -> None: ...

    purchase = activity(known={"work": {}})
    purchase.add(work)
    assert purchase.children[0].name == "work"
    with pytest.raises(BackbeatError, match="is not registered as an activity"):
        purchase.add(other)


def test_a_child_may_wait_for_a_time(activity: Make) -> None:
    purchase = activity()
    purchase.add("Work", at=datetime(2030, 1, 1, tzinfo=UTC))
    purchase.add("Work", at=timedelta(hours=1))
    first, second = purchase.children
    assert first.fires_at == 1_893_456_000_000
    assert abs(second.fires_at / 1000 - datetime.now(UTC).timestamp() - 3600) < 60


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"retries": -1}, "retries is below 0"),
        ({"backoff": -0.5}, "backoff is below 0"),
        ({"backoff": float("nan")}, "backoff is nan; it must be a number of seconds"),
        ({"mode": "parallel"}, "There is no mode 'parallel'"),
        ({"at": datetime(2030, 1, 1)}, "without a time zone"),  # noqa: DTZ001 - what is refused
        ({"client_data": {"a": object()}}, "cannot be written as JSON"),
        ({"link": "abc"}, "'abc' is no id"),
        ({"type": ""}, "type is 1 to 1024 bytes"),
    ],
)
def test_what_the_engine_would_refuse_is_refused_at_once(
    activity: Make, arguments: dict[str, Any], reason: str
) -> None:
    purchase = activity()
    with pytest.raises(InvalidParameters, match=reason):
        purchase.add("Work", **arguments)
    assert purchase.children == ()


def test_limits_are_named(activity: Make) -> None:
    with pytest.raises(LimitExceeded, match="payload_bytes_max is 262144"):
        activity().add("Work", "x" * 300_000)
    with pytest.raises(LimitExceeded, match="depth_max is 10000"):
        activity(depth=10_000).add("Work")


def test_arguments_are_given_in_one_way(activity: Make) -> None:
    with pytest.raises(TypeError):
        activity().add("Work", 1, params={"a": 1})
    with pytest.raises(InvalidParameters, match="args or client_data"):
        activity().add("Work", 1, client_data={"a": 1})
