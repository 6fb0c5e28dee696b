"""The tree of a wide workflow: many children at once, and no more rows than a page can bear."""

from __future__ import annotations

import pytest

from backbeat.gateway.console.tree import PAGE_ROWS_MAX, ROWS, ROWS_MAX
from tests.gateway.api.door import Door
from tests.waiting import SECONDS_MAX

MILLISECONDS_MAX = SECONDS_MAX * 1_000
PARTS = ("Part 0", "Part 1", "Part 2")
STEPS = ROWS_MAX + 100


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
