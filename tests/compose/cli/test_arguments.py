"""What people write on the command line: times, lengths, ids, subjects, conditions."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import click
import pytest

from backbeat.compose.cli.conditions import conditions_text, read_conditions
from backbeat.compose.cli.durations import Due, Moment, read_length
from backbeat.compose.cli.references import read_ids, read_value

A, B = "5d3f8a10-0000-8000-8000-00000000000a", "5d3f8a10-0000-8000-8000-00000000000b"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("20h", 72_000), ("1d12h", 129_600), ("0s", 0), ("1.5h", 5_400), ("2w", 1_209_600)],
)
def test_lengths(text, seconds):
    assert read_length(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "5 m", "-5m", "5min", "9999999999999w"])
def test_a_text_that_is_no_length_is_none(text):
    assert read_length(text) is None


def test_moments_are_ago_and_times_to_come_stay_lengths():
    before = datetime.now(UTC)
    ago = Moment().convert("2h", None, None)

    assert before - timedelta(hours=2) <= ago <= datetime.now(UTC) - timedelta(hours=2)
    # A repeat with an idempotency key has to say the same as the first time.
    assert Due().convert("2h", None, None) == timedelta(hours=2)
    assert Due().convert("0s", None, None) == timedelta(0)
    assert Moment().convert("2026-11-24", None, None) == datetime(2026, 11, 24, tzinfo=UTC)
    assert Due().convert("2026-11-24T10:00:00+02:00", None, None) == datetime(2026, 11, 24, 8, tzinfo=UTC)
    with pytest.raises(click.BadParameter, match="'soon' is no time; give ISO 8601"):
        Due().convert("soon", None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("703", 703), ('"703"', "703"), ("Camera 703", "Camera 703"), ('{"a": [1]}', {"a": [1]}), ("NaN", "NaN")],
)
def test_values_are_json_or_else_text(text, value):
    assert read_value(text) == value


def test_ids_come_from_arguments_and_standard_input_each_once(monkeypatch):
    given = f'\n{A}\n{{"id": "{B}", "name": "x"}}\n{A.upper()}\n'
    monkeypatch.setattr("sys.stdin", StringIO(given))

    assert read_ids([B, "-"]) == [B, A]


@pytest.mark.parametrize(
    ("given", "message"),
    [("five", "'five' is no id"), ('{"name": 1}', "this line has no id"), ('{"id": ', "this is no JSON")],
)
def test_lines_that_name_nothing(monkeypatch, given, message):
    monkeypatch.setattr("sys.stdin", StringIO(given))

    with pytest.raises(click.UsageError, match=message):
        read_ids(["-"])


def test_conditions():
    assert read_conditions(["name=Charge card", "error=a=b", "past_status=errored", "workflow=Sale"]) == {
        "name": "Charge card",
        "error": "a=b",
        "past_status": "errored",
        "workflow_name": "Sale",
    }
    filters = read_conditions(
        ["created-since=2026-01-31T12:00:00Z", "workflow-id=0b4e9b1e-57a5-8f0e-9d4b-6f1c34c0f0aa"]
    )
    assert filters["created_start"].isoformat() == "2026-01-31T12:00:00+00:00"
    assert conditions_text(filters) == (
        "created-since=2026-01-31 12:00:00+00:00 workflow-id=0b4e9b1e-57a5-8f0e-9d4b-6f1c34c0f0aa"
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["name"], "give KEY=VALUE"),
        (["nam=x"], "did you mean `name`"),
        (["colour=x"], "known are name, status"),
        (["status=broken"], "there is no status 'broken'"),
        (["name=a", "name=b"], "'name' is given twice"),
        (["since=soon"], "'soon' is no time"),
        (["workflow-id=seven"], "'seven' is not a valid UUID"),
    ],
)
def test_conditions_that_cannot_be(texts, message):
    with click.Context(click.Command("retry")), pytest.raises(click.UsageError, match=message):
        read_conditions(texts)
