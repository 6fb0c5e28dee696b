"""Users: ids and names only."""

from __future__ import annotations

from aiohttp.web import Response

from backbeat.gateway import errors
from backbeat.gateway.call import Call, answer
from backbeat.gateway.parameters import to_id


async def index(call: Call) -> Response:
    """GET /users: sorted by name."""
    return answer([{"id": client.id, "name": client.name} for client in call.engine.registry.all()])


async def show(call: Call) -> Response:
    """GET /users/:id."""
    client = call.engine.client(to_id(call.segment("id")))
    if client is None:
        raise errors.not_found(f"There is no user {call.segment('id')}")
    return answer({"id": client.id, "name": client.name})
