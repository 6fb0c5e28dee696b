"""One event a line, what it is about, and no secrets."""

import io
import json
import logging

import pytest

from backbeat.streams.observe import logs

SECRETS = {
    "postgresql://backbeat:hunter2222@db/backbeat": "postgresql://backbeat:***@db/backbeat",
    "GET https://shop:hunter2222@example/activities": "GET https://shop:***@example/activities",
    "Authorization: Bearer hunter2222": "Authorization: Bearer ***",
    'Authorization: Token token="hunter2222"': 'Authorization: Token token="***"',
    "/v2/workflows?auth_token=hunter2222&page=1": "/v2/workflows?auth_token=***&page=1",
    '{"password": "hunter2222", "name": "shop"}': '{"password": "***", "name": "shop"}',
    "sasl.password=hunter2222": "sasl.password=***",
}
INNOCENT = [
    "partition 3: the log begins after offset 7",
    "http://127.0.0.1:9301 at 12:00",
    "3 tokens were taken",
    "basic tests passed",
    "https://example/path@2x",
]


@pytest.fixture
def log():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("backbeat.tests.logs")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)

    def lines(*, as_json=True):
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        rows = text.splitlines()
        return [json.loads(line) for line in rows] if as_json else rows

    handler.setFormatter(logs.formatter(as_json=True))
    yield logger, handler, lines
    logger.removeHandler(handler)


def test_an_event_is_a_line_of_json_with_what_it_is_about(log):
    logger, _, lines = log
    about = {"tid": "t1", "workflow": b"\x01" * 16, "node": b"\x02" * 16, "attempt": 3, "partition": 5}
    logger.warning("it took %d s", 7, extra=about)
    (event,) = lines()

    assert event["event"] == "it took 7 s"
    assert (event["level"], event["logger"]) == ("warning", "backbeat.tests.logs")
    assert event["timestamp"].endswith("Z")
    assert event["workflow"] == "01" * 16
    assert event["node"] == "02" * 16
    assert (event["tid"], event["attempt"], event["partition"]) == ("t1", 3, 5)


def test_what_is_not_known_is_not_there(log):
    logger, _, lines = log
    logger.info("hello", extra={"tid": "-", "workflow": None})
    (event,) = lines()
    assert event.keys() == {"event", "level", "logger", "timestamp"}


def test_the_transaction_id_of_what_is_worked_at(log):
    logger, _, lines = log
    token = logs.tid.set("of the call")
    try:
        logger.info("one")
        logger.info("other", extra={"tid": "its own"})
    finally:
        logs.tid.reset(token)
    assert [event["tid"] for event in lines()] == ["of the call", "its own"]


def test_an_exception_is_in_its_line(log):
    logger, _, lines = log
    try:
        int("password=hunter2222")
    except ValueError:
        logger.exception("a defect")
    (event,) = lines()
    assert "ValueError: invalid literal" in event["exception"]
    assert "hunter2222" not in json.dumps(event)


def test_text_for_people(log):
    logger, handler, lines = log
    handler.setFormatter(logs.formatter(as_json=False))
    logger.warning("it is slow", extra={"partition": 3, "tid": "t1", "more": "x"})
    (line,) = lines(as_json=False)
    assert line.endswith(" WARNING backbeat.tests.logs: it is slow  tid=t1 partition=3 more=x")


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_hidden_in_either_form(text, log):
    logger, handler, lines = log
    logger.info("%s", text, extra={"where": text, "auth_token": "hunter2222"})
    (event,) = lines()
    assert event["event"] == event["where"] == SECRETS[text]
    assert event["auth_token"] == logs.HIDDEN
    handler.setFormatter(logs.formatter(as_json=False))
    logger.info("%s", text, extra={"database_url": text})
    assert "hunter2222" not in "".join(lines(as_json=False))


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays(text):
    assert logs.redact(text) == text
