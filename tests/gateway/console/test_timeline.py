"""Timeline: how long each node waited and ran, and the path that took longest; as bars, as a table, over HTTP."""

from __future__ import annotations

import itertools

import pytest

from backbeat.gateway.api.shapes.timeline import Span
from backbeat.gateway.projection.reading.timeline import spans_of
from backbeat.gateway.projection.storage.states import ERRORED_CODE, SERVER_CODES
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door
from tests.gateway.console.desk import Desk
from tests.gateway.openapi.test_openapi import validator
from tests.waiting import until


def server(status: ServerStatus) -> int:
    return SERVER_CODES + status


CHANGES = [
    (server(ServerStatus.READY), 110),
    (server(ServerStatus.STARTED), 120),
    (server(ServerStatus.SENT_TO_CLIENT), 130),
    (int(ClientStatus.RECEIVED), 130),
    (int(ClientStatus.PROCESSING), 150),
    (ERRORED_CODE, 180),
    (server(ServerStatus.RETRYING), 180),
    (server(ServerStatus.STARTED), 280),
    (server(ServerStatus.SENT_TO_CLIENT), 285),
    (int(ClientStatus.COMPLETE), 300),
    (server(ServerStatus.PROCESSING_CHILDREN), 300),
    (server(ServerStatus.COMPLETE), 400),
]


@pytest.mark.parametrize(
    ("count", "ended_at", "last"),
    [
        (len(CHANGES), 400, ("children", 300, 400)),
        (len(CHANGES) - 1, None, ("children", 300, 1_000)),
        (7, None, ("backoff", 180, 1_000)),
        (0, None, ("waits", 100, 1_000)),
    ],
)
def test_a_nodes_time_is_told_from_its_changes(count, ended_at, last):
    spans, errors, end = spans_of(100, CHANGES[:count], 1_000)

    assert end == ended_at
    assert errors == ([180] if count > 6 else [])
    assert spans[-1] == Span(kind=last[0], from_=last[1], to=last[2])
    if count == len(CHANGES):
        assert [(span.kind, span.from_) for span in spans] == [
            ("waits", 100), ("client", 130), ("worker", 150), ("backoff", 180), ("waits", 280), ("client", 285),
            ("children", 300),
        ]  # fmt: skip
        assert all(screen.to == other.from_ for screen, other in itertools.pairwise(spans))


@pytest.fixture(scope="module")
def flow(story):
    """A workflow whose second child is still open, below one node."""
    user = story.user
    top = user.sent(subject="timeline")
    quick, slow = user.decide(top["id"], *({"name": name, "mode": "non_blocking"} for name in ("Quick", "Slow")))
    assert user.say(top["id"], "deciding_complete").status == 200
    user.wait_for(slow, "sent_to_client")
    user.say(quick, "completed")
    user.wait_for(quick, "complete")
    return user, top, quick, slow


def test_the_critical_path_is_on_the_page_and_its_table_says_the_same(stack, flow, tab):
    _, top, _, slow = flow
    address = f"workflows/{top['workflowId']}/timeline"
    until(lambda: slow in Desk(stack.http_urls[0]).get(address).text, "the search has it")
    screen = tab()
    screen.open(f"workflows/{top['workflowId']}")
    screen.follow(screen.page.get_by_role("link", name="timeline", exact=True))
    path = screen.page.get_by_role("table", name="Critical path")
    assert path.locator("tbody th a:first-child").all_inner_texts() == ["start", "Slow"]
    assert "so far" in path.inner_text()
    screen.follow(screen.page.get_by_role("link", name="Below start").first)
    lines = screen.page.get_by_role("table", name="Nodes")
    assert lines.locator("tbody th > a:first-child").all_inner_texts() == ["Quick", "Slow"]
    assert "waits" in lines.get_by_role("row", name="Quick").get_by_role("img").get_attribute("aria-label")
    assert lines.locator("tr.critical").count() == 1
    screen.follow(screen.page.get_by_role("link", name="closer"))
    screen.follow(screen.page.get_by_role("link", name="all", exact=True))
    screen.follow(screen.page.get_by_role("link", name="as a table"))
    assert "in the queue of its client" in screen.page.get_by_role("row", name="Slow").inner_text()
    assert screen.page.locator("svg rect").count() == 0
    assert screen.complaints == []
    desk = Desk(stack.http_urls[0])
    for broken in ("below=x", "from=soonish", "after=1"):
        assert desk.get(f"{address}?{broken}").status == 400, broken


def test_a_timeline_is_read_by_pages_over_http(stack, story, flow):
    user, top, quick, slow = flow
    path = f"/workflows/{top['workflowId']}/timeline"
    answer = until(
        lambda: (answer_json := user.door.get(path).json)["criticalPath"] and answer_json, "the search has it"
    )
    assert validator({"$ref": "#/components/schemas/Timeline"}).is_valid(answer), answer
    assert [node["id"] for node in answer["criticalPath"]] == [top["id"], slow]
    assert [node["id"] for node in answer["nodes"]] == [top["id"]]
    page = user.door.get(f"{path}?below={top['id']}&limit=1").json
    assert ([node["id"] for node in page["nodes"]], page["next"]) == ([quick], quick)
    assert page["nodes"][0]["endedAt"] is not None
    page = user.door.get(f"{path}?below={top['id']}&limit=1&after={page['next']}").json
    assert ([node["id"] for node in page["nodes"]], page["next"]) == ([slow], None)
    other = Door(stack.http_urls[0], add_client(stack.bootstrap_servers, "timeless", partitions=2).id)
    assert other.get(path).error == (404, "Backbeat::NotFound")
    assert user.door.get(f"{path}?limit=0").status == 400
