"""Keyword arguments that a call does not have: refused with the nearest one, in every call that takes options."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backbeat import BackbeatError, activity
from backbeat.activities.context import Activity
from backbeat.client.words import hint
from backbeat.errors import InvalidParameters, UnknownOption
from backbeat.testing import Backbeat, PlainBackbeat

#: The words that other doors have for the same, and a slip of the finger: the wrong word, and the one that was meant.
OF_SIGNALS = [
    ("idempotencey_key", "idempotency_key"),
    ("idempotencykey", "idempotency_key"),
    ("fires_at", "at"),
    ("max_retries", "retries"),
    ("retry_interval_seconds", "backoff"),
    ("retry_interval", "backoff"),
    ("timeout_seconds", "timeout"),
    ("deadline", "timeout"),
    ("runner", "client"),
    ("client_id", "client"),
    ("params", "args"),
    ("Metadata", "metadata"),
]


def refused(word: str, meant: str) -> Any:
    return pytest.raises(UnknownOption, match=rf"knows no `{word}`: did you mean `{meant}`\?")


@pytest.mark.parametrize("call", ["signal", "publish"])
@pytest.mark.parametrize(("word", "meant"), OF_SIGNALS)
async def test_a_signal_is_not_sent_with_a_word_that_it_does_not_have(call: str, word: str, meant: str) -> None:
    client = Backbeat().client()
    options: Any = {word: 1}
    with refused(word, meant):
        await getattr(client, call)("Sale", 703, "Buy", **options)
    assert (await client.tree((await client.find_or_create("Sale", 703)).id)).children == []


def test_a_plain_client_and_a_running_activity_refuse_unknown_words(activity: Callable[..., Activity]) -> None:
    options: Any = {"fires_at": timedelta(days=1)}
    with PlainBackbeat() as backbeat, refused("fires_at", "at"):
        backbeat.client().signal("Sale", 703, "Buy", **options)
    running = activity()
    with refused("fires_at", "at"):
        running.signal("Sale", "another", "Buy", **options)
    with refused("link_ed", "linked"):
        running.signal("Sale", "another", "Buy", link_ed=True)  # type: ignore[call-arg]
    assert running.signals == ()


@pytest.mark.parametrize(
    ("word", "meant"),
    [("timezone", "zone"), ("interval", "every"), ("retry_interval_seconds", "backoff"), ("every_", "every")],
)
async def test_a_schedule_is_not_made_with_a_word_that_it_does_not_have(word: str, meant: str) -> None:
    client = Backbeat().client()
    options: Any = {word: "Europe/Berlin"}
    with refused(word, meant):
        await client.schedules.put("nightly", "Reports", 1, "Report", cron="30 2 * * *", **options)
    assert await client.schedules.list() == []


@pytest.mark.parametrize("word", ["at", "link", "idempotency_key", "coalesce_key"])
async def test_what_a_signal_has_and_one_of_a_schedule_has_not_is_refused(word: str) -> None:
    options: Any = {word: None}
    with pytest.raises(UnknownOption, match=f"put\\(\\) knows no `{word}`"):
        await Backbeat().client().schedules.put("nightly", "Reports", 1, "Report", every=60, **options)


async def test_a_search_is_not_asked_with_a_word_that_it_does_not_have() -> None:
    client = Backbeat().client()
    options: Any = {"status": "ready"}
    for search in (client.search_nodes, client.search_workflows):
        with refused("status", "current_status"):
            search(**options)
    with pytest.raises(UnknownOption, match="knows no `subject`"):
        client.search_nodes(subject="A")  # type: ignore[call-arg]


async def test_a_job_is_not_started_with_a_word_that_it_does_not_have() -> None:
    client = Backbeat().client()
    options: Any = {"nmae": "Charge card"}
    with refused("nmae", "name"):
        await client.jobs.start("cancel", current_status="ready", **options)
    assert await client.jobs.list() == []


def test_children_and_declarations_refuse_unknown_words(activity: Callable[..., Activity]) -> None:
    running = activity()
    options: Any = {"fires_at": timedelta(hours=1)}
    with refused("fires_at", "at"):
        running.add("Work", **options)
    with refused("fires_at", "at"):
        running.spread("Work", [1, 2], **options)
    with refused("max_retries", "retries"):
        work.with_options(max_retries=0)  # type: ignore[call-arg]
    with refused("retry_interval", "backoff"):
        declare(retry_interval=3)
    assert running.children == ()


declare: Any = activity


@activity
def work() -> None: ...


def test_it_is_caught_as_a_type_error_and_as_an_error_of_backbeat() -> None:
    assert issubclass(UnknownOption, InvalidParameters)
    assert issubclass(UnknownOption, TypeError)
    assert issubclass(UnknownOption, BackbeatError)


def test_without_a_near_word_all_are_named() -> None:
    assert hint("colour", ["name", "subject"]) == "known are name, subject"
    assert hint("colour", []) == "it takes none"
