"""Dead letters: an operator sends them in again or drops them; a client reads its own over HTTP, and no other's."""

from __future__ import annotations

import json

import pytest

from backbeat.gateway.letters.topic import DeadLetterTopic, Position
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door
from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.test_people import command
from tests.gateway.openapi.test_openapi import validator
from tests.waiting import until


@pytest.fixture
def desk(stack) -> Desk:
    return Desk(stack.http_urls[0])


def test_letters_are_sent_in_again_and_dropped_without_a_script(desk, story, tab):
    first, second, third = (story.dead({"workflow": "W", "subject": number}) for number in range(3))
    screen = tab(viewport={"width": 320, "height": 640})
    screen.open("letters")
    assert "missing field `decider`" in screen.page.locator("main").inner_text()
    for position in (first, second):
        screen.page.get_by_label(f"Choose {position}").check()
    screen.follow(screen.page.get_by_role("button", name="Drop those chosen"))
    assert "Say why" in screen.page.locator("main").inner_text()
    screen.page.go_back()
    screen.page.get_by_label("Why").fill("a test")
    screen.follow(screen.page.get_by_role("button", name="Drop those chosen"))
    screen.page.wait_for_url("**/letters?done=*")
    assert "dev: drop 2 letters, from “a test” — done" in screen.page.get_by_role("status").first.inner_text()
    assert screen.page.get_by_role("link", name=first, exact=True).count() == 0
    # The audit names all of them, and each letter's page shows what was done to it.
    audit = desk.get("audit").text
    assert f"{first}, {second}" in audit or f"{second}, {first}" in audit
    for position in (first, second):
        assert "drop 2 letters, from" in desk.get(f"letters/{position}").text, position
    screen.follow(screen.page.get_by_role("link", name="dropped", exact=True))
    screen.follow(screen.page.get_by_role("link", name=first, exact=True))
    assert "dev: a test" in screen.page.locator("main").inner_text()

    screen.open(f"letters/{third}")
    assert '"subject"' in screen.page.locator("main").inner_text()
    screen.follow(screen.page.get_by_role("button", name="Send it in again"))
    screen.page.wait_for_url(f"**/letters/{third}?done=*")
    text = screen.page.locator("main").inner_text()
    assert "redriven" in text
    assert "backbeat.signals.shop" in text
    # It is as it was, so it comes back.
    until(lambda: "sent in 1 time before" in desk.get("letters?reason=DECIDER").text, "it comes back")
    # A form that comes back is a complaint of the browser's.
    assert [line for line in screen.complaints if "400" not in line] == []

    fields = desk.hidden("letters")
    answer = desk.send("letters", {**fields, "action": "redrive", f"letter:{third}": "on"})
    assert (answer.status, "This is done already" in answer.text) == (400, True)
    for broken in ({"action": "explode"}, {}, {"letter:x": "on"}):
        assert desk.send("letters", {**fields, "action": "redrive", **broken}).status == 400
    assert desk.send("letters", {**fields, "action": "redrive", "letter:0@99999": "on"}).status == 404
    for address, status in (
        ("letters/0@99999", 404),
        ("letters/x", 400),
        ("letters?state=odd", 400),
        ("letters?before=x", 400),
        # No partition, and one that no Kafka can have.
        ("letters?before=77@1", 200),
        ("letters?before=99999999999999999999@1", 400),
        ("letters?before=0@99999999999999999999", 400),
        ("letters?client=nobody", 400),
    ):
        assert desk.get(address).status == status, address


def test_who_asks_for_older_letters_comes_to_the_end_whatever_the_time(story):
    first, end = Position.read(story.letter), Position.read(story.dead({"workflow": "W", "subject": "the last"}))
    assert end is not None
    with DeadLetterTopic(story.bootstrap_servers) as topic:
        letters, before = topic.newest(1, lambda _: True, end, seconds_max=0.0)
        while before is not None:
            assert before.offset < end.offset
            end = before
            older, before = topic.newest(1, lambda _: True, end, seconds_max=0.0)
            letters += older
    assert first in {letter.position for letter in letters}


def test_headers_that_mean_no_good_hide_no_letter(desk, story):
    # Figures that are none, and more of them than are read.
    headers = [("backbeat-redriven", "²"), ("backbeat-redriven", "9" * 5_000), ("large", "x" * 100_000)]
    position = story.dead({"workflow": "W", "subject": "headers"}, [*headers, ("backbeat-marks", "0")])
    page = desk.get("letters")
    assert (page.status, position in page.text) == (200, True)
    assert "x" * 300 not in page.text
    assert "x" * 200 in desk.get(f"letters/{position}").text
    fields = {**desk.hidden(f"letters/{position}"), "reason": ""}
    assert desk.send("letters", {**fields, "action": "redrive", f"letter:{position}": "on"}).status == 303
    until(lambda: "sent in 1 time before" in desk.get("letters").text, "it comes back")


def test_a_client_reads_and_settles_its_own_letters_over_http(stack, story):
    user = story.user
    position = story.dead({"workflow": "W", "subject": "over http"})
    listed = user.door.get("/dead-letters").json
    assert position in {letter["position"] for letter in listed}
    schema = {"type": "array", "items": {"$ref": "#/components/schemas/Letter"}}
    assert validator(schema).is_valid(listed), listed
    newest = user.door.get("/dead-letters?limit=1&state=all")
    assert len(newest.json) == 1
    older = user.door.get(f"/dead-letters?state=all&before={newest.headers['x-backbeat-next']}").json
    assert newest.json[0]["position"] not in {letter["position"] for letter in older}
    whole = user.door.get(f"/dead-letters/{position}").json
    assert validator({"$ref": "#/components/schemas/WholeLetter"}).is_valid(whole), whole
    assert "decider" in whole["unreadable"]

    other = Door(stack.http_urls[0], add_client(stack.bootstrap_servers, "lettered", partitions=2).id)
    assert other.get("/dead-letters?state=all").json == []
    assert other.get(f"/dead-letters/{position}").error == (404, "Backbeat::NotFound")
    assert other.post("/dead-letters/drop", {"positions": [position]}).status == 404
    assert Door(stack.http_urls[0]).get("/dead-letters").status == 401

    (settled,) = user.door.post("/dead-letters/redrive", {"positions": [position], "note": "again"}).json
    assert (settled["error"], settled["wentTo"].split(" ")[0]) == (None, "backbeat.signals.shop")
    assert user.door.get(f"/dead-letters/{position}").json["mark"]["note"] == "again"
    assert "already" in user.door.post("/dead-letters/drop", {"positions": [position]}).json["message"]
    (dropped,) = user.door.post("/dead-letters/drop", {"positions": [position], "again": True}).json
    assert dropped == {"position": position, "wentTo": None, "error": None}
    for body in ({}, {"positions": "0@1"}, {"positions": []}, {"positions": ["x"]}, {"positions": ["0@1"] * 201},
                 {"positions": [position], "again": True, "note": "n" * 1_001}):  # fmt: skip
        assert user.door.post("/dead-letters/drop", body).status == 400, body
    assert user.door.get("/dead-letters?before=77@1").json == []
    for query in ("state=odd", "limit=0", "before=x", "before=99999999999999999999@1", "colour=red"):
        assert user.door.get(f"/dead-letters?{query}").status == 400, query


def test_who_sees_one_client_sees_its_letters_alone(stack, story):
    add_client(stack.bootstrap_servers, "elsewhere", partitions=2)
    story.system_letter()
    people = {}
    for name, words in {
        "postman": ["--role", "operator"],
        "neighbour": ["--role", "operator", "--client", "elsewhere", "--payloads"],
        "clerk-of-shop": ["--role", "operator", "--client", "shop"],
    }.items():
        token = json.loads(command(stack, "add", name, *words, "--json"))["token"]
        people[name] = log_in(stack.http_urls[1], name, token)
    postman, neighbour, clerk = people.values()
    try:
        letter = f"letters/{story.letter}"
        assert "of the system" in postman.get("letters").text
        assert "of the system" not in clerk.get("letters").text
        assert story.letter in clerk.get("letters?state=all").text
        assert "You may not see payloads" in clerk.get(letter).text
        assert story.letter not in neighbour.get("letters?state=all").text
        assert neighbour.get(letter).status == 404
        form = clerk.hidden("letters")["form"]
        assert neighbour.send("letters", {"form": form, "action": "drop", f"letter:{story.letter}": "on"}).status == 403
    finally:
        for name in people:
            command(stack, "remove", name, "--yes")
