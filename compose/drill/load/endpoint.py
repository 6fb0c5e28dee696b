"""Endpoint of the load: a client application that is served by webhooks, a process of its own.

    python -m backbeat.compose.drill.load.endpoint CLIENT_ID HOST PORT JOURNAL KNOB GATEWAY …

It does the payments as `worker` does, over HTTP: it answers each webhook, then adds children and completes the node
through a gateway, trying the next gateway where one does not answer. The knob (JSON: `mode`, `seconds`) makes it slow,
hang, or answer 500; with `refuse` it closes its port.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from backbeat.compose.drill.load.journal import Journal
from backbeat.compose.drill.load.payments import (
    AMOUNT,
    BANK,
    FAN_OUT,
    MAKE,
    RETRIES,
    RETRY_SECONDS,
    TOKEN_VARIABLE,
    VOUCHER,
    VOUCHERS,
)
from backbeat.schemas.requests.decoding import from_json

_CALL_SECONDS_MAX = 10.0
#: Nodes at work at once, as an application's worker threads: the time of a call is not spent behind other calls.
_AT_ONCE = 64
_PAUSE_SECONDS = 0.3
_PAUSE_SECONDS_MAX = 10.0
_LOOK_SECONDS = 0.2
_HANG_SECONDS = 3600.0
#: Answers that say that the call cannot be made, now and later: repeats of what was done.
_FINAL = range(400, 500)
_DONE = 300
_CONFLICT = 409
#: The gateway has too many calls of this client.
_TOO_MANY = 429


class _Node(msgspec.Struct, rename="camel"):
    id: str
    name: str
    subject: Any


class _Webhook(msgspec.Struct):
    decision: _Node | None = None
    activity: _Node | None = None


class Behaviour(msgspec.Struct, frozen=True):
    """Behaviour of the endpoint at the moment."""

    mode: str = ""  #: slow, hang, error, refuse; empty: as it should
    seconds: float = 3.0


class Endpoint:
    """The client application."""

    def __init__(
        self, client_id: str, place: tuple[str, int], journal: Journal, knob: Path, gateways: list[str]
    ) -> None:
        """`place`: host and port on which it listens."""
        self._place = place
        self._journal = journal
        self._knob = knob
        self._gateways = itertools.cycle(gateways)
        self._headers = {"Client-Id": client_id, "Content-Type": "application/json"}
        if token := os.environ.get(TOKEN_VARIABLE):
            self._headers["Authorization"] = f'Token token="{token}"'
        self._session: aiohttp.ClientSession
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Serve until the process is ended, with an open port or, where it refuses, without."""
        app = web.Application()
        app.router.add_post("/{kind:decision|activity}", self._webhook)
        app.router.add_post("/notification", self._notification)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            site: web.TCPSite | None = None
            while True:
                is_refusing = self._behaviour().mode == "refuse"
                if site is None and not is_refusing:
                    site = web.TCPSite(runner, *self._place)
                    await site.start()
                    print("endpoint ready", flush=True)
                elif site is not None and is_refusing:
                    await site.stop()
                    site = None
                await asyncio.sleep(_LOOK_SECONDS)

    def _behaviour(self) -> Behaviour:
        try:
            return from_json(self._knob.read_bytes(), Behaviour)
        except FileNotFoundError:
            return Behaviour()

    async def _webhook(self, request: web.Request) -> web.Response:
        webhook = from_json(await request.read(), _Webhook)
        behaviour = self._behaviour()
        if behaviour.mode == "slow":
            await asyncio.sleep(behaviour.seconds)
        elif behaviour.mode == "hang":
            await asyncio.sleep(_HANG_SECONDS)
        elif behaviour.mode == "error":
            return web.Response(status=500, text="the drill says so")
        node = webhook.decision or webhook.activity
        assert node is not None, "a webhook has a decision or an activity"
        task = asyncio.create_task(self._work(node, request.headers.get("X-Backbeat-Delivery", "")))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.Response()

    async def _notification(self, request: web.Request) -> web.Response:
        print(f"notification: {(await request.text())[:500]}", flush=True)
        return web.Response()

    async def _work(self, node: _Node, delivery: str) -> None:
        async with self._turns:
            await self._run(node, delivery)

    async def _run(self, node: _Node, delivery: str) -> None:
        attempt = int(delivery.rpartition("-")[2] or 0)
        payment = str(node.subject)
        self._journal.note("begun", payment, step=node.name, node=node.id, attempt=attempt)
        if node.name == BANK:
            self._journal.note("paid", payment, step=node.name, node=node.id, attempt=attempt)
        children = {MAKE: [VOUCHERS, AMOUNT, BANK], VOUCHERS: [VOUCHER] * FAN_OUT}.get(node.name, [])
        if children:
            mode = "non_blocking" if node.name == VOUCHERS else "blocking"
            decisions = [
                {"name": name, "type": "activity", "mode": mode, "retry": RETRIES, "retry_interval": RETRY_SECONDS}
                for name in children
            ]
            # Its key makes a repeat the same children, whichever gateway had the first.
            key = {"Idempotency-Key": f"{delivery}-decisions"}
            await self._call("POST", f"/activities/{node.id}/decisions", {"decisions": decisions}, key)
        await self._call("PUT", f"/activities/{node.id}/status/completed", {"response": {"result": "ok"}}, {})

    async def _call(self, method: str, path: str, body: object, headers: dict[str, str]) -> None:
        """Call until a gateway has answered: done, or that it cannot be done any more."""
        data = msgspec.json.encode(body)
        pause_seconds = _PAUSE_SECONDS
        while True:
            wait_seconds = pause_seconds
            url = next(self._gateways) + path
            try:
                async with self._session.request(
                    method, url, data=data, headers={**self._headers, **headers}
                ) as response:
                    if response.status < _DONE:
                        return
                    if response.status == _TOO_MANY:
                        wait_seconds = max(wait_seconds, float(response.headers.get("Retry-After", "0")))
                    elif response.status in _FINAL:
                        # A conflict is the usual answer to a repeat of what was done.
                        if response.status != _CONFLICT:
                            print(f"{method} {path}: {response.status} {(await response.text())[:300]}", flush=True)
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(wait_seconds * random.uniform(1.0, 1.5))  # noqa: S311 - no secret
            pause_seconds = min(_PAUSE_SECONDS_MAX, 2 * pause_seconds)


def main() -> None:
    """Run it until SIGTERM."""
    client_id, host, port, journal, knob, *gateways = sys.argv[1:]
    asyncio.run(Endpoint(client_id, (host, int(port)), Journal(Path(journal)), Path(knob), gateways).run())


if __name__ == "__main__":
    main()
