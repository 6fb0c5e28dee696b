"""Roles: every page and every action of the table, asked for by everybody who may come, and by those who may not."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.gateway.console.actions import NODE_ACTIONS, WORKFLOW_ACTIONS
from backbeat.gateway.console.table import TABLE, Row
from backbeat.gateway.people.visitor import Right
from tests.gateway.console.desk import Desk
from tests.gateway.console.test_pages import DOWNLOADS, addresses
from tests.gateway.console.test_people import READ_ONLY, command
from tests.waiting import until

READERS = {Right.NONE, Right.READ}
ALL = {*READERS, Right.PAYLOADS, Right.ACT}
#: Whoever may come, and with which rights. In a console that is read only one sees the forms and sends none.
RIGHTS = {"nobody": {Right.NONE}, "reader": READERS, "operator": ALL, "client": ALL, "read-only": ALL}
#: What a gateway that is told of no folders has none of; drills are for those who see all clients.
_NOT_EVERYWHERE = {"read-only": ("drills", "archive"), "client": ("drills",)}
_HEADING = re.compile("<h1>(.*?)</h1>")


@pytest.fixture(scope="module")
def desks(stack, story) -> dict[str, Desk]:
    """Everybody by name, logged in where that is needed."""
    url = stack.http_urls[1]
    tokens = {}
    for name, words in {"reader": ["reader"], "operator": ["operator", "--payloads"]}.items():
        added = command(stack, "add", f"walking-{name}", "--role", *words, "--json")
        tokens[name] = (f"walking-{name}", json.loads(added)["token"])
    servers = ["--bootstrap-servers", stack.bootstrap_servers]
    rotated = CliRunner().invoke(backbeat, ["user", "rotate-token", story.user.client.name, "--json", *servers])
    assert rotated.exit_code == 0, rotated.output
    tokens["client"] = (story.user.client.name, json.loads(rotated.output)["token"])
    desks = {"nobody": Desk(url), "read-only": Desk(stack.http_urls[READ_ONLY])}
    for role, (name, token) in tokens.items():
        desk = Desk(url)

        def is_in(desk: Desk = desk, name: str = name, token: str = token) -> bool:
            answer = desk.send("login", {**desk.hidden("login"), "name": name, "token": token})
            desk.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
            return answer.status == 303

        until(is_in, f"{name} is known")
        desks[role] = desk
    return desks


def addresses_of(row: Row, story) -> list[str]:
    """Addresses of a row of the table: of each action that it stands for."""
    tree = story.tree
    match row.path:
        case "nodes/{id}/{action}":
            return [f"nodes/{tree['failing']}/{action.word}" for action in NODE_ACTIONS]
        case "workflows/{id}/{action}":
            return [f"workflows/{tree['workflow']}/{action.word}" for action in WORKFLOW_ACTIONS]
        case "nodes/{id}/data/{which}":
            return [f"nodes/{tree['failing']}/data/{which}" for which in ("arguments", "metadata")]
        case "workflows/{id}/rows":
            return [f"workflows/{tree['workflow']}/rows?parent={tree['top']}"]
        case "jobs/{id}/stop":
            return [f"jobs/{story.job}/stop"]
        case "logout":
            return ["logout"]
        case path if path.endswith(DOWNLOADS):
            return [path.replace("{id}", tree["workflow"])]
        case path:
            return addresses(story)[path]


def expected(name: str, row: Row) -> set[tuple[int, str]]:
    """Status of an answer, and the heading of the page that refuses; empty where it is another."""
    may = row.right in RIGHTS[name]
    if name == "nobody" and not may:
        return {(303, "")} if row.method == "GET" else {(401, "Your session is over"), (401, "Log in")}
    if not may:
        return {(403, "You may not do this")}
    if row.method == "POST":
        # Nobody has made a form for it: nothing is done.
        is_refused = name == "read-only" and row.right is Right.ACT
        return {(405, "Nothing can be changed here")} if is_refused else {(403, "This form is too old")}
    is_elsewhere = row.path.startswith(_NOT_EVERYWHERE.get(name, ("-",)))
    return {(404, "")} if is_elsewhere else {(200, ""), (303, "")}


@pytest.mark.parametrize("name", RIGHTS)
def test_everybody_comes_where_the_table_says_and_nowhere_else(desks, story, name):
    desk = desks[name]
    # A stream does not end: test_live.py.
    for row in (row for row in TABLE if row.path != "live"):
        for address in addresses_of(row, story):
            answer = desk.get(address) if row.method == "GET" else desk.send(address, {})
            heading = _HEADING.search(answer.text)
            is_refused = answer.status in (401, 403, 405)
            outcome = answer.status, heading[1] if is_refused and heading else ""
            assert outcome in expected(name, row), (row.method, address)


@pytest.mark.parametrize("name", RIGHTS)
def test_what_a_page_is_not_asked_by_is_refused(desks, story, name):
    """Other methods than those of the table do nothing, and nobody who is not logged in learns which there are."""
    desk = desks[name]
    for path in sorted({row.path for row in TABLE} - {"live"}):
        (row, *_) = (row for row in TABLE if row.path == path)
        address = addresses_of(row, story)[0]
        for method in ("PUT", "DELETE", "PATCH"):
            answer = desk.door.call(method, f"/ui/{address}", headers={"Cookie": desk.cookie})
            assert answer.status == (303 if name == "nobody" else 405), (method, address)
