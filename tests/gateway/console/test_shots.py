"""Pictures of every screen, light, dark and on a phone: `make shots` writes them to build/screens, to be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door, User
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
    screen = tab(java_script_enabled=True, **KINDS[kind])
    for row, address in pages.items():
        assert screen.open(address) == 200
        name = row.replace("/", "-").replace("{", "").replace("}", "") or "overview"
        screen.page.screenshot(path=FOLDER / f"{name}-{kind}.png")
    assert screen.complaints == []


#: How many fail with each error, by activity: what the documents' pictures show.
FAILURES = [
    ("Charge card", "connection refused by bank-{}:443", {"retry": 0}, 136),
    ("Charge card", "the bank did not answer within 30 s (request {})", {"retry": 3}, 41),
    ("Send receipt", "550 mailbox <customer-{}@example.com> unknown", {"retry": 0}, 9),
]


def test_pictures_of_the_documents(stack, story, tab):
    """Picture of the stuck page, as docs/images has it: `console-stuck.png`."""
    client = add_client(stack.bootstrap_servers, "bank", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    for activity, error, retries, count in FAILURES:
        top = user.sent(subject=f"Order {count}")
        nodes = user.decide(top["id"], *({"name": activity, "mode": "non_blocking", **retries} for _ in range(count)))
        assert user.say(top["id"], "deciding_complete").status == 200
        user.wait_for(nodes[-1], "sent_to_client")
        for number, node in enumerate(nodes):
            assert user.say(node, "errored", {"message": error.format(number)}).status == 200
    screen, desk = tab(viewport={"width": 1080, "height": 420}), Desk(stack.http_urls[0])
    until(lambda: all(f"{count} " in desk.get("stuck?client=bank").text for *_, count in FAILURES), "they are counted")
    FOLDER.mkdir(parents=True, exist_ok=True)
    screen.open("stuck?client=bank")
    screen.page.screenshot(path=FOLDER / "console-stuck.png")
    assert screen.complaints == []
