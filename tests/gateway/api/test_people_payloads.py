"""Payloads and people: the audit has none, answers of changes have none for who may not see them; odd headers."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import pytest

from backbeat.schemas.messages import commands, ids, queries
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.transport.base import NOBODY
from tests.gateway.api.test_people import PersonDoor, add_person, entries, exhausted
from tests.waiting import until

SECRET = "4111 1111 1111 1111"
PEOPLE = {"all-seeing": ["--payloads"], "sightless": []}


@pytest.fixture(scope="module")
def tokens(stack) -> dict[str, str]:
    return {name: add_person(stack, name, "--role", "operator", *words) for name, words in PEOPLE.items()}


@pytest.fixture
def door(stack, tokens) -> Callable[..., PersonDoor]:
    def come(name: str, client_id: str | None = None) -> PersonDoor:
        return PersonDoor(stack.http_urls[0], name, tokens[name], client_id=client_id, reason="a test")

    return come


def test_the_audit_says_what_was_changed_and_has_no_payloads(stack, user, door):
    oper = door("all-seeing", user.id)
    node = user.sent()
    assert oper.put(f"/activities/{node['id']}/status/completed", {"response": {"card": SECRET}}).status == 200
    workflow = user.workflow()["id"]
    signal = {"options": {"client_data": {"card": SECRET}}, "client_data": {"card": SECRET}}
    assert oper.post(f"/workflows/{workflow}/signal/pay", signal).status == 201
    assert oper.post(f"/workflows/{workflow}/messages/paid", {"value": {"card": SECRET}}).status in {200, 404, 409}
    schedule = {"workflow": "sale", "signal": "pay", "subject": "x", "interval": 86_400, "client_data": {"a": SECRET}}
    assert oper.put("/schedules/daily", schedule).status == 200
    job = {"action": "resolve", "metadata": SECRET, "response": SECRET, "dry_run": True}
    assert oper.post("/jobs", job).status == 201
    started = commands.StartJob(
        id=b"s" * 16, user_id=None, reply_to=NOBODY, partition=0, action="retry",
        filter=JobFilter(metadata=SECRET, name="pay"), dry_run=True,
    )  # fmt: skip
    assert oper.record(started).status == 200
    assert oper.put("/limits/pay", {"concurrency": 7}).status == 200
    made = [entry for entry in entries(stack) if entry.actor == "all-seeing" and entry.client_id == user.id]
    names = "\n".join(entry.subject_name for entry in made)
    assert SECRET not in names
    assert {f'{node["id"]} completed {{"response":"…"}}', 'pay {"concurrency":7}'} <= set(names.splitlines()), names
    assert "metadata='…'" in names
    assert "name='pay'" in names


def test_who_may_not_see_payloads_gets_none_by_changing_something(user, door):
    schedule = {"workflow": "sale", "signal": "pay", "subject": "x", "interval": 86_400, "client_data": {"a": SECRET}}
    schedule["metadata"] = {"b": SECRET}
    assert user.door.put("/schedules/daily", schedule).status == 200
    job = {"action": "resolve", "metadata": SECRET, "response": {"c": SECRET}, "dry_run": True}
    identity = user.door.post("/jobs", job).json["id"]
    for name in PEOPLE:
        person = door(name, user.id)
        run = commands.RunSchedule(
            id=name.encode()[:8] * 2,
            reply_to=NOBODY,
            schedule_id=ids.schedule_id(user.client.id_bytes, "daily"),
        )
        answers = [
            person.post("/schedules/daily/trigger", {}),
            person.record(run),
            person.get(f"/jobs/{identity}"),
            person.get("/jobs"),
            person.put(f"/jobs/{identity}/stop"),
            person.record(queries.GetJobs(reply_to=NOBODY, deadline=0, partition=-1)),
        ]
        assert [answer.status for answer in answers] == [200] * 6, answers
        shown = {SECRET.encode() in answer.body for answer in answers}
        assert shown == {name == "all-seeing"}, answers


def test_who_may_not_see_payloads_sees_no_key_of_a_limit(user, door):
    limit = {"concurrency": 1, "key": "metadata.card"}
    assert user.door.put("/limits/Charge", limit).status == 200
    top = user.sent()
    charges = [{"name": "Charge", "mode": "non_blocking", "metadata": {"card": SECRET}} for _ in range(2)]
    user.decide(top["id"], *charges)
    assert user.say(top["id"], "deciding_complete").status == 200
    until(lambda: user.door.get("/limits/Charge").json["pools"], "somebody is at the limit")
    for name in PEOPLE:
        person = door(name, user.id)
        answers = [
            person.get("/limits"),
            person.get("/limits/Charge"),
            person.put("/limits/Charge/pause"),
            person.put("/limits/Charge", limit),
            person.record(queries.GetLimits(reply_to=NOBODY, deadline=0, partition=-1)),
        ]
        assert [answer.status for answer in answers] == [200] * 5, answers
        assert any(SECRET.encode() in answer.body for answer in answers) == (name == "all-seeing"), answers


def test_bytes_that_are_no_utf_8_are_nobodys_token_and_a_reason_all_the_same(stack, user, tokens, door):
    wrong = {"Authorization": b'Token token="\xff\xfe"'}
    assert door("sightless").call("GET", "/jobs", headers=wrong).status == 401
    node = exhausted(user)
    answer = door("sightless").call("PUT", f"/activities/{node}/restart", headers={"X-backbeat-reason": b"caf\xe9"})
    assert answer.status == 200
    (entry,) = (entry for entry in entries(stack) if entry.subject_id == node)
    assert (entry.reason, entry.outcome) == ("caf?", "done")


@pytest.mark.parametrize("twice", ["Person", "Authorization", "Client-Id", "X-backbeat-reason"])
def test_a_header_that_is_there_twice_is_believed_in_neither(stack, user, other, tokens, twice):
    address = urlsplit(stack.http_urls[0])
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
    values = {
        "Person": ("all-seeing", "sightless"),
        "Authorization": tuple(f'Token token="{tokens[name]}"' for name in PEOPLE),
        "Client-Id": (user.id, other.id),
        "X-backbeat-reason": (quote("one"), quote("another")),
    }
    connection.putrequest("GET", "/jobs")
    for name, (first, second) in values.items():
        connection.putheader(name, first)
        if name == twice:
            connection.putheader(name, second)
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, twice in response.read().decode()) == (400, True)
    connection.close()
