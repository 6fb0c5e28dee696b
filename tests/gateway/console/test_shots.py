"""Pictures of every screen, light, dark and on a phone: `make shots` writes them to build/screens, to be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.console.desk import Desk
from tests.gateway.console.test_pages import NO_PAGES, addresses
from tests.waiting import until

pytestmark = pytest.mark.prove

FOLDER = Path(__file__).parents[3] / "build" / "screens"
KINDS = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures(stack, story, tab, kind):
    FOLDER.mkdir(parents=True, exist_ok=True)
    desk = Desk(stack.http_urls[0])
    pages = {row: of_row[0] for row, of_row in addresses(story).items() if row not in {"go", *NO_PAGES}}
    until(lambda: "failing" in desk.get("stuck").text, "the causes are counted")
    one = tab(java_script_enabled=True, **KINDS[kind])
    for row, address in pages.items():
        assert one.open(address) == 200
        name = row.replace("/", "-").replace("{", "").replace("}", "") or "overview"
        one.page.screenshot(path=FOLDER / f"{name}-{kind}.png")
    assert one.complaints == []
