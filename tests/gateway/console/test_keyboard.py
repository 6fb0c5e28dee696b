"""A developer's day by the keyboard alone and without JavaScript: to the failing node, a cancel with a reason, out."""

from __future__ import annotations

import json

from tests.gateway.console.journey import Keyboard, shown
from tests.gateway.console.test_people import command, failing


def test_from_the_login_to_a_cancel_with_a_reason_and_out_again(stack, story, tab):
    token = json.loads(command(stack, "add", "dora", "--role", "operator", "--payloads", "--json"))["token"]
    node = failing(story)
    screen = tab(f"{stack.http_urls[1]}/ui/")
    developer = Keyboard(screen)
    screen.open("")
    developer.type("Name", "dora")
    developer.type("Token", token)
    developer.follow("button", "Log in")
    developer.type("Go to an id, or find a subject", node)
    with screen.page.expect_navigation():
        screen.page.keyboard.press("Enter")
    assert "Its retries are used up" in shown(screen.page) or "retries exhausted" in shown(screen.page)
    developer.follow("link", "in the tree")
    developer.follow("link", "start")
    developer.follow("link", "Cancel…")
    developer.type("Why", "made twice by mistake, INC-772")
    developer.follow("button", "Cancel node")

    assert (
        screen.page.get_by_role("status").first.inner_text() == "dora: cancel “made twice by mistake, INC-772” — done"
    )
    assert story.user.node(node)["currentServerStatus"] == "deactivated"
    developer.follow("button", "Log out")
    assert screen.page.url.endswith("/ui/login")
    assert screen.context.cookies() == []
    screen.open(f"nodes/{node}")
    assert screen.page.get_by_label("Token").count() == 1
    assert screen.complaints == []
    command(stack, "remove", "dora", "--yes")


def test_one_failing_node_of_many_is_reached_and_its_branch_unfolded_and_folded(story, tab):
    screen = tab()
    developer = Keyboard(screen)
    screen.open(f"workflows/{story.tree['workflow']}")
    developer.follow("link", "Charge 430")
    assert "connection refused by bank-7:443" in shown(screen.page)
    developer.follow("link", "in the tree")
    developer.follow("link", "Fold Make Purchase")
    assert screen.page.locator("tr[data-node]").count() == 1
    developer.follow("link", "Unfold Make Purchase")
    assert screen.page.locator("tr[data-node]").count() > 100
    assert screen.complaints == []
