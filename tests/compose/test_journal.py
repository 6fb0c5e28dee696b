"""The journal of a bulk command, and changes of many nodes at a time."""

import asyncio
from datetime import UTC, datetime

import pytest

from backbeat.compose.errors import SetupError
from backbeat.compose.journal import Head, Journal
from backbeat.compose.many import Outcome, each
from backbeat.errors import InvalidStatus, Unavailable

HEAD = Head(
    command="retry",
    where={"name": "Charge"},
    client="shop",
    run="r",
    count=3,
    begun_at=datetime(2026, 11, 24, tzinfo=UTC),
)
REFUSAL = InvalidStatus("invalid_client_status", "Cannot transition")


@pytest.fixture
def journal(tmp_path):
    return Journal.begin(tmp_path / "new" / "journal.jsonl", HEAD, ["a", "b", "c"])


def test_it_goes_on_where_it_was_left(journal):
    with journal:
        journal.write(Outcome("a"))
        journal.write(Outcome("b", REFUSAL))
    again = Journal.load(journal.path)

    assert (again.head, again.left, again.counts) == (HEAD, ["c"], (1, 1))
    assert again.key("c") == journal.key("c") == "bulk-r-c"


@pytest.mark.parametrize("cut", range(1, 20))
def test_half_a_line_is_as_none_and_is_written_over(journal, cut):
    with journal:
        journal.write(Outcome("a"))
        journal.write(Outcome("b"))
    text = journal.path.read_bytes()
    journal.path.write_bytes(text[:-cut])
    again = Journal.load(journal.path)
    assert again.left == ["b", "c"]
    with again:
        again.write(Outcome("b"))

    assert journal.path.read_bytes() == text


def test_another_run_is_not_written_over(journal):
    with pytest.raises(SetupError, match="is there already"):
        Journal.begin(journal.path, HEAD, ["a"])


@pytest.mark.parametrize("text", ["", "{}", '{"kind":"other"}', "\x00"])
def test_what_is_no_journal(tmp_path, text):
    path = tmp_path / "file"
    path.write_text(text)

    with pytest.raises(SetupError, match="is no journal"):
        Journal.load(path)


async def test_outcomes_come_in_order_and_so_many_are_under_way():
    under_way, most = 0, 0

    async def act(identity):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if identity == "3":
            raise REFUSAL

    outcomes = [outcome async for outcome in each([str(number) for number in range(10)], act, at_once=4)]

    assert [outcome.id for outcome in outcomes] == [str(number) for number in range(10)]
    assert [outcome.id for outcome in outcomes if outcome.refusal is REFUSAL] == ["3"]
    assert most == 4


async def test_what_is_no_refusal_ends_it():
    done = []

    async def act(identity):
        if identity == "2":
            raise Unavailable("Kafka is gone")
        done.append(identity)

    with pytest.raises(Unavailable):
        async for _ in each(["1", "2", "3"], act, at_once=1):
            pass

    assert done == ["1"]
