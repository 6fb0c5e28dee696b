"""Drills: runs that the command line keeps are shown with curves, and two of them side by side."""

from __future__ import annotations

import json

import pytest

from backbeat.gateway.console.pages.operations.drill_runs import DrillsError, Run, list_names, read_run
from backbeat.streams.kafka.registration import add_client
from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.test_people import command


def test_two_runs_are_shown_and_compared(story, tab):
    first, second = story.drills
    one = tab(viewport={"width": 320, "height": 640})
    one.open("drills")
    text = one.page.locator("main").inner_text()
    assert "0 of 1 plays" in text
    assert "it goes on, or was cut off" in text
    one.follow(one.page.get_by_role("link", name=second))
    text = one.page.locator("main").inner_text()
    assert "silent for 61 s <img" in text
    assert "1 of 1" not in text
    assert one.page.locator(".curve").count() == 2
    # Where a value is missing the line ends, and another begins.
    assert one.page.get_by_role("img", name="lag records").locator("polyline").count() == 2
    one.page.go_back()
    one.follow(one.page.get_by_role("button", name="Side by side"))
    rows = {row.split("\n")[0].split("\t")[0]: row for row in one.page.locator("tbody tr").all_inner_texts()}
    assert "worse" in rows["recovery seconds"]
    assert "worse" in rows["worst completed per second"]
    assert "alike" in rows["worst lag records"]
    assert "another" in rows["workers"]
    assert one.page.get_by_role("img", name="lag records").locator("polyline").count() == 4
    assert one.page.locator(".legend").inner_text().split() == [first, second]
    assert one.complaints == []


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


def test_who_sees_single_clients_sees_no_drills(stack, story):
    add_client(stack.bootstrap_servers, "elsewhere", partitions=2)
    token = json.loads(command(stack, "add", "guest", "--role", "operator", "--client", "elsewhere", "--json"))["token"]
    guest = log_in(stack.http_urls[1], "guest", token)
    assert guest.get("drills").status == 404
    assert guest.get(f"drills/{story.drills[0]}").status == 404
    assert "Drills" not in guest.get("system").text
    command(stack, "remove", "guest", "--yes")
