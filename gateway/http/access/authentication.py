"""Authentication: the client that Client-Id names, and its token where one is required."""

from __future__ import annotations

import re
from collections.abc import Mapping

from backbeat.gateway.engine_client import Engine
from backbeat.gateway.http import errors
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.http.routing import Access
from backbeat.gateway.settings import TokenFor
from backbeat.schemas.kafka.client_registry import RegisteredClient

CLIENT_HEADER = "Client-Id"

#: Scheme of the original: Token token="…", with the quotes.
_TOKEN = re.compile(r'Token\s+token="([^"]*)"\s*')


async def authenticate(
    headers: Mapping[str, str], access: Access, token_for: TokenFor, engine: Engine
) -> RegisteredClient | None:
    """The caller; None where the call is open to anybody. 401: a missing or unknown client, or a wrong token."""
    needs_token = token_for is TokenFor.ALL or (token_for is TokenFor.WRITES and access is Access.WRITER)
    if access is Access.PUBLIC or (access is Access.OPEN and not needs_token):
        return None
    client_id = find_id(headers.get(CLIENT_HEADER))
    if client_id is None:
        raise errors.unauthorized()

    def authenticated_client() -> RegisteredClient | None:
        client = engine.client(client_id)
        is_authentic = client is not None and (not needs_token or client.has_token(read_token(headers)))
        return client if is_authentic else None

    client = authenticated_client()
    if client is None:
        # The client, or its token, may have been added a moment ago.
        await engine.catch_up()
        client = authenticated_client()
    if client is None:
        raise errors.unauthorized()
    return client


def read_token(headers: Mapping[str, str]) -> str:
    """The token of the Authorization header; empty: there is none."""
    match = _TOKEN.fullmatch(headers.get("Authorization") or "")
    return match[1] if match else ""
