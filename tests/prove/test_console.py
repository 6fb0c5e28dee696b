"""The console over a million nodes of which a tenth is failing, with two causes, and a tree with one failing node.

BACKBEAT_TEST_NODES is how many. What pages take is measured by `make bench ARGS='--only console'`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from confluent_kafka import Producer

from backbeat.compose.bench.failing_nodes import Growth, growths
from backbeat.compose.bench.rig import Raw, produce
from backbeat.compose.local.ports import free_port
from backbeat.compose.local.stack import Stack
from backbeat.payload.values import id_text
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door, User
from tests.gateway.console.browser import Tab, chromium
from tests.gateway.console.desk import Desk
from tests.gateway.console.journey import CLICKS_MAX, PHONE, TOUCHED, Finger, Keyboard, retry_a_cause
from tests.waiting import until

NODES = int(os.environ.get("BACKBEAT_TEST_NODES", "1000000"))
PARTITIONS = 2
AT_ONCE = 1_000
PAGE_BYTES_MAX = 60_000
SECONDS_MAX = 3_600.0
REFUSED = "connection refused by bank-#"
UNKNOWN = "# mailbox <#> unknown"

pytestmark = [pytest.mark.prove, pytest.mark.integration]


class Scene(NamedTuple):
    desk: Desk
    user: User
    tree: Growth
    #: Nodes that failed with `REFUSED`.
    refused: list[bytes]
    #: Nodes that failed with `UNKNOWN`.
    unknown: list[bytes]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    arguments = ["--ui=on", "--ui-login=none"]
    with Stack(ephemeral=True, partitions=PARTITIONS, gateways=[arguments], http_port=free_port()) as stack:
        client = add_client(stack.bootstrap_servers, "bank", partitions=PARTITIONS)
        user = User(Door(stack.http_urls[0], client.id), client, "")
        # Once one was delivered the engine knows the client.
        user.sent()
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
        made = []
        for growth in growths(client.id_bytes, PARTITIONS, NODES):
            publish(producer, growth.commands)
            last = id_text(growth.children[-1])
            until(lambda last=last: is_sent(user, last), "all nodes are dispatched", SECONDS_MAX)
            publish(producer, growth.failures)
            made.append(growth)
        producer.close()
        refused, unknown = ([node for growth in made for node in growth.failing[place::2]] for place in (0, 1))
        scene = Scene(Desk(stack.http_urls[0]), user, made[0], refused, unknown)
        until(lambda: failing(scene) == len(refused) + len(unknown), "they are counted", SECONDS_MAX)
        yield scene


def failing(scene: Scene) -> int:
    """Nodes that need a person, as the page of causes says."""
    text = scene.desk.get("stuck?client=bank").text
    number = re.search(r"([\d,]+) need a person", text)
    assert number or "nothing needs a person" in text
    return int(number[1].replace(",", "")) if number else 0


def publish(producer: Producer, records: list[Raw]) -> None:
    for record in records:
        produce(producer, COMMANDS, record.value, record.partition)
    assert producer.flush(SECONDS_MAX) == 0


def is_sent(user: User, node: str) -> bool:
    answer = user.door.get(f"/activities/{node}")
    return answer.status == 200 and answer.json["currentServerStatus"] == "sent_to_client"


def test_one_failing_node_of_a_large_tree_is_on_the_first_screen(scene):
    workflow, failing = id_text(scene.tree.workflow_id), id_text(scene.tree.failing[0])
    rows = re.findall(r'data-node="([0-9a-f~-]{36,})"', scene.desk.get(f"workflows/{workflow}").text)
    # The node above them, the group of equal siblings, and the one of it that fails.
    assert rows[2] == failing
    branch = f"workflows/{workflow}/rows?parent={rows[1]}&level=2&limit={AT_ONCE}"
    assert scene.desk.get(branch).text.count("data-node=") == min(AT_ONCE, len(scene.tree.children))
    pages = ("", "stuck", "nodes?status=retries_exhausted", "activities", "system", f"nodes/{failing}")
    for address in (branch, f"workflows/{workflow}", f"workflows/{workflow}/timeline?below={rows[0]}", *pages):
        answer = scene.desk.get(address, **{"Accept-Encoding": "gzip"})
        assert (answer.status, len(answer.body) <= PAGE_BYTES_MAX) == (200, True), address


def test_a_hundred_thousand_failing_nodes_are_retried_in_six_clicks_for_each_of_two_causes(scene):
    left = failing(scene)
    with chromium() as browser:
        for cause, nodes, hand, browser_options in (
            (REFUSED, scene.refused, Keyboard, PHONE),
            (UNKNOWN, scene.unknown, Finger, TOUCHED),
        ):
            tab = Tab(browser, f"{scene.desk.url}/ui/", **browser_options)
            tab.open("stuck?client=bank")
            assert retry_a_cause(tab, cause, len(nodes), hand=hand, seconds=SECONDS_MAX) <= CLICKS_MAX
            assert tab.complaints == []
            tab.close()
            for node in (nodes[0], nodes[len(nodes) // 2], nodes[-1]):
                assert is_sent(scene.user, id_text(node))
            left -= len(nodes)
            until(lambda left=left: failing(scene) == left, "the cause is gone", SECONDS_MAX)
    assert left == 0
