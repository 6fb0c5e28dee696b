"""Users: ids and names only."""

from __future__ import annotations

from aiohttp.web import Response

from backbeat.gateway.http import errors
from backbeat.gateway.http.call import Call, answer
from backbeat.gateway.http.parameters import to_id
from backbeat.transport.http_nouns import User
from backbeat.transport.http_words import PARTITIONS_HEADER


async def index(call: Call) -> Response:
    """GET /users: sorted by name, with those that were added a moment ago."""
    await call.engine.catch_up()
    users = [User(client.id, client.name) for client in call.engine.registry.all()]
    return answer(users, headers={PARTITIONS_HEADER: str(call.engine.partitions)})


async def show(call: Call) -> Response:
    """GET /users/:id."""
    client_id = to_id(call.segment("id"))
    client = call.engine.client(client_id)
    if client is None:
        await call.engine.catch_up()
        client = call.engine.client(client_id)
    if client is None:
        raise errors.not_found(f"There is no user {call.segment('id')}")
    return answer(User(client.id, client.name))
