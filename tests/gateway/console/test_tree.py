"""The tree of a wide workflow: many children at once, and no more rows than a page can bear."""

from __future__ import annotations

import re

import pytest

from backbeat import PlainClient
from backbeat.gateway.console.tree import GROUP_ROWS, PAGE_ROWS_MAX, ROWS, ROWS_MAX
from backbeat.payload.values import to_datetime
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door
from tests.gateway.console.story import IMG, NAME
from tests.gateway.openapi.test_openapi import validator
from tests.waiting import SECONDS_MAX, until

MILLISECONDS_MAX = SECONDS_MAX * 1_000
PARTS = ("Part 0", "Part 1", "Part 2")
STEPS = ROWS_MAX + 100
#: Equal siblings, the one of them that fails, and the one that waits for a retry.
EQUAL, FAILING, RETRYING = ROWS + 60, ROWS + 30, ROWS + 50


@pytest.fixture(scope="module")
def wide(story):
    """A workflow of three nodes with more children each than are shown at once; the node above them, and they."""
    user = story.user
    workflow = user.workflow(name="Wide", subject="wide")
    top = user.sent(workflow=workflow, name="Top")["id"]
    parts = user.decide(top, *({"name": name, "type": "decision", "mode": "non_blocking"} for name in PARTS))
    assert user.say(top, "deciding_complete").status == 200
    for part in parts:
        user.wait_for(part, "sent_to_client")
        for begin, end in ((0, STEPS // 2), (STEPS // 2, STEPS)):
            user.decide(part, *({"name": f"Step {number}", "mode": "non_blocking"} for number in range(begin, end)))
    return workflow["id"], top, parts


def rows_of(screen) -> int:
    return screen.page.locator("table.tree tr[data-node]").count()


def test_a_page_shows_many_children_of_one_node_and_no_more_rows_than_it_can_bear(wide, tab):
    workflow, top, parts = wide
    screen = tab()
    screen.open(f"workflows/{workflow}?open={top},{parts[0]}")
    assert rows_of(screen) == 1 + len(PARTS) + ROWS
    screen.follow(screen.page.get_by_role("link", name="up to 1,000 at once"))
    assert rows_of(screen) == 1 + len(PARTS) + ROWS_MAX
    assert screen.page.locator("a.many").count() == 0
    screen.follow(screen.page.locator("a.later"))
    names = screen.page.locator("table.tree a.name").all_inner_texts()
    assert (names[-len(PARTS)], len(names)) == (f"Step {STEPS - 1}", 1 + len(PARTS) + STEPS - ROWS_MAX)
    for words in (f"open={top},{','.join(parts)}&many={parts[0]}", f"open={','.join([top, *parts] * 4)}"):
        screen.open(f"workflows/{workflow}?{words}")
        assert ROWS_MAX / 2 < rows_of(screen) <= PAGE_ROWS_MAX
    assert screen.complaints == []


def test_by_a_key_many_children_unfold_in_place_and_what_was_unfolded_first_is_folded(wide, tab):
    workflow, top, _ = wide
    screen = tab(java_script_enabled=True)
    screen.open(f"workflows/{workflow}?open={top}")
    screen.page.evaluate("window.marked = true")
    for name in PARTS:
        screen.page.get_by_role("link", name=f"Unfold {name}").press("*")
        screen.page.get_by_role("link", name=f"Fold {name}", exact=True).wait_for(timeout=MILLISECONDS_MAX)
        assert rows_of(screen) == 1 + len(PARTS) + ROWS_MAX
    message = screen.page.locator("#said").inner_text()
    assert f"{PAGE_ROWS_MAX} rows at most: Part 1" in message
    assert screen.page.locator("a.fold[aria-expanded=true]").count() == 2
    assert screen.page.evaluate("window.marked")
    assert screen.complaints == []


def test_many_more_are_shown_in_place_and_stay_when_something_changes(story, wide, tab):
    workflow, top, parts = wide
    screen = tab(java_script_enabled=True)
    screen.open(f"workflows/{workflow}?open={top},{parts[0]}")
    screen.page.evaluate("window.marked = true")
    screen.page.get_by_role("link", name="up to 1,000 at once").press("Enter")
    screen.page.get_by_role("link", name=f"from “Step {ROWS_MAX}” on").wait_for(timeout=MILLISECONDS_MAX)
    assert rows_of(screen) == 1 + len(PARTS) + ROWS_MAX
    assert screen.page.evaluate("document.activeElement.textContent") == f"Step {ROWS}"
    assert story.user.say(parts[2], "processing").status == 200
    screen.page.locator(f"[data-node='{parts[2]}']").get_by_text("running").wait_for(timeout=MILLISECONDS_MAX)
    assert rows_of(screen) == 1 + len(PARTS) + ROWS_MAX
    assert screen.page.evaluate("window.marked")
    assert screen.complaints == []


def test_a_branch_is_asked_for_with_as_many_rows_as_are_shown(stack, wide):
    workflow, _, parts = wide
    door = Door(stack.http_urls[0])
    for limit, count in (("", ROWS), ("3", 3), ("1000", ROWS_MAX), ("9999", ROWS_MAX)):
        text = door.get(f"/ui/workflows/{workflow}/rows?branch={parts[0]},2,,{limit}").text
        assert text.count("data-node=") == count, limit
    for broken in ("2,,x", "x,,2", "2,,3,4", "2,,99999"):
        assert door.get(f"/ui/workflows/{workflow}/rows?branch={parts[0]},{broken}").status == 400, broken


@pytest.fixture(scope="module")
def fan(story):
    """A node above many of one name that means no good, one of which fails, and above one of another name behind them.

    Its workflow, itself, the equal ones, and the other one.
    """
    user = story.user
    workflow = user.workflow(name="Fan", subject="fan")["id"]
    top = user.sent(workflow={"id": workflow}, name="Charge all")["id"]
    retry = ({"retry": int(number == RETRYING), "retry_interval": 60} for number in range(EQUAL))
    equal = user.decide(top, *({"name": NAME, "mode": "non_blocking", **words} for words in retry))
    (other,) = user.decide(top, {"name": "Mark purchased", "mode": "non_blocking"})
    assert user.say(top, "deciding_complete").status == 200
    for number, status in ((FAILING, "retries_exhausted"), (RETRYING, "retrying")):
        user.wait_for(equal[number], "sent_to_client")
        assert user.say(equal[number], "errored", {"message": "refused"}).status == 200
        user.wait_for(equal[number], status)
    user.wait_for(other, "sent_to_client")

    def is_counted() -> bool:
        counts = user.door.get(f"/activities/{top}/child_counts").json
        return [count["nodes"].get("sent_to_client") for count in counts["names"]] == [EQUAL - 2, 1]

    until(is_counted, "the search has them")
    return workflow, top, equal, other


def test_equal_siblings_are_a_row_that_is_unfolded_at_the_one_that_fails(fan, tab):
    workflow, top, equal, other = fan
    screen = tab()
    screen.open(f"workflows/{workflow}")
    group = screen.page.locator("tr.group", has_text=str(EQUAL))
    assert group.locator(".state").all_inner_texts() == ["1 failing", "1 retrying", f"{EQUAL - 2} running"]
    assert re.search(r"the first retry in \d+ (h|min)", group.inner_text())
    # It, and the group, which goes on from the one that fails; the other one behind them is a row of its own.
    assert rows_of(screen) == 1 + 1 + GROUP_ROWS + 1
    ids = screen.page.locator("tr[data-node]").evaluate_all("rows => rows.map((row) => row.dataset.node)")
    assert ids[2 : 2 + GROUP_ROWS] == equal[FAILING : FAILING + GROUP_ROWS]
    assert IMG in group.inner_text()
    screen.follow(group.get_by_role("link", name="Fold Charge"))
    assert rows_of(screen) == 3
    screen.follow(screen.page.get_by_role("link", name="Unfold Mark purchased, 1 node"))
    assert screen.page.locator(f"tr[data-node='{other}']").count() == 1
    screen.follow(group.get_by_role("link", name="Unfold Charge", expanded=False))
    assert rows_of(screen) == 4 + ROWS
    screen.follow(screen.page.get_by_role("link", name="up to 1,000 at once"))
    assert rows_of(screen) == 4 + EQUAL
    screen.open(f"workflows/{workflow}?open={top}")
    assert (rows_of(screen), screen.page.locator("a.later").count()) == (3, 0)
    assert screen.complaints == []


def test_a_group_is_unfolded_in_place_and_its_counts_follow(story, fan, tab):
    workflow, top, equal, _ = fan
    screen = tab(java_script_enabled=True)
    screen.open(f"workflows/{workflow}?open={top}")
    screen.page.evaluate("window.marked = true")
    group = screen.page.locator("tr.group", has_text=str(EQUAL))
    group.get_by_role("link", name="Unfold Charge").press("Enter")
    group.get_by_role("link", name="Fold Charge", expanded=True).wait_for(timeout=MILLISECONDS_MAX)
    assert rows_of(screen) == 3 + ROWS
    # A row that has the focus stays as it is.
    screen.page.evaluate("document.activeElement.blur()")
    assert story.user.say(equal[ROWS + 10], "errored", {"message": "refused"}).status == 200
    group.get_by_text("2 failing").wait_for(timeout=MILLISECONDS_MAX)
    assert rows_of(screen) == 3 + ROWS
    group.get_by_role("link", name="Fold Charge").press("Enter")
    assert rows_of(screen) == 3
    assert screen.page.evaluate("window.marked")
    assert screen.complaints == []


def test_a_screen_reader_has_a_group_as_a_row_that_can_be_unfolded(fan, tab):
    workflow, top, _, _ = fan
    screen = tab()
    screen.open(f"workflows/{workflow}?open={top}")
    text = screen.page.get_by_role("table", name="Nodes").aria_snapshot()
    assert "Level 2, a group: Mark purchased" in text
    assert 'link "Unfold Mark purchased, 1 node"' in text


def test_the_branch_of_a_group_is_of_its_workflow(stack, fan, wide):
    workflow, top, equal, _ = fan
    door = Door(stack.http_urls[0])
    page = door.get(f"/ui/workflows/{workflow}?open={top}").text
    assert IMG not in page
    group = page.split('class="group" data-node="')[1].split('"')[0]
    path = f"/ui/workflows/{workflow}/rows"
    assert door.get(f"{path}?parent={group}&level=2").text.count("data-node=") == ROWS
    text = door.get(f"{path}?branch={group},2,{equal[100]},7").text
    assert (text.count("data-node="), text.count(f'data-node="{equal[100]}"')) == (7, 1)
    for broken in (f"{group}0", f"{top}~", f"~{group[-16:]}", f"{wide[1]}~{group[-16:]}"):
        assert door.get(f"{path}?parent={broken}").status == 400, broken
        assert door.get(f"/ui/workflows/{workflow}?open={broken}").status == 400, broken
    assert "data-node" not in door.get(f"{path}?parent={top}~{'0' * 16}").text


def test_children_are_counted_over_http(stack, story, fan):
    _, top, equal, _ = fan
    answer = story.user.door.get(f"/activities/{top}/child_counts?limit=1").json
    assert validator({"$ref": "#/components/schemas/ChildCounts"}).is_valid(answer), answer
    assert (answer["total"], answer["more"]) == (EQUAL + 1, 1)
    (count,) = answer["names"]
    assert (count["name"], count["userId"], count["total"]) == (NAME, story.user.id, EQUAL)
    assert sum(count["nodes"].values()) == EQUAL
    assert count["firstRetryAt"] > answer["at"]
    with PlainClient(stack.http_urls[0], story.user.id) as client:
        counts = client.child_counts(top, limit=1)
    assert (counts.total, counts.more, counts.names[0].nodes) == (EQUAL + 1, 1, count["nodes"])
    assert counts.names[0].first_retry_at == to_datetime(count["firstRetryAt"])
    assert story.user.door.get(f"/activities/{equal[0]}/child_counts").json["names"] == []
    other = Door(stack.http_urls[0], add_client(stack.bootstrap_servers, "childless", partitions=2).id)
    assert other.get(f"/activities/{top}/child_counts").error == (404, "Backbeat::NotFound")
    for limit in ("0", "1001", "x"):
        assert story.user.door.get(f"/activities/{top}/child_counts?limit={limit}").status == 400
