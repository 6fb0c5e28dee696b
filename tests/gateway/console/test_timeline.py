"""Timeline: how long each node waited and ran, and the path that took longest; as bars, as a table, over HTTP."""

from __future__ import annotations

import itertools
import subprocess
import sys
from urllib.parse import quote

import pytest

from backbeat import PlainClient
from backbeat.gateway.api.shapes.timeline import Span
from backbeat.gateway.projection.reading.timeline import spans_of
from backbeat.gateway.projection.storage.states import ERRORED_CODE, SERVER_CODES
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door
from tests.gateway.console.desk import Desk
from tests.gateway.console.story import IMG, NAME
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


CARDS = 60


@pytest.fixture(scope="module")
def wide(story):
    """A workflow with many children of one name below a node, and one of another: the node, the many and the other."""
    user = story.user
    top = user.sent(subject="wide timeline")
    cards = user.decide(top["id"], *({"name": NAME, "mode": "non_blocking"} for _ in range(CARDS)))
    (other,) = user.decide(top["id"], {"name": "Mark purchased", "mode": "non_blocking"})
    assert user.say(top["id"], "deciding_complete").status == 200
    user.wait_for(other, "sent_to_client")
    path = f"/workflows/{top['workflowId']}/timeline?below={top['id']}&fold=true"
    until(lambda: [group["total"] for group in user.door.get(path).json["groups"]] == [CARDS], "the search has them")
    until(lambda: len(user.door.get(path).json["nodes"]) == 1, "the other one, too")
    return user, top, cards, other


def test_many_of_one_name_are_a_band_until_they_are_unfolded(wide, tab):
    _, top, cards, _ = wide
    screen = tab()
    screen.open(f"workflows/{top['workflowId']}/timeline?below={top['id']}")
    lines = screen.page.get_by_role("table", name="Nodes")
    band = lines.locator("tr.group")
    assert band.locator("th").inner_text().startswith(f"{NAME[:20]}")
    assert f"{CARDS} one by one" in band.inner_text()
    assert band.get_by_role("img").get_attribute("aria-label") == f"{CARDS} open at most"
    assert band.locator("svg path").bounding_box()["width"] > 10
    assert lines.locator("tbody tr").count() == 2
    screen.follow(screen.page.get_by_role("link", name="as a table"))
    assert f"{CARDS} open at most" in band.inner_text()
    screen.follow(screen.page.get_by_role("link", name="One by one: Charge"))
    assert lines.locator("tbody tr").count() == CARDS
    assert lines.locator("tbody th > a:first-child").first.get_attribute("href").endswith(cards[0])
    screen.follow(screen.page.get_by_role("link", name="right below the node"))
    assert lines.locator("tbody tr").count() == 2
    assert IMG in lines.inner_text()
    assert screen.complaints == []


def test_a_group_and_what_is_in_it_over_http_and_for_people(stack, wide):
    user, top, cards, other = wide
    workflow = top["workflowId"]
    path = f"/workflows/{workflow}/timeline"
    answer = user.door.get(f"{path}?below={top['id']}&fold=true").json
    assert validator({"$ref": "#/components/schemas/Timeline"}).is_valid(answer), answer
    (group,) = answer["groups"]
    assert (group["name"], group["userId"], group["to"], max(group["open"])) == (NAME, user.id, answer["at"], CARDS)
    assert [node["id"] for node in answer["nodes"]] == [other]
    assert user.door.get(f"{path}?below={top['id']}").json["groups"] == []
    assert user.door.get(f"{path}?name=x").status == user.door.get(f"{path}?fold=maybe").status == 400
    stranger = Door(stack.http_urls[0], add_client(stack.bootstrap_servers, "nosy", partitions=2).id)
    created = stranger.post("/workflows", {"name": "Nosy", "subject": "n", "decider": "D"}).json
    assert stranger.post(f"/workflows/{created['id']}/signal", {"name": "start"}).status == 201
    path = f"/workflows/{created['id']}/timeline"
    until(lambda: stranger.get(path).json["nodes"], "the search has it")
    for words in ("fold=true", f"name={quote(NAME)}"):
        foreign = stranger.get(f"{path}?below={top['id']}&{words}").json
        assert (foreign["groups"], foreign["nodes"]) == ([], [])
    with PlainClient(stack.http_urls[0], user.id) as client:
        assert client.timeline(workflow, below=top["id"], fold=True).groups[0].total == CARDS
        nodes = client.timeline(workflow, below=top["id"], name=NAME).nodes
    assert [node.id for node in nodes] == cards
    servers = ["--gateway", stack.http_urls[0], "--bootstrap-servers", stack.bootstrap_servers]
    command = [sys.executable, "-m", "backbeat.compose", "workflow", "timeline", workflow]
    command += ["--client", user.client.name, *servers]
    told = subprocess.run([*command, "--below", top["id"]], capture_output=True, text=True, check=True).stdout
    for words in (f"{CARDS} of", f"{CARDS} open at most", "█", "Mark purchased"):
        assert words in told
    refused = subprocess.run([*command, "--name", "x"], capture_output=True, text=True, check=False)
    assert (refused.returncode, "--below ID" in refused.stderr) == (2, True)
