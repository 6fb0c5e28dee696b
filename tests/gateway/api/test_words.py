"""Words that the new calls do not know, one after the other, without a gateway around them."""

import json
import urllib.parse

import jsonschema_rs
import pytest

from backbeat.client.limits.rates import read_rate
from backbeat.errors import InvalidParameters
from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.api.shapes.words import check_words, known_words
from backbeat.gateway.http.casing import camel
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.openapi.calls import CALLS
from backbeat.gateway.openapi.document import SCHEMAS
from backbeat.streams.core.limits.slots import KEY_CHARACTERS_MAX, LONGER_THAN_ANY_SECONDS, _parsed

NEW = [route for route in ROUTES if route.new]
JOB = next(route for route in NEW if route.path == "/jobs" and route.method == "POST")
LIMIT = next(route for route in NEW if route.path == "/limits/{activity}" and route.method == "PUT")
SCHEDULE = next(route for route in NEW if route.path == "/schedules/{name}" and route.method == "PUT")


def refusal(route, query="", body=b"", *, form=False):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refusal) as refused:
        check_words(route, query, sent, form=form)
    assert refused.value.status == 400
    return str(refused.value)


@pytest.mark.parametrize("route", NEW, ids=lambda route: f"{route.method} {route.path}")
def test_every_new_call_takes_its_words_in_either_casing_and_no_other(route):
    for word in known_words(route):
        for spelt in (word, camel(word)):
            check_words(route, f"{spelt}=1", b"", form=False)
            check_words(route, "", json.dumps({spelt: 1}).encode(), form=False)
            check_words(route, "", f"{spelt}=1".encode(), form=True)
    message = f"{route.method} {route.path} knows no `colour`"
    assert refusal(route, "colour=red").startswith(message)
    assert refusal(route, "", {"colour": None}).startswith(message)
    assert refusal(route, "", b"colour%5Ba%5D=1", form=True).startswith(message)
    check_words(route, "", b" ", form=False)


@pytest.mark.parametrize("route", NEW, ids=lambda route: f"{route.method} {route.path}")
def test_the_openapi_description_allows_no_unknown_word(route):
    call = CALLS[f"{route.method} {route.path}"]
    for name in (call.body, call.form):
        assert name is None or SCHEMAS[name]["additionalProperties"] is False


@pytest.mark.parametrize(("route", "word", "meant"), [
    (JOB, "nmae", "name"), (JOB, "dryrun", "dry_run"), (JOB, "dryRum", "dry_run"), (JOB, "status", "current_status"),
    (JOB, "workflow", "workflow_name"), (SCHEDULE, "timezone", "zone"), (SCHEDULE, "retrys", "retries"),
    (SCHEDULE, "every", "interval"), (LIMIT, "agingSecond", "aging_seconds"), (LIMIT, "concurency", "concurrency"),
])  # fmt: skip
def test_the_nearest_word_is_named(route, word, meant):
    assert refusal(route, "", {word: 1}).endswith(f": did you mean `{meant}`?")


@pytest.mark.parametrize(("query", "body", "form"), [
    ("", b'{"dry_run": true, "dryRun": false}', False),
    ("", b'{"dry_run": true, "dry_run": false}', False),
    ("dry_run=true", b'{"dry_run": false}', False),
    ("dry_run=true&dry_run=false", b"", False),
    ("", b"dry_run=true&dryRun=false", True),
])  # fmt: skip
def test_a_word_that_is_said_twice_is_refused(query, body, form):
    assert refusal(JOB, query, body, form=form) == "`dry_run` is said twice"


def test_nested_fields_of_a_form_are_one_word():
    body = urllib.parse.urlencode([("client_data[a]", 1), ("client_data[b]", 2), ("metadata[]", 1), ("metadata[]", 2)])
    check_words(SCHEDULE, "", body.encode(), form=True)
    check_words(SCHEDULE, "", b'{"subject": {"a": 1, "colour": {"nmae": 2}}, "clientData": {"x": 1}}', form=False)


@pytest.mark.parametrize("body", [b"[]", b"5", b'"concurrency=3"', b"null", b'[{"concurrency": 3}]'])
def test_json_that_is_no_object_is_refused(body):
    assert refusal(LIMIT, "", body) == "The body must be a JSON object"


def test_numbers_may_have_any_number_of_digits():
    check_words(SCHEDULE, "", b'{"clientData": {"a": ' + b"9" * 10_000 + b"}}", form=False)


# --- what the description of a limit takes ---------------------------------------------------------------------------


def is_rate(text):
    try:
        _, seconds = read_rate(text)
    except InvalidParameters:
        return False
    return 0 < seconds <= LONGER_THAN_ANY_SECONDS


def is_path(text):
    try:
        _parsed(text)
    except ValueError:
        return text == ""
    return True


def described(name):
    return jsonschema_rs.validator_for(SCHEMAS["NewLimit"]["properties"][name])


@pytest.mark.parametrize("text", [
    "5/s", "100/min", "1000/h", "10/30s", "1/999999s", "1/527040min", "1/527041min", "1/8784h", "1/8785h", "1/366d",
    "1/367d", "1/99999h", "999999999/d", "1000000000/d", "0/s", "5/0s", "5", "5/", "/s", "5/w", "5/1000000s", "٣/s",
    *(f"1/{times}{unit}" for times in (9, 10, 99, 100, 299, 300, 359, 366, 999, 1000, 7999, 8000, 8699, 8700, 8779)
      for unit in ("s", "min", "h", "d")),
    *(f"1/{times}min" for times in (99_999, 100_000, 499_999, 500_000, 519_999, 520_000, 526_999, 527_000, 527_039)),
])  # fmt: skip
def test_a_rate_is_described_as_it_is_taken(text):
    assert described("rate").is_valid(text) is is_rate(text), text


@pytest.mark.parametrize("text", [
    "", "subject", "metadata.bank", "metadata.bank_id", "metadata.Bank-Id.x", "metadata.é", "client_data.params[0]",
    "client_data.params[999999].a", "client_data.params[1000000]", "subject[0][1]", "nonsense", "metadata.",
    "metadata..a", "metadata[a]", "subjects",
    "metadata." + "a" * (KEY_CHARACTERS_MAX - 9),
    "metadata." + "a" * (KEY_CHARACTERS_MAX - 8),
])  # fmt: skip
def test_a_key_is_described_as_it_is_taken(text):
    assert described("key").is_valid(text) is is_path(text), text
