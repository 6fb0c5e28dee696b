"""The benchmark's client application over HTTP, a process of its own: answers every webhook, then completes its node.

    python -m backbeat.compose.bench.over_http.client GATEWAY CLIENT_ID PORT

It makes calls, too: POST /load/<name> runs a load, and its answer gives the time that it took.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from statistics import median
from typing import Any

import aiohttp
import msgspec
import uvloop
from aiohttp import web

from backbeat.compose.bench.figure import p99
from backbeat.compose.local.ports import LOOPBACK
from backbeat.schemas.requests.decoding import from_json

#: Interval of asking for a node that is awaited.
_POLL_SECONDS = 0.05
_WAIT_SECONDS_MAX = 120.0
_CALL_SECONDS_MAX = 60.0
_CONNECTIONS = 16
_ERROR_CHARACTERS_MAX = 300
_OK = 300
_JSON = {"Content-Type": "application/json"}

_encode = msgspec.json.Encoder().encode


class _Node(msgspec.Struct, rename="camel"):
    """The fields of a node that a trivial client reads."""

    id: str
    workflow_id: str
    parent_id: str | None
    current_server_status: str


class _Webhook(msgspec.Struct):
    decision: _Node | None = None
    activity: _Node | None = None


class Load(msgspec.Struct, kw_only=True):
    """Parameters of a load."""

    #: number of workflows, signals, children or reads
    count: int = 0
    #: children of every signal
    children: int = 0
    connections: int = _CONNECTIONS
    #: Calls that begin each second, however many are not answered yet; 0: each connection's next follows its answer.
    per_second: int = 0


class LoadResult(msgspec.Struct, kw_only=True):
    """Result of a load."""

    seconds: float
    #: latencies of its calls, where it is made of nothing but calls
    p50_ms: float | None = None
    p99_ms: float | None = None


class CallError(Exception):
    """A call was refused, or its effect did not come."""


class Application:
    """The client application: the workflows and nodes of the load under way."""

    def __init__(self, gateway: str, client_id: str) -> None:
        self._gateway = gateway
        self._headers = {"Client-Id": client_id, **_JSON}
        self._session: aiohttp.ClientSession
        self._workflows: list[str] = []
        #: `_workflows` as a set; webhooks of others are only answered
        self._known: set[str] = set()
        self._nodes: list[str] = []
        self._completes_nodes = False
        self._decisions = b""
        self._webhooks = 0
        self._webhook_arrived = asyncio.Event()
        self._error: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loads: dict[str, Callable[[Load], Awaitable[LoadResult]]] = {
            "prepare": self.prepare,
            "webhooks": self.webhooks,
            "accept": self.accept,
            "read": self.read,
            "fan": self.fan,
            "row": self.row,
            "steady": self.steady,
        }

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Have a session while the server runs."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS_MAX)
        ) as self._session:
            yield

    # --- webhooks --------------------------------------------------------------------------------------------------

    async def webhook(self, request: web.Request) -> web.Response:
        """POST /decision and /activity."""
        webhook = from_json(await request.read(), _Webhook)
        node = webhook.decision or webhook.activity
        if node is not None and node.workflow_id in self._known:
            self._webhooks += 1
            self._webhook_arrived.set()
            if self._completes_nodes:
                task = asyncio.create_task(self._act(node))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return web.Response(body=b"{}", content_type="application/json")

    async def notification(self, request: web.Request) -> web.Response:
        """POST /notification: an activity failed, and none should."""
        self._error = CallError(f"a notification came: {(await request.text())[:_ERROR_CHARACTERS_MAX]}")
        return web.Response()

    async def _act(self, node: _Node) -> None:
        try:
            if node.parent_id is None and self._decisions:
                await self._call("POST", f"/activities/{node.id}/decisions", self._decisions)
            await self._call("PUT", f"/activities/{node.id}/status/completed", b'{"response":{"result":"ok"}}')
        except (CallError, aiohttp.ClientError, TimeoutError) as error:
            self._error = error

    # --- calls -----------------------------------------------------------------------------------------------------

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        async with self._session.request(method, self._gateway + path, data=body, headers=self._headers) as response:
            text = await response.read()
            if response.status >= _OK:
                raise CallError(f"{method} {path}: {response.status} {text[:_ERROR_CHARACTERS_MAX]!r}")
            return text

    async def _make(self, method: str, path: str, body: dict[str, Any]) -> str:
        return from_json(await self._call(method, path, _encode(body)), _Id).id

    async def _signal(self, workflow: str) -> str:
        node = await self._make("POST", f"/workflows/{workflow}/signal", {"name": "start"})
        self._nodes.append(node)
        return node

    async def _until_complete(self, nodes: Iterable[str]) -> None:
        """Wait for every node, asking for the first that is not complete."""
        ends_at = time.monotonic() + _WAIT_SECONDS_MAX
        for node in nodes:
            while True:
                view = from_json(await self._call("GET", f"/activities/{node}"), _Node)
                if view.current_server_status == "complete":
                    break
                if self._error is not None:
                    raise self._error
                if time.monotonic() > ends_at:
                    raise CallError(f"node {node} is {view.current_server_status} after {_WAIT_SECONDS_MAX:.0f} s")
                await asyncio.sleep(_POLL_SECONDS)

    # --- loads -----------------------------------------------------------------------------------------------------

    async def load(self, request: web.Request) -> web.Response:
        """POST /load/<name>: 500 and the reason where it failed."""
        load = from_json(await request.read(), Load)
        try:
            result = await self._loads[request.match_info["name"]](load)
            if self._error is not None:
                raise self._error
        except (CallError, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._error = None
            return web.Response(status=500, text=f"{type(error).__name__}: {error}")
        return web.Response(body=_encode(result))

    async def prepare(self, load: Load) -> LoadResult:
        """Make the workflows of the next load; those of the load before are forgotten."""
        self._workflows, self._nodes, self._webhooks, self._completes_nodes = [], [], 0, False
        began_at = time.monotonic()

        async def make(_: int) -> None:
            workflow = {"name": "load", "subject": uuid.uuid4().hex, "decider": "load"}
            self._workflows.append(await self._make("POST", "/workflows", workflow))

        await _call_each(make, range(load.count), load.connections)
        self._known = set(self._workflows)
        return LoadResult(seconds=time.monotonic() - began_at)

    async def webhooks(self, load: Load) -> LoadResult:
        """Wait until so many webhooks of this load have arrived."""
        began_at = time.monotonic()
        async with asyncio.timeout(_WAIT_SECONDS_MAX):
            while self._webhooks < load.count:
                self._webhook_arrived.clear()
                await self._webhook_arrived.wait()
        return LoadResult(seconds=time.monotonic() - began_at)

    async def accept(self, load: Load) -> LoadResult:
        """Send signals, over all workflows; their webhooks are only answered."""
        workflows = self._workflows

        async def send(number: int) -> None:
            await self._signal(workflows[number % len(workflows)])

        return await _timed(send, load)

    async def read(self, load: Load) -> LoadResult:
        """Read nodes that were made before, one a call."""
        nodes = self._nodes

        async def get(number: int) -> None:
            await self._call("GET", f"/activities/{nodes[number % len(nodes)]}")

        return await _timed(get, load)

    async def fan(self, load: Load) -> LoadResult:
        """Send one signal, whose handler adds parallel children in one call, and wait until it is complete."""
        self._decide("non_blocking", load.children)
        began_at = time.monotonic()
        await self._until_complete([await self._signal(self._workflows[0])])
        return LoadResult(seconds=time.monotonic() - began_at)

    async def row(self, load: Load) -> LoadResult:
        """Send signals to one workflow, which run one at a time, and wait until the last is complete."""
        self._decide("blocking", 0)
        began_at = time.monotonic()
        for _ in range(load.count):
            await self._signal(self._workflows[0])
        await self._until_complete(self._nodes[-1:])
        return LoadResult(seconds=time.monotonic() - began_at)

    async def steady(self, load: Load) -> LoadResult:
        """Send every workflow a signal with a few serial children, all at once, and wait until all are complete."""
        self._decide("blocking", load.children)

        async def send(workflow: str) -> None:
            await self._signal(workflow)

        began_at = time.monotonic()
        await _call_each(send, self._workflows, load.connections)
        await self._until_complete(self._nodes)
        return LoadResult(seconds=time.monotonic() - began_at)

    def _decide(self, mode: str, children: int) -> None:
        decisions = [
            {"name": f"child-{number}", "mode": mode, "client_data": {"name": "child", "params": [number]}}
            for number in range(children)
        ]
        self._decisions = _encode({"decisions": decisions}) if decisions else b""
        self._completes_nodes = True


class _Id(msgspec.Struct):
    id: str


async def _call_each(call: Callable[[Any], Awaitable[None]], items: Iterable[Any], concurrency: int) -> None:
    """Call for every item, so many at a time."""
    remaining = iter(items)

    async def call_remaining() -> None:
        for item in remaining:
            await call(item)

    tasks = [asyncio.create_task(call_remaining()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _call_at_rate(call: Callable[[int, float], Awaitable[None]], load: Load) -> None:
    """Begin so many calls a second. Each is told when it was due: what begins late has waited, too."""
    began_at = time.perf_counter()
    tasks: list[asyncio.Task[None]] = []
    try:
        for number in range(load.count):
            due_at = began_at + number / load.per_second
            await asyncio.sleep(due_at - time.perf_counter())
            tasks.append(asyncio.ensure_future(call(number, due_at)))
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _timed(call: Callable[[int], Awaitable[None]], load: Load) -> LoadResult:
    latencies_ms: list[float] = []

    async def timed_call(number: int, due_at: float | None = None) -> None:
        began_at = due_at or time.perf_counter()
        await call(number)
        latencies_ms.append((time.perf_counter() - began_at) * 1e3)

    began_at = time.monotonic()
    if load.per_second:
        await _call_at_rate(timed_call, load)
    else:
        await _call_each(timed_call, range(load.count), load.connections)
    seconds = time.monotonic() - began_at
    return LoadResult(seconds=seconds, p50_ms=median(latencies_ms), p99_ms=p99(latencies_ms))


def make_application(gateway: str, client_id: str) -> web.Application:
    """The application as aiohttp runs it."""
    application = Application(gateway, client_id)
    web_application = web.Application(client_max_size=64 << 20)
    web_application.cleanup_ctx.append(application.running)
    web_application.router.add_post("/decision", application.webhook)
    web_application.router.add_post("/activity", application.webhook)
    web_application.router.add_post("/notification", application.notification)
    web_application.router.add_post("/load/{name}", application.load)
    return web_application


if __name__ == "__main__":
    web.run_app(
        make_application(sys.argv[1], sys.argv[2]),
        host=LOOPBACK,
        port=int(sys.argv[3]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
