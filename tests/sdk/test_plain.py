"""The blocking client has every public call of the async one, with the same arguments and types."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from backbeat import Client, Node, PlainClient, Unavailable
from backbeat.client.blocking.client import (
    PlainArchives,
    PlainDeadLetters,
    PlainJobs,
    PlainLimits,
    PlainRetention,
    PlainSchedules,
    PlainSettings,
)
from backbeat.client.blocking.node import PlainNode
from backbeat.client.jobs.jobs import Jobs
from backbeat.client.limits.limits import Limits
from backbeat.client.operations.archives import Archives
from backbeat.client.operations.dead_letters import DeadLetters
from backbeat.client.operations.retention import Retention
from backbeat.client.operations.settings import Settings
from backbeat.client.schedules.schedules import Schedules
from backbeat.client.searches import Searches

TWINS = [
    (Client, PlainClient),
    (Node, PlainNode),
    (Archives, PlainArchives),
    (DeadLetters, PlainDeadLetters),
    (Jobs, PlainJobs),
    (Limits, PlainLimits),
    (Retention, PlainRetention),
    (Schedules, PlainSchedules),
    (Settings, PlainSettings),
]


def public(kind: type) -> dict[str, Callable[..., Any]]:
    calls = inspect.getmembers(kind, inspect.isfunction)
    return {name: call for name, call in calls if not name.startswith("_")}


def in_blocking_words(annotation: Any) -> str:
    text = str(annotation).replace("AsyncIterator", "Iterator")
    return re.sub(r"(?<!\w)Node(?!\w)", "PlainNode", text)


@pytest.mark.parametrize(("waiting", "blocking"), TWINS)
def test_every_call_of_one_is_in_the_other_with_its_types(waiting: type, blocking: type) -> None:
    calls, twins = public(waiting), public(blocking)
    assert calls.keys() == twins.keys()
    for name, call in calls.items():
        asked, given = inspect.signature(call), inspect.signature(twins[name])
        assert given.parameters == asked.parameters, name
        assert given.return_annotation == in_blocking_words(asked.return_annotation), name
        assert not inspect.iscoroutinefunction(twins[name]), name
        assert not inspect.isasyncgenfunction(twins[name]), name
        if name not in {"start", "stop"} or blocking is not PlainClient:
            assert twins[name].__doc__ == call.__doc__, name


def nouns(client: Client | PlainClient) -> dict[str, str]:
    """The parts of a client by their names, as the async classes are called."""
    parts = {name: getattr(client, name) for name in dir(client) if not name.startswith("_")}
    return {
        name: type(part).__name__.removeprefix("Plain")
        for name, part in parts.items()
        if type(part).__module__.startswith("backbeat.client")
    }


def test_both_are_made_of_the_same_parts() -> None:
    parts = ("Archives", "DeadLetters", "Jobs", "Limits", "Retention", "Schedules", "Settings")
    assert set(nouns(PlainClient()).values()) == set(parts)
    assert nouns(PlainClient()) == nouns(Client())


def test_a_client_has_no_other_base_than_its_searches_and_nothing_but_calls_for_users() -> None:
    assert Client.__mro__ == (Client, Searches, object)
    assert all(inspect.getdoc(call) for kind, _ in TWINS for call in public(kind).values())


def test_both_clients_take_the_same_parameters() -> None:
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
