"""Links out of the console: which templates are taken, what they are filled in with, and where they stand."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, quote, urlsplit

import click
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.processes.ui_options import ui_options, ui_settings
from backbeat.gateway.console.show.links import FIELDS, links_of, read_link
from tests.gateway.console.test_people import READ_ONLY

SEARCH = "https://logs.example/search?q={tid}"


def test_every_word_is_percent_encoded():
    url = "https://x.example/?" + "&".join(f"{field}={{{field}}}" for field in FIELDS)
    word = "a/b?c=d&e#f%20 \"<'>{tid}é\ud800"
    (link,) = links_of([read_link(f"All={url}")], dict.fromkeys(FIELDS, word))
    encoded = quote(word, safe="", errors="replace")
    assert link == ("All", "https://x.example/?" + "&".join(f"{field}={encoded}" for field in FIELDS))
    assert not set("/?=#\"'<>{} ") & set(encoded)


def test_a_link_that_names_what_a_page_has_not_is_left_out():
    templates = [read_link(f"Logs={SEARCH}"), read_link("Shop=http://shop.example:8080/{subject}/{{x}}")]
    assert links_of(templates, {"subject": "7"}) == [("Shop", "http://shop.example:8080/7/{x}")]
    assert links_of(templates, {"tid": "", "subject": "7"}) == [("Shop", "http://shop.example:8080/7/{x}")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://logs.example/", "a name of up to 40 characters comes first"),
        ("=https://logs.example/", "a name of up to 40 characters comes first"),
        (f"{'x' * 41}={SEARCH}", "a name of up to 40 characters comes first"),
        ("Logs=javascript:alert({tid})", "begins with http:// or https:// and a host"),
        ("Logs=ftp://logs.example/{tid}", "begins with http:// or https:// and a host"),
        ("Logs=//logs.example/{tid}", "begins with http:// or https:// and a host"),
        ("Logs=https:///{tid}", "begins with http:// or https:// and a host"),
        ("Logs=https://{client}.example/", "begins with http:// or https:// and a host"),
        ("Logs=https://logs.example/a b", "has no spaces or quotes"),
        ('Logs=https://logs.example/"', "has no spaces or quotes"),
        ("Logs=https://logs.example/{tid", "its braces do not fit"),
        ("Logs=https://logs.example/{}", "braces hold tid, node_id, workflow_id, client or subject, and nothing else"),
        ("Logs=https://logs.example/{name}", "and nothing else"),
        ("Logs=https://logs.example/{tid.__class__}", "and nothing else"),
        ("Logs=https://logs.example/{tid!r}", "and nothing else"),
        ("Logs=https://logs.example/{tid:9}", "and nothing else"),
    ],
)
def test_what_is_no_link_is_refused_with_what_is_right(text, reason):
    result = CliRunner().invoke(gateway, ["--ui-link", text])
    assert result.exit_code == 2
    output = " ".join(result.output.split())
    assert reason in output
    assert "write it as 'Logs=https://logs.example/search?q={tid}'" in output


def test_links_are_settings_of_a_gateway(monkeypatch):
    settings = CliRunner().invoke(gateway, ["--ui-link", f"Logs={SEARCH}"], standalone_mode=False).return_value
    assert settings["console"].links == (("Logs", SEARCH),)
    monkeypatch.setenv("BACKBEAT_UI_LINK", f"Logs={SEARCH} Shop=http://shop.example/{{subject}}")
    settings = CliRunner().invoke(gateway, [], standalone_mode=False).return_value
    assert [name for name, _ in settings["console"].links] == ["Logs", "Shop"]
    twice = CliRunner().invoke(gateway, ["--ui-link", f"Logs={SEARCH}", "--ui-link", f"Logs={SEARCH}2"])
    assert "there is another one of this name" in twice.output


@click.command
@ui_options
def gateway(**words):
    return ui_settings("127.0.0.1", words)


# --- at a gateway ----------------------------------------------------------------------------------------------------


def test_links_are_on_the_pages_of_nodes_and_workflows(stack, story, tab):
    screen = tab(f"{stack.http_urls[READ_ONLY]}/ui/")
    hostile = story.hostile
    screen.open(f"nodes/{hostile['node']}")
    links = screen.page.get_by_role("group", name="Links to other places").get_by_role("link")
    logs, orders = (link.get_attribute("href") for link in links.all())
    tid = screen.page.locator("dt", has_text="Transaction id").locator("xpath=../dd").inner_text()
    assert logs == f"https://logs.example/search?q={tid}&node={hostile['node']}"
    parts = urlsplit(orders)
    assert (parts.netloc, parts.path, parts.fragment) == ("shop.example", "/shop", hostile["workflow"])
    # What the subject has in it is no part of the URL's form.
    (subject,) = parse_qs(parts.query, strict_parsing=True)["of"]
    assert json.loads(subject) == json.loads(hostile["subject"])
    assert {link.get_attribute("rel") for link in links.all()} == {"noreferrer"}
    screen.open(f"workflows/{hostile['workflow']}")
    assert [link.get_attribute("href") for link in links.all()] == [orders]
    assert screen.complaints == []
