"""Parts that go away under an open page: the page says so, keeps what was typed, and goes on when they are back."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from sqlalchemy import Engine

from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import free_port
from backbeat.compose.local.programs import gateway_command
from backbeat.compose.local.stack import GATEWAY_READY_LINE, Stack
from backbeat.gateway.projection.storage import tables
from backbeat.gateway.projection.storage.database import open_engine, parse_url
from tests.gateway.api.door import Door
from tests.gateway.console.conftest import START_SECONDS_MAX
from tests.gateway.console.desk import Desk, hidden_fields
from tests.gateway.console.journey import shown
from tests.gateway.console.test_people import command, failing
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
        assert (answer.status, hidden_fields(answer.text)) == (503, {**count, "form": ANY})
        looking = tab().page
        assert looking.goto(f"{stack.http_urls[0]}/ui/nodes/{node}").status == 503
    finally:
        stack.start_engine()
        stack.wait_ready(0, START_SECONDS_MAX)
    until(lambda: Door(stack.http_urls[0]).get("/health").json["status"] == "OK", "the engine answers")
    kept = hidden_fields(page.content())
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url(f"**/nodes/{node}?done=*", timeout=MILLISECONDS_MAX)
    assert "retry “the bank is back” — done" in shown(page)
    # A page that could not be made is there by itself once the engine is.
    looking.get_by_text("does not answer").wait_for(state="detached", timeout=MILLISECONDS_MAX)
    assert "in the tree" in shown(looking)
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
    form = tab(java_script_enabled=True).page
    other = failing(story)
    form.goto(f"{stack.http_urls[0]}/ui/nodes/{other}/retry")
    form.get_by_label("Why").fill("typed before the restart")
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
    # The secret of its forms has ended with the gateway.
    form.get_by_role("button", name="Retry node").click()
    form.get_by_role("heading", name="This form is too old").wait_for(timeout=MILLISECONDS_MAX)
    send_again(form, other, "typed before the restart")
    user.wait_for(other, "sent_to_client")


def send_again(page: Any, node: str, reason: str) -> None:
    """Send the form of a retry that a page has kept."""
    assert f"“{reason}”" in shown(page)
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url(f"**/nodes/{node}?done=*", timeout=MILLISECONDS_MAX)
    assert f"retry “{reason}” — done" in shown(page)


@contextlib.contextmanager
def own_gateway(stack: Stack, folder: Path) -> Iterator[tuple[str, ChildProcess]]:
    """A gateway with a login and without a secret of its installation: its address, and its process."""
    port = free_port()
    process = ChildProcess(
        "gateway",
        gateway_command(stack.bootstrap_servers, port, folder / "gateway", ["--ui=on"]),
        log_path=folder / "gateway.log",
        pid_path=folder / "gateway.pid",
        env=stack._env,
    )
    start(process)
    try:
        yield f"http://127.0.0.1:{port}/ui/", process
    finally:
        process.stop()


def start(process: ChildProcess) -> None:
    process.start()
    until(lambda: GATEWAY_READY_LINE in process.output(), "it is ready", START_SECONDS_MAX)


def test_a_session_ends_with_its_gateway_under_an_open_form(stack, story, tab, tmp_path):
    token = json.loads(command(stack, "add", "nightly", "--role", "operator", "--json"))["token"]
    node = failing(story)

    def log_in(word: str) -> None:
        page.get_by_label("Name").fill("nightly")
        page.get_by_label("Token").fill(word)
        page.get_by_role("button", name="Log in").click()

    with own_gateway(stack, tmp_path) as (url, process):
        page = tab(url).page
        page.goto(f"{url}nodes/{node}/retry")
        log_in(token)
        page.get_by_label("Why").fill("the bank is back; all of <it>")
        process.stop()
        start(process)
        page.get_by_role("button", name="Retry node").click()
        page.get_by_role("alert").get_by_text("Your session is over").wait_for(timeout=MILLISECONDS_MAX)
        log_in("no token of hers")
        page.get_by_role("alert").get_by_text("There is nobody").wait_for(timeout=MILLISECONDS_MAX)
        log_in(token)
        page.get_by_role("heading", name="You are logged in").wait_for(timeout=MILLISECONDS_MAX)
        assert story.user.node(node)["currentServerStatus"] == "retries_exhausted"
        send_again(page, node, "the bank is back; all of <it>")
        story.user.wait_for(node, "sent_to_client")
        # Of another site's form nothing is kept.
        stranger = Desk(url.removesuffix("/ui/"))
        fields = {"reason": "forged", "key": "0" * 32}
        answer = stranger.send(f"nodes/{node}/cancel", fields, **{"Sec-Fetch-Site": "cross-site"})
        assert (answer.status, "forged" in answer.text) == (403, False)
    command(stack, "remove", "nightly", "--yes")


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
