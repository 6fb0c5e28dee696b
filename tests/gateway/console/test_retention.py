"""Retention and archives: policies are set and forgotten; an archived workflow is read as a live one."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from backbeat.streams.kafka.registration import add_client
from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.story import IMG
from tests.gateway.console.test_pages import FAILED
from tests.gateway.console.test_people import command
from tests.waiting import until


def test_a_policy_is_set_and_forgotten(stack, story, tab):
    screen = tab(viewport={"width": 320, "height": 640})
    screen.open("retention")
    assert "There is no policy." in screen.page.locator("main").inner_text()
    screen.page.get_by_role("combobox").select_option("shop")
    screen.page.get_by_label("s name").fill("Old orders")
    screen.page.get_by_label("Days from").fill("30.5")
    screen.page.get_by_label("Why").fill("the law")
    screen.follow(screen.page.get_by_role("button", name="Set it"))
    screen.page.wait_for_url("**/retention?done=*")
    assert (
        "dev: keep for 30.5 days, then archive “the law” — done" in screen.page.get_by_role("status").first.inner_text()
    )
    row = screen.page.get_by_role("row", name="Old orders").inner_text()
    assert "30 d 12 h" in row
    assert "partitions" not in row
    screen.follow(screen.page.get_by_role("button", name="Keep for ever: Old orders"))
    screen.page.wait_for_url("**/retention?done=*")
    assert "There is no policy." in screen.page.locator("main").inner_text()
    assert screen.complaints == []

    desk = Desk(stack.http_urls[0])
    fields = {**desk.hidden("retention"), "client": "shop", "workflow": "Old", "keep_days": "1", "action": "keep"}
    for wrong in ({"reason": ""}, {"keep_days": "nan"}, {"keep_days": "0"}, {"keep_days": "x"}, {"workflow": ""},
                  {"client": "nobody"}, {"action": "explode"}):  # fmt: skip
        assert desk.send("retention", {**fields, "reason": "r", **wrong}).status == 400, wrong
    assert "There is no policy." in desk.get("retention").text

    # A form that is sent a second time undoes nothing of what came meanwhile.
    assert desk.send("retention", {**fields, "reason": "r"}).status == 303
    assert desk.fill("retention", client="shop", workflow="Old", action="forget").status == 303
    assert desk.send("retention", {**fields, "reason": "r"}).status == 303
    assert "There is no policy." in desk.get("retention").text


def test_an_archive_is_found_by_its_folders_and_read_as_a_live_workflow(story, tab):
    assert story.archive
    screen = tab()
    screen.open("retention")
    for name in ("Archives", "shop", f"Archived {IMG}", story.archive.split("/")[2]):
        screen.follow(screen.page.get_by_role("link", name=name, exact=True).last)
    screen.follow(screen.page.locator("main .plain-list a"))
    assert IMG in screen.page.locator("h1").inner_text()
    assert "1 failing" in screen.page.locator(".summary").inner_text()
    assert screen.page.locator("table.tree a.name").count() == 201
    screen.follow(screen.page.get_by_role("link", name="from “Step 202” on"))
    assert screen.page.locator("table.tree a.name").all_inner_texts() == [
        "Top",
        *(f"Step {n}" for n in range(202, 302)),
    ]
    screen.follow(screen.page.get_by_role("link", name="Step 250"))
    text = screen.page.locator("main").inner_text()
    assert "<b>no" in text
    assert "retries exhausted" in text
    assert '"params"' in text
    screen.follow(screen.page.get_by_role("link", name="Archived").last)
    screen.follow(screen.page.get_by_role("link", name="Fold Top"))
    assert screen.page.locator("table.tree a.name").all_inner_texts() == ["Top"]
    assert screen.complaints == []


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("archive?name=../../etc/passwd", 400),
        ("archive?name=shop/../x/y.jsonl.gz", 400),
        ("archive?name=/etc/a/b/c.jsonl.gz", 400),
        ("archive?name=shop/a/b/c.jsonl.gz", 404),
        ("archive?name=shop/a/b/c", 400),
        ("archives?under=..", 400),
        ("archives?under=shop%00", 400),
        ("archives?under=nobody", 200),
        ("archives?under=a/b/c/d", 400),
    ],
)
def test_no_address_leads_out_of_the_store(stack, story, address, status):
    assert Desk(stack.http_urls[0]).get(address).status == status


def test_archives_of_others_are_not_seen_and_a_gateway_may_have_none(stack, story):
    add_client(stack.bootstrap_servers, "elsewhere", partitions=2)
    token = json.loads(command(stack, "add", "archivist", "--role", "reader", "--client", "elsewhere", "--json"))[
        "token"
    ]
    archivist = log_in(stack.http_urls[1], "archivist", token)
    name = quote(story.archive)
    assert archivist.get(f"archive?name={name}").status == 404
    assert "shop" not in archivist.get("archives").text.partition("<main")[2]
    assert archivist.get("archives?under=shop").status == 404
    command(stack, "set", "archivist", "--client", "shop")
    others = [story.archives / f"a{number:03}" for number in range(201)]
    for folder in others:
        folder.mkdir()
    until(lambda: ">shop<" in archivist.get("archives").text, "its folder is on the first page")
    assert "a000" not in archivist.get("archives").text
    for folder in others:
        folder.rmdir()
    node = archivist.get(f"archive?name={name}&node={FAILED}")
    assert "You may not see payloads" in node.text
    command(stack, "remove", "archivist", "--yes")
    assert Desk(stack.http_urls[2]).get("archives").status == 404
