"""Pictures of every screen, light, dark and on a phone, and the documents' own: `make shots`, in build/screens."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from backbeat.delivery.consumer import group_of
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door, User
from tests.gateway.console.desk import Desk
from tests.gateway.console.test_pages import NO_PAGES, addresses
from tests.waiting import until

FOLDER = Path(__file__).parents[3] / "build" / "screens"
KINDS = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}},
}


@pytest.mark.prove
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
#: Pictures of the documents, with their heights.
PICTURES = {"console-stuck": 420, "console-timeline": 430, "console-tree": 640}


@pytest.fixture(scope="module")
def take(stack) -> Iterator[Callable[[RegisteredClient], None]]:
    """Takes a client's activities from now on, as its workers do: without them each page begins with an alarm."""
    ending = threading.Event()
    threads: dict[str, threading.Thread] = {}

    def follow(client: RegisteredClient) -> None:
        # Auto-commit, of what was taken: whoever is in the pictures answers over HTTP.
        settings = {"group.id": group_of(client.name), "auto.offset.reset": "earliest", "log_level": 0}
        consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, **settings})
        consumer.subscribe([client.topic])
        while not ending.is_set():
            consumer.poll(0.1)
        consumer.close()

    def start(client: RegisteredClient) -> None:
        if client.name not in threads:
            threads[client.name] = threading.Thread(target=follow, args=(client,), name=f"workers of {client.name}")
            threads[client.name].start()

    yield start
    ending.set()
    for thread in threads.values():
        thread.join()


def shot(stack, screen, name: str, address: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    until(lambda: "Nobody takes" not in Desk(stack.http_urls[0]).get("").text, "everybody has workers", 180)
    screen.page.set_viewport_size({"width": 1080, "height": PICTURES[name]})
    assert screen.open(address) == 200
    screen.page.screenshot(path=FOLDER / f"{name}.png")
    assert screen.complaints == []


def client_of_pictures(stack, take, name: str) -> User:
    client = add_client(stack.bootstrap_servers, name, partitions=2)
    take(client)
    return User(Door(stack.http_urls[0], client.id), client, "")


@pytest.mark.prove
def test_picture_of_what_is_stuck(stack, story, take, tab):
    take(story.user.client)
    user, desk = client_of_pictures(stack, take, "bank"), Desk(stack.http_urls[0])
    for activity, error, retries, count in FAILURES:
        top = user.sent(subject=f"Order {count}")
        nodes = user.decide(top["id"], *({"name": activity, "mode": "non_blocking", **retries} for _ in range(count)))
        assert user.say(top["id"], "deciding_complete").status == 200
        user.wait_for(nodes[-1], "sent_to_client")
        for number, node in enumerate(nodes):
            assert user.say(node, "errored", {"message": error.format(number)}).status == 200
    until(lambda: all(f"{count} " in desk.get("stuck?client=bank").text for *_, count in FAILURES), "they are counted")
    shot(stack, tab(), "console-stuck", "stuck?client=bank")


@pytest.mark.prove
def test_picture_of_a_tree(stack, story, take, tab):
    take(story.user.client)
    shot(stack, tab(), "console-tree", f"workflows/{story.tree['workflow']}")


@pytest.mark.prove
def test_picture_of_a_timeline(stack, take, tab):
    """Bars are as long as people wait: here the time itself is what is waited for."""
    user, desk = client_of_pictures(stack, take, "cameras"), Desk(stack.http_urls[0])
    top = user.sent(workflow=user.workflow(name="Purchases", subject="Camera 704"), name="Make Purchase")
    names = ("Reserve money", "Charge card", "Notify customer", "Ship")
    modes: list[dict[str, Any]] = [{}, *({"mode": "non_blocking", "retry": 6, "retry_interval": 4} for _ in names[1:])]
    reserve, charge, notify, ship = user.decide(
        top["id"], *({"name": name, **mode} for name, mode in zip(names, modes, strict=True))
    )

    def work(node: str, waits_seconds: float, works_seconds: float, outcome: str) -> None:
        user.wait_for(node, "sent_to_client")
        time.sleep(waits_seconds)
        assert user.say(node, "processing").status == 200
        time.sleep(works_seconds)
        assert user.say(node, outcome, {"message": "the bank is busy"} if outcome == "errored" else None).status == 200

    assert user.say(top["id"], "deciding_complete").status == 200
    work(reserve, 1, 3, "completed")
    work(charge, 1, 2, "errored")
    work(notify, 0, 2, "completed")
    work(charge, 1, 4, "completed")
    user.say(ship, "processing")
    user.wait_for(charge, "complete")
    time.sleep(5)
    address = f"workflows/{top['workflowId']}/timeline?below={top['id']}"
    until(lambda: "Ship" in desk.get(address).text, "the search has it")
    shot(stack, tab(), "console-timeline", address)


def test_every_picture_of_the_documents_is_made_here():
    root = FOLDER.parents[1]
    texts = [path.read_text(encoding="utf-8") for path in (root / "README.md", *(root / "docs").rglob("*.md"))]

    assert {name for text in texts for name in re.findall(r"images/([a-z-]+)\.png", text)} == set(PICTURES)
    assert {path.stem for path in (root / "docs" / "images").iterdir()} == set(PICTURES)
