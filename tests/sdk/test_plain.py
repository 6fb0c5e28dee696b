"""The plain client has every method of the async one, with the same arguments."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from backbeat import Client, Node, PlainClient, Unavailable
from backbeat.client.blocking.client import PlainNode
from backbeat.client.blocking.schedules import PlainSchedules
from backbeat.client.schedules.schedules import Schedules

#: What only the client's own parts call.
INSIDE = {
    "ask_wait", "unpack_result", "all_limits", "change_limit", "signal_command", "schedule_plan", "schedule_command",
    "schedule_by_name", "all_schedules",
}  # fmt: skip


def public(kind: type) -> dict[str, Callable[..., Any]]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: one for name, one in found if not name.startswith("_") and name not in INSIDE}


def plain(annotation: Any) -> str:
    text = str(annotation).replace("AsyncIterator", "Iterator")
    return re.sub(r"(?<!\w)Node(?!\w)", "PlainNode", text)


@pytest.mark.parametrize(
    ("waiting", "blocking"), [(Client, PlainClient), (Node, PlainNode), (Schedules, PlainSchedules)]
)
def test_no_method_is_missing_and_none_has_other_arguments(waiting: type, blocking: type) -> None:
    wanted, found = public(waiting), public(blocking)
    assert wanted.keys() - found.keys() == set()
    for name, method in wanted.items():
        asked, given = inspect.signature(method), inspect.signature(found[name])
        assert given.parameters == asked.parameters, name
        assert given.return_annotation == plain(asked.return_annotation), name
        assert not inspect.iscoroutinefunction(found[name]), name


def test_they_are_made_from_the_same() -> None:
    assert inspect.signature(PlainClient).parameters == inspect.signature(Client).parameters


def test_a_plain_client_that_is_not_connected_says_so() -> None:
    client = PlainClient()
    with pytest.raises(Unavailable, match="with PlainClient"):
        client.signal("Sale", "A", "Buy")
    with pytest.raises(Unavailable, match="with PlainClient"):
        list(client.search_nodes())


def test_a_plain_client_that_cannot_connect_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbeat.schemas.kafka.brokers.REACH_SECONDS_MAX", 0.2)
    client = PlainClient("127.0.0.1:1")
    for _ in range(2):
        with pytest.raises(Unavailable, match="does not answer"):
            client.start()
        with pytest.raises(Unavailable, match="with PlainClient"):
            client.users()
