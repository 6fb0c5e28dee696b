"""Drills: runs that the command line keeps are shown with curves, and two of them side by side."""

from __future__ import annotations

import json

import pytest

from backbeat.gateway.console.pages.operations.drill_runs import DrillsError, Run, list_names, read_run
from backbeat.streams.kafka.registration import add_client
from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.test_people import command
from tests.waiting import until


def test_two_runs_are_shown_and_compared(story, tab):
    first, second = story.drills
    screen = tab(viewport={"width": 320, "height": 640})
    screen.open("drills")
    text = screen.page.locator("main").inner_text()
    assert "0 of 1 plays" in text
    assert "it goes on, or was cut off" in text
    screen.follow(screen.page.get_by_role("link", name=second))
    text = screen.page.locator("main").inner_text()
    assert "silent for 61 s <img" in text
    assert "1 of 1" not in text
    assert screen.page.locator(".curve").count() == 2
    # Where a value is missing the line ends, and another begins.
    assert screen.page.get_by_role("img", name="lag records").locator("polyline").count() == 2
    screen.page.go_back()
    screen.follow(screen.page.get_by_role("button", name="Side by side"))
    rows = {row.split("\n")[0].split("\t")[0]: row for row in screen.page.locator("tbody tr").all_inner_texts()}
    assert "worse" in rows["recovery seconds"]
    assert "worse" in rows["worst completed per second"]
    assert "alike" in rows["worst lag records"]
    assert "different" in rows["workers"]
    assert screen.page.get_by_role("img", name="lag records").locator("polyline").count() == 4
    assert screen.page.locator(".legend").inner_text().split() == [first, second]
    assert screen.complaints == []


def test_what_is_no_run_is_not_read(stack, story, tmp_path):
    desk = Desk(stack.http_urls[0])
    first, _ = story.drills
    for name in ("..", "x", "20261129-171500-", "20261129-999999"):
        assert desk.get(f"drills/{name}").status == 404, name
        assert desk.get(f"drills/compare?first={first}&second={name}").status == 404, name
    assert desk.get(f"drills/compare?first={first}&second=../{first}").status == 404
    assert Desk(stack.http_urls[2]).get("drills").status == 404
    assert list_names(tmp_path / "none", 5) == []
    (tmp_path / "20261129-171500").mkdir()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"id": "x", "began_at": 1e306}',
        '{"id": "x", "began_at": 1, "ended_at": -1e306}',
        '{"id": "x", "began_at": 1, "setup": {"a": ' + "[" * 50_000 + "]" * 50_000 + "}}",
        '{"id": "x", "began_at": 1, "totals": {"lost": "many"}}',
        '{"id": "x", "began_at": 1, "plays": [{"play": {}, "seconds": 1e306}]}',
    ],
    ids=lambda content: content[:60],
)
def test_a_result_that_cannot_be_shown_hides_no_other(stack, story, content):
    first, second = story.drills
    broken = story.drills_folder / "20261129-200000"
    broken.mkdir()
    try:
        (broken / "result.json").write_text(content)
        with pytest.raises(DrillsError, match="cannot be read"):
            read_run(story.drills_folder, broken.name, Run)
        desk = Desk(stack.http_urls[0])
        assert (desk.get("drills").status, first in desk.get("drills").text) == (200, True)
        for address in (f"drills/{broken.name}", f"drills/compare?first={second}&second={broken.name}"):
            assert desk.get(address).status == 503, address
    finally:
        (broken / "result.json").unlink()
        broken.rmdir()


def test_promises_of_the_security_drill_are_shown(stack, story):
    folder = story.drills_folder / "20261129-210000"
    folder.mkdir()
    kept = {"area": "lines", "attack": "wrong <password>", "promise": "kept out", "is_kept": True, "evidence": "told"}
    broken = {**kept, "attack": "none at all", "is_kept": False, "evidence": "it was let in"}
    try:
        content = {"id": folder.name, "began_at": 1, "ended_at": 2, "promises": [kept, broken]}
        (folder / "result.json").write_text(json.dumps(content))
        desk = Desk(stack.http_urls[0])
        assert "1 of 2 attacks were withstood" in desk.get("drills").text
        page = desk.get(f"drills/{folder.name}").text
        for text in ("1 of 2 attacks were withstood", "wrong &lt;password&gt;", "broken", "it was let in"):
            assert text in page
        assert "<h2>Plays</h2>" not in page
    finally:
        (folder / "result.json").unlink()
        folder.rmdir()


@pytest.fixture
def people(stack, story):
    """An operator, and a reader, at the gateway that may begin drills."""
    names = {"tower": ["--role", "operator"], "watcher": ["--role", "reader"]}
    tokens = {name: json.loads(command(stack, "add", name, *words, "--json"))["token"] for name, words in names.items()}
    yield [log_in(stack.http_urls[1], name, token) for name, token in tokens.items()]
    for name in names:
        command(stack, "remove", name, "--yes")


def test_an_operator_begins_a_drill_and_aborts_it(stack, story, people):
    tower, watcher = people
    page = tower.get("drills/begin?on=staging")
    assert "engine-&lt;b&gt;" in page.text
    assert "engine-killed" in page.text
    fields = {**tower.hidden("drills/begin"), "on": "staging", "play:engine-killed": "on", "seconds": "5"}
    for wrong, text in (
        ({"reason": ""}, "Say why"),
        ({"reason": "x" * 501}, "500 is the most"),
        ({"seconds": "0"}, "no length of a fault"),
        ({"seconds": "9999999"}, "no length of a fault"),
        ({"play:<b>": "on"}, "Tick one play"),
    ):
        answer = tower.send("drills/begin", {"reason": "why", **fields, **wrong})
        assert (answer.status, text in answer.text) == (400, True), wrong
    fields["reason"] = "to see <b> whether we are woken"
    for elsewhere in ("here", "production", "../staging", ""):
        assert tower.send("drills/begin", {**fields, "on": elsewhere}).status == 403, elsewhere
    assert watcher.send("drills/begin", fields).status == 403
    assert tower.send("drills/begin", fields, **{"Sec-Fetch-Site": "cross-site"}).status == 403

    answer = tower.send("drills/begin", fields)
    assert answer.status == 303, answer.text
    name = answer.headers["location"].partition("?")[0]
    # Sent twice it is one run.
    assert tower.send("drills/begin", fields).headers["location"].partition("?")[0] == name
    # And one at a time.
    other = {**fields, **tower.hidden("drills/begin")}
    assert tower.send("drills/begin", {**other, "play:leader-killed": "on"}).status == 409
    page = tower.get(f"drills/{name}").text
    assert "under way" in page
    assert "begun by tower: “to see &lt;b&gt; whether we are woken”" in page
    assert "Abort" not in watcher.get(f"drills/{name}").text

    form = tower.hidden(f"drills/{name}")
    assert watcher.send(f"drills/{name}", {**form, "reason": ""}).status == 403
    assert tower.send("drills/20260101-000000", form).status in (403, 404)
    assert tower.send(f"drills/{name}", {**form, "reason": "enough"}).status == 303
    assert (story.drills_folder / name / "abort").read_text() == "tower (console): enough"
    until(lambda: "cut off" in tower.get(f"drills/{name}").text, "the run is over")
    assert "127.0.0.1:1 does not answer" in tower.get(f"drills/{name}").text
    audit = tower.get("audit").text
    for words in ("begin engine-killed", "on staging", "to see &lt;b&gt; whether", f"done: run {name}", "enough"):
        assert words in audit, words


def test_nothing_is_begun_where_the_console_is_read_only(stack):
    for address in ("drills/begin", "drills/20260101-000000"):
        assert Desk(stack.http_urls[2]).send(address, {}).status == 405, address


def test_who_sees_single_clients_sees_no_drills(stack, story):
    add_client(stack.bootstrap_servers, "elsewhere", partitions=2)
    token = json.loads(command(stack, "add", "guest", "--role", "operator", "--client", "elsewhere", "--json"))["token"]
    guest = log_in(stack.http_urls[1], "guest", token)
    assert guest.get("drills").status == 404
    assert guest.get(f"drills/{story.drills[0]}").status == 404
    assert guest.get("drills/begin").status == 404
    assert "Drills" not in guest.get("system").text
    command(stack, "remove", "guest", "--yes")
