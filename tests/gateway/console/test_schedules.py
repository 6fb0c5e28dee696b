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


def test_a_schedule_is_made_and_changed_without_a_script(stack, story, tab):
    user = story.user
    screen = tab(viewport={"width": 320, "height": 640})
    screen.open("schedules")
    screen.follow(screen.page.get_by_role("link", name="A new schedule…"))
    screen.page.get_by_label("Client").select_option("shop")
    for label, text in (
        ("Name of the schedule", "weekly <b>"),
        ("Workflow", "Weeks"),
        ("Subject, a text", "week of {scheduled_at}"),
        ("Signal", "Close week"),
        ("Arguments", '{"args": [7]}'),
        ("Cron, five fields", "0 3 * *"),
        ("in the time zone", "Europe/Berlin"),
        ("Why (may", "asked for by Ann"),
    ):
        screen.page.get_by_label(label, exact=label in ("Workflow", "Signal")).fill(text)
    screen.follow(screen.page.get_by_role("button", name="Make the schedule"))
    assert "cron" in screen.page.get_by_role("alert").inner_text().lower()
    assert screen.page.get_by_label("Subject, a text").input_value() == "week of {scheduled_at}"
    screen.page.get_by_label("Cron, five fields").fill("0 3 * * 1")
    screen.follow(screen.page.get_by_role("button", name="Make the schedule"))
    assert "dev: create “asked for by Ann” — done" in screen.page.get_by_role("status").first.inner_text()
    made = user.door.get("/schedules/weekly%20%3Cb%3E").json
    assert (made["cron"], made["zone"], made["subject"]) == ("0 3 * * 1", "Europe/Berlin", "week of {scheduled_at}")
    assert (made["signal"], made["overlap"]) == ("Close week", "skip")

    screen.follow(screen.page.get_by_role("link", name="Change when it runs and what…"))
    assert screen.page.get_by_label("Arguments").input_value() == '{"args":[7]}'
    screen.page.get_by_label("Cron, five fields").fill("")
    screen.page.get_by_label("or every so many seconds").fill("3600")
    screen.page.get_by_label("Where an earlier run").select_option("queue")
    screen.follow(screen.page.get_by_role("button", name="Change it"))
    assert "every 1 h" in screen.page.locator("main .summary").inner_text()
    changed = user.door.get("/schedules/weekly%20%3Cb%3E").json
    assert (changed["id"], changed["cron"]) == (made["id"], None)
    assert (changed["interval"], changed["overlap"]) == (3600, "queue")
    assert user.door.call("DELETE", "/schedules/weekly%20%3Cb%3E").status == 200
    assert [line for line in screen.complaints if "400" not in line] == []


def test_what_a_form_does_not_have_stays_and_no_schedule_is_replaced_by_a_new_one(stack, story):
    user, desk = story.user, Desk(stack.http_urls[0])
    plan = {"workflow": "Kept", "subject": {"a": 1.0}, "signal": "Run", "cron": "0 4 * * *", "decider": "Someone",
            "retries": 2, "backoff": 9, "priority": 1, "fairness_key": "acme", "metadata": {"m": 1}}  # fmt: skip
    made = user.door.put("/schedules/kept", plan).json
    page = f"schedules/{made['id']}/change"
    form = {"workflow": "Kept", "subject": '{"a": 1.0}', "signal": "Run twice", "cron": "0 5 * * *", "zone": "UTC"}
    answer = desk.fill(page, **form, overlap="skip", reason="")
    assert answer.status == 303, answer.text
    changed = user.door.get("/schedules/kept").json
    kept = {**made, "cron": "0 5 * * *", "signal": "Run twice"}
    moved = {"nextAt", "nextRuns", "after", "updatedAt"}
    assert {key: value for key, value in changed.items() if key not in moved} == {
        key: value for key, value in kept.items() if key not in moved
    }
    assert (changed["cron"], changed["signal"]) == ("0 5 * * *", "Run twice")

    new = {"client": "shop", "name": "kept", **form, "overlap": "skip", "reason": ""}
    answer = desk.fill("schedules/new", **new)
    assert (answer.status, "has a schedule" in answer.text) == (409, True)
    fields = {**desk.hidden("schedules/new"), **new, "name": "made twice"}
    assert [desk.send("schedules/new", fields).status for _ in range(2)] == [303, 303]
    for broken, problem in (
        ({"client": "nobody"}, "Choose the client"),
        ({"name": " "}, "name is missing"),
        ({"name": made["id"]}, "schedule&#39;s id"),
        ({"workflow": ""}, "workflow is missing"),
        ({"cron": "", "interval": ""}, "cron or interval is missing"),
        ({"interval": "soon", "cron": ""}, "interval must be a number"),
        ({"zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"overlap": "explode"}, "no overlap"),
        ({"arguments": "[]"}, "JSON object"),
    ):
        answer = desk.fill("schedules/new", **{**new, "name": "broken", **broken})
        assert (answer.status, problem in answer.text) == (400, True), broken
    assert user.door.get("/schedules/broken").status == 404
    for name in ("kept", "made%20twice"):
        assert user.door.call("DELETE", f"/schedules/{name}").status == 200
