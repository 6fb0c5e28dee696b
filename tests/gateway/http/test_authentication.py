"""Who is let in, where the gateway's registry is behind."""

from __future__ import annotations

import asyncio
import hashlib
import uuid

import pytest

from backbeat.gateway.engine_client import Engine
from backbeat.gateway.http.access.authentication import authenticate
from backbeat.gateway.http.errors import Refusal
from backbeat.gateway.http.routing import Access
from backbeat.gateway.settings import GatewaySettings, TokenFor
from backbeat.schemas.kafka.client_registry import RegisteredClient

HEADERS = {"Client-Id": str(uuid.UUID(int=7)), "Authorization": 'Token token="new"'}


def with_token(token: str) -> RegisteredClient:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return RegisteredClient(id=HEADERS["Client-Id"], name="shop", token_hash=digest)


class Behind:
    """A registry that knows what lies in the topic only once it was read on."""

    def __init__(self, known: RegisteredClient | None, there: RegisteredClient | None) -> None:
        self.known, self.there = known, there
        self.looks = 0

    def by_id(self, _: bytes) -> RegisteredClient | None:
        return self.known

    def catch_up(self, _: float) -> None:
        self.looks += 1
        self.known = self.there


def engine_on(registry: Behind) -> Engine:
    engine = Engine(GatewaySettings())
    engine._registry = registry
    return engine


@pytest.mark.parametrize("known", [None, with_token("old")], ids=["just added", "with another token until now"])
async def test_the_registry_is_read_on_before_anybody_is_refused(known):
    registry = Behind(known, with_token("new"))

    assert await authenticate(HEADERS, Access.WRITER, TokenFor.WRITES, engine_on(registry)) == with_token("new")
    assert registry.looks == 1


async def test_many_strangers_share_a_look():
    registry = Behind(None, None)
    engine = engine_on(registry)

    async def call() -> int:
        with pytest.raises(Refusal) as refused:
            await authenticate(HEADERS, Access.WRITER, TokenFor.NONE, engine)
        return refused.value.status

    assert set(await asyncio.gather(*(call() for _ in range(1_000)))) == {401}
    assert registry.looks <= 2


async def test_whoever_is_known_waits_for_nothing():
    registry = Behind(with_token("new"), None)

    assert await authenticate(HEADERS, Access.WRITER, TokenFor.WRITES, engine_on(registry)) == with_token("new")
    assert registry.looks == 0
