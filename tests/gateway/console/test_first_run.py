"""The first run: a system in which nothing has happened yet. conftest.py has it run before whatever makes a story."""

from __future__ import annotations

from tests.waiting import until


def test_an_empty_system_shows_three_commands_and_then_the_first_workflow(stack, tab, request):
    page = tab().page
    page.goto(f"{stack.http_urls[0]}/")

    until(lambda: page.locator("pre.command").count() == 3, "the page shows three commands")
    assert page.url.endswith("/ui/")
    assert f"BACKBEAT_GATEWAY={stack.http_urls[0]}" in page.content()
    live = tab(java_script_enabled=True)
    live.open("?still=1")
    assert live.page.get_by_text("Nothing has happened yet").count() == 1
    story = request.getfixturevalue("story")
    story.user.workflow(name="First", subject="Order 1")
    story.user.signal(story.user.workflow(name="First", subject="Order 2"))
    # Nobody touches the page: without a script it loads itself until there is a workflow, whichever is the first.
    page.get_by_role("table", name="Workflows").get_by_role("link").first.wait_for(timeout=120_000)
    assert page.locator("pre.command").count() == 0
    # With one the page is told of all that comes.
    live.page.get_by_role("link", name='"Order 2"').wait_for(timeout=120_000)
    assert live.complaints == []
