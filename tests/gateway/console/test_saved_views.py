"""Views of a team: links on every page, from a file that is looked at before the gateway starts."""

from __future__ import annotations

import json
import re
from urllib.parse import urljoin

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.gateway.console.show.saved_views import VIEWS_MAX, read_saved_views
from backbeat.gateway.settings import SavedView
from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.test_people import command

_ENTRY = '[[view]]\nname = "a"\npath = "stuck"\n'


def test_views_are_links_on_every_page_for_those_who_are_logged_in(stack, story, tab):
    token = json.loads(command(stack, "add", "viewer", "--role", "reader", "--json"))["token"]
    url = stack.http_urls[1]
    desk = log_in(url, "viewer", token)
    for page in ("", f"nodes/{story.tree['failing']}", f"workflows/{story.tree['workflow']}/timeline"):
        (nav,) = re.findall('<nav aria-label="Views of the team">(.*?)</nav>', desk.get(page).text)
        (link, _) = re.findall('href="([^"]*)"', nav)
        assert urljoin(f"{url}/ui/{page}", link.replace("&amp;", "&")).startswith(
            f"{url}/ui/nodes?status=retries_exhausted&client=shop"
        )
    assert "Views of the team" not in Desk(url).get("login").text
    screen = tab(f"{url}/ui/")
    screen.open("system")
    screen.page.get_by_label("Name").fill("viewer")
    screen.page.get_by_label("Token").fill(token)
    screen.follow(screen.page.get_by_role("button", name="Log in"))
    screen.follow(screen.page.get_by_role("link", name="Night & shift"))
    assert screen.page.get_by_role("link", name="Charge 430").count() == 1
    assert screen.complaints == []
    command(stack, "remove", "viewer", "--yes")


@pytest.mark.parametrize("path", ["", "stuck?client=bank", "nodes?name=Charge%20card&status=retrying", "jobs"])
def test_a_path_may_be_any_page(tmp_path, path):
    file = tmp_path / "views.toml"
    file.write_text(f"[[view]]\nname = 'a'\npath = '{path}'\n", encoding="utf-8")

    assert read_saved_views(file) == (SavedView("a", path),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: No such file"),
        ("[[view]\n", "is no TOML"),
        ("", "missing required field `view`"),
        ("view = []\n", "length >= 1"),
        ("[[view]]\nname = 'a'\n", "missing required field `path`"),
        ("[[view]]\nname = ''\npath = 'stuck'\n", "length >= 1 - at `$.view[0].name`"),
        ("[[view]]\nname = 3\npath = 'stuck'\n", "Expected `str`, got `int`"),
        (f"{_ENTRY}colour = 'red'\n", "unknown field `colour`"),
        (f"title = 'x'\n{_ENTRY}", "unknown field `title`"),
        (2 * _ENTRY, "two views of the name 'a'"),
        (_ENTRY * (VIEWS_MAX + 1), f"length <= {VIEWS_MAX}"),
        *(
            (_ENTRY.replace("stuck", path), "is no page, as nodes?")
            for path in ("/stuck", "ui/stuck", "https://evil.example/", "javascript:alert(1)", "../docs", "login", "x")
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_said_before_the_gateway_starts(tmp_path, text, sentence):
    file = tmp_path / "views.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(backbeat, ["gateway", "--ui", "on", "--ui-views", str(file)])

    assert result.exit_code == 2, result.output
    output = re.sub(r"\s+", " ", result.output)
    assert f"--ui-views {file}" in output
    assert sentence in output
