"""Schedules: an operator runs one now and for past times, pauses and deletes it, without a script."""

from __future__ import annotations

import re

from tests.gateway.console.desk import Desk
from tests.waiting import until


def test_a_schedule_is_triggered_backfilled_paused_and_deleted(stack, story, tab):
    user = story.user
    made = user.door.put(
        "/schedules/monthly",
        {"workflow": "Months", "subject": "month of {scheduled_at}", "signal": "Close books", "cron": "30 2 1 * *",
         "zone": "Europe/Berlin", "overlap": "allow"},
    ).json  # fmt: skip
    page = f"schedules/{made['id']}"
    screen = tab(viewport={"width": 320, "height": 640})
    until(lambda: "next " in Desk(stack.http_urls[0]).get("schedules").text, "its next time is worked out")
    screen.open("schedules")
    screen.follow(screen.page.get_by_role("link", name="monthly"))
    text = screen.page.locator("main").inner_text()
    assert re.search(r"01:30:00 in .* · \w{3} \d{4}-\d\d-01 02:30 CET", text) or "02:30 CEST" in text
    assert "None yet." in text

    screen.follow(screen.page.get_by_role("button", name="Run it now"))
    screen.page.wait_for_url("**?done=*")
    assert "dev: trigger — done" in screen.page.get_by_role("status").first.inner_text()
    row = screen.page.get_by_role("region", name="Runs").get_by_role("row", name="trigger")
    assert "running" in row.inner_text()
    screen.follow(row.get_by_role("link", name="workflow"))
    assert "Months" in screen.page.locator("h1").inner_text()

    screen.open(page)
    screen.page.get_by_label("First time").fill("2026-01-01")
    screen.page.get_by_label("Last time").fill("2026-03-02")
    screen.follow(screen.page.get_by_role("button", name="Show the times"))
    text = screen.page.locator("main").inner_text()
    assert "3 runs:" in text
    assert "2026-03-01 01:30:00 · Sun 2026-03-01 02:30 CET" in text
    screen.page.get_by_label("Why backfill").fill("the books of spring")
    screen.follow(screen.page.get_by_role("button", name="Run these"))
    screen.page.wait_for_url("**?done=*")
    assert "backfill 3 runs “the books of spring” — done" in screen.page.get_by_role("status").first.inner_text()
    assert screen.page.locator("main").inner_text().count("backfill") == 5

    screen.page.get_by_label("Why (must").fill("the bank is closed")
    screen.follow(screen.page.get_by_role("button", name="Pause"))
    screen.page.wait_for_url("**?done=*")
    assert "None while it is paused." in screen.page.locator("main").inner_text()
    assert "“the bank is closed”" in screen.page.locator("main").inner_text()
    screen.follow(screen.page.get_by_role("button", name="Delete"))
    assert "Say why" in screen.page.get_by_role("alert").inner_text()
    screen.page.get_by_label("Why (must").fill("over")
    screen.follow(screen.page.get_by_role("button", name="Delete"))
    screen.page.wait_for_url("**/ui/schedules")
    assert user.door.get("/schedules/monthly").status == 404
    screen.open("audit")
    assert "delete monthly" in screen.page.locator("main").inner_text().replace("\n", " ").replace("\t", " ")
    assert [line for line in screen.complaints if "400" not in line] == []


def test_a_form_that_is_sent_twice_runs_a_schedule_once_and_no_range_is_too_wide(stack, story):
    desk = Desk(stack.http_urls[0])
    page = f"schedules/{story.schedule['id']}"
    fields = {**desk.hidden(page), "action": "trigger"}
    assert [desk.send(page, fields).status for _ in range(2)] == [303, 303]
    runs = story.user.door.get(f"/schedules/{story.schedule['id']}").json
    assert runs["started"] == 1
    for start, end, problem in (
        ("2026-01-01", "2036-01-01", "more than 1000 times"),
        ("2026-01-01 00:00", "2026-01-01 00:01", "never due"),
        ("2026-01-01", "", "a first and a last time"),
    ):
        answer = desk.send(page, {**fields, "action": "backfill", "start": start, "end": end})
        assert (answer.status, problem in answer.text) == (400, True), problem
    assert desk.send(page, {**fields, "action": "explode"}).status == 400
    assert desk.get(f"{page}?start=yesterdayish&end=2026").status == 400
    assert desk.get("schedules/00000000-0000-8000-8000-000000000000").status == 404
