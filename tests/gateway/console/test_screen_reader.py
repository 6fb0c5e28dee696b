"""What a screen reader has of the tree and of the timeline: tables with headers, links that tell what they unfold."""

from __future__ import annotations

import re

import pytest

from tests.gateway.console.desk import Desk
from tests.waiting import SECONDS_MAX, until


@pytest.mark.parametrize("javascript", [False, True])
def test_the_tree_is_a_table_whose_links_tell_what_is_unfolded(story, tab, javascript):
    screen = tab(java_script_enabled=javascript)
    screen.open(f"workflows/{story.tree['workflow']}")
    tree = screen.page.get_by_role("table", name="Nodes")
    assert tree.get_by_role("columnheader").all_inner_texts() == ["Node", "State", "Attempt", "Changed"]
    text = tree.aria_snapshot()
    assert 'link "Fold Make Purchase" [expanded]' in text
    assert re.search(
        r'row "Fold Make Purchase Level 1: Make Purchase decision open, waits for \d+ nodes below it', text
    )
    assert re.search(r'row "Level 2: Charge 430 non blocking retries exhausted connection refused by bank-7:443', text)
    tree.get_by_role("link", name="Fold Make Purchase").press("Enter")
    tree.get_by_role("link", name="Unfold Make Purchase", expanded=False).wait_for(timeout=SECONDS_MAX * 1_000)
    text = tree.aria_snapshot()
    assert "[expanded]" not in text
    assert "Level 2:" not in text
    assert screen.complaints == []


def test_the_timeline_says_in_words_what_its_bars_show(stack, story, tab):
    address = f"workflows/{story.tree['workflow']}/timeline?below={story.tree['top']}"
    until(lambda: "Charge 0" in Desk(stack.http_urls[0]).get(address).text, "the search has it")
    screen = tab()
    screen.open(address)
    lines = screen.page.get_by_role("table", name="Nodes")
    text = lines.aria_snapshot()
    assert re.search(r'rowheader "Charge 0', text)
    assert re.search(r'img "[^"]*in the queue of its client', text)
    screen.follow(screen.page.get_by_role("link", name="as a table"))
    text = lines.aria_snapshot()
    assert "img" not in text
    assert re.search(r'cell "[^"]*in the queue of its client', text)
    assert screen.complaints == []
