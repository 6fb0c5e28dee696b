"""Signals from a workflow's page, and an earlier one once more: by a form, each once, and written down."""

from __future__ import annotations

import json

import pytest

from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.journey import Keyboard, shown
from tests.gateway.console.test_people import command
from tests.waiting import until


@pytest.fixture
def desk(stack) -> Desk:
    return Desk(stack.http_urls[0])


def signals(user, workflow: str) -> list[dict]:
    """The nodes at the top of a workflow, whole."""
    return user.door.get(f"/workflows/{workflow}/children", **{"X-backbeat-whole": "1"}).json


def test_a_signal_is_sent_by_the_keyboard_without_a_script(story, tab):
    user = story.user
    workflow = user.workflow(subject="by hand")["id"]
    screen = tab()
    operator = Keyboard(screen)
    screen.open(f"workflows/{workflow}")
    operator.follow("link", "Signal…")
    operator.type("Name of the signal", "Make <b>Purchase")
    screen.page.get_by_label("Arguments").fill('{"args": [1.0, "ä"]}')
    operator.type("Why", "the customer called, INC-773")
    operator.follow("button", "Send the signal")

    assert "dev: signal “the customer called, INC-773” — done" in shown(screen.page)
    operator.follow("link", "Make <b>Purchase")
    assert "Make <b>Purchase" in screen.page.locator("h1").inner_text()
    (node,) = signals(user, workflow)
    assert (node["name"], node["type"]) == ("Make <b>Purchase", "decision")
    assert node["clientData"] == {"args": [1.0, "ä"]}
    assert screen.complaints == []


def test_a_signal_is_sent_again_with_its_arguments_and_only_once(story, desk):
    user = story.user
    first = user.sent(name="Pay", client_data={"args": [{"amount": 1e3}]}, metadata={"order": 7}, priority=2)
    page = f"workflows/{first['workflowId']}/signal?like={first['id']}"
    assert f"signal?like={first['id']}" in desk.get(f"nodes/{first['id']}").text
    fields = {**desk.hidden(page), "reason": "it was lost"}
    path = page.partition("?")[0]
    assert [desk.send(path, fields).status for _ in range(2)] == [303, 303]

    before, again = signals(user, first["workflowId"])
    assert (before["id"], before["clientData"]) == (first["id"], {"args": [{"amount": 1e3}]})
    for field in ("name", "clientData", "metadata", "priority", "type", "userId"):
        assert again[field] == before[field], field


def test_what_cannot_be_sent_is_said_and_nothing_is_done(story, desk):
    user = story.user
    workflow = user.workflow(subject="broken signals")["id"]
    page = f"workflows/{workflow}/signal"
    for fields, problem in (
        ({"name": " ", "arguments": "{}"}, "name is missing"),
        ({"name": "x", "arguments": "{"}, "no JSON"),
        ({"name": "x", "arguments": "[1]"}, "JSON object"),
        ({"name": "x", "arguments": "[" * 300}, "levels deep"),
        ({"name": "x", "arguments": "{}", "reason": "y" * 501}, "500 is the most"),
    ):
        answer = desk.fill(page, **fields)
        assert (answer.status, problem in answer.text) == (400, True), fields
    assert signals(user, workflow) == []
    other = user.sent(subject="another workflow")
    child = user.decide(other["id"], {"name": "below"})[0]
    for like in (other["id"], child, "x", "00000000-0000-8000-8000-000000000000"):
        assert desk.get(f"{page}?like={like}").status == 404, like
    assert desk.get(f"workflows/{other['workflowId']}/signal?like={child}").status == 404
    fields = {**desk.hidden(page), "name": "late", "arguments": "{}", "reason": ""}
    assert user.door.put(f"/workflows/{workflow}/complete").status == 200
    assert "takes no more signals" in desk.get(page).text
    answer = desk.send(page, fields)
    assert answer.status == 303
    assert "signal — refused: " in desk.get(f"workflows/{workflow}?{answer.headers['location'].partition('?')[2]}").text


def test_who_may_not_see_arguments_sends_them_again_unseen(stack, story):
    token = json.loads(command(stack, "add", "blind", "--role", "operator", "--json"))["token"]
    blind = log_in(stack.http_urls[1], "blind", token)
    first = story.user.sent(name="Secret", client_data={"args": ["hunter2"]})
    page = f"workflows/{first['workflowId']}/signal"
    assert "hunter2" not in blind.get(f"{page}?like={first['id']}").text
    assert blind.send(page, {**blind.hidden(f"{page}?like={first['id']}"), "reason": ""}).status == 303
    _, again = signals(story.user, first["workflowId"])
    assert again["clientData"] == {"args": ["hunter2"]}
    until(lambda: "Secret" in blind.get("audit").text, "it is in the audit")
    command(stack, "remove", "blind", "--yes")
