"""The original's Ruby client, as it is on the wire: paths, headers, nulls and answers, and an application around it.

Its words are kept: an application has activities by name, with `backoff`, `retries`, `rescue_with` and `async`; it
signals a workflow, and a running activity registers others:

    shop.activity("Make Purchase", make_purchase)
    await shop.workflow("Purchases", "Camera 703").signal("Make Purchase").with_("Ada")

    async def make_purchase(activity, customer):
        await activity.register("Charge Card", mode="blocking").with_(customer)
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

SECONDS_MAX = 180.0

Run = Callable[..., Awaitable[Any]]
#: Sends what an activity or a signal is made from; gives what was answered.
Send = Callable[[dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True)
class Dialect:
    """How a version of the client says things."""

    workflows: str
    activities: str
    processing: str
    completed: str
    #: whether what is said stands in `args`
    wrapped: bool


NEW = Dialect("/workflows", "/activities", "processing", "completed", wrapped=False)
OLD = Dialect("/v2/workflows", "/v2/events", "deciding", "deciding_complete", wrapped=True)


class ApiError(Exception):
    """An answer that the client did not expect."""

    def __init__(self, call: str, status: int, text: str) -> None:
        super().__init__(f"{call}: {status} {text}")
        self.status = status


class Api:
    """The calls of the HTTP API that the client makes."""

    def __init__(self, url: str, client_id: str, token: str, dialect: Dialect) -> None:
        self._dialect = dialect
        self._headers = {
            "Client-Id": client_id,
            "Accept": "application/json",
            "Authorization": f'Token token="{token}"',
        }
        self._session = aiohttp.ClientSession(url)

    async def close(self) -> None:
        await self._session.close()

    async def find_workflow(self, name: str, subject: Any, decider: str) -> dict[str, Any] | None:
        words = urllib.parse.urlencode({"name": name, "subject": subject, "decider": decider})
        try:
            return await self._get(f"{self._dialect.workflows}?{words}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def create_workflow(self, name: str, subject: Any, decider: str) -> dict[str, Any]:
        body = {"name": name, "subject": subject, "decider": decider}
        return await self._send("POST", self._dialect.workflows, body, 201)

    async def signal(self, workflow_id: str, node: dict[str, Any]) -> dict[str, Any]:
        return await self._send("POST", f"{self._dialect.workflows}/{workflow_id}/signal", node, 201)

    async def complete_workflow(self, workflow_id: str) -> None:
        await self._change(f"{self._dialect.workflows}/{workflow_id}/complete", {})

    async def workflow(self, workflow_id: str, suffix: str = "") -> Any:
        return await self._get(f"{self._dialect.workflows}/{workflow_id}{suffix}")

    async def activity(self, node_id: str, suffix: str = "") -> Any:
        return await self._get(f"{self._dialect.activities}/{node_id}{suffix}")

    async def add_decision(self, node_id: str, node: dict[str, Any]) -> str:
        decisions = {"decisions": [node]}
        body = {"args": decisions} if self._dialect.wrapped else decisions
        (made,) = await self._send("POST", f"{self._dialect.activities}/{node_id}/decisions", body, 201)
        return made

    async def processing(self, node_id: str) -> None:
        await self.change_status(node_id, self._dialect.processing, None)

    async def completed(self, node_id: str, response: Any) -> None:
        await self.change_status(node_id, self._dialect.completed, response)

    async def change_status(self, node_id: str, status: str, response: Any) -> None:
        word = "args" if self._dialect.wrapped else "response"
        await self._change(f"{self._dialect.activities}/{node_id}/status/{status}", {word: response})

    async def _change(self, path: str, body: Any) -> None:
        answer = await self._send("PUT", path, body, 200)
        assert answer == {"success": True}, answer

    async def _get(self, path: str) -> Any:
        async with self._session.get(path, headers=self._headers) as response:
            return await _read(f"GET {path}", response, 200)

    async def _send(self, method: str, path: str, body: Any, status: int) -> Any:
        # What has a body says so; only it.
        async with self._session.request(method, path, json=body, headers=self._headers) as response:
            return await _read(f"{method} {path}", response, status)


async def _read(call: str, response: aiohttp.ClientResponse, status: int) -> Any:
    if response.status != status:
        raise ApiError(call, response.status, await response.text())
    assert response.content_type == "application/json"
    assert response.headers["X-backbeat-tid"]
    return await response.json()


def rpc(result: Any = None, error: Any = None) -> dict[str, Any]:
    """A response as the client shapes it."""
    return {"jsonrpc": "2.0", "result": result, "error": error, "id": None}


@dataclass(frozen=True)
class Handler:
    """An activity, as the application knows it."""

    run: Run
    backoff: float | None
    retries: int | None
    rescue_with: Run | None
    #: completed by somebody later, not by returning
    is_async: bool


@dataclass(frozen=True)
class Registration:
    """What is to be made, but for its parameters."""

    send: Send
    node: dict[str, Any]

    async def with_(self, *params: Any) -> Any:
        return await self.send({**self.node, "client_data": {"name": self.node["name"], "params": params}})


@dataclass(frozen=True)
class Activity:
    """A node that the application runs."""

    application: Application
    node: dict[str, Any]

    @property
    def id(self) -> str:
        return self.node["id"]

    @property
    def params(self) -> list[Any]:
        return self.node["clientData"]["params"]

    def register(
        self,
        name: str,
        mode: str | None = None,
        at: datetime | None = None,
        client: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Registration:
        node = self.application.node(name, mode=mode, at=at, client=client, metadata=metadata)
        return Registration(lambda whole: self.application.api.add_decision(self.id, whole), node)

    async def complete(self, result: Any) -> None:
        await self.application.api.completed(self.id, rpc(result))

    async def errored(self, error: Exception) -> None:
        trace = ["shop.rb:7:in `run'", "shop.rb:3:in `call'"]
        error_object = {"code": -32000, "message": str(error), "data": trace}
        await self.application.api.change_status(self.id, "errored", rpc(error=error_object))

    async def resolve(self) -> None:
        await self.application.api.change_status(self.id, "resolved", None)


@dataclass(frozen=True)
class Workflow:
    application: Application
    name: str
    subject: Any

    async def find_or_create(self) -> dict[str, Any]:
        api, decider = self.application.api, self.application.name
        workflow = await api.find_workflow(self.name, self.subject, decider)
        return workflow or await api.create_workflow(self.name, self.subject, decider)

    def signal(self, name: str) -> Registration:
        async def send(node: dict[str, Any]) -> dict[str, Any]:
            workflow = await self.find_or_create()
            return await self.application.api.signal(workflow["id"], node)

        return Registration(send, self.application.node(name, mode="blocking"))


@dataclass(frozen=True)
class Payload:
    """What came to an endpoint, and when."""

    endpoint: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: datetime

    @property
    def node(self) -> dict[str, Any]:
        return self.body.get("decision") or self.body["activity"]

    @property
    def name(self) -> str:
        return self.node["name"]


class Application:
    """A service that uses the client: its activities, and the endpoints at which they come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.api: Api
        self.client_id = ""
        self.url = ""
        self.payloads: list[Payload] = []
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner

    async def listen(self) -> None:
        app = web.Application()
        for endpoint in ("decision", "activity", "notification"):
            app.router.add_post(f"/{endpoint}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name

    async def close(self) -> None:
        await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.api.close()
        assert self._failures == []

    # --- the client's words -------------------------------------------------------------------------------------------

    def activity(
        self,
        name: str,
        run: Run,
        *,
        backoff: float | None = None,
        retries: int | None = None,
        rescue_with: Run | None = None,
        is_async: bool = False,
    ) -> None:
        self._handlers[name] = Handler(run, backoff, retries, rescue_with, is_async)

    def workflow(self, name: str, subject: Any) -> Workflow:
        return Workflow(self, name, subject)

    def node(
        self,
        name: str,
        *,
        mode: str | None,
        at: datetime | None = None,
        client: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A node as the client describes it: whatever it has nothing to say about is there, too, as null."""
        # An activity of another application is not known here.
        handler = self._handlers.get(name)
        return {
            "name": name,
            "mode": mode,
            "fires_at": None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "retry_interval": handler and handler.backoff,
            "retry": handler and handler.retries,
            "metadata": metadata,
            "parent_link_id": None,
            "client_id": client,
        }

    # --- endpoints ----------------------------------------------------------------------------------------------------

    async def _take(self, request: web.Request) -> web.Response:
        """Answer at once; the work comes afterwards."""
        assert request.content_type == "application/json"
        payload = Payload(request.path[1:], await request.json(), dict(request.headers), datetime.now(UTC))
        async with self._changed:
            self.payloads.append(payload)
            self._changed.notify_all()
        task = asyncio.create_task(self._continue(payload))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return web.Response()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def _continue(self, payload: Payload) -> None:
        activity = Activity(self, payload.node)
        handler = self._handlers[payload.node["clientData"]["name"]]
        if payload.endpoint == "notification":
            if payload.body["notification"]["message"] == "Client Error" and handler.rescue_with is not None:
                await handler.rescue_with(activity, *activity.params)
            return
        await self.api.processing(activity.id)
        try:
            result = await handler.run(activity, *activity.params)
        except ApiError:
            raise
        except Exception as error:  # noqa: BLE001 - as the client does: whatever an activity raises is its error
            await activity.errored(error)
        else:
            if not handler.is_async:
                await activity.complete(result)

    # --- what tests ask -----------------------------------------------------------------------------------------------

    def came(self, endpoint: str | None = None) -> list[str]:
        """The names of what came, in order."""
        return [payload.name for payload in self.payloads if endpoint in {None, payload.endpoint}]

    async def wait_for(self, name: str, endpoint: str = "activity") -> Payload:
        """The first of this name that came to an endpoint."""

        def matches() -> list[Payload]:
            return [payload for payload in self.payloads if payload.endpoint == endpoint and payload.name == name]

        async with asyncio.timeout(SECONDS_MAX), self._changed:
            await self._changed.wait_for(matches)
        return matches()[0]
