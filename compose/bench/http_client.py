"""The benchmark's client application over HTTP, a process of its own: answers every webhook at once, then acts on it.

    python -m backbeat.compose.bench.http_client GATEWAY CLIENT_ID PORT

The benchmark has it make calls, too: POST /load/<name> begins a load, and its answer says when that was done.
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

from backbeat.compose.local.ports import LOOPBACK

#: How often a node is asked for that is waited for.
_POLL_SECONDS = 0.05
_WAIT_SECONDS_MAX = 120.0
_CALL_SECONDS_MAX = 60.0
_CONNECTIONS = 16
_ERROR_CHARACTERS_MAX = 300
_OK = 300
_JSON = {"Content-Type": "application/json"}

_encode = msgspec.json.Encoder().encode


class _Node(msgspec.Struct, rename="camel"):
    """What a trivial client looks at."""

    id: str
    workflow_id: str
    parent_id: str | None
    current_server_status: str


class _Webhook(msgspec.Struct):
    decision: _Node | None = None
    activity: _Node | None = None


class Ask(msgspec.Struct, kw_only=True):
    """What a load is asked with."""

    #: how many workflows, signals, children or reads
    count: int = 0
    #: children of every signal
    children: int = 0
    connections: int = _CONNECTIONS


class Done(msgspec.Struct, kw_only=True):
    """What came of a load."""

    seconds: float
    #: of its calls, where it is made of nothing but calls
    p50_ms: float | None = None
    p99_ms: float | None = None


class CallError(Exception):
    """A call was refused, or what it asked for did not happen."""


class Application:
    """Its state: the workflows and nodes of the load under way."""

    def __init__(self, gateway: str, client_id: str) -> None:
        self._gateway = gateway
        self._headers = {"Client-Id": client_id, **_JSON}
        self._session: aiohttp.ClientSession
        self._workflows: list[str] = []
        #: the same; webhooks of others are only answered
        self._known: set[str] = set()
        self._nodes: list[str] = []
        self._acts = False
        self._decisions = b""
        self._webhooks = 0
        self._came = asyncio.Event()
        self._error: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loads: dict[str, Callable[[Ask], Awaitable[Done]]] = {
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
        said = msgspec.json.decode(await request.read(), type=_Webhook)
        node = said.decision or said.activity
        if node is not None and node.workflow_id in self._known:
            self._webhooks += 1
            self._came.set()
            if self._acts:
                task = asyncio.create_task(self._act(node))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return web.Response(body=b"{}", content_type="application/json")

    async def notification(self, request: web.Request) -> web.Response:
        """POST /notification: something failed, and nothing should."""
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
        async with self._session.request(method, self._gateway + path, data=body, headers=self._headers) as answer:
            text = await answer.read()
            if answer.status >= _OK:
                raise CallError(f"{method} {path}: {answer.status} {text[:_ERROR_CHARACTERS_MAX]!r}")
            return text

    async def _make(self, method: str, path: str, body: dict[str, Any]) -> str:
        return msgspec.json.decode(await self._call(method, path, _encode(body)), type=_Id).id

    async def _signal(self, workflow: str) -> str:
        node = await self._make("POST", f"/workflows/{workflow}/signal", {"name": "start"})
        self._nodes.append(node)
        return node

    async def _until_complete(self, nodes: Iterable[str]) -> None:
        """Wait for every node, asking for the first that is not complete."""
        ends_at = time.monotonic() + _WAIT_SECONDS_MAX
        for node in nodes:
            while True:
                found = msgspec.json.decode(await self._call("GET", f"/activities/{node}"), type=_Node)
                if found.current_server_status == "complete":
                    break
                if self._error is not None:
                    raise self._error
                if time.monotonic() > ends_at:
                    raise CallError(f"node {node} is {found.current_server_status} after {_WAIT_SECONDS_MAX:.0f} s")
                await asyncio.sleep(_POLL_SECONDS)

    # --- loads -----------------------------------------------------------------------------------------------------

    async def load(self, request: web.Request) -> web.Response:
        """POST /load/<name>: 500 and the reason where it failed."""
        ask = msgspec.json.decode(await request.read(), type=Ask)
        try:
            done = await self._loads[request.match_info["name"]](ask)
            if self._error is not None:
                raise self._error
        except (CallError, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._error = None
            return web.Response(status=500, text=f"{type(error).__name__}: {error}")
        return web.Response(body=_encode(done))

    async def prepare(self, ask: Ask) -> Done:
        """Make the workflows of the next load; those before are forgotten."""
        self._workflows, self._nodes, self._webhooks, self._acts = [], [], 0, False
        began = time.monotonic()

        async def make(_: int) -> None:
            new = {"name": "load", "subject": uuid.uuid4().hex, "decider": "load"}
            self._workflows.append(await self._make("POST", "/workflows", new))

        await _many(make, range(ask.count), ask.connections)
        self._known = set(self._workflows)
        return Done(seconds=time.monotonic() - began)

    async def webhooks(self, ask: Ask) -> Done:
        """Wait until so many webhooks of this load have come."""
        began = time.monotonic()
        async with asyncio.timeout(_WAIT_SECONDS_MAX):
            while self._webhooks < ask.count:
                self._came.clear()
                await self._came.wait()
        return Done(seconds=time.monotonic() - began)

    async def accept(self, ask: Ask) -> Done:
        """Signals, over all workflows; nothing is done about the webhooks."""
        flows = self._workflows

        async def send(number: int) -> None:
            await self._signal(flows[number % len(flows)])

        return await _timed(send, ask)

    async def read(self, ask: Ask) -> Done:
        """Nodes that were made before, one a call."""
        nodes = self._nodes

        async def get(number: int) -> None:
            await self._call("GET", f"/activities/{nodes[number % len(nodes)]}")

        return await _timed(get, ask)

    async def fan(self, ask: Ask) -> Done:
        """One signal, whose handler adds children that may run in parallel, in one call; until it is complete."""
        self._decide("non_blocking", ask.children)
        began = time.monotonic()
        await self._until_complete([await self._signal(self._workflows[0])])
        return Done(seconds=time.monotonic() - began)

    async def row(self, ask: Ask) -> Done:
        """Signals to one workflow, which run one at a time; until the last is complete."""
        self._decide("blocking", 0)
        began = time.monotonic()
        for _ in range(ask.count):
            await self._signal(self._workflows[0])
        await self._until_complete(self._nodes[-1:])
        return Done(seconds=time.monotonic() - began)

    async def steady(self, ask: Ask) -> Done:
        """A signal with a few children one after another for every workflow, all at once; until all are complete."""
        self._decide("blocking", ask.children)

        async def send(workflow: str) -> None:
            await self._signal(workflow)

        began = time.monotonic()
        await _many(send, self._workflows, ask.connections)
        await self._until_complete(self._nodes)
        return Done(seconds=time.monotonic() - began)

    def _decide(self, mode: str, children: int) -> None:
        several = [
            {"name": f"child-{number}", "mode": mode, "client_data": {"name": "child", "params": [number]}}
            for number in range(children)
        ]
        self._decisions = _encode({"decisions": several}) if several else b""
        self._acts = True


class _Id(msgspec.Struct):
    id: str


async def _many(call: Callable[[Any], Awaitable[None]], items: Iterable[Any], run_sync: int) -> None:
    """Call for every item, so many at a time."""
    left = iter(items)

    async def some() -> None:
        for item in left:
            await call(item)

    several = [asyncio.create_task(some()) for _ in range(run_sync)]
    try:
        await asyncio.gather(*several)
    finally:
        for one in several:
            one.cancel()


async def _timed(call: Callable[[int], Awaitable[None]], ask: Ask) -> Done:
    took: list[float] = []

    async def one(number: int) -> None:
        began = time.perf_counter()
        await call(number)
        took.append((time.perf_counter() - began) * 1e3)

    began = time.monotonic()
    await _many(one, range(ask.count), ask.connections)
    seconds = time.monotonic() - began
    took.sort()
    return Done(seconds=seconds, p50_ms=median(took), p99_ms=took[int(len(took) * 0.99) - 1])


def make_application(gateway: str, client_id: str) -> web.Application:
    """The application as aiohttp runs it."""
    application = Application(gateway, client_id)
    found = web.Application(client_max_size=64 << 20)
    found.cleanup_ctx.append(application.running)
    found.router.add_post("/decision", application.webhook)
    found.router.add_post("/activity", application.webhook)
    found.router.add_post("/notification", application.notification)
    found.router.add_post("/load/{name}", application.load)
    return found


if __name__ == "__main__":
    web.run_app(
        make_application(sys.argv[1], sys.argv[2]),
        host=LOOPBACK,
        port=int(sys.argv[3]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
