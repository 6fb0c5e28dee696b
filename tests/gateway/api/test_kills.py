"""Two gateways, two engines, one of each killed amid two thousand calls: nothing is lost and nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from backbeat.compose.local.ports import free_port
from backbeat.compose.local.stack import Stack
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.keyed_client import KeyedClient

pytestmark = pytest.mark.integration
START_SECONDS_MAX = 180.0
STORY_SECONDS_MAX = 420.0
PARTITIONS = 4
AT_ONCE = 64
#: A workflow, two signals, and what is said of the first of them and of its three children.
CALLS_EACH = 12
#: Stories of a run, and of the large one: some 2,000 writes.
STORIES, STORIES_PROVED = 48, 167
#: More than one: the others of each are killed, too, each in a test of its own.
ROUNDS = int(os.environ.get("BACKBEAT_TEST_KILLS", "1"))

_SERVER, _CLIENT = "current_server_status", "current_client_status"
_SENT = [(_SERVER, "started"), (_SERVER, "sent_to_client"), (_CLIENT, "received")]
_DONE = [(_CLIENT, "complete"), (_SERVER, "processing_children"), (_SERVER, "complete")]
_READY = [(_SERVER, "ready"), (_CLIENT, "ready")]
#: All that may ever have happened to each node: a change made twice is one more.
HISTORY = {
    "first": [*_SENT, (_CLIENT, "processing"), *_DONE],
    "second": _SENT,
    "one": [*_READY, *_SENT, (_CLIENT, "processing"), *_DONE],
    "two": [*_READY, *_SENT, (_CLIENT, "processing"), *_DONE],
    "three": [
        *_READY, *_SENT,
        (_CLIENT, "errored"), (_SERVER, "retries_exhausted"),
        (_CLIENT, "resolved"), (_SERVER, "processing_children"), (_SERVER, "complete"),
    ],
}  # fmt: skip
#: How each node ends: server and client status.
ENDS = {
    "first": ("complete", "complete"),
    "second": ("sent_to_client", "received"),
    "one": ("complete", "complete"),
    "two": ("complete", "complete"),
    "three": ("complete", "resolved"),
}


class Endpoint:
    """Where the client application's activities come; twice, maybe, but then to be recognised."""

    def __init__(self) -> None:
        self.url = ""
        self.deliveries: Counter[str] = Counter()
        self.notified: Counter[str] = Counter()
        self._sent: dict[str, asyncio.Event] = {}

    async def listen(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/{what}", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name
        return runner

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        node_id = (body.get("decision") or body["activity"])["id"]
        if request.path == "/notification":
            self.notified[node_id] += 1
        else:
            self.deliveries[request.headers["X-Backbeat-Delivery"]] += 1
            self._event(node_id).set()
        return web.Response()

    def _event(self, node_id: str) -> asyncio.Event:
        return self._sent.setdefault(node_id, asyncio.Event())

    async def sent(self, node_id: str) -> None:
        """Until it came here."""
        async with asyncio.timeout(STORY_SECONDS_MAX):
            await self._event(node_id).wait()


@pytest.fixture(scope="module")
def pair() -> Iterator[Stack]:
    gateways = Stack(ephemeral=True, partitions=PARTITIONS, engines=2, http_port=free_port(), gateways=[[], []])
    try:
        yield gateways.start(START_SECONDS_MAX)
    finally:
        gateways.stop()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    receiver = Endpoint()
    runner = await receiver.listen()
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def client(pair: Stack, endpoint: Endpoint) -> AsyncIterator[KeyedClient]:
    registered = await asyncio.to_thread(
        add_client,
        pair.bootstrap_servers,
        f"user-{uuid.uuid4().hex[:12]}",
        decision_endpoint=f"{endpoint.url}/decision",
        activity_endpoint=f"{endpoint.url}/activity",
        notification_endpoint=f"{endpoint.url}/notification",
        partitions=PARTITIONS,
    )
    keyed = KeyedClient(pair.http_urls, registered.id, run_sync=AT_ONCE)
    yield keyed
    await keyed.close()


class Story:
    """One workflow's calls, each made as soon as it may be."""

    def __init__(self, client: KeyedClient, endpoint: Endpoint, number: int) -> None:
        self._client = client
        self._endpoint = endpoint
        self._number = number
        self.workflow_id = ""
        #: by name
        self.node_ids: dict[str, str] = {}

    async def run(self) -> None:
        body = {"name": "kills", "subject": f"subject {self._number}", "decider": "D"}
        self.workflow_id = (await self._client.write("POST", "/workflows", body, 201))["id"]
        for name in ("first", "second"):
            node = await self._client.write("POST", f"/workflows/{self.workflow_id}/signal", {"name": name}, 201)
            self.node_ids[name] = node["id"]
        await self._work("first", "processing")
        names = ("one", "two", "three")
        children = [{"name": name, "mode": "non_blocking", "retry": 0} for name in names]
        path = f"/activities/{self.node_ids['first']}/decisions"
        made = await self._client.write("POST", path, {"decisions": children}, 201)
        self.node_ids |= dict(zip(names, made, strict=True))
        await self._say("first", "completed")
        await asyncio.gather(
            self._work("one", "processing", "completed"),
            self._work("two", "processing", "completed"),
            self._work("three", "errored", "resolved"),
        )
        await self._endpoint.sent(self.node_ids["second"])

    async def _work(self, name: str, *statuses: str) -> None:
        await self._endpoint.sent(self.node_ids[name])
        for status in statuses:
            await self._say(name, status)

    async def _say(self, name: str, status: str) -> None:
        body = {"response": {"said": f"{name} {status}"}}
        await self._client.write("PUT", f"/activities/{self.node_ids[name]}/status/{status}", body, 200)


async def kill_in_the_middle(pair: Stack, client: KeyedClient, gateway: int, engine: int, *, calls: int) -> None:
    """Kill one gateway and one engine once so many calls were answered and others are under way; wait for both."""
    # What waits for webhooks makes no calls: a moment is chosen at which many do.
    async with asyncio.timeout(STORY_SECONDS_MAX):
        await client.wait_for_writes(calls, under_way=AT_ONCE // 8)
    before = pair.gateway_pids[gateway], pair.engine_pids[engine]
    await asyncio.gather(asyncio.to_thread(pair.kill_gateway, gateway), asyncio.to_thread(pair.kill_engine, engine))
    await asyncio.to_thread(pair.wait_ready, engine, START_SECONDS_MAX)
    await asyncio.to_thread(pair.wait_gateway_ready, gateway, START_SECONDS_MAX)
    assert not {pair.gateway_pids[gateway], pair.engine_pids[engine]} & {0, *before}


@pytest.mark.parametrize("killed", range(ROUNDS))
@pytest.mark.parametrize("count", [STORIES, pytest.param(STORIES_PROVED, marks=pytest.mark.prove)])
async def test_nothing_is_lost_and_nothing_done_twice(pair, client, endpoint, count, killed):
    stories = [Story(client, endpoint, number) for number in range(count)]
    began = time.monotonic()
    async with asyncio.TaskGroup() as together:
        kill = kill_in_the_middle(pair, client, killed % 2, killed // 2 % 2, calls=count * CALLS_EACH // 3)
        together.create_task(kill)
        for story in stories:
            together.create_task(story.run())
    print(
        f"\n{len(client.writes)} writes in {time.monotonic() - began:.1f} s, "
        f"the slowest {client.slowest_seconds:.1f} s; repeated: {dict(client.repeats)}; "
        f"webhooks that came again: {sum(count - 1 for count in endpoint.deliveries.values())}"
    )
    assert len(client.writes) == count * CALLS_EACH
    assert client.repeats.total() > 0, "no call met a kill"
    # A node was sent once: at its first and only attempt.
    assert len(endpoint.deliveries) == count * len(ENDS)
    assert set(endpoint.notified) == {story.node_ids["three"] for story in stories}

    await asyncio.gather(*(check_tree(client, story) for story in stories))
    await check_answers(client)
    await asyncio.gather(*(check_tree(client, story) for story in stories))
    await asyncio.gather(*(check_history(client, story, name) for story in stories for name in ENDS))
    for _ in pair.http_urls:
        await check_search(client, stories)


async def check_tree(client: KeyedClient, story: Story) -> None:
    """Each key made exactly what it said: the nodes are those that were answered, no more and no less."""
    tree = await client.read(f"/workflows/{story.workflow_id}/tree")
    first, second = tree["children"]
    assert (first["id"], second["id"]) == (story.node_ids["first"], story.node_ids["second"])
    assert second["children"] == []
    nodes = [first, *first["children"], second]
    assert [node["name"] for node in nodes] == ["first", "one", "two", "three", "second"]
    for node in nodes:
        assert node["id"] == story.node_ids[node["name"]]
        assert (node["currentServerStatus"], node["currentClientStatus"]) == ENDS[node["name"]]


async def check_history(client: KeyedClient, story: Story, name: str) -> None:
    """Each status change was made once."""
    changes = await client.read(f"/activities/{story.node_ids[name]}/status_changes")
    statuses = [(change["statusType"], change["toStatus"]) for change in changes]
    assert sorted(statuses) == sorted(HISTORY[name]), (name, statuses)


async def check_answers(client: KeyedClient) -> None:
    """Whoever asks again gets the answer that was given; whoever asks something else under the key is refused."""
    again = await asyncio.gather(*(client.again(write) for write in client.writes))
    wrong = [(write, answer) for write, answer in zip(client.writes, again, strict=True) if write[-2:] != answer]
    assert wrong == []
    other = client.writes[-1]._replace(body=b'{"response": "something else"}')
    status, text = await client.again(other)
    assert (status, json.loads(text)["errorClass"]) == (422, "Backbeat::InvalidParameters")


async def check_search(client: KeyedClient, stories: list[Story]) -> None:
    """The projection has what the trees have."""
    workflows = await client.read("/workflows/search?name=kills&per_page=1000")
    assert sorted(row["id"] for row in workflows) == sorted(story.workflow_id for story in stories)
    assert await client.read("/workflows/names") == ["kills"]
    for name, ends in ENDS.items():
        nodes: list[dict[str, Any]] = await client.read(f"/activities/search?name={name}&per_page=1000")
        assert sorted(node["id"] for node in nodes) == sorted(story.node_ids[name] for story in stories)
        assert {(node["currentServerStatus"], node["currentClientStatus"]) for node in nodes} == {ends}
