"""The console on a tree of 100,000 nodes of which one is failing, and on as many failing nodes of two causes.

BACKBEAT_TEST_NODES is how many; -s shows what each page took. No time is asserted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest

from backbeat.compose.local.ports import free_port
from backbeat.compose.local.stack import Stack
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Answer, Door, User
from tests.gateway.console.desk import Desk
from tests.waiting import until

NODES = int(os.environ.get("BACKBEAT_TEST_NODES", "100000"))
AT_ONCE = 1_000
PAGE_BYTES_MAX = 60_000
ROUNDS = 9
SECONDS_MAX = 3_600.0

pytestmark = [pytest.mark.prove, pytest.mark.integration]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    arguments = ["--ui=on", "--ui-login=none"]
    with Stack(ephemeral=True, partitions=2, gateways=[arguments], http_port=free_port()) as one:
        yield one


def measured(stack: Stack, address: str) -> Answer:
    """A page, and the median of its time in the gateway and on the way."""
    door = Door(stack.http_urls[0])
    seconds, answer = [], None
    for _ in range(ROUNDS):
        began_at = time.perf_counter()
        answer = door.get(f"/ui/{address}", **{"Accept-Encoding": "gzip"})
        seconds.append(time.perf_counter() - began_at)
        assert answer.status == 200, answer
    assert answer is not None
    median = sorted(seconds)[ROUNDS // 2]
    name = re.sub(r"[0-9a-f-]{36}", "…", address)
    print(f"{name:60} {median * 1_000:7.0f} ms  {len(answer.body) / 1_000:6.1f} kB")
    return answer


def grown(user: User, count: int, subject: str) -> tuple[str, list[str]]:
    """A workflow's id, and so many children of one node of it."""
    top = user.sent(subject=subject)
    nodes: list[str] = []
    while len(nodes) < count:
        wanted = min(AT_ONCE, count - len(nodes))
        nodes += user.decide(
            top["id"], *({"name": "Charge", "mode": "non_blocking", "retry": 0} for _ in range(wanted))
        )
    assert user.say(top["id"], "deciding_complete").status == 200
    until(lambda: user.node(nodes[-1])["currentServerStatus"] == "sent_to_client", "all are sent", SECONDS_MAX)
    return top["workflowId"], nodes


def test_one_failing_node_of_a_hundred_thousand_is_on_the_first_screen(stack):
    client = add_client(stack.bootstrap_servers, "shop", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    workflow, nodes = grown(user, NODES, "large")
    failing = nodes[len(nodes) * 7 // 8]
    assert user.say(failing, "errored", {"message": "connection refused by bank-7:443"}).status == 200
    desk = Desk(stack.http_urls[0])
    until(lambda: failing in desk.get(f"workflows/{workflow}").text, "the tree shows it", SECONDS_MAX)

    page = measured(stack, f"workflows/{workflow}")
    assert len(page.body) <= PAGE_BYTES_MAX
    rows = re.findall(r'data-node="([0-9a-f-]{36})"', desk.get(f"workflows/{workflow}").text)
    assert rows[1] == failing
    parent = desk.door.get(f"/workflows/{workflow}/top", **{"Client-Id": client.id}).json[0]["id"]
    unfolded = measured(stack, f"workflows/{workflow}/rows?parent={parent}&limit={AT_ONCE}")
    assert len(unfolded.body) <= PAGE_BYTES_MAX
    for address in ("", "stuck", f"nodes/{failing}", "nodes?status=retries_exhausted"):
        assert len(measured(stack, address).body) <= PAGE_BYTES_MAX


def test_a_hundred_thousand_failing_nodes_of_two_causes_are_retried_in_six_clicks(stack):
    client = add_client(stack.bootstrap_servers, "bank", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    _, nodes = grown(user, NODES, "failing")
    for number, node in enumerate(nodes):
        error = f"550 mailbox {number} unknown" if number % 2 else f"connection refused by bank-{number % 9}:443"
        assert user.say(node, "errored", {"message": error}).status == 200
    half = f"{NODES // 2:,}"
    desk = Desk(stack.http_urls[0])
    until(lambda: desk.get("stuck?client=bank").text.count(f"{half} failing") == 2, "both are counted", SECONDS_MAX)
    page = measured(stack, "stuck?client=bank").body
    assert len(page) <= PAGE_BYTES_MAX
    form = re.search(r'<form method="post" action="jobs">(.*?)</form>', desk.get("stuck?client=bank").text, re.DOTALL)
    assert form is not None
    counted = desk.send("jobs", dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[1]))).headers["location"]
    until(lambda: f"matches {half}" in desk.get(counted).text, "it is counted", SECONDS_MAX)
    job = desk.fill(counted, reason="bank is back").headers["location"].partition("?")[0]
    until(lambda: "ended" in desk.get(f"jobs/{job}").text, "the job has ended", SECONDS_MAX)
    assert f"{half} done" in desk.get(f"jobs/{job}").text
