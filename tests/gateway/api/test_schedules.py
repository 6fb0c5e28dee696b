"""Schedules over HTTP: what is said, what is answered, and who may."""

import pytest

from backbeat import Client
from tests.gateway.openapi.test_openapi import validator
from tests.waiting import until

NIGHTLY = {
    "workflow": "Reports",
    "subject": "night of {scheduled_at}",
    "signal": "Make report",
    "cron": "30 2 * * *",
    "zone": "Europe/Berlin",
}
HOURLY = {"workflow": "Reports", "subject": {"orderId": 1}, "signal": "Make report", "interval": 3600}
PATH = "/schedules/nightly%20report"


def checked(schedule):
    assert validator({"$ref": "#/components/schemas/Schedule"}).is_valid(schedule), schedule
    return schedule


def put(user, path=PATH, **more):
    answer = user.door.put(path, {**NIGHTLY, **more})
    assert answer.status == 200, answer
    return checked(answer.json)


def test_a_schedule_is_made_shown_listed_and_deleted(user, other):
    made = put(
        user,
        client_data={"a": 1},
        metadata={"b": 2},
        retries=3,
        backoff=1.5,
        overlap="queue",
        catchUp=60,
        decider="D",
        priority=2,
    )
    assert (made["name"], made["cron"], made["zone"], made["interval"]) == (
        "nightly report", "30 2 * * *", "Europe/Berlin", None,
    )  # fmt: skip
    assert (made["clientData"], made["metadata"], made["retries"], made["priority"]) == ({"a": 1}, {"b": 2}, 3, 2)
    assert (made["backoff"], made["clientId"]) == (1.5, user.id)
    assert (made["overlap"], made["catchUp"], made["decider"], made["userId"]) == ("queue", 60.0, "D", user.id)
    assert len(made["nextRuns"]) == 10
    shown = until(lambda: (schedule := user.door.get(PATH).json)["nextAt"] and schedule, "its next time is worked out")
    assert checked(shown)["nextAt"] == made["nextRuns"][0]
    assert user.door.get(f"/schedules/{made['id']}").json == shown
    second = user.door.put("/schedules/b", HOURLY).json
    assert (second["interval"], second["subject"], second["decider"]) == (3600.0, {"order_id": 1}, "Reports")
    assert [row["name"] for row in user.door.get("/schedules").json] == ["b", "nightly report"]
    assert other.door.get("/schedules").json == []
    for path in (PATH, f"/schedules/{made['id']}"):
        assert other.door.get(path).error == (404, "Backbeat::NotFound")
    assert user.door.call("DELETE", PATH).json == {"success": True}
    assert user.door.get(PATH).status == 404
    assert user.door.call("DELETE", PATH).status == 404


def test_another_client_application_runs_it_by_its_name_or_id(user, other):
    for client in (other.client.name, other.id):
        assert put(user, client=client)["clientId"] == other.id


def test_a_name_that_ends_in_json_is_another_name(user):
    put(user)
    other = put(user, f"{PATH}.json", cron=None, zone=None, interval=60)
    assert [(row["name"], row["interval"]) for row in user.door.get("/schedules").json] == [
        ("nightly report", None), ("nightly report.json", 60.0),
    ]  # fmt: skip
    assert user.door.get(f"{PATH}.json").json["id"] == other["id"]
    assert user.door.call("DELETE", f"{PATH}.json").json == {"success": True}
    assert [row["name"] for row in user.door.get("/schedules").json] == ["nightly report"]


async def test_the_sdk_means_the_same_schedule_over_http_and_over_kafka(stack, user):
    for address, name in ((stack.http_urls[0], user.id), (stack.bootstrap_servers, user.client.name)):
        async with Client(address, name) as client:
            await client.schedules.put("nightly.json", "W", "s", "Go", every=3600)
            assert (await client.schedules.get("nightly.json")).name == "nightly.json"
            assert [schedule.name for schedule in await client.schedules.list()] == ["nightly.json"]
            await client.schedules.delete("nightly.json")


def test_it_is_paused_triggered_and_filled_in(user):
    put(user, overlap="queue")
    assert user.door.put(f"{PATH}/pause?note=the+bank+is+closed").json == {"success": True}
    shown = user.door.get(PATH).json
    assert (shown["paused"], shown["note"], shown["nextRuns"]) == (True, "the bank is closed", [])
    triggered = checked(user.door.post(f"{PATH}/trigger").json)
    (run,) = triggered["running"]
    assert (run["cause"], run["state"]) == ("trigger", "running")
    assert user.node(run["nodeId"])["metadata"]["schedule"]["name"] == "nightly report"
    body = {"start": "2026-03-28T00:00:00Z", "end": "2026-03-30T00:00:00+02:00"}
    filled = checked(user.door.post(f"{PATH}/backfill", body).json)
    assert (filled["queuedCount"], [run["scheduledAt"] for run in filled["queued"]]) == (
        2, ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z"],
    )  # fmt: skip
    times = {"times": ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"], "overlap": "allow"}
    assert len(user.door.post(f"{PATH}/backfill", times).json["running"]) == 3
    assert user.door.put(f"{PATH}/resume").json == {"success": True}
    assert user.door.get(PATH).json["paused"] is False


def test_with_a_key_it_is_triggered_once(user):
    put(user)
    first = user.door.call("POST", f"{PATH}/trigger", None, {"Idempotency-Key": "k"}).json
    assert user.door.call("POST", f"{PATH}/trigger", None, {"Idempotency-Key": "k"}).json == first
    assert user.door.call("POST", f"{PATH}/trigger", {"overlap": "allow"}, {"Idempotency-Key": "k"}).status == 422
    assert user.door.get(PATH).json["started"] == 1


@pytest.mark.parametrize(("path", "fields", "word"), [
    (PATH, {"cron": "61 * * * *"}, "Bad minute"),
    (PATH, {"cron": "* * *"}, "five fields"),
    (PATH, {"zone": "Mars/Olympus"}, "no time zone"),
    (PATH, {"interval": 60}, "or an interval"),
    (PATH, {"cron": None}, "cron or interval is missing"),
    (PATH, {"workflow": ""}, "workflow is missing"),
    (PATH, {"signal": None}, "signal is missing"),
    (PATH, {"subject": None}, "subject is missing"),
    (PATH, {"subject": []}, "subject"),
    (PATH, {"overlap": "sometimes"}, "no overlap"),
    (PATH, {"catch_up": 1}, "catch-up window"),
    (PATH, {"fires_at": "2026-01-01"}, "knows no `fires_at`"),
    (PATH, {"timezone": "Europe/Berlin"}, "did you mean `zone`?"),
    (PATH, {"retry": 0}, "did you mean `retries`?"),
    (PATH, {"retry_interval": 0}, "did you mean `backoff`?"),
    (PATH, {"options": {"metadata": {}}}, "knows no `options`"),
    ("/schedules/5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415", {}, "is a schedule's id"),
    (PATH, {"client": "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415"}, "There is no client application"),
    (PATH, {"client": "nobody"}, "There is no client application"),
    (PATH, {"client_id": "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415"}, "did you mean `client`?"),
    ("/schedules/%20", {}, "name is missing"),
])  # fmt: skip
def test_what_is_no_schedule_is_refused(user, path, fields, word):
    answer = user.door.put(path, {**NIGHTLY, **fields})
    assert (answer.error, word in answer.json["message"]) == ((400, "Backbeat::InvalidParameters"), True), answer


@pytest.mark.parametrize(("body", "word"), [
    ({}, "start is missing"),
    ({"start": "2026-01-01"}, "end is missing"),
    ({"start": "2026-01-01", "end": "2026-01-01"}, "never due"),
    ({"start": "2000-01-01", "end": "2026-01-01"}, "more than 1000"),
    ({"times": "2026-01-01"}, "times must be"),
    ({"times": []}, "times must be"),
    ({"times": [5]}, "times must be"),
    ({"times": ["2026-01-01"], "start": "2026-01-01"}, "one or the other"),
    ({"start": "2026-01-01", "until": "2026-01-01"}, "knows no `until`"),
])  # fmt: skip
def test_what_cannot_be_filled_in_is_refused(user, body, word):
    put(user)
    answer = user.door.post(f"{PATH}/backfill", body)
    assert (answer.error, word in answer.json["message"]) == ((400, "Backbeat::InvalidParameters"), True), answer


def test_tokens(stack, user):
    put(user)
    without = user.at(stack.http_urls[1])
    with_token = user.at(stack.http_urls[1], token=True)
    assert (without.put(PATH, NIGHTLY).status, with_token.put(PATH, NIGHTLY).status) == (401, 200)
    assert (without.post(f"{PATH}/trigger").status, with_token.post(f"{PATH}/trigger").status) == (401, 200)
    assert user.at(stack.http_urls[2]).get("/schedules").status == 401
    assert user.at(stack.http_urls[2], token=True).get("/schedules").status == 200
