"""A client application that receives webhooks: a real HTTP server on loopback, told how to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

SECONDS_MAX = 180.0

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Hook(NamedTuple):
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    peer: Any

    @property
    def node(self) -> dict[str, Any]:
        return self.body.get("decision") or self.body["activity"]

    @property
    def name(self) -> str:
        return self.node["name"]


class Site:
    """Records what comes; answers 200, or what `answers` says for a path."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []
        self.answers: dict[str, Answer] = {}
        self.run_sync = 0
        self.at_once_max = 0
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    async def _take(self, request: web.Request) -> web.Response:
        self.run_sync += 1
        self.at_once_max = max(self.run_sync, self.at_once_max)
        try:
            hook = Hook(
                request.path, dict(request.headers), await request.json(), request.transport.get_extra_info("peername")
            )
            async with self._changed:
                self.hooks.append(hook)
                self._changed.notify_all()
            answer = self.answers.get(request.path)
            return web.json_response({}) if answer is None else await answer(request)
        finally:
            self.run_sync -= 1

    def of(self, path: str) -> list[Hook]:
        return [hook for hook in self.hooks if hook.path == path]

    async def wait_for(
        self, count: int = 1, path: str | None = None, name: str | None = None, seconds: float = SECONDS_MAX
    ) -> list[Hook]:
        """The first so many that came, in the order in which they came."""

        def matches() -> list[Hook]:
            return [
                hook
                for hook in self.hooks
                if (path is None or hook.path == path) and (name is None or hook.name == name)
            ]

        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(matches()) >= count)
        return matches()[:count]


def status(number: int, **headers: str) -> Answer:
    """An answer with this status."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=number, headers=headers)

    return answer


def statuses(*numbers: int) -> Answer:
    """Answers with these statuses, one after the other; then 200."""
    left = list(numbers)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=left.pop(0) if left else 200)

    return answer


class Gate:
    """Answers that wait until they are let go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, _: web.Request) -> web.Response:
        await self.open.wait()
        return web.Response()
