"""Activities: an operator pauses, limits and resumes one, and the page says who waits."""

from __future__ import annotations

import re

import pytest

from tests.gateway.console.desk import Desk
from tests.waiting import until

PAGE = "activity?client=shop&name=Deliver"


@pytest.fixture
def desk(stack) -> Desk:
    return Desk(stack.http_urls[0])


def deliver(user) -> str:
    (node,) = user.decide(user.sent()["id"], {"name": "Deliver"})
    (parent,) = user.door.get(f"/activities/{node}/path").json[:1]
    assert user.say(parent["id"], "deciding_complete").status == 200
    return node


def test_an_activity_is_paused_limited_and_resumed(desk, story, tab):
    user = story.user
    screen = tab(viewport={"width": 320, "height": 640})
    screen.open(PAGE)
    assert "without a limit" in screen.page.locator("main").inner_text()
    screen.page.get_by_label("Why (may be left out)", exact=True).fill("the bank is away")
    screen.follow(screen.page.get_by_role("button", name="Pause"), "Enter")
    screen.page.wait_for_url("**/activity?*done=*")
    assert "dev: pause “the bank is away” — done" in screen.page.get_by_role("status").first.inner_text()
    held = deliver(user)
    until(lambda: user.door.get(f"/activities/{held}/waits").json[0]["kind"] == "limit_paused", "it waits")
    assert "waits until the activity “Deliver” is resumed" in desk.get(f"nodes/{held}").text

    fields = {**desk.hidden(PAGE), "action": "limit", "concurrency": "1", "rate": "100/min", "by": "subject"}
    for wrong, problem in (
        ({"concurrency": "many"}, "is no number of nodes at once"),
        ({"concurrency": "0"}, "is no number of nodes at once"),
        ({"rate": "often"}, "is no rate"),
        ({"burst": "0"}, "is no number of starts at once"),
        ({"aging_seconds": "soon"}, "is no number of seconds"),
        ({"aging_seconds": "0"}, "is no number of seconds"),
        ({"concurrency": "", "rate": ""}, "Say how many at once"),
        ({"reason": "x" * 501}, "500 is the most"),
    ):
        answer = desk.send("activity", {**fields, **wrong})
        assert (answer.status, problem in answer.text) == (400, True), wrong
    assert "refused" in desk.get(desk.send("activity", {**fields, "by": "no path"}).headers["location"]).text
    fields = {**desk.hidden(PAGE), "action": "limit", "concurrency": "1", "rate": "100/min", "by": "subject"}
    assert desk.send("activity", fields).status == 303
    page = desk.get(PAGE).text
    assert "1 at once, 100/min" in page
    assert "paused" in page
    # What the next change of one of them leaves as it is.
    assert desk.send("activity", {**fields, "burst": "10", "aging_seconds": "60.5", "key": "b" * 32}).status == 303
    page = desk.get(PAGE).text
    for name, value in (("burst", "10"), ("aging_seconds", "60.5"), ("by", "subject")):
        assert re.search(f'name="{name}"[^>]* value="{value}"', page), name
    # Who waits, and since when, as all other times are shown.
    assert "Who waits" in page
    assert "+00:00" not in page

    screen.open(PAGE)
    screen.follow(screen.page.get_by_role("button", name="Resume"))
    user.wait_for(held, "sent_to_client")
    screen.open("activities")
    row = screen.page.get_by_role("row", name="Deliver").inner_text()
    assert "1 at once, 100/min" in row
    screen.open(PAGE)
    screen.follow(screen.page.get_by_role("button", name="Remove the limit"))
    screen.page.wait_for_url("**/activity?*done=*")
    assert "without a limit" in screen.page.locator("main").inner_text()
    screen.open("audit")
    assert "remove the limit" in screen.page.locator("main").inner_text()
    assert screen.complaints == []


def test_an_activity_that_nobody_may_see_is_none(desk):
    for address in ("activity?client=nobody&name=x", "activity?client=shop"):
        assert desk.get(address).status == 404


def test_a_form_that_is_sent_twice_is_done_once(desk, story):
    address = "activity?client=shop&name=Twice"
    first = desk.hidden(address)
    assert first["action"] == "pause"
    assert desk.send("activity", first).status == 303
    # Another form of the same page is another change.
    assert desk.send("activity", {**first, "action": "resume"}).status == 303
    assert "without a limit" in desk.get(address).text
    desk.send("activity", first)
    assert "without a limit" in desk.get(address).text
