"""Parts that go away under an open page: the page says so, keeps what was typed, and goes on when they are back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine

from backbeat.gateway.projection.storage import tables
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from tests.gateway.api.door import Door
from tests.gateway.console.conftest import START_SECONDS_MAX
from tests.gateway.console.desk import Desk, hidden_fields
from tests.gateway.console.journey import shown
from tests.gateway.console.test_people import failing
from tests.waiting import until

MILLISECONDS_MAX = 120_000


def test_an_engine_is_killed_with_a_form_open(stack, story, tab):
    node = failing(story)
    page = tab().page
    desk = Desk(stack.http_urls[0])
    count = {**hidden_fields(desk.get("jobs").text), "action": "retry", "name": "nobody's"}
    page.goto(f"{stack.http_urls[0]}/ui/nodes/{node}/retry")
    page.get_by_label("Why").fill("the bank is back")
    stack.signal_engine(0, signal.SIGKILL)
    # It stays away.
    stack.stop_engine()
    try:
        page.get_by_role("button", name="Retry node").click()
        page.get_by_role("button", name="Send it again").wait_for(timeout=MILLISECONDS_MAX)
        assert "“the bank is back”" in shown(page)
        # A form that asks for no reason.
        answer = desk.send("jobs", count)
        assert (answer.status, hidden_fields(answer.text)) == (503, count)
    finally:
        stack.start_engine()
        stack.wait_ready(0, START_SECONDS_MAX)
    until(lambda: Door(stack.http_urls[0]).get("/health").json["status"] == "OK", "the engine answers")
    kept = hidden_fields(page.content())
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url(f"**/nodes/{node}?done=*", timeout=MILLISECONDS_MAX)
    assert "retry “the bank is back” — done" in shown(page)
    # Sent twice it is done once.
    assert desk.send(f"nodes/{node}/retry", kept).status == 303
    story.user.wait_for(node, "sent_to_client")
    assert story.user.door.get(f"/activities/{node}", **{"X-backbeat-whole": "1"}).json["attempt"] == 2


def test_a_gateway_is_restarted_under_an_open_page(stack, story, tab):
    user = story.user
    node = user.sent(subject="a restart")
    visitor = tab(java_script_enabled=True)
    visitor.open(f"workflows/{node['workflowId']}")
    row = visitor.page.locator(f"[data-node='{node['id']}']")
    assert "sent to its client" in row.inner_text()
    visitor.page.evaluate("window.marked = true")
    stack.stop_gateway(0)
    try:
        visitor.page.locator("body.away").wait_for(timeout=MILLISECONDS_MAX)
        assert visitor.page.locator("#said").inner_text() == "The gateway does not answer"
        assert "sent to its client" in row.inner_text()
        assert user.at(stack.http_urls[1]).put(f"/activities/{node['id']}/status/completed").status == 200
    finally:
        stack.start_gateway(0)
        stack.wait_gateway_ready(0, START_SECONDS_MAX)
    row.get_by_text("complete").wait_for(timeout=MILLISECONDS_MAX)
    assert visitor.page.locator("body.away").count() == 0
    assert visitor.page.evaluate("window.marked")


@contextlib.contextmanager
def dropped(engine: Engine) -> Iterator[None]:
    """Tables dropped under a list: their writer cannot make them anew meanwhile."""
    with engine.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE") as connection:
        while True:
            with connection.begin():
                tables.drop(connection)
            holding = connection.begin()
            if not tables.exist(connection):
                break
            holding.rollback()
        try:
            yield
        finally:
            holding.rollback()


def test_the_projection_is_dropped_under_a_list(stack, story):
    desk, tree = Desk(stack.http_urls[0]), f"workflows/{story.tree['workflow']}"
    until(lambda: "Camera 703" in desk.get("workflows").text, "the list has it")
    file = Path(stack.data_dir) / "gateway-1" / "projection.sqlite"
    engine = open_engine(parse_url(f"sqlite:///{file}"))
    with dropped(engine):
        for address, text in (
            ("workflows", "Lists are back when the search is"),
            ("nodes", "Lists are back when the search is"),
            ("stuck", "Causes are back when the search is"),
            (f"{tree}/timeline", "It is back when the search is"),
            (tree, "Make Purchase"),
        ):
            answer = desk.get(address)
            assert (answer.status, text in answer.text, 'class="alarm"' in answer.text) == (200, True, True), address
        # A node is asked of the engine alone.
        assert "connection refused by bank-7" in desk.get(f"nodes/{story.tree['failing']}").text
    engine.dispose()
    until(lambda: "Camera 703" in desk.get("workflows").text, "it is built anew")
    assert "connection refused by bank-#" in until(lambda: desk.get("stuck").text, "the causes are there")
