"""A client that is not put off: each write has a key, and is repeated at any gateway until somebody has answered it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp

#: How long one call may take with all its repeats.
SECONDS_MAX = 120.0
_ATTEMPT_SECONDS_MAX = 30.0
_PAUSE_SECONDS = 0.1


class Write(NamedTuple):
    """A write that was answered."""

    key: str
    method: str
    path: str
    body: bytes
    status: int
    text: str


class KeyedClient:
    """Calls several gateways in turn, so many at once at most."""

    def __init__(self, urls: Sequence[str], client_id: str, *, run_sync: int) -> None:
        self._urls = itertools.cycle(urls)
        self._client_id = client_id
        self._allowed = asyncio.Semaphore(run_sync)
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS_MAX), connector=aiohttp.TCPConnector(limit=0)
        )
        self.under_way = 0
        #: All writes that were answered, in that order.
        self.writes: list[Write] = []
        #: Why calls were repeated, and how often.
        self.repeats: Counter[str] = Counter()
        self.slowest_seconds = 0.0
        self._answered = asyncio.Condition()

    async def close(self) -> None:
        await self._session.close()

    async def wait_for_writes(self, count: int, *, under_way: int) -> None:
        """Until so many were answered while so many others wait for their answers."""
        async with self._answered:
            await self._answered.wait_for(lambda: len(self.writes) >= count and self.under_way >= under_way)

    async def write(self, method: str, path: str, body: Any, status: int) -> Any:
        """What a write with a key of its own is answered with; it must be this status."""
        key, content = uuid.uuid4().hex, json.dumps(body).encode()
        answered, text, _ = await self.call(method, path, content, {"Idempotency-Key": key})
        assert answered == status, f"{method} {path} {content!r}: {answered} {text}"
        async with self._answered:
            self.writes.append(Write(key, method, path, content, answered, text))
            self._answered.notify_all()
        return json.loads(text)

    async def again(self, write: Write) -> tuple[int, str]:
        """Status and body of the answer to a write that was answered before."""
        answered, text, _ = await self.call(write.method, write.path, write.body, {"Idempotency-Key": write.key})
        return answered, text

    async def read(self, path: str) -> Any:
        status, text, headers = await self.call("GET", path)
        assert status == 200, f"{path}: {status} {text}"
        assert "X-backbeat-stale-seconds" not in headers, f"{path}: stale {headers}"
        return json.loads(text)

    async def call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, dict[str, str]]:
        async with self._allowed:
            self.under_way += 1
            began = time.monotonic()
            try:
                return await self._call(method, path, body, headers or {}, began + SECONDS_MAX)
            finally:
                self.under_way -= 1
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)

    async def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], ends_at: float
    ) -> tuple[int, str, dict[str, str]]:
        kind = {} if body is None else {"Content-Type": "application/json"}
        sent = {"Client-Id": self._client_id, **kind, **headers}
        while True:
            pause = _PAUSE_SECONDS
            try:
                async with self._session.request(method, next(self._urls) + path, data=body, headers=sent) as response:
                    text = await response.text()
                    if response.status != 503:
                        return response.status, text, dict(response.headers)
                    why = json.loads(text)["errorClass"]
                    pause = float(response.headers["Retry-After"])
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                why = type(error).__name__
            self.repeats[why] += 1
            assert time.monotonic() < ends_at, f"{method} {path}: {why}, and no answer within {SECONDS_MAX:.0f} s"
            await asyncio.sleep(pause)
