"""Every page in a real browser: without JavaScript, with hostile texts, behind a proxy, for all eyes."""

from __future__ import annotations

import gzip
import html
import re
import uuid
from urllib.parse import quote, urljoin, urlsplit

import pytest

from backbeat.gateway.console.table import TABLE
from tests.gateway.api.door import Door
from tests.gateway.console.desk import Desk
from tests.gateway.console.proxy import nginx
from tests.gateway.console.story import BIDI, IMG, NAME
from tests.waiting import until

PAGE_BYTES_MAX = 60_000
#: What scripts fetch.
NO_PAGES = {"live", "workflows/{id}/rows"}
#: Files of rows: test_downloads.py.
DOWNLOADS = (".csv", ".jsonl")
#: The node of the archive that had failed.
FAILED = "00000000-0000-0000-0000-0000000000fa"
LINK = re.compile(r'(href|src|action)="([^"]*)"')


def addresses(story) -> dict[str, list[str]]:
    """Addresses for each row of the table that shows a page."""
    hostile, tree = story.hostile, story.tree
    return {
        "": ["", "?every=10"],
        "go": [f"go?q={tree['failing']}", f"go?q={tree['workflow']}", "go?q=Camera", "go?q="],
        "workflows": [
            "workflows",
            "workflows?client=shop&name=Purchases&status=ready",
            "workflows?text=%3Cimg&had=ready",
        ],
        "workflows/{id}": [
            f"workflows/{tree['workflow']}",
            f"workflows/{tree['workflow']}?at={tree['children'][300]}",
            f"workflows/{tree['workflow']}?open={tree['top']}",
            f"workflows/{tree['workflow']}?show=failing",
            f"workflows/{hostile['workflow']}",
        ],
        "nodes": ["nodes", "nodes?status=retries_exhausted", "nodes?name=nobody&status=ready&since=2026-01-01"],
        "nodes/{id}": [f"nodes/{hostile['node']}", f"nodes/{tree['top']}", f"nodes/{tree['children'][0]}"],
        "nodes/{id}/{action}": [f"nodes/{hostile['node']}/cancel", f"nodes/{tree['children'][0]}/retry"],
        "workflows/{id}/{action}": [f"workflows/{hostile['workflow']}/pause"],
        "workflows/{id}/signal": [
            f"workflows/{tree['workflow']}/signal?like={tree['top']}",
            f"workflows/{hostile['workflow']}/signal",
            f"workflows/{hostile['workflow']}/signal?like={hostile['node']}",
        ],
        "stuck": ["stuck", "stuck?client=shop", "stuck?by=workflow&kind=exhausted,errored", "stuck?by=activity"],
        "activities": ["activities"],
        "activity": [
            f"activity?client=shop&name={quote(NAME)}",
            "activity?client=shop&name=nothing%20of%20it",
        ],
        "jobs": ["jobs"],
        "jobs/{id}": [f"jobs/{story.job}"],
        "schedules": ["schedules"],
        "schedules/new": ["schedules/new"],
        "schedules/{id}/change": [f"schedules/{story.schedule['id']}/change"],
        "schedules/{id}": [
            f"schedules/{story.schedule['id']}?start=2026-01-01&end=2026-01-05",
            f"schedules/{story.schedule['id']}",
        ],
        "letters": ["letters", "letters?state=all&reason=decider"],
        "letters/{position}": [f"letters/{story.letter}"],
        "clients": ["clients"],
        "clients/{id}": [f"clients/{story.user.id}"],
        "retention": ["retention"],
        "archives": [f"archives?under={quote(story.archive.rpartition('/')[0])}", "archives"],
        "archive": [f"archive?name={quote(story.archive)}", f"archive?name={quote(story.archive)}&node={FAILED}"],
        "workflows/{id}/timeline": [
            f"workflows/{tree['workflow']}/timeline",
            f"workflows/{tree['workflow']}/timeline?below={tree['top']}",
            f"workflows/{hostile['workflow']}/timeline?as=table",
        ],
        "drills": ["drills"],
        "drills/begin": ["drills/begin"],
        "drills/{run}": [f"drills/{story.drills[0]}", f"drills/{story.drills[1]}"],
        "drills/compare": [f"drills/compare?first={story.drills[0]}&second={story.drills[1]}"],
        "audit": ["audit", "audit?by=nobody"],
        "me": ["me"],
        "login": ["login"],
        "system": ["system"],
    }


def test_every_page_of_the_table_is_tried(story):
    shown = {row.path for row in TABLE if row.method == "GET" and "{which}" not in row.path} - NO_PAGES
    shown = {path for path in shown if not path.endswith(DOWNLOADS)}

    assert set(addresses(story)) == shown


@pytest.mark.parametrize("javascript", [False, True])
def test_every_page_is_whole_small_and_silent(stack, story, tab, javascript):
    screen = tab(java_script_enabled=javascript)
    for address in [address for of_row in addresses(story).values() for address in of_row]:
        assert screen.open(address) == 200, address
        assert screen.page.locator("h1").count() == 1, address
        assert screen.page.locator("main").count() == 1, address
        assert screen.page.title().endswith("· Backbeat · test"), address
        assert screen.page.locator("[onerror], [style], iframe, main img, main script").count() == 0, address
        assert [script.get_attribute("src").rpartition("/")[2] for script in screen.page.locator("script").all()] == [
            "app.js"
        ], address
    assert screen.complaints == []
    assert screen.hosts == {urlsplit(stack.http_urls[0]).netloc}


def test_every_page_is_small_and_says_what_browsers_may_do(stack, story):
    door = Door(stack.http_urls[0])
    for address in [address for of_row in addresses(story).values() for address in of_row]:
        answer = door.get(f"/ui/{address}", **{"Accept-Encoding": "gzip"})
        assert len(answer.body) <= PAGE_BYTES_MAX, address
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        if answer.status == 200:
            assert b"|safe" not in gzip.decompress(answer.body)


def test_hostile_texts_are_texts(stack, story, tab):
    screen = tab(java_script_enabled=True)
    hostile, failing = story.hostile, "nodes?status=retries_exhausted"
    # Figures are some seconds old at most.
    until(lambda: html.escape(IMG) in Door(stack.http_urls[0]).get("/ui/").text, "the overview has the activity")
    for address in (
        *("", "stuck", "workflows", failing, f"workflows/{hostile['workflow']}", f"nodes/{hostile['node']}"),
        f"nodes/{hostile['node']}/cancel",
    ):
        assert screen.open(address) == 200
        text = screen.page.locator("main").inner_text()
        assert IMG in text, address
        assert "⟦U+202E⟧" in text, address
        # Hidden fields go back as they are, and nobody sees them.
        screen.page.evaluate("document.querySelectorAll('input[type=hidden]').forEach((field) => field.remove())")
        assert not set(BIDI[2] + "\u2066\u200b\x07") & set(screen.page.content()), address
    screen.open(f"nodes/{hostile['node']}")
    text = screen.page.locator("main").inner_text()
    assert "<script>alert(1)</script>" in text
    assert "{{ 7*7 }}" in text
    assert "y" * 1_000 in text
    assert screen.complaints == []


def test_a_page_without_javascript_opens_and_closes_what_is_folded(story, tab):
    screen = tab()
    screen.open(f"nodes/{story.hostile['node']}")
    folded = screen.page.locator("details.data", has_text="metadata")

    assert folded.locator(".json").is_hidden()
    folded.locator("summary").first.click()
    assert IMG in folded.locator(".json").inner_text()


def test_a_payload_is_downloaded_whole(stack, story):
    answer = Door(stack.http_urls[0]).get(f"/ui/nodes/{story.hostile['node']}/data/arguments")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.json["long"] == "y" * 30_000
    assert len(answer.json["many"]) == 3_000


def test_every_link_is_relative_and_leads_somewhere(stack, story, tab, tmp_path):
    """Behind a proxy that mounts the gateway at /a/b/: whatever is not below that is an error."""
    with nginx(tmp_path, "/a/b/", stack.http_urls[0]) as base:
        door = Door(base.removesuffix("/a/b/"))
        waiting = [f"/a/b/ui/{address}" for of_row in addresses(story).values() for address in of_row]
        looked_at: set[str] = set()
        actions: set[str] = set()
        kinds: dict[str, int] = {}
        while waiting:
            path = waiting.pop()
            kind = re.sub(r"[0-9a-f-]{36}", "{id}", path.partition("?")[0])
            if path in looked_at or kinds.get(kind, 0) > 12:
                continue
            looked_at.add(path)
            kinds[kind] = kinds.get(kind, 0) + 1
            answer = door.get(path)
            # A form may be for sending alone, as the one that stops a job.
            assert answer.status in ((200, 303, 405) if path in actions else (200, 303)), path
            if answer.status == 303:
                waiting.append(urljoin(path, answer.headers["location"]))
            if not answer.headers.get("content-type", "").startswith("text/html"):
                continue
            for attribute, value in LINK.findall(answer.text):
                link = html.unescape(value)
                assert not link.startswith(("/", "http")), (path, link)
                target = urljoin(path, link).partition("#")[0]
                assert target.startswith("/a/b/ui/"), (path, link)
                waiting.append(target)
                if attribute == "action":
                    actions.add(target)
        assert "/a/b/ui/system" in looked_at
        assert kinds["/a/b/ui/nodes/{id}"] > 10

        screen = tab(f"{base}ui/")
        screen.open("nodes?status=retries_exhausted")
        screen.follow(screen.page.get_by_role("link", name="Charge 430"))
        assert "connection refused by bank-7" in screen.page.locator("main").inner_text()
        assert screen.complaints == []


def test_an_address_for_sending_alone_offers_nothing_to_load(stack):
    answer = Door(stack.http_urls[0]).get(f"/ui/jobs/{uuid.uuid4()}/stop")

    assert answer.status == 405
    assert "This cannot be done here" in answer.text
    assert "every=" not in answer.text


def test_times_and_colours_are_as_one_chooses(stack, tab):
    screen = tab(f"{stack.http_urls[2]}/ui/")
    screen.open("me")
    screen.page.get_by_label("Time zone").fill("Asia/Nowhere")
    screen.follow(screen.page.get_by_role("button", name="Keep"))
    assert "is no time zone" in screen.page.get_by_role("alert").inner_text()
    screen.page.get_by_label("Time zone").fill("Asia/Kolkata")
    screen.page.get_by_label("dark").check()
    screen.follow(screen.page.get_by_role("button", name="Keep"))
    screen.open("system")
    assert "Asia/Kolkata" in screen.page.locator("footer").inner_text()
    hour, minute, _ = screen.page.locator("footer time").inner_text().split(" ")[-1].split(":")
    utc = screen.page.locator("footer time").get_attribute("datetime")
    assert (int(hour) * 60 + int(minute) - int(utc[11:13]) * 60 - int(utc[14:16])) % 1440 == 330
    assert screen.page.locator("html.dark").count() == 1
    ground = screen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(20, 24, 29)"
    assert [line for line in screen.complaints if "400" not in line] == []
    assert Desk(stack.http_urls[2], "backbeat_ui_look=../../etc/passwd|<b>").get("system").status == 200


# --- the tree --------------------------------------------------------------------------------------------------------


def test_one_failing_node_of_many_is_on_the_first_screen(story, tab):
    screen = tab()
    screen.open(f"workflows/{story.tree['workflow']}")
    link = screen.page.get_by_role("link", name="Charge 430").first

    assert link.bounding_box()["y"] < 800
    assert "connection refused by bank-7:443" in screen.page.locator("main").inner_text()
    assert screen.page.locator(".summary").inner_text().startswith("1 failing")


def test_a_tree_is_read_branch_by_branch_to_its_end(story, tab):
    screen = tab()
    screen.open(f"workflows/{story.tree['workflow']}")
    screen.follow(screen.page.get_by_role("link", name="from the first"))
    names = []
    while True:
        names += screen.page.locator("table.tree a.name").all_inner_texts()
        following = screen.page.locator("a.later")
        if not following.count():
            break
        screen.follow(following)

    assert [name for name in names if name != "Make Purchase"] == [f"Charge {number}" for number in range(450)]
    assert screen.page.get_by_role("link", name="from the first").count() == 1


def test_of_a_tree_only_what_is_failing_is_drawn(story, tab):
    screen = tab()
    screen.open(f"workflows/{story.tree['workflow']}?show=failing")

    assert screen.page.locator("table.tree a.name").all_inner_texts() == ["Make Purchase", "Charge 430"]
    assert "1 failing below" in screen.page.locator("main").inner_text()


def test_a_node_says_why_it_waits_and_for_which_node(story, tab):
    user = story.user
    top = user.sent(subject="why")
    first, second = user.decide(top["id"], {"name": "First <b>"}, {"name": "Second"})
    user.say(top["id"], "deciding_complete")
    user.wait_for(first, "sent_to_client")
    screen = tab()
    screen.open(f"nodes/{second}")
    assert (
        "It waits for “First <b>” before it, which is blocking" in screen.page.get_by_label("Why it waits").inner_text()
    )
    screen.follow(screen.page.get_by_role("link", name="that node"))
    screen.page.wait_for_url(f"**/nodes/{first}")
    assert "waits in the queue of its client until a worker takes it" in screen.page.locator("main").inner_text()
    screen.follow(screen.page.get_by_role("link", name="in the tree"))
    row = screen.page.locator(f"[data-node='{second}']")
    assert "waits for “First <b>” before it" in row.inner_text()


def test_the_box_finds_by_id_and_by_subject(story, tab):
    screen = tab()
    screen.open("")
    for typed, address in (
        (story.tree["failing"], f"nodes/{story.tree['failing']}"),
        (story.tree["workflow"].upper(), f"workflows/{story.tree['workflow']}"),
        (f" {story.tree['top'].replace('-', '')} ", f"nodes/{story.tree['top']}"),
    ):
        box = screen.page.get_by_role("searchbox").first
        box.fill(typed)
        screen.follow(box, "Enter")
        screen.page.wait_for_url(f"**/ui/{address}")
    box.fill("Camera 703")
    screen.follow(box, "Enter")
    screen.follow(screen.page.get_by_role("link", name='"Camera 703"'))
    screen.page.wait_for_url(f"**/ui/workflows/{story.tree['workflow']}")


def test_a_list_goes_on_to_older_ones(story, tab):
    screen = tab()
    screen.open("nodes?client=shop&name=&status=sent_to_client")
    names = screen.page.locator("tbody th a").all_inner_texts()
    screen.follow(screen.page.get_by_role("link", name="Older"))
    older = screen.page.locator("tbody th a").all_inner_texts()

    assert len(names) == len(older) == 50
    assert not set(names) & set(older)


@pytest.mark.parametrize(
    ("address", "status", "text"),
    [
        ("nobody", 404, "There is no such page"),
        ("workflows/x", 404, "There is no such workflow"),
        ("nodes/00000000-0000-8000-8000-000000000000", 404, "There is no such node"),
        ("go?q=00000000-0000-8000-8000-000000000000", 404, "Nothing has this id"),
        ("workflows?client=nobody", 400, "There is no such client"),
        ("nodes?since=yesterdayish", 400, "This is no time"),
        ("nodes?before=x", 400, "This address is broken"),
        ("static/0/app.css", 404, "There is no such page"),
    ],
)
def test_errors_are_pages(stack, tab, address, status, text):
    screen = tab()

    assert screen.open(address) == status
    assert screen.page.get_by_role("heading", level=1).inner_text() == text
    assert screen.page.get_by_role("navigation").count() == ("static" not in address)


def test_a_foreign_name_is_refused(stack):
    answer = Door(stack.http_urls[0]).get("/ui/", Host="evil.example")

    assert answer.status == 421
    assert "--ui-host" in answer.text


def test_the_api_is_as_before(stack):
    door = Door(stack.http_urls[0])

    assert door.get("/health").json["status"] == "OK"
    assert door.get("/uiworkflows").status == 404
    assert door.get("/", Accept="application/json").status == 404


# --- for all eyes ----------------------------------------------------------------------------------------------------


_WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
#: In the dark only colours are others.
_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
#: How a page is looked at, one after the other: what is emulated, the window's size, the rules.
_EYES = {
    "light": ({"color_scheme": "light"}, (1280, 800), _WCAG),
    "dark": ({"color_scheme": "dark"}, (1280, 800), _COLOURS),
    "forced": ({"color_scheme": "light", "forced_colors": "active"}, (1280, 800), _COLOURS),
    "narrow": ({"color_scheme": "light", "forced_colors": "none"}, (320, 640), _WCAG),
}
_VIOLATIONS = "rules => axe.run(document, {...rules, resultTypes: ['violations']}).then(result => result.violations)"
_AXE_PARTS = 4
_FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.mark.parametrize("part", range(_AXE_PARTS))
def test_axe_finds_nothing(story, tab, part):
    """Each page is opened once, and axe, half a megabyte of JavaScript, read once in it.

    In parts, since all pages take longer than a test may on a machine that does much else.
    """
    from axe_playwright_python.sync_playwright import Axe

    script = Axe().axe_script
    screen = tab(java_script_enabled=True, bypass_csp=True)
    pages = [of_row[0] for row, of_row in addresses(story).items() if row != "go"]
    for address in pages[part::_AXE_PARTS]:
        screen.open(address)
        screen.page.evaluate(script)
        for eyes, (media, (width, height), rules) in _EYES.items():
            screen.page.emulate_media(**media)
            screen.page.set_viewport_size({"width": width, "height": height})
            violations = screen.page.evaluate(_VIOLATIONS, rules)
            assert violations == [], f"{address}, {eyes}"
            assert screen.page.evaluate(_FITS), f"{address}, {eyes}: it is wider than its window"
        screen.page.emulate_media(forced_colors="none")
