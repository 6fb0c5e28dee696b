"""What is downloaded of lists: whole, bounded, harmless, and for those alone who see it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from backbeat.gateway.console.pages.lists import downloads
from backbeat.gateway.console.pages.lists.downloads import Download, cell, csv_table, json_lines
from tests.gateway.console.desk import Desk
from tests.gateway.console.story import IMG
from tests.waiting import until

HEAD = {"list": "nodes", "address": "nodes.csv?client=shop", "at": "2026-11-30T03:06:31.000Z", "rows": 1, "more": True}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (-7, "-7"),
        (1.5, "1.5"),
        ("Charge card", "Charge card"),
        ("a=1", "a=1"),
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("\r@x", "'\r@x"),
        ("\uff1d1", "'\uff1d1"),
        (msgspec.Raw(b"-5"), "'-5"),
        (msgspec.Raw(b'"=1"'), '"=1"'),
    ],
)
def test_a_cell_is_never_a_formula(value, shown):
    assert cell(value) == shown


def test_rows_as_csv_and_as_lines_of_json(monkeypatch):
    monkeypatch.setattr(downloads, "ROWS_MAX", 1)
    rows = [('a,\n"b" \ud800', msgspec.Raw(b'{"n":1.50}')), ("cut", msgspec.Raw(b"1"))]
    content = Download(("id", "subject"), rows)

    head, columns, row = csv.reader(io.StringIO(csv_table(HEAD, content).decode(), newline=""))
    assert head == [
        "# list=nodes address=nodes.csv?client=shop at=2026-11-30T03:06:31.000Z rows=1 more=yes",
    ]
    assert (columns, row) == (["id", "subject"], ['a,\n"b" ?', '{"n":1.50}'])
    lines = json_lines(HEAD, content).decode().splitlines()
    assert [json.loads(line) for line in lines] == [HEAD, {"id": 'a,\n"b" ?', "subject": {"n": 1.5}}]
    assert '"n":1.50' in lines[1]


def test_a_list_is_downloaded_as_it_is_shown(stack, story, tab):
    tree, desk = story.tree, Desk(stack.http_urls[0])
    address = f"nodes.jsonl?workflow={tree['workflow']}&client=shop"
    until(lambda: desk.get(address).text.count("\n") == 452, "all nodes are there")
    answer = desk.get(address)
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''nodes-20")
    assert answer.headers["cache-control"] == "no-store"
    head, *rows = map(json.loads, answer.text.splitlines())
    assert (head["list"], head["address"], head["rows"], head["more"]) == ("nodes", address, 451, False)
    assert {row["id"] for row in rows} == {tree["top"], *tree["children"]}
    (failing,) = (row for row in rows if row["status"] == "retries_exhausted")
    assert (failing["id"], failing["client"], failing["subject"]) == (tree["failing"], "shop", "Camera 703")

    # The same rows as a table, from a link of the page.
    screen = tab()
    screen.open(f"nodes?workflow={tree['workflow']}&client=shop&status=failing")
    with screen.page.expect_download() as downloaded:
        screen.page.get_by_role("link", name="CSV").click()
    with Path(downloaded.value.path()).open(encoding="utf-8", newline="") as file:
        head, columns, row = csv.reader(file)
    assert f"address=nodes.csv?workflow={tree['workflow']}&client=shop&status=failing" in head[0]
    assert dict(zip(columns, row, strict=True))["id"] == tree["failing"]

    head, row = map(json.loads, desk.get("workflows.jsonl?name=Purchases").text.splitlines())
    assert (row["id"], row["failing"], row["paused"]) == (tree["workflow"], 1, False)
    workflow = story.hostile["workflow"]
    until(lambda: workflow in desk.get("workflows.csv?text=%3Cimg").text, "the search has it")
    hostile = desk.get("workflows.csv?text=%3Cimg").text
    assert IMG in hostile
    assert hostile.startswith("# list=workflows address=workflows.csv?text=%3Cimg at=20")
    assert desk.get("nodes.csv?client=nobody").status == 400
    assert desk.get("nodes.jsonl?client=shop&cause=none").text.count("\n") == 1


def test_the_history_of_a_workflow_is_downloaded(stack, story):
    hostile, desk = story.hostile, Desk(stack.http_urls[0])
    address = f"workflows/{hostile['workflow']}/history"
    until(lambda: "retries_exhausted" in desk.get(f"{address}.csv").text, "its end is there")
    head, *rows = map(json.loads, desk.get(f"{address}.jsonl").text.splitlines())
    assert (head["list"], head["rows"]) == ("history", len(rows))
    assert {row["node_id"] for row in rows} == {hostile["node"]}
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    (errored,) = (row for row in rows if row["status"] == "errored")
    assert errored["whose_status"] == "client"
    assert desk.get("workflows/00000000-0000-0000-0000-000000000000/history.csv").status == 404
