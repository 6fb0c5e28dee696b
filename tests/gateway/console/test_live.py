"""Live pages: what changes is shown by itself, however many look, and however slowly they read."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from backbeat.gateway.console.live import events
from backbeat.gateway.console.live.hub import IDS_MAX, STREAMS_MAX, STREAMS_OF_SESSION_MAX, Hub, Stream
from backbeat.gateway.projection.storage.database import begin_writing, open_engine, parse_url
from backbeat.payload.values import id_text
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door, User
from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.test_people import command
from tests.streams.observe.scrape import scrape
from tests.waiting import until, until_async

PAGES = 100
#: What a connection may hold that is not read, beside the operating system's own buffers.
BUFFER_BYTES_MAX = 1_000_000


@pytest.fixture
def pair(story):
    """A workflow with two children at work below one node."""
    user = story.user
    top = user.sent(subject=f"live {id(object())}")
    nodes = user.decide(
        top["id"], {"name": "First", "mode": "non_blocking"}, {"name": "Second", "mode": "non_blocking"}
    )
    assert user.say(top["id"], "deciding_complete").status == 200
    user.wait_for(nodes[0], "sent_to_client")
    return user, top, nodes


def test_a_row_changes_by_itself_and_nothing_else_is_loaded(tab, pair):
    user, top, nodes = pair
    screen = tab(java_script_enabled=True)
    screen.open(f"workflows/{top['workflowId']}")
    row = screen.page.locator(f"[data-node='{nodes[0]}']")
    assert "sent to its client" in row.inner_text()
    screen.page.evaluate("window.marked = true")
    user.say(nodes[0], "completed")
    row.get_by_text("complete").wait_for(timeout=120_000)
    screen.page.locator("h1 ~ .summary").get_by_text("1 done").wait_for(timeout=120_000)

    assert screen.page.evaluate("window.marked")
    assert screen.complaints == []


def test_counts_that_lacked_a_change_are_fetched_once_more(stack, tab, pair):
    """Rows are the engine's, counts the projection's, which may be behind when an event tells of a change."""
    user, top, nodes = pair
    screen = tab(java_script_enabled=True)
    screen.open(f"workflows/{top['workflowId']}")
    row = screen.page.locator(f"[data-node='{nodes[0]}']")
    projection = open_engine(parse_url(f"sqlite:///{stack.data_dir}/gateway-1/projection.sqlite"))
    # Nobody else writes meanwhile.
    with begin_writing(projection):
        user.say(nodes[0], "completed")
        row.get_by_text("complete").wait_for(timeout=120_000)
        assert "done" not in screen.page.locator("h1 ~ .summary").inner_text()
    projection.dispose()
    screen.page.locator("h1 ~ .summary").get_by_text("1 done").wait_for(timeout=120_000)


def test_new_nodes_come_by_themselves_where_their_parent_is_unfolded(tab, pair):
    user, top, nodes = pair
    screen = tab(java_script_enabled=True)
    screen.open(f"workflows/{top['workflowId']}")
    screen.page.locator(f"[data-node='{nodes[1]}']").wait_for()
    screen.page.evaluate("window.marked = true")
    user.decide(top["id"], {"name": "Third", "mode": "non_blocking"})
    screen.page.get_by_role("link", name="Third", exact=True).wait_for(timeout=120_000)

    names = screen.page.locator("table.tree a.name").all_inner_texts()
    assert names == ["start", "First", "Second", "Third"]
    assert screen.page.evaluate("window.marked")
    assert screen.complaints == []


def test_causes_that_were_read_before_are_read_anew_under_the_page_that_shows_them(stack, story, tab):
    """No figure changes any more once it is open: nothing tells it."""
    client = add_client(stack.bootstrap_servers, "late", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    node = user.sent(retry=0)["id"]
    desk = Desk(stack.http_urls[0])
    assert "nothing needs a person" in desk.get("stuck?client=late").text
    was_read_at = time.monotonic()
    assert user.say(node, "errored", {"message": "the bank is closed"}).status == 200
    user.wait_for(node, "retries_exhausted")
    until(lambda: "late" in desk.get("").text and time.monotonic() > was_read_at + 4, "a new reading is due")
    screen = tab(java_script_enabled=True)
    screen.open("stuck?client=late")
    screen.page.get_by_text("the bank is closed").first.wait_for(timeout=120_000)

    assert screen.complaints == []


def test_branches_that_are_shown_are_fetched_anew_and_no_other_workflows(stack, story, pair):
    _user, top, nodes = pair
    door = Door(stack.http_urls[0])
    rows = f"/ui/workflows/{top['workflowId']}/rows"
    text = door.get(f"{rows}?branch=,0,&branch={top['id']},1,{nodes[1]}").text
    assert text.count("<table>") == 2
    assert (f'data-node="{nodes[1]}"' in text, f'data-node="{nodes[0]}"' in text) == (True, False)
    for broken in ("x,1,", f"{top['id']},x,", f"{story.tree['top']},1,", ",".join([top["id"], "1", "x"])):
        assert door.get(f"{rows}?branch={broken}").status == 400, broken
    assert door.get(f"{rows}?{'branch=,0,&' * 6}").status == 400


def test_a_slow_answer_is_waited_for_before_the_next_is_asked(tab, pair):
    user, top, nodes = pair
    screen = tab(java_script_enabled=True)
    screen.open(f"workflows/{top['workflowId']}")
    screen.page.evaluate(
        """() => {
          const real = window.fetch;
          let asked = 0;
          window.most = 0;
          window.fetch = async (...words) => {
            asked += 1;
            window.most = Math.max(window.most, asked);
            await new Promise((go) => setTimeout(go, 4000));
            try { return await real(...words); } finally { asked -= 1; }
          };
        }"""
    )
    user.say(nodes[0], "completed")
    until(lambda: screen.page.evaluate("window.most"), "the first is asked")
    user.say(nodes[1], "completed")
    for node in nodes:
        screen.page.locator(f"[data-node='{node}']").get_by_text("complete").wait_for(timeout=120_000)
    assert screen.page.evaluate("window.most") == 1


def test_a_node_page_changes_by_itself_until_it_is_paused(tab, pair):
    user, _, nodes = pair
    screen = tab(java_script_enabled=True)
    screen.open(f"nodes/{nodes[0]}")
    screen.page.evaluate("window.marked = true")
    user.say(nodes[0], "processing")
    screen.page.get_by_text("is with its worker").first.wait_for(timeout=120_000)
    screen.page.get_by_role("button", name="Live. Pause").click()
    user.say(nodes[0], "completed")
    user.wait_for(nodes[0], "complete")
    assert "is with its worker" in screen.page.locator("main").inner_text()
    screen.page.get_by_role("button", name="Paused. Go on").click()
    screen.page.locator("main .summary").get_by_text("complete").wait_for(timeout=120_000)

    assert screen.page.evaluate("window.marked")
    assert screen.complaints == []


@pytest.mark.parametrize("count", [2, 6])
def test_tabs_of_one_browser_are_live_and_another_page_comes(tab, pair, count):
    """Over HTTP/1.1 a browser has six connections to a host: streams must leave some of them."""
    user, top, nodes = pair
    screen = tab(java_script_enabled=True)
    pages = [screen.page, *(screen.context.new_page() for _ in range(count - 1))]
    for page in pages:
        page.goto(f"{screen.base}workflows/{top['workflowId']}")
        page.get_by_role("button", name="Live. Pause").wait_for(timeout=120_000)
    user.say(nodes[0], "completed")
    for page in pages:
        page.locator(f"[data-node='{nodes[0]}']").get_by_text("complete").wait_for(timeout=120_000)
    another = screen.context.new_page()
    assert another.goto(f"{screen.base}nodes/{nodes[1]}", timeout=120_000).status == 200
    # A tab that is paused holds up none of the others.
    pages[0].get_by_role("button", name="Live. Pause").click()
    user.say(nodes[1], "completed")
    for page in pages[1:]:
        page.locator(f"[data-node='{nodes[1]}']").get_by_text("complete").wait_for(timeout=120_000)
    assert screen.complaints == []


def test_branches_unfold_in_place_with_javascript_and_as_pages_without(tab, story):
    for javascript in (True, False):
        screen = tab(java_script_enabled=javascript)
        screen.open(f"workflows/{story.tree['workflow']}?open=,")
        assert screen.page.locator("tr[data-node]").count() == 1
        screen.page.get_by_role("link", name="Unfold Make Purchase").press("Enter")
        # The last row: with it all are there.
        screen.page.get_by_role("link", name="from “Charge 200” on").wait_for(timeout=60_000)
        assert screen.page.locator("tr[data-node]").count() == 201
        screen.page.get_by_role("link", name="Fold Make Purchase").press("Enter")
        screen.page.get_by_role("link", name="Unfold Make Purchase").wait_for(timeout=60_000)
        assert screen.page.locator("tr[data-node]").count() == 1
        assert screen.complaints == []


# --- the stream ------------------------------------------------------------------------------------------------------


class Listener:
    """A page's stream, read by a socket."""

    def __init__(self, url: str, query: str, cookie: str = "") -> None:
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port), 120)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        text = f"GET /ui/live?{query} HTTP/1.1\r\nHost: {address.netloc}\r\nCookie: {cookie}\r\n\r\n"
        self.socket.sendall(text.encode())
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def read_until(self, text: str) -> str:
        """Read until a text has come."""
        while text not in self.text:
            data = self.socket.recv(65_536)
            assert data, f"{text} did not come: {self.text[-500:]}"
            self.text += data.decode()
        return self.text


def test_a_hundred_pages_cost_the_engine_nothing(stack, pair):
    user, top, nodes = pair
    with ExitStack() as opened:
        query = f"w={top['workflowId']}"
        pages = [opened.enter_context(Listener(stack.http_urls[0], query)) for _ in range(PAGES)]
        for page in pages:
            # From now on it is told of every change.
            page.read_until("event: stale")
        answered = scrape(stack.status_urls[0])["backbeat_engine_queries"]["answered"]
        user.say(nodes[1], "completed")
        for page in pages:
            assert nodes[1] in page.read_until(nodes[1])
        # Figures that a page before has begun to read come once a partition; what pages cost would come by the hundred.
        asked = scrape(stack.status_urls[0])["backbeat_engine_queries"]["answered"] - answered
        assert asked < PAGES / 10


def test_a_stream_is_for_those_who_see_the_workflow(stack, story):
    query = f"w={story.tree['workflow']}"
    add_client(stack.bootstrap_servers, "elsewhere", partitions=2)
    added = command(stack, "add", "watcher", "--role", "reader", "--client", "elsewhere", "--json")
    token = json.loads(added)["token"]
    desk = log_in(stack.http_urls[1], "watcher", token)
    assert desk.get(f"live?{query}").status == 404
    assert Door(stack.http_urls[1]).get(f"/ui/live?{query}").status == 303
    assert Door(stack.http_urls[0]).get("/ui/live?w=x").status == 400
    command(stack, "set", "watcher", "--client", "shop")
    until(lambda: desk.get(f"workflows/{story.tree['workflow']}").status == 200, "the change is known")
    with ExitStack() as opened:
        for _ in range(STREAMS_OF_SESSION_MAX):
            page = opened.enter_context(Listener(stack.http_urls[1], query, desk.cookie))
            page.read_until("event: stale")
        assert "text/event-stream" in page.text
        # Beyond that an EventSource is told to give up.
        assert desk.get(f"live?{query}").status == 204
    command(stack, "remove", "watcher", "--yes")


def in_a_loop(coroutine) -> None:
    """Run it in a thread: playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


def test_a_page_that_reads_slowly_is_told_less_and_no_memory_is_kept_for_it():
    async def run() -> None:
        stream = Stream(frozenset({b"w"}), "", wants_figures=False)
        for number in range(10 * IDS_MAX):
            stream.note(b"w", {number.to_bytes(16, "big")})
        assert stream.take() == ({}, {b"w"}, set(), False)
        assert not stream.wake.is_set()
        stream.note(b"w", {b"a"})
        stream.note(b"w", {b"a", b"b"})
        assert stream.take() == ({b"w": {b"a", b"b"}}, set(), set(), False)

    in_a_loop(run())


def test_a_page_that_does_not_read_at_all_is_given_up(monkeypatch):
    class Stalled:
        async def write(self, _: bytes) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(events, "_WRITE_SECONDS_MAX", 0.01)
    with pytest.raises(TimeoutError):
        in_a_loop(events._send(Stalled(), "event"))


def test_a_socket_that_is_not_read_is_given_up_and_others_are_told_on(monkeypatch):
    """What waits for it stays small: a set, and as much as the connection's buffers take."""
    monkeypatch.setattr(events, "_GATHER_SECONDS", 0.0)
    monkeypatch.setattr(events, "_WRITE_SECONDS_MAX", 1.0)
    workflow_id = bytes(16)
    streams: dict[str, Stream] = {}
    given_up: list[str] = []
    buffered = [0]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        name = request.query["name"]
        stream = Stream(frozenset({workflow_id}), "", wants_figures=False)
        response = web.StreamResponse()
        await response.prepare(request)
        streams[name] = stream
        try:
            while True:
                await events._tell(stream, response)
                assert request.transport is not None
                buffered.append(request.transport.get_write_buffer_size())
        except TimeoutError:
            given_up.append(name)
            assert request.transport is not None
            request.transport.abort()
        return response

    async def run() -> None:
        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        with socket.socket() as slow:
            await web.SockSite(runner, listening).start()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            await asyncio.to_thread(slow.connect, ("127.0.0.1", port))
            slow.sendall(b"GET /?name=slow HTTP/1.1\r\nHost: x\r\n\r\n")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /?name=quick HTTP/1.1\r\nHost: x\r\n\r\n")
            await until_async(lambda: len(streams) == 2)

            async def tell(number: int) -> bytes:
                """Tell both of five hundred changes; what the quick one has read of them."""
                for stream in streams.values():
                    stream.note(workflow_id, {(number * IDS_MAX + place).to_bytes(16) for place in range(IDS_MAX)})
                last = id_text((number * IDS_MAX + IDS_MAX - 1).to_bytes(16)).encode()
                return await reader.readuntil(last)

            number = 0
            while not given_up:
                assert len(await tell(number)) > IDS_MAX
                number += 1
                assert sum(map(len, streams["slow"].dirty.values())) <= IDS_MAX
            assert given_up == ["slow"]
            assert len(await tell(number)) > IDS_MAX
            assert max(buffered) < BUFFER_BYTES_MAX
            writer.close()
        await runner.cleanup()

    in_a_loop(run())


def test_there_is_room_for_so_many(monkeypatch):
    async def run() -> None:
        hub = Hub(None, None)
        monkeypatch.setattr(hub, "_run_rounds", lambda: asyncio.sleep(0))
        monkeypatch.setattr(hub, "_watch", lambda: None)
        for number in range(STREAMS_MAX):
            session = f"session {number % 50}"
            assert hub.has_room(session)
            hub.add(Stream(frozenset(), session, wants_figures=False))
        assert not hub.has_room("another")

    in_a_loop(run())
